//! Several workers with a replica each. Here they are threads; the demo has processes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use burn::{backend::Flex, optim::Optimizer, tensor::Tensor};
use kasmina::grown::HostModule;
use kasmina::{
    Grafts, Grown, Settings, StepError, StepReport,
    doubles::{Act, Act::*, Trainee, slot},
    kernel_load::{LayerSpec, SlotContract, doubles::MemoryLibrary},
    leyline::v1::SeedLifecycleStage::{self, *},
    reduce::{Part, Place, Reduce, ReduceError, Threads},
    rollback::{Digest, doubles::MemoryStore},
};

use crate::common::{B, Cnn, Host, Mlp, RATE, World, batch, blueprint, bytes, determined, lenient, seed, spoilt, twin};

/// Far longer than any exchange here takes, so that a loaded machine fails no test.
const PATIENCE: Duration = Duration::from_secs(60);

/// A worker with its replica.
struct Worker<H: Host<B> + HostModule<B>> {
    rank: usize,
    world: World,
    trainee: Trainee<H>,
}

/// What is compared after a step: the model, the seed's kernel, and the state of the engine.
type Replica = (Vec<u8>, Option<Vec<u8>>, Digest);

impl<H: Host<B> + HostModule<B>> Worker<H> {
    fn new(reduce: Threads<Flex>, host: &H, settings: Settings, shared: &World, store: Option<&MemoryStore>) -> Self {
        let rank = reduce.place().rank;
        let mut world = World::build(settings, |builder| {
            let builder = builder.kernels(shared.library.clone()).reduce(reduce);
            let built = match store {
                Some(store) => builder.journal(store.clone(), store.clone()).build(&Default::default()),
                None => builder.volatile().build(&Default::default()),
            };
            built.unwrap()
        });
        let trainee = Trainee::new(twin(host));
        world.attach(&trainee.model);
        prefetch(&mut world);
        Self { rank, world, trainee }
    }

    /// Trains on the worker's share of the batch of a step.
    fn step_on(&mut self, rows: std::ops::Range<usize>, poison: Option<f32>) -> Result<StepReport, StepError> {
        let step = self.trainee.step + 1;
        let forward = |host: &H, grafts: &mut Grafts<B>| {
            let loss = loss_of(host, step, rows.clone(), grafts);
            poison.map_or_else(|| loss.clone(), |poison| loss.clone() * poison)
        };
        let Trainee { model, optimizer, .. } = &mut self.trainee;
        let report = self.world.manager.train_batch(model, optimizer, RATE, forward)?;
        self.trainee.step += 1;
        Ok(report)
    }

    fn step(&mut self, workers: usize) -> Result<StepReport, StepError> {
        let share = 12 / workers;
        self.step_on(self.rank * share..(self.rank + 1) * share, None)
    }

    fn replica(&self) -> Replica {
        let kernel = self.world.manager.kernel(&seed("seed-1")).map(|kernel| bytes(&kernel));
        (bytes(&self.trainee.model), kernel, self.world.manager.digest())
    }
}

fn loss_of<H: Host<B>>(host: &H, step: u64, rows: std::ops::Range<usize>, grafts: &mut Grafts<B>) -> Tensor<B, 1> {
    let x = batch::<B>(step).slice([rows]);
    (host.forward(x.clone(), grafts) - x.sin().sum_dim(1)).square().mean()
}

/// Waits until the kernels are in the cache, so that each has one place in the run.
fn prefetch(world: &mut World) {
    for name in ["mlp", "late"] {
        while !world.manager.prefetch(&blueprint(name)).unwrap() {
            thread::yield_now();
        }
    }
}

/// Runs so many workers, each on a thread of its own, and gives what each has come to.
fn together<H, T>(workers: usize, host: &H, run: impl Fn(Worker<H>) -> T + Sync) -> Vec<T>
where
    H: Host<B> + HostModule<B>,
    T: Send,
{
    let shared = World::new(lenient());
    let group = Threads::<Flex>::group(workers, PATIENCE);
    thread::scope(|scope| {
        let start = |reduce| {
            let (shared, run) = (&shared.library, &run);
            let host = twin(host);
            scope.spawn(move || {
                let mut shared_world = World::new(lenient());
                shared_world.library = shared.clone();
                run(Worker::new(reduce, &host, lenient(), &shared_world, None))
            })
        };
        let running: Vec<_> = group.into_iter().map(start).collect();
        running.into_iter().map(|worker| worker.join().unwrap()).collect()
    })
}

/// What is seen after a step.
#[derive(PartialEq)]
struct Seen {
    loss: f32,
    replica: Replica,
    stage: SeedLifecycleStage,
}

/// The life of a seed, by steps.
const LIFE: [(u64, Act); 5] = [(3, Germinate), (14, Graft(5)), (22, Stabilize), (28, Evaluate), (40, Fossilize)];

fn live<H: Host<B> + HostModule<B>>(
    worker: &mut Worker<H>,
    until: u64,
    mut step: impl FnMut(&mut Worker<H>) -> StepReport,
) -> Vec<Seen> {
    let mut seen = Vec::new();
    while worker.trainee.step < until {
        let next = worker.trainee.step + 1;
        for (_, act) in LIFE.iter().filter(|(at, _)| *at == next) {
            worker.world.order("seed-1", act.clone()).unwrap();
        }
        let report = step(worker);
        seen.push(Seen { loss: report.loss, replica: worker.replica(), stage: worker.world.stage("seed-1") });
    }
    seen
}

#[test]
fn four_workers_have_the_same_bits_after_every_step_of_a_life() {
    let host = determined(Mlp::init());
    let lives = together(4, &host, |mut worker| {
        let seen = live(&mut worker, 60, |worker| worker.step(4).unwrap());
        (seen, worker.trainee.model.fossils().len(), worker.world.stage("seed-1"))
    });
    assert!(lives.iter().all(|(_, fossils, stage)| (*fossils, *stage) == (1, SeedStageFossilized)));
    for (rank, (seen, ..)) in lives.iter().enumerate() {
        for (step, (one, first)) in seen.iter().zip(&lives[0].0).enumerate() {
            assert!(one == first, "worker {rank} after step {}", step + 1);
        }
    }
    let distinct: std::collections::BTreeSet<_> = lives[0].0.iter().map(|seen| &seen.replica.0).collect();
    assert_eq!(distinct.len(), 60, "the model has learned in every step");
}

#[test]
fn three_workers_learn_what_one_learns_from_the_joined_batch() {
    let host = determined(Mlp::init());
    let apart = together(3, &host, |mut worker| live(&mut worker, 60, |worker| worker.step(3).unwrap()));
    let joined = together(1, &host, |mut worker| live(&mut worker, 60, |worker| worker.step(1).unwrap()));
    for (step, (seen, other)) in apart[0].iter().zip(&joined[0]).enumerate() {
        let (loss, expected) = (seen.loss, other.loss);
        assert!((loss - expected).abs() < 1e-4 * expected.abs().max(1.0), "step {}: {loss}, {expected}", step + 1);
        assert_eq!(seen.stage, other.stage, "step {}", step + 1);
        // AdamW divides by the gradient's own size, so rounding grows where a gradient is next to nothing.
        let furthest = furthest(&seen.replica.0, &other.replica.0);
        assert!(furthest < 5e-3, "step {}: {furthest}", step + 1);
    }
}

fn furthest(one: &[u8], other: &[u8]) -> f32 {
    let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
    let apart = one.chunks_exact(4).zip(other.chunks_exact(4));
    apart.map(|(one, other)| (number(one) - number(other)).abs()).fold(0.0, f32::max)
}

#[test]
fn running_statistics_are_the_same_on_all_workers() {
    let host = determined(Cnn::init());
    let lives = together(4, &host, |mut worker| {
        (0..10).for_each(|_| drop(worker.step(4).unwrap()));
        (bytes(&worker.trainee.model), bytes(&worker.trainee.model.host))
    });
    assert!(lives.windows(2).all(|two| two[0] == two[1]));
}

#[test]
fn loss_that_is_not_finite_on_one_worker_refuses_the_step_on_all() {
    let host = determined(Mlp::init());
    let ends = together(3, &host, |mut worker| {
        live(&mut worker, 16, |worker| worker.step(3).unwrap());
        let before = worker.replica().0;
        let poison = (worker.rank == 1).then_some(f32::NAN);
        let error = worker.step_on(0..4, poison).unwrap_err();
        assert_eq!(worker.replica().0, before, "the model is as it was");
        worker.step(3).unwrap();
        (error.reason(), error, worker.replica())
    });
    assert_eq!(ends.each_reason(), ["refused_by_another_worker", "non_finite_loss", "refused_by_another_worker"]);
    assert!(matches!(&ends[0].1, StepError::RefusedElsewhere { worker: 1, why } if why.contains("NaN")));
    assert!(ends.windows(2).all(|two| two[0].2 == two[1].2));
}

trait Reasons {
    fn each_reason(&self) -> Vec<&'static str>;
}

impl<T, U> Reasons for Vec<(&'static str, T, U)> {
    fn each_reason(&self) -> Vec<&'static str> {
        self.iter().map(|(reason, ..)| *reason).collect()
    }
}

#[test]
fn seed_that_breaks_the_loss_of_one_worker_is_culled_on_all() {
    let host = determined(Mlp::init());
    let ends = together(3, &host, |mut worker| {
        live(&mut worker, 16, |worker| worker.step(3).unwrap());
        assert_eq!(worker.world.stage("seed-1"), SeedStageBlending);
        if worker.rank == 2 {
            // Its loss with the seed is not a number, here alone.
            assert!(worker.world.manager.tamper(&seed("seed-1"), spoilt));
        }
        worker.step(3).unwrap();
        (worker.world.stage("seed-1"), worker.replica())
    });
    assert!(ends.windows(2).all(|two| two[0] == two[1]), "{:?}", ends.iter().map(|end| end.0).collect::<Vec<_>>());
    assert!(matches!(ends[0].0, SeedStageCulled | SeedStageEmbargoed), "{:?}", ends[0].0);
}

#[test]
fn kernel_that_fails_on_one_worker_fails_its_seed_on_all() {
    let (host, shared) = (determined(Mlp::init()), World::new(lenient()));
    let group = Threads::<Flex>::group(3, PATIENCE);
    let ends: Vec<_> = thread::scope(|scope| {
        let start = |reduce: Threads<Flex>| {
            let (host, library) = (twin(&host), shared.library.clone());
            scope.spawn(move || {
                let mut shared = World::new(lenient());
                if reduce.place().rank != 1 {
                    shared.library = library;
                } else {
                    // The kernel of its own library is for another slot.
                    shared.publish("mlp", SlotContract::f32(2, 6, 6), vec![LayerSpec::linear(6, 6)]);
                }
                let mut worker = Worker::new(reduce, &host, lenient(), &shared, None);
                worker.step(3).unwrap();
                worker.world.order("seed-1", Germinate).unwrap();
                (0..3).for_each(|_| drop(worker.step(3).unwrap()));
                (worker.world.stage("seed-1"), worker.replica())
            })
        };
        let running: Vec<_> = group.into_iter().map(start).collect();
        running.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert!(ends.windows(2).all(|two| two[0] == two[1]), "{:?}", ends.iter().map(|end| end.0).collect::<Vec<_>>());
    assert!(matches!(ends[0].0, SeedStageCulled | SeedStageEmbargoed), "{:?}", ends[0].0);
}

#[test]
fn step_that_all_dropped_leaves_no_running_statistics_behind() {
    let ends = together(2, &determined(Cnn::init()), |mut worker| {
        worker.step(2).unwrap();
        let rows = worker.rank * 6..(worker.rank + 1) * 6;
        let mut step = worker.world.manager.begin_step(&mut worker.trainee.model).unwrap();
        step.run(&worker.trainee.model, |host, grafts| loss_of(host, 9, rows.clone(), grafts)).unwrap();
        drop(step);
        worker.step(2).unwrap();
        worker.replica()
    });
    assert!(ends[0] == ends[1]);
}

#[test]
fn several_runs_in_a_step_are_exchanged_once() {
    let ends = together(2, &determined(Mlp::init()), |mut worker| {
        live(&mut worker, 16, |worker| worker.step(2).unwrap());
        let Trainee { model, optimizer, .. } = &mut worker.trainee;
        let mut step = worker.world.manager.begin_step(model).unwrap();
        for micro in [0, 3] {
            let rows = worker.rank * 6 + micro..worker.rank * 6 + micro + 3;
            step.run(model, |host, grafts| loss_of(host, 17, rows.clone(), grafts)).unwrap();
        }
        let gradients = step.gradients(model).unwrap();
        *model = optimizer.step(RATE, model.clone(), gradients);
        step.finish(model).unwrap();
        worker.replica()
    });
    let whole = together(2, &determined(Mlp::init()), |mut worker| {
        live(&mut worker, 17, |worker| worker.step(2).unwrap());
        worker.replica()
    });
    assert!(ends[0] == ends[1] && furthest(&ends[0].0, &whole[0].0) < 5e-3);
}

#[test]
fn embargo_ends_on_all_workers_by_the_clock_that_is_ahead() {
    let ends = together(3, &determined(Mlp::init()), |mut worker| {
        live(&mut worker, 16, |worker| worker.step(3).unwrap());
        worker.world.order("seed-1", Cull).unwrap();
        worker.step(3).unwrap();
        let before = worker.world.stage("seed-1");
        if worker.rank == 1 {
            worker.world.wait(31);
        }
        worker.step(3).unwrap();
        (before, worker.world.stage("seed-1"), worker.replica())
    });
    assert!(ends.windows(2).all(|two| two[0] == two[1]));
    assert_eq!((ends[0].0, ends[0].1), (SeedStageEmbargoed, SeedStageDormant));
}

#[test]
fn worker_that_comes_late_finds_the_others_where_they_were() {
    let host = determined(Mlp::init());
    let shared = World::new(lenient());
    let mut group = Threads::<Flex>::group(2, Duration::ZERO).into_iter();
    let mut workers: Vec<_> =
        group.by_ref().map(|reduce| Worker::new(reduce, &host, lenient(), &shared, None)).collect();
    let before = workers[0].replica();
    let missing = workers[0].step(2).unwrap_err();
    assert_eq!(missing.reason(), "workers_missing");
    assert!(matches!(missing, StepError::Reduce(ReduceError::TimedOut { missing, .. }) if missing == [1]));
    assert_eq!(workers[0].replica(), before, "nothing has happened");
    assert_eq!(workers[1].step(2).unwrap_err().reason(), "exchange_given_up");
    assert_eq!(workers[1].replica(), before);
}

#[test]
fn worker_that_has_left_is_named_at_once() {
    let host = determined(Mlp::init());
    let reasons = together(3, &host, |mut worker| {
        worker.step(3).unwrap();
        if worker.rank == 2 {
            return "gone";
        }
        worker.step(3).unwrap_err().reason()
    });
    assert_eq!(reasons, ["workers_left", "workers_left", "gone"]);
}

#[test]
fn replica_with_other_weights_is_refused() {
    let reasons = together(2, &determined(Mlp::init()), |mut worker| {
        if worker.rank == 1 {
            worker.trainee.model = Grown::new(worker.trainee.model.host.clone().map(&mut Shift));
        }
        let error = worker.step(2).unwrap_err();
        assert!(error.to_string().contains("begin all from one file"), "{error}");
        error.reason()
    });
    assert_eq!(reasons, ["worker_out_of_step"; 2]);
}

/// Adds a little to every parameter.
struct Shift;

impl burn::module::ModuleMapper<B> for Shift {
    fn map_float<const D: usize>(
        &mut self,
        param: burn::module::Param<Tensor<B, D>>,
    ) -> burn::module::Param<Tensor<B, D>> {
        param.map(|tensor| Tensor::from_inner(tensor.inner() + 0.25).require_grad())
    }
}

use burn::module::Module as _;

#[test]
fn order_that_one_worker_alone_was_given_is_found_in_the_next_step() {
    let reasons = together(2, &determined(Mlp::init()), |mut worker| {
        worker.step(2).unwrap();
        if worker.rank == 0 {
            worker.world.order("seed-1", Germinate).unwrap();
        }
        let error = worker.step(2).unwrap_err();
        assert!(error.to_string().contains("its seeds are not as they are here"), "{error}");
        error.reason()
    });
    assert_eq!(reasons, ["worker_out_of_step"; 2]);
}

/// Counts exchanges.
struct Counted(Place, Arc<AtomicUsize>);

impl Reduce<Flex> for Counted {
    fn place(&self) -> Place {
        self.0
    }

    fn reduce(&mut self, _: &Part, gradients: Tensor<Flex, 1>) -> Result<Tensor<Flex, 1>, ReduceError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Ok(gradients)
    }

    fn gather(&mut self, facts: Vec<u8>) -> Result<Vec<Vec<u8>>, ReduceError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Ok(vec![facts; self.0.workers])
    }
}

#[test]
fn one_worker_exchanges_nothing() {
    let counted = |place| {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Counted(place, Arc::clone(&count));
        let mut world =
            World::build(lenient(), |builder| builder.reduce(counter).volatile().build(&Default::default()).unwrap());
        let mut trainee = Trainee::new(determined(Mlp::init()));
        world.attach(&trainee.model);
        world.step(&mut trainee.model, &mut trainee.optimizer, 1);
        count.load(Ordering::Relaxed)
    };
    assert_eq!(counted(Place::ALONE), 0);
    // The beginning, the host's pass, the gradients that there are, and the gradients.
    assert_eq!(counted(Place { rank: 0, workers: 2 }), 4);
}

#[test]
fn worker_that_was_lost_goes_back_with_the_others_and_they_go_on_alike() {
    let host = determined(Mlp::init());
    let shared = World::new(lenient());
    let stores = [MemoryStore::new(), MemoryStore::new(), MemoryStore::new()];
    let first: Vec<_> = thread::scope(|scope| {
        let start = |reduce: Threads<Flex>| {
            let (host, store, library) = (twin(&host), &stores[reduce.place().rank], shared.library.clone());
            scope.spawn(move || first_part(reduce, &host, store, library))
        };
        let running: Vec<_> = Threads::group(3, PATIENCE).into_iter().map(start).collect();
        running.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(first.iter().map(|it| it.1).collect::<Vec<_>>(), ["workers_left", "workers_left", "gone"]);
    let ends = second_part(first, &host, &shared, &stores);
    assert!(ends.windows(2).all(|two| two[0] == two[1]), "all are alike after every step");
    assert_eq!(ends[0].len(), 30);
}

/// A worker that has survived, and what its last step said.
type FirstPart = (Option<Worker<Mlp<B>>>, &'static str);

/// Trains to step 20 with a checkpoint at 18; then worker 2 is lost, and the others find that out.
fn first_part(reduce: Threads<Flex>, host: &Mlp<B>, store: &MemoryStore, library: MemoryLibrary) -> FirstPart {
    let mut shared = World::new(lenient());
    shared.library = library;
    let mut worker = Worker::new(reduce, host, lenient(), &shared, Some(store));
    live(&mut worker, 20, |worker| {
        let report = worker.step(3).unwrap();
        if report.step == 18 {
            worker.world.manager.end_epoch();
            worker.world.manager.checkpoint(&worker.trainee.model, &worker.trainee.optimizer).unwrap();
        }
        report
    });
    if worker.rank == 2 {
        return (None, "gone");
    }
    let reason = worker.step(3).unwrap_err().reason();
    // The lost worker never hears of this one, and going back is to make all alike.
    worker.world.manager.register_seed(seed("seed-9"), slot("mid")).unwrap();
    (Some(worker), reason)
}

/// Worker 2 comes back from its store, in a new group with the others; all go back to the checkpoint and train on.
fn second_part(
    first: Vec<FirstPart>,
    host: &Mlp<B>,
    shared: &World,
    stores: &[MemoryStore; 3],
) -> Vec<Vec<(f32, Replica)>> {
    let group = Threads::<Flex>::group(3, PATIENCE);
    thread::scope(|scope| {
        let start = |(reduce, (worker, _)): (Threads<Flex>, FirstPart)| {
            let (host, library) = (twin(host), shared.library.clone());
            let store = &stores[reduce.place().rank];
            scope.spawn(move || {
                let mut worker = match worker {
                    Some(mut worker) => {
                        worker.world.manager.regroup(reduce);
                        worker
                    }
                    None => come_back(reduce, &host, library, store),
                };
                let Trainee { model, optimizer, step } = &mut worker.trainee;
                let back = worker.world.manager.roll_back_to(None, model, optimizer).unwrap();
                *step = back.step;
                assert_eq!(back.step, 18);
                let mut seen = vec![(0.0, worker.replica())];
                for _ in 0..29 {
                    let report = worker.step(3).unwrap();
                    seen.push((report.loss, worker.replica()));
                }
                seen
            })
        };
        let running: Vec<_> = group.into_iter().zip(first).map(start).collect();
        running.into_iter().map(|worker| worker.join().unwrap()).collect()
    })
}

fn come_back(reduce: Threads<Flex>, host: &Mlp<B>, library: MemoryLibrary, store: &MemoryStore) -> Worker<Mlp<B>> {
    let rank = reduce.place().rank;
    let world = World::build(lenient(), |builder| {
        let builder = builder.kernels(library).reduce(reduce).journal(store.clone(), store.clone());
        let (manager, found) = builder.recover(&Default::default()).unwrap();
        assert!(found.incarnation == 1 && found.grafted == 1, "{found:?}");
        manager
    });
    Worker { rank, world, trainee: Trainee::new(twin(host)) }
}

//! Two replicas that train one growing network.

use std::thread;

use burn::{
    backend::Flex,
    tensor::{Tensor, backend::AutodiffBackend},
};
use kasmina::{
    Grafts,
    doubles::{Act, B, Host, Mlp, RATE, Trainee, World, batch, blueprint, bytes, determined, lenient, seed, twin},
    rollback::Digest,
};
use kasmina_reduce::{Linked, Reduce, conformance::PATIENCE};
use kasmina_reduce_collective::{Collective, Peers};

use crate::{local::one_at_a_time, peers::hosts};

/// The model, the seed's kernel, and the state of the engine.
type Replica = (Vec<u8>, Vec<u8>, Digest);

/// Trains on this worker's share of each batch, while a seed learns and is grafted.
fn train(reduce: impl Reduce<<B as AutodiffBackend>::InnerBackend> + 'static, host: &Mlp<B>) -> Replica {
    let place = reduce.place();
    let mut world =
        World::build(lenient(), |builder| builder.volatile().reduce(reduce).build(&Default::default()).unwrap());
    let mut trainee = Trainee::new(twin(host));
    world.attach(&trainee.model);
    while !world.manager.prefetch(&blueprint("mlp")).unwrap() {
        thread::yield_now();
    }
    let share = 12 / place.workers;
    let rows = place.rank * share..(place.rank + 1) * share;
    for step in 1..=20 {
        match step {
            3 => drop(world.order("seed-1", Act::Germinate).unwrap()),
            14 => drop(world.order("seed-1", Act::Graft(5)).unwrap()),
            _ => {}
        }
        let forward = |host: &Mlp<B>, grafts: &mut Grafts<B>| -> Tensor<B, 1> {
            let x = batch::<B>(step).slice([rows.clone()]);
            (host.forward(x.clone(), grafts) - x.sin().sum_dim(1)).square().mean()
        };
        let Trainee { model, optimizer, .. } = &mut trainee;
        world.manager.train_batch(model, optimizer, RATE, forward).unwrap();
    }
    let kernel = world.manager.kernel(&seed("seed-1")).unwrap();
    (bytes(&trainee.model), bytes(&kernel), world.manager.digest())
}

fn are_alike<R: Reduce<Flex> + 'static>(workers: Vec<R>) {
    let host = determined(Mlp::init());
    let replicas: Vec<_> = thread::scope(|scope| {
        let start = |worker| scope.spawn(|| train(worker, &host));
        let running: Vec<_> = workers.into_iter().map(start).collect();
        running.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert_ne!(replicas[0].0, bytes(&host), "nothing was learned");
    assert!(replicas.iter().all(|replica| *replica == replicas[0]), "the replicas differ");
}

#[test]
fn replicas_over_collective_have_the_same_bytes() {
    let _one = one_at_a_time();
    are_alike(Collective::<Flex>::group(vec![Default::default(); 2], PATIENCE).unwrap());
}

#[test]
fn replicas_over_peers_have_the_same_bytes() {
    let hosts = hosts(2);
    let join = |rank| Linked::new(Peers::<Flex>::join(hosts.clone(), rank, 0, PATIENCE).unwrap());
    are_alike((0..2).map(join).collect());
}

//! A worker's process: a replica, its share of every batch, and what it needs to come back.

use std::{
    error::Error,
    fs::{self, File},
    io::{BufRead, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use burn::{
    module::AutodiffModule,
    optim::{AdamW, AdamWConfig, GradientsParams, Optimizer, adaptor::OptimizerAdaptor},
    tensor::backend::Backend,
};
use kasmina::{
    Grown, SeedManager, StepError, Validation,
    isolation::{flatten_gradients, gradients_present},
    kernel_load::{Digest, DirectoryLibrary},
    leyline::SlotId,
    registry::parameter_ids,
    rollback::Store,
    security::{CommandVerifier, KeyRing},
    telemetry::JsonLinesSink,
};
use kasmina_coordination::{Sketch, hash};
use kasmina_reduce::{Linked, Place, Unmet, redis_link::RedisLink};

use super::{
    Meet, Said, WorkerArgs,
    rounds::{Next, OutOfRounds, Rounds},
};
use crate::{
    demo::{
        hosts::{Mlp, SLOT},
        plan::BATCH,
        processes::{Outcome, PATIENCE, Story, secret},
        task::{B, accuracy, batch, loss, whole},
    },
    digits::shuffle,
};

/// Sums of a sketch.
const SKETCH: usize = 64;

type Model = Grown<B, Mlp<B>>;

/// Trains until all steps are taken. When a worker is lost, it waits to be told where all meet again.
pub(super) fn work(args: &WorkerArgs) -> Result<(), Box<dyn Error>> {
    let story = Story::new(args.dir.clone(), args.seed)?;
    let place = Place { rank: args.rank, workers: args.workers };
    let directory = story.directory.join(format!("worker-{}", args.rank));
    fs::create_dir_all(&directory)?;
    let store = Store::open(directory.join("store"))?;
    let telemetry = File::options().create(true).append(true).open(directory.join("telemetry.jsonl"))?;
    let mut trainer = Trainer::new(&story, place, store, JsonLinesSink::new(telemetry))?;
    let mut why = "it has started".to_owned();
    loop {
        say(&Said::Waits { rank: place.rank, epochs: trainer.epochs(), why })?;
        let meet = hear()?;
        trainer.meet(&args.bus, meet)?;
        let trained = loop {
            match trainer.train() {
                Ok(Trained::WentBack) => say(&Said::WentBack { rank: place.rank, step: trainer.manager.step() })?,
                trained => break trained,
            }
        };
        match trained {
            Ok(_) => break,
            // What a lost worker looks like from here, before and after it has come back. All else is an error of the demo.
            Err(error) => match (error.downcast_ref::<StepError>(), error.downcast_ref::<OutOfRounds>()) {
                (Some(apart @ (StepError::Reduce(_) | StepError::OutOfStep { .. })), _) => why = apart.to_string(),
                (_, Some(out)) => why = out.to_string(),
                _ => return Err(error),
            },
        }
    }
    let (outcome, state) = trainer.outcome(&directory)?;
    say(&Said::Done { rank: place.rank, outcome, state })
}

/// One write a line, so that whoever reads has it whole or not at all.
fn say(said: &Said) -> Result<(), Box<dyn Error>> {
    let mut text = serde_json::to_string(said)?;
    text.push('\n');
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

fn hear() -> Result<Meet, Box<dyn Error>> {
    let mut line = String::new();
    if std::io::stdin().lock().read_line(&mut line)? == 0 {
        return Err("whoever has started this worker is gone".into());
    }
    Ok(serde_json::from_str(&line)?)
}

/// How far the training has come.
enum Trained {
    All,
    /// To an earlier epoch, from which it goes on.
    WentBack,
}

struct Trainer<'s> {
    story: &'s Story,
    place: Place,
    manager: SeedManager<B>,
    model: Model,
    optimizer: OptimizerAdaptor<AdamW, Model, B>,
    rounds: Option<Rounds>,
    /// Of the last step's gradients.
    sketch: Vec<f32>,
}

impl<'s> Trainer<'s> {
    fn new(
        story: &'s Story,
        place: Place,
        store: Store,
        telemetry: JsonLinesSink<File>,
    ) -> Result<Self, Box<dyn Error>> {
        let (manager, _) = SeedManager::<B>::builder(story.run.clone())
            .settings(story.settings())
            .verifier(CommandVerifier::new(KeyRing::of("demo", secret()?)))
            .kernels(DirectoryLibrary::open(story.kernels())?)
            .sink(telemetry)
            .store(store)
            .reduce(Unmet(place))
            .recover(&Default::default())?;
        let (model, optimizer) = (load_start(story)?, AdamWConfig::new().init());
        Ok(Self { story, place, manager, model, optimizer, rounds: None, sketch: Vec::new() })
    }

    /// What this worker could go back to.
    fn epochs(&self) -> Vec<u64> {
        self.manager.epochs()
    }

    /// Meets the others, and goes back to where all go on from.
    fn meet(&mut self, address: &str, meet: Meet) -> Result<(), Box<dyn Error>> {
        let stream = format!("demo.reduce.{}", meet.generation);
        self.manager.regroup(Linked::new(RedisLink::join(address, &stream, self.place, PATIENCE / 10)?));
        let Self { story, manager, model, optimizer, .. } = self;
        match meet.epoch {
            Some(epoch) => drop(manager.roll_back_to(Some(epoch), model, optimizer)?),
            None => drop(manager.restore_model(model, optimizer)?),
        }
        manager.attach_host(model, |host, grafts| loss(host, &batch(&story.images.train, &[0]), grafts))?;
        if manager.stage(&story.seed).is_none() {
            manager.register_seed(story.seed.clone(), SlotId::new(SLOT)?)?;
        }
        let steps = (per_epoch(story), manager.step());
        // The lease and the subscriptions of the rounds before end with their connections.
        self.rounds = Some(Rounds::new(story, self.place, address, meet.generation, steps)?);
        self.sketch.clear();
        Ok(())
    }

    fn train(&mut self) -> Result<Trained, Box<dyn Error>> {
        let Self { story, place, manager, model, optimizer, rounds, sketch, .. } = self;
        let rounds = rounds.as_mut().ok_or("the worker has not met the others")?;
        let (images, rate) = (&story.images, story.plan.learning_rate);
        let validation = whole(&images.validation);
        let mut order: Vec<usize> = (0..images.train.labels.len()).collect();
        let per_epoch = per_epoch(story);
        for epoch in 0..story.plan.epochs {
            // Each epoch shuffles what the one before it left, also for a run that does not begin here.
            shuffle(&mut order, story.random_seed.wrapping_mul(1_000).wrapping_add(epoch));
            if manager.step() >= (epoch + 1) * per_epoch {
                continue;
            }
            // Nobody knows it before the gradients are fixed.
            let round = epoch;
            for chunk in order.chunks_exact(BATCH) {
                if rounds.before_step(manager, names(model), sketch)? == Next::GoBack {
                    manager.roll_back(model, optimizer)?;
                    rounds.went_back(manager.step())?;
                    sketch.clear();
                    return Ok(Trained::WentBack);
                }
                let batch = batch(&images.train, &chunk[share(*place)]);
                let mut step = manager.begin_step(model)?;
                step.run(model, |host, grafts| loss(host, &batch, grafts))?;
                let gradients = step.gradients(model)?;
                *sketch = sketch_of(model, &gradients, round);
                *model = optimizer.step(rate, model.clone(), gradients);
                step.finish(model)?;
            }
            manager.end_epoch();
            let committed = model.valid();
            manager.report_validation(vec![Validation {
                name: "validation_accuracy".to_owned(),
                host: accuracy(&committed.host, &validation, committed.grafts()),
                live: accuracy(&committed.host, &validation, manager.live_view(model)),
                higher_is_better: true,
            }]);
            manager.checkpoint(model, optimizer)?;
            let (rank, step) = (place.rank, manager.step());
            say(&Said::At { rank, step, epoch: epoch + 1, stage: stage(story, manager) })?;
        }
        Ok(Trained::All)
    }

    /// What has been grown: the file of the model as a checksum, and the state of the seeds.
    fn outcome(&self, directory: &Path) -> Result<(Outcome, String), Box<dyn Error>> {
        let path = directory.join("grown.safetensors");
        self.model.save(&path)?;
        let digest = Digest::of(&fs::read(&path)?).to_string();
        let (committed, test) = (self.model.valid(), whole(&self.story.images.test));
        let accuracy = accuracy(&committed.host, &test, committed.grafts());
        let outcome = Outcome { digest, stage: stage(self.story, &self.manager), accuracy };
        Ok((outcome, self.manager.digest().to_string()))
    }
}

/// Every batch is whole, so that the shares of all workers weigh the same.
fn per_epoch(story: &Story) -> u64 {
    (story.images.train.labels.len() / BATCH) as u64
}

/// The names of the model's parameters as a checksum.
fn names(model: &Model) -> [u8; 32] {
    let ids = parameter_ids(model).into_iter().flat_map(|id| id.val().to_le_bytes());
    hash(&ids.collect::<Vec<_>>())
}

/// A short form of the gradients that all workers have got.
fn sketch_of(model: &Model, gradients: &GradientsParams, round: u64) -> Vec<f32> {
    let mut sketch = Sketch::new(SKETCH, round);
    let flat = flatten_gradients(model, gradients, &gradients_present(model, gradients));
    if let Some(flat) = flat {
        sketch.add(&flat.into_data().iter::<f32>().collect::<Vec<_>>());
    }
    sketch.finish()
}

/// A worker's rows of a batch.
const fn share(Place { rank, workers }: Place) -> Range<usize> {
    rank * BATCH / workers..(rank + 1) * BATCH / workers
}

fn stage(story: &Story, manager: &SeedManager<B>) -> String {
    let stage = manager.stage(&story.seed).unwrap_or_default();
    stage.as_str_name().trim_start_matches("SEED_STAGE_").to_owned()
}

/// Where the model is that all workers begin with, so that its parameters have the same ids for all.
fn start(story: &Story) -> PathBuf {
    story.directory.join("start.safetensors")
}

pub(super) fn save_start(story: &Story) -> Result<(), Box<dyn Error>> {
    let device = Default::default();
    B::seed(&device, story.random_seed);
    Ok(Grown::new(Mlp::<B>::init(&device)).save(start(story))?)
}

fn load_start(story: &Story) -> Result<Model, Box<dyn Error>> {
    let device = Default::default();
    Ok(Grown::load(start(story), Mlp::<B>::init(&device), &device)?)
}

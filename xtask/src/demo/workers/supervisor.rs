//! Whoever starts the workers: it kills one, brings all together again, and gives the orders of a policy.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    sync::Arc,
    time::Duration,
};

use kasmina::{
    CommandSender,
    commands::Order,
    leyline::v1::SeedLifecycleStage,
    safety::{Clock, SystemClock},
};
use kasmina_oona::{Bus, RedisBus, doubles::RedisServer};

use super::{Meet, Said, group::Group};
use crate::{
    demo::processes::{A_MOMENT, Outcome, PATIENCE, Story, join, secret},
    progress::Progress,
    stopwatch::Stopwatch,
};

/// The epoch in which a worker is killed: its seed is being blended in.
const KILLED_IN: u64 = 12;

/// The epoch after which a command goes out to go back by one: all do so before the same step, or none.
const GOES_BACK_AFTER: u64 = 20;

/// What all have come to, by rank: the model, and the state of the seeds as a checksum.
pub(super) struct Ended {
    pub(super) ends: Vec<(Outcome, String)>,
    pub(super) incidents: String,
}

pub(super) struct Supervisor<'s> {
    story: &'s Story,
    group: Group,
    bus: Arc<RedisBus>,
    sender: CommandSender,
    /// Workers without a group, and the epochs that each can go back to.
    waiting: BTreeMap<usize, Vec<u64>>,
    generation: u64,
    /// The stage for which an order has been sent since the workers met.
    ordered: Option<SeedLifecycleStage>,
    done: BTreeMap<usize, (Outcome, String)>,
    /// If this is a server of the demo's own.
    _server: Option<RedisServer>,
}

impl<'s> Supervisor<'s> {
    pub(super) fn new(bus: &str, story: &'s Story, workers: usize) -> Result<Self, Box<dyn Error>> {
        let missing = "redis-server is not installed (on Debian: apt-get install redis-server)";
        let server = if bus == "redis" { Some(RedisServer::start(&[]).ok_or(missing)?) } else { None };
        let address = server.as_ref().map_or_else(|| bus.to_owned(), RedisServer::address);
        let group = Group::start(&address, story.directory.clone(), story.random_seed, workers)?;
        Ok(Self {
            story,
            group,
            bus: join(&address, None)?,
            sender: CommandSender::new(&secret()?, "tamiyo")?,
            waiting: BTreeMap::new(),
            generation: 0,
            ordered: None,
            done: BTreeMap::new(),
            _server: server,
        })
    }

    pub(super) fn run(mut self, progress: &Progress) -> Result<Ended, Box<dyn Error>> {
        let (victim, mut incidents) = (self.group.workers() / 2, Vec::new());
        let (mut ordered_back, mut went_back) = (false, BTreeMap::new());
        let silent = Stopwatch::start();
        let mut heard_at = Duration::ZERO;
        while self.done.len() < self.group.workers() {
            self.group.check()?;
            let Some(said) = self.group.hear(100 * A_MOMENT) else {
                if silent.elapsed() > heard_at + 2 * PATIENCE {
                    return Err("no worker has said anything for two minutes".into());
                }
                continue;
            };
            heard_at = silent.elapsed();
            match said {
                Said::Waits { rank, epochs, why } => {
                    progress.print(format_args!("  worker {rank} waits for the others: {why}"));
                    self.waiting.insert(rank, epochs);
                    self.meet_if_all_wait(progress)?;
                }
                Said::At { rank: 0, step, epoch, stage } => {
                    progress.show(format_args!("epoch {epoch}/{}  {stage}", self.story.plan.epochs));
                    self.order(step, &stage)?;
                    if epoch >= KILLED_IN && incidents.is_empty() {
                        progress.print(format_args!("  step {step:>5}  worker {victim} killed"));
                        incidents.push(format!("worker {victim} in epoch {epoch}"));
                        self.group.restart(victim)?;
                    }
                    if epoch >= GOES_BACK_AFTER && !ordered_back && self.waiting.is_empty() {
                        ordered_back = true;
                        progress.print(format_args!(
                            "  step {step:>5}  ordered to go back to the end of epoch {}",
                            epoch - 1
                        ));
                        self.send(&Order::Rollback { epoch: epoch - 1 })?;
                    }
                }
                Said::At { .. } => {}
                Said::WentBack { rank, step } => drop(went_back.insert(rank, step)),
                Said::Done { rank, outcome, state } => drop(self.done.insert(rank, (outcome, state))),
            }
        }
        if incidents.is_empty() {
            return Err("the run was over before a worker was killed".into());
        }
        let steps: BTreeSet<_> = went_back.values().collect();
        if went_back.len() != self.group.workers() || steps.len() != 1 {
            return Err(format!("all workers were to go back to one step, and did so: {went_back:?}").into());
        }
        Ok(Ended { ends: self.done.into_values().collect(), incidents: incidents.join(", ") })
    }

    /// Brings the workers together: in the newest epoch that all can go back to.
    fn meet_if_all_wait(&mut self, progress: &Progress) -> Result<(), Box<dyn Error>> {
        if self.waiting.len() < self.group.workers() {
            return Ok(());
        }
        let mut epochs = std::mem::take(&mut self.waiting).into_values();
        let first = epochs.next().unwrap_or_default();
        let common = epochs.fold(first, |common, of_one| common.into_iter().filter(|it| of_one.contains(it)).collect());
        let epoch = common.into_iter().max();
        match epoch {
            Some(epoch) => progress.print(format_args!("  all go back to the end of epoch {epoch}")),
            None => progress.print(format_args!("  all begin")),
        }
        self.group.tell_all(Meet { generation: self.generation, epoch })?;
        self.generation += 1;
        self.ordered = None;
        Ok(())
    }

    /// Sends the order that the seed waits for, to whichever worker takes it from the bus.
    fn order(&mut self, step: u64, stage: &str) -> Result<(), Box<dyn Error>> {
        let stage = SeedLifecycleStage::from_str_name(&format!("SEED_STAGE_{stage}")).unwrap_or_default();
        if self.ordered == Some(stage) {
            return Ok(());
        }
        if let Some(order) = self.story.order(stage, step) {
            self.send(&order)?;
            self.ordered = Some(stage);
        }
        Ok(())
    }

    fn send(&mut self, order: &Order) -> Result<(), Box<dyn Error>> {
        let command = self.sender.order(order, SystemClock::new().unix())?;
        Ok(self.bus.publish(kasmina_dispatch::command(command)).map(drop)?)
    }
}

//! A replica: its worker, its disk, and a trainer that runs steps.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kasmina_leyline::{Monotonic, UnixTime};

use super::chain::Applied;
use crate::{
    Decided, Digest, Isolation, Kept, Ledger, Membership, Order, Report, Round, SecretKey, Settings, Worker, hash,
};

/// A clock that is not the others'.
#[derive(Clone, Copy, Debug)]
pub(super) struct Skew {
    /// Of 1,000: how fast it runs.
    pub(super) rate: u64,
    pub(super) wall_ms: i64,
}

impl Skew {
    pub(super) fn monotonic(self, now: u64) -> Monotonic {
        Monotonic::from_nanos(now * self.rate + 7_000_000)
    }

    /// When the clock shows this, in microseconds of the world; not before it does.
    pub(super) fn when(self, at: Monotonic) -> u64 {
        at.as_nanos().saturating_sub(7_000_000).div_ceil(self.rate)
    }

    pub(super) fn unix(self, now: u64) -> UnixTime {
        let now = i64::try_from(now / 1_000).unwrap_or(i64::MAX);
        UnixTime::from_millis(1_800_000_000_000 + now + self.wall_ms)
    }
}

/// What a replica could go back to.
#[derive(Clone, Debug)]
pub(super) struct Checkpoint {
    pub(super) step: u64,
    pub(super) era: u64,
    pub(super) applied: Vec<Applied>,
    pub(super) weights: u64,
    pub(super) ledger: Vec<u8>,
}

/// A replica.
#[derive(Debug)]
pub(super) struct Replica {
    /// None while its process is dead.
    pub(super) worker: Option<Worker>,
    /// How often its process has begun.
    pub(super) life: u64,
    pub(super) key: SecretKey,
    pub(super) skew: Skew,
    /// Nothing is done before this.
    pub(super) asleep_until: u64,
    /// Microseconds of a step.
    pub(super) step_takes: u64,
    /// Stays over a restart.
    pub(super) promises: Option<Kept>,
    pub(super) decisions: BTreeMap<Round, Kept>,
    pub(super) checkpoints: Vec<Checkpoint>,
    // The trainer.
    pub(super) step: u64,
    pub(super) arrived: Option<Round>,
    pub(super) pending: Vec<Order>,
    pub(super) due: BTreeMap<u64, Decided>,
    /// All that it has ever applied.
    pub(super) applied: Vec<Applied>,
    /// Stands for everything that training changes.
    pub(super) weights: u64,
    pub(super) isolated: Option<Isolation>,
    /// Token and end of the lease, by the world's clock.
    pub(super) lease_until: u64,
}

impl Replica {
    pub(super) fn new(key: SecretKey, skew: Skew, step_takes: u64) -> Self {
        Self {
            worker: None,
            life: 0,
            key,
            skew,
            asleep_until: 0,
            step_takes,
            promises: None,
            decisions: BTreeMap::new(),
            checkpoints: vec![Checkpoint {
                step: 0,
                era: 0,
                applied: Vec::new(),
                weights: 0,
                ledger: Ledger::default().to_bytes(),
            }],
            step: 0,
            arrived: None,
            pending: Vec::new(),
            due: BTreeMap::new(),
            applied: Vec::new(),
            weights: 0,
            isolated: None,
            lease_until: 0,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.worker.is_some() && self.isolated.is_none()
    }

    pub(super) fn report(&self, now: u64, lies: bool) -> Report {
        let weights = self.weights ^ u64::from(lies);
        let noise = f32::from(u16::try_from(weights % 1_000).unwrap_or(0));
        Report {
            digest: Digest {
                state: hash(&weights.to_le_bytes()),
                parameters: hash(b"parameters"),
                sketch: vec![1.0 + noise, 2.0],
            },
            pending: self.pending.clone(),
            checkpoints: self.checkpoints.iter().rev().map(|checkpoint| checkpoint.step).collect(),
            at: self.skew.unix(now),
        }
    }

    pub(super) fn save(&mut self) {
        let Some(worker) = &self.worker else { return };
        let ledger = worker.ledger();
        self.checkpoints.retain(|old| (old.era, old.step) < (ledger.era(), self.step));
        self.checkpoints.push(Checkpoint {
            step: self.step,
            era: ledger.era(),
            applied: self.applied.clone(),
            weights: self.weights,
            ledger: ledger.to_bytes(),
        });
        let surplus = self.checkpoints.len().saturating_sub(4);
        self.checkpoints.drain(..surplus);
    }

    pub(super) fn die(&mut self) {
        self.life += 1;
        self.worker = None;
        self.pending.clear();
        self.due.clear();
        self.arrived = None;
        self.lease_until = 0;
    }

    /// Begins again from a checkpoint of its own, or from the present state of another replica.
    pub(super) fn begin(
        &mut self,
        from: Checkpoint,
        settings: &Settings,
        members: &Arc<Membership>,
    ) -> Result<(), String> {
        self.die();
        let ledger = Ledger::from_bytes(&from.ledger).map_err(|error| error.to_string())?;
        let kept = self.promises.iter().chain(self.decisions.values()).cloned();
        let worker = Worker::resume(settings.clone(), Arc::clone(members), self.key.clone(), kept, ledger, from.step);
        self.worker = Some(worker.map_err(|error| error.to_string())?);
        self.checkpoints.retain(|old| (old.era, old.step) <= (from.era, from.step));
        (self.step, self.applied, self.weights) = (from.step, from.applied, from.weights);
        self.isolated = None;
        Ok(())
    }

    /// The present state, for another replica to begin from.
    pub(super) fn present(&self) -> Option<Checkpoint> {
        let ledger = self.worker.as_ref()?.ledger();
        let (era, ledger) = (ledger.era(), ledger.to_bytes());
        let (step, applied, weights) = (self.step, self.applied.clone(), self.weights);
        Some(Checkpoint { step, era, applied, weights, ledger })
    }

    pub(super) fn train(&mut self) {
        self.weights = self.weights.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(self.step + 1);
        self.step += 1;
    }

    pub(super) fn apply(&mut self, applied: Applied) {
        for byte in applied.hash {
            self.weights = (self.weights ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let is_applied = |order: &Order| applied.orders.contains(&order.id);
        self.pending.retain(|order| !is_applied(order));
        self.applied.push(applied);
    }

    pub(super) fn keep(&mut self, kept: Kept, most: usize) {
        match kept {
            Kept::Promises(_) => self.promises = Some(kept),
            Kept::Decision { round, .. } => {
                self.decisions.insert(round, kept);
                while self.decisions.len() > most {
                    self.decisions.pop_first();
                }
            }
        }
    }
}

/// Settings in which a round is short.
pub(super) fn settings(lead: u64, votes: crate::Votes) -> Settings {
    Settings {
        every: 5,
        lead,
        timeout: Duration::from_secs(2),
        retry: Duration::from_millis(150),
        rollback_prepare: Duration::from_millis(500),
        votes,
        ..Settings::default()
    }
}

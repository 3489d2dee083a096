//! What all buses of a process share.

use std::{collections::VecDeque, sync::PoisonError};

use kasmina_leyline::v1::BusEnvelope;
use kasmina_safety::Clock;

use super::log::Log;
use crate::{
    BusSettings, DeliveryId, DropCause, Stream,
    sync::{Condvar, Mutex, MutexGuard},
};

pub(super) struct Shared {
    pub(super) settings: BusSettings,
    pub(super) clock: Box<dyn Clock>,
    pub(super) streams: Mutex<Streams>,
    /// Something was stored or acknowledged.
    pub(super) changed: Condvar,
}

pub(super) struct Streams {
    pub(super) logs: [Log; Stream::ALL.len()],
    pub(super) dead: VecDeque<DeadLetter>,
    pub(super) buses: u64,
}

/// An entry that nobody could handle.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// Where it was.
    pub id: DeliveryId,
    /// The group that could not handle it.
    pub group: String,
    /// Why it is here.
    pub cause: DropCause,
    /// How often the group got it.
    pub deliveries: u32,
    /// What was sent.
    pub envelope: BusEnvelope,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

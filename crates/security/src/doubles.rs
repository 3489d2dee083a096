//! Test doubles for the crates above.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use kasmina_leyline::{CommandId, Monotonic, UnixTime, v1::AdaptationCommand};
use prost::Message;

use crate::{NonceLedger, Rejection, Retention, Verified, Verifier};

/// Accepts every command with an id and a time of issue, signed or not, replays too, unless a rejection was scripted. It
/// retains nonces as long as a [`NonceLedger`] does.
#[derive(Clone, Debug, Default)]
pub struct AcceptAll {
    script: Arc<Mutex<VecDeque<Rejection>>>,
}

/// Scripts an [`AcceptAll`] that somebody else owns.
#[derive(Clone, Debug)]
pub struct AcceptAllHandle {
    script: Arc<Mutex<VecDeque<Rejection>>>,
}

impl AcceptAll {
    /// The double and its handle.
    #[must_use]
    pub fn pair() -> (Self, AcceptAllHandle) {
        let double = Self::default();
        let handle = AcceptAllHandle { script: Arc::clone(&double.script) };
        (double, handle)
    }
}

impl AcceptAllHandle {
    /// The next command that is not scripted yet is rejected with this.
    pub fn reject_next(&self, rejection: Rejection) {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).push_back(rejection);
    }
}

impl Verifier for AcceptAll {
    fn verify(&mut self, wire: &[u8], _: UnixTime, _: Monotonic) -> Result<Verified, Rejection> {
        match self.script.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
            Some(rejection) => Err(rejection),
            None => Verified::of(AdaptationCommand::decode(wire)?),
        }
    }

    fn restore(&mut self, _: Vec<(CommandId, UnixTime)>, _: Option<UnixTime>, _: Monotonic) {}

    fn retention(&self) -> Retention {
        Retention { ttl: NonceLedger::TTL, watermark: None }
    }
}

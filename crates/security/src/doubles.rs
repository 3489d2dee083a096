//! Test doubles for the crates above.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use kasmina_leyline::{CommandId, Monotonic, UnixTime};

use crate::{NonceLedger, Rejection, Retention, VerifiedBytes, Verifier};

/// Accepts every command that has an id and a time of issue, signed or not, replays included, unless a rejection was scripted. It
/// asks for nonces to be kept for as long as a [`NonceLedger`] keeps them.
#[derive(Clone, Debug, Default)]
pub struct AcceptAll {
    script: Arc<Mutex<VecDeque<Rejection>>>,
}

/// Scripts an [`AcceptAll`] from outside.
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
    /// Rejects the next command with this; several calls reject as many commands, in order.
    pub fn reject_next(&self, rejection: Rejection) {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).push_back(rejection);
    }
}

impl Verifier for AcceptAll {
    fn verify<'w>(&mut self, wire: &'w [u8], _: UnixTime, _: Monotonic) -> Result<VerifiedBytes<'w>, Rejection> {
        match self.script.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
            Some(rejection) => Err(rejection),
            None => VerifiedBytes::decoded(wire),
        }
    }

    fn restore(&mut self, _: Vec<(CommandId, UnixTime)>, _: Option<UnixTime>, _: Monotonic) {}

    fn retention(&self) -> Retention {
        Retention { ttl: NonceLedger::TTL, watermark: None, reset: None }
    }
}

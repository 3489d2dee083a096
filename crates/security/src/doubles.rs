//! Test doubles for the crates above.

use std::collections::VecDeque;

use kasmina_leyline::{CommandId, Monotonic, UnixTime, v1::AdaptationCommand};
use prost::Message;

use crate::{LedgerGauges, Rejection, Verified, Verifier};

/// Verifies everything that decodes, a replay too, except where a rejection was scripted.
#[derive(Clone, Debug, Default)]
pub struct AcceptAll {
    rejections: VecDeque<Rejection>,
}

impl AcceptAll {
    /// The next command is rejected for this.
    pub fn reject_next(&mut self, rejection: Rejection) {
        self.rejections.push_back(rejection);
    }
}

impl Verifier for AcceptAll {
    fn verify(&mut self, wire: &[u8], _: UnixTime, _: Monotonic) -> Result<Verified<AdaptationCommand>, Rejection> {
        match self.rejections.pop_front() {
            Some(rejection) => Err(rejection),
            None => Ok(Verified(AdaptationCommand::decode(wire)?)),
        }
    }

    fn remember(&mut self, _: Vec<(CommandId, UnixTime)>, _: Option<UnixTime>, _: Monotonic) {}

    fn gauges(&self) -> LedgerGauges {
        LedgerGauges::default()
    }
}

//! What a worker knows of a round that is not decided.

use std::collections::BTreeMap;

use kasmina_leyline::Monotonic;

use crate::{Certificate, Phase, Plan, Prepare, Proposal, Proven, Report, Round, Signed, WorkerId, statement::Hash};

/// A round that a worker has come to and that is not decided.
#[derive(Clone, Debug, Default)]
pub(super) struct Open {
    /// What it has brought. None if it came to the round before a restart.
    pub(super) report: Option<Report>,
    /// What has come to this worker as the holder.
    pub(super) proposals: BTreeMap<WorkerId, Proposal>,
    pub(super) quorum_at: Option<Monotonic>,
    pub(super) prepared: Option<Prepare>,
    /// Plans that were justified.
    pub(super) plans: BTreeMap<Hash, Plan>,
    pub(super) votes: Tally,
    pub(super) accepts: Tally,
}

impl Open {
    /// A round after a restart.
    pub(super) fn again(lock: Option<&Proven>) -> Self {
        let plans = lock.map(|lock| (lock.certificate.hash, lock.plan.clone())).into_iter().collect();
        Self { plans, ..Self::default() }
    }

    pub(super) fn is_prepared(&self, token: u64) -> bool {
        self.prepared.as_ref().is_some_and(|it| it.signed.statement.token >= token)
    }
}

/// One statement of each worker in one phase: the first under its highest token. So a worker counts once, whatever it
/// says.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(BTreeMap<WorkerId, Signed>);

impl Tally {
    pub(super) fn count(&mut self, signed: Signed) {
        let held = self.0.entry(signed.statement.worker).or_insert(signed);
        if held.statement.token < signed.statement.token {
            *held = signed;
        }
    }

    /// The signatures of a quorum that said this.
    pub(super) fn certificate(
        &self,
        phase: Phase,
        round: Round,
        token: u64,
        hash: Hash,
        quorum: usize,
    ) -> Option<Certificate> {
        let says = |it: &&Signed| (it.statement.token, it.statement.hash) == (token, hash);
        let of = |it: &Signed| (it.statement.worker, it.signature);
        let signatures: Vec<_> = self.0.values().filter(says).map(of).take(quorum).collect();
        (signatures.len() == quorum).then_some(Certificate { phase, round, token, hash, signatures })
    }
}

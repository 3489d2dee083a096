//! Test doubles: a gatekeeper that passes everything, and one that follows a script.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kasmina_leyline::{
    SeedId,
    v1::{SeedLifecycleGate, SeedLifecycleStage},
};
use kasmina_lifecycle::{Finding, Gatekeeper, Subject};

use crate::{AnyEvidence, Evidence, Gated, check_stage};

/// Passes every move whose evidence is of the seed's present stage, whatever else the evidence says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllowAll;

impl<M: Gated> Gatekeeper<M> for AllowAll {
    type Evidence = M::Evidence;

    fn judge(&self, subject: &Subject<'_>, evidence: &M::Evidence) -> Finding {
        match check_stage(subject, evidence.expected_stage()) {
            Ok(()) => Finding::pass(),
            Err(refusal) => refusal,
        }
    }
}

/// Answers as its [`Script`] says, and records what it was shown.
#[derive(Clone, Debug, Default)]
pub struct Scripted(Arc<Mutex<State>>);

/// The handle of a [`Scripted`] gatekeeper. Clones share one script.
#[derive(Clone, Debug)]
pub struct Script(Arc<Mutex<State>>);

/// One question that a [`Scripted`] gatekeeper was asked.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Asked {
    pub seed_id: SeedId,
    /// The stage that the machine had the seed in.
    pub stage: SeedLifecycleStage,
    pub gate: SeedLifecycleGate,
    pub evidence: AnyEvidence,
    /// The answer.
    pub finding: Finding,
}

#[derive(Debug, Default)]
struct State {
    /// By the gate's number.
    next: BTreeMap<i32, VecDeque<Finding>>,
    standing: BTreeMap<i32, Finding>,
    asked: Vec<Asked>,
}

impl Scripted {
    /// A gatekeeper that passes everything until its handle says otherwise, and the handle.
    #[must_use]
    pub fn pair() -> (Self, Script) {
        let state = Arc::default();
        (Self(Arc::clone(&state)), Script(state))
    }
}

impl Script {
    /// Adds an answer for the next question at `gate` that has no answer yet. Each is used once.
    pub fn next(&self, gate: SeedLifecycleGate, finding: Finding) {
        lock(&self.0).next.entry(gate.into()).or_default().push_back(finding);
    }

    /// The answer at `gate` to every question that [`next`](Self::next) has no answer for.
    pub fn always(&self, gate: SeedLifecycleGate, finding: Finding) {
        lock(&self.0).standing.insert(gate.into(), finding);
    }

    /// What was asked since the last call, oldest first. Questions with evidence of another stage are included.
    #[must_use]
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut lock(&self.0).asked)
    }
}

impl<M: Gated> Gatekeeper<M> for Scripted {
    type Evidence = M::Evidence;

    fn judge(&self, subject: &Subject<'_>, evidence: &M::Evidence) -> Finding {
        let mut state = lock(&self.0);
        let gate = i32::from(M::GATE);
        let finding = match check_stage(subject, evidence.expected_stage()) {
            Err(refusal) => refusal,
            Ok(()) => {
                let scripted = state.next.get_mut(&gate).and_then(VecDeque::pop_front);
                scripted.or_else(|| state.standing.get(&gate).cloned()).unwrap_or(Finding::pass())
            }
        };
        state.asked.push(Asked {
            seed_id: subject.seed_id.clone(),
            stage: subject.stage,
            gate: M::GATE,
            evidence: evidence.clone().into(),
            finding: finding.clone(),
        });
        finding
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

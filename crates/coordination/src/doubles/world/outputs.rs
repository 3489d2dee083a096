//! What workers ask for: sending, keeping, and telling.

use std::sync::Arc;

use super::{Happening, MS, World};
use crate::{Event, Isolation, Message, Output, To, WorkerId};

impl World {
    /// Sends what a worker sends, or what a liar makes of it.
    pub(super) fn send(&mut self, from: usize, to: To, message: &Message) {
        let me = WorkerId(u16::try_from(from).unwrap_or(u16::MAX));
        if let Some(liar) = self.liars.get_mut(&from) {
            if self.is_healed {
                return;
            }
            let said = liar.say(to, message, me, &self.replicas[from].key, &self.members, &mut self.random);
            for (to, message) in said {
                self.post(from, to, &message);
            }
            if let Some(bytes) = self.archive.replay(&mut self.random) {
                self.deliver(from, To::All, &bytes);
            }
            return;
        }
        self.post(from, to, message);
    }

    pub(super) fn post(&mut self, from: usize, to: To, message: &Message) {
        let bytes: Arc<[u8]> = message.encode(&self.members).into();
        self.archive.note(&bytes, &mut self.random);
        self.deliver(from, to, &bytes);
    }

    pub(super) fn deliver(&mut self, from: usize, to: To, bytes: &Arc<[u8]>) {
        let me = WorkerId(u16::try_from(from).unwrap_or(u16::MAX));
        self.seen.messages += 1;
        for worker in self.members.ids() {
            let is_meant = match to {
                To::All => worker != me,
                To::One(one) => worker == one,
            };
            if is_meant {
                for delay in self.network.copies(&mut self.random, me, worker) {
                    let to = usize::from(worker.0);
                    self.after(delay, Happening::Arrives { to, bytes: Arc::clone(bytes) });
                }
            }
        }
    }

    /// Does what a worker asks for.
    pub(super) fn carry_out(&mut self, replica: usize) -> Result<(), String> {
        let honest = self.is_honest(replica);
        loop {
            let it = &mut self.replicas[replica];
            let Some(worker) = &mut it.worker else { return Ok(()) };
            let outputs: Vec<_> = worker.take_outputs().collect();
            if outputs.is_empty() {
                break;
            }
            for output in outputs {
                match output {
                    Output::Keep(kept) => {
                        let most = self.settings.decisions;
                        self.replicas[replica].keep(kept, most);
                        // Kill -9 between two system calls.
                        if !self.is_healed && self.random.u32(0..2_000) == 0 {
                            self.replicas[replica].die();
                            self.after(300 * MS, Happening::Restart { replica });
                            return Ok(());
                        }
                    }
                    Output::Send { to, message } => self.send(replica, to, &message),
                    Output::CheckLease => self.check_lease(replica),
                    Output::Decided(decided) => {
                        self.seen.decided += u64::from(honest);
                        self.replicas[replica].isolated = None;
                        self.replicas[replica].due.insert(decided.plan.apply_at, decided);
                    }
                    Output::NoDecision { .. } => {
                        self.seen.undecided += u64::from(honest);
                        self.replicas[replica].isolated = None;
                    }
                    Output::Promised { .. } => self.seen.promised += u64::from(honest),
                    Output::Isolated { cause, .. } => {
                        self.seen.isolated += u64::from(honest);
                        self.replicas[replica].isolated = Some(cause);
                        let notices = self.random.u64(10 * MS..1_000 * MS);
                        self.after(notices, Happening::Restore { replica });
                    }
                    Output::YieldLease => {
                        if self.lease.1 == replica {
                            self.lease.2 = self.now;
                            self.replicas[replica].lease_until = 0;
                        }
                    }
                    Output::Event(event) => self.hear(replica, &event)?,
                }
            }
        }
        self.arm(replica);
        Ok(())
    }

    pub(super) fn check_lease(&mut self, replica: usize) {
        let (token, holder, _) = self.lease;
        let it = &mut self.replicas[replica];
        let now = it.skew.monotonic(self.now);
        if let Some(worker) = it.worker.as_mut().filter(|_| token > 0) {
            worker.lease_seen(token, WorkerId(u16::try_from(holder).unwrap_or(u16::MAX)), now);
        }
    }

    /// Restores a replica that cannot come back by itself. One that waits for a decision is restored once a later one is
    /// known.
    pub(super) fn operate(&mut self, replica: usize) -> Result<(), String> {
        let it = &self.replicas[replica];
        let Some(cause) = it.isolated.filter(|_| it.worker.is_some()) else { return Ok(()) };
        let tip = |at: usize| self.replicas[at].worker.as_ref().and_then(|worker| worker.ledger().tip());
        let foremost = self.foremost().and_then(tip).map(|(round, _)| round);
        let is_behind = it.arrived.is_some_and(|round| foremost.is_some_and(|tip| tip >= round));
        // Sometimes an operator does not wait.
        let may = cause != Isolation::Undecided || is_behind || (!self.is_healed && self.random.u8(0..8) == 0);
        if !(may && self.restore(replica)?) {
            self.after(300 * MS, Happening::Restore { replica });
        }
        Ok(())
    }

    pub(super) fn hear(&mut self, replica: usize, event: &Event) -> Result<(), String> {
        if !self.is_honest(replica) {
            return Ok(());
        }
        let lies = |worker: WorkerId| self.liars.contains_key(&usize::from(worker.0));
        match event {
            Event::Equivocation(evidence) => {
                self.seen.equivocations += 1;
                if !evidence.convicts(&self.members) || !lies(evidence.worker()) {
                    return Err(format!("an honest worker is accused: {evidence:?}"));
                }
            }
            Event::Unjustified { worker, cause, .. } => {
                self.seen.unjustified += 1;
                if !lies(*worker) {
                    return Err(format!("honest {worker} is accused: {}", cause.reason()));
                }
            }
            Event::AgreementBroken { round } => return Err(format!("two decisions at {round}")),
            Event::Forged { .. } => self.seen.forged += 1,
            Event::DigestMismatch { .. } => self.seen.mismatches += 1,
            Event::Straggler { .. }
            | Event::SketchOutlier { .. }
            | Event::GerminationPaused { .. }
            | Event::GerminationResumed { .. }
            | Event::Isolated { .. } => {}
        }
        Ok(())
    }

    /// Sees to it that the worker is woken, and its trainer goes on.
    pub(super) fn arm(&mut self, replica: usize) {
        let it = &self.replicas[replica];
        let Some(worker) = &it.worker else { return };
        let (now, life) = (it.skew.monotonic(self.now), it.life);
        let at = worker.wake(now).map(|at| it.skew.when(at).max(self.now + 1));
        let waits = worker.is_waiting() || worker.isolation().is_some();
        if waits {
            self.seen.waiting.insert(replica);
        } else if self.seen.waiting.remove(&replica) {
            self.after(1, Happening::Step { replica, life });
        }
        if let Some(at) = at {
            let is_armed = self.seen.armed.get(&replica).is_some_and(|armed| *armed > self.now && *armed <= at);
            if !is_armed {
                self.seen.armed.insert(replica, at);
                self.after(at - self.now, Happening::Wake { replica });
            }
        }
    }
}

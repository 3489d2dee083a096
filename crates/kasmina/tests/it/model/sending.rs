//! Commands on their way from whoever sends them to the manager and to its model.

use kasmina::{
    CommandError,
    leyline::{Monotonic, v1::SeedLifecycleStage::*},
    safety::Clock,
};

use super::{
    command::{Blend, Extra, Flag, How, Kernel, Number, Schedule, What, Who},
    prediction::Sent,
    rig::{Rig, shifted},
};

impl Rig {
    /// The command so many before the last.
    pub fn replayed(&self, index: usize) -> Option<&Sent> {
        let last = self.sent.len().checked_sub(1)?;
        self.sent.get(last - index.min(last))
    }

    /// What the seed's stage asks for.
    pub fn next_of(&self, who: Who) -> What {
        let seed = &self.model.seeds[who.index().unwrap_or_default()];
        if seed.graft.as_ref().is_some_and(|graft| graft.paused) {
            return What::Pause(Flag::Yes);
        }
        let kernel = [Kernel::Thin, Kernel::Late, Kernel::Mlp][who as usize];
        let graft = What::Graft(Blend::Residual, Schedule::Linear, Number::Is(2.0));
        let next = [
            (SeedStageDormant, What::Germinate(kernel, Extra::Plain)),
            (SeedStageGerminated, What::StartTraining),
            (SeedStageTraining, graft),
            (SeedStageBlending, What::Stabilize),
            (SeedStageShadowing, What::Evaluate),
            (SeedStageProbationary, What::Fossilize),
        ];
        next.into_iter().find(|(stage, _)| *stage == seed.stage).map_or(What::Cull, |(_, what)| what)
    }

    pub fn write(&self, who: Who, what: What, how: How) -> Sent {
        let (age, deadline) = how.timing();
        let issued_at = shifted(self.world.clock.unix(), -age);
        let last = self.sent.last().filter(|_| how == How::ReusedId).map(|sent| sent.id.clone());
        let id = last.unwrap_or_else(|| format!("command-{}", self.sent.len()));
        let mut command = what.command(who);
        command.command_id = if how == How::WithoutId { String::new() } else { id.clone() };
        command.issued_at = (how != How::WithoutTime).then(|| issued_at.into());
        command.execution_deadline_ms = deadline;
        if how == How::WrongRun {
            command.annotations.insert("training_run_id".to_owned(), "run-8".to_owned());
        }
        let signer = if how == How::Forged { &self.stranger } else { &self.signer };
        let mut wire = signer.sign(&command).unwrap();
        if let How::Flipped(bit) = how {
            let bit = usize::from(bit) % (wire.len() * 8);
            wire[bit / 8] ^= 1 << (bit % 8);
        }
        Sent { who, what, how, id, issued_at, wire }
    }

    pub fn submit(&mut self, sent: &Sent) -> Result<(), String> {
        let answer = self.hand_over(&sent.wire);
        let expected = self.model.submit(sent, answer.err().unwrap_or("accepted"));
        let answered = answer.err().unwrap_or("accepted");
        if answered != "not_durable" {
            self.seen.touched.extend(sent.who.index());
        }
        let kind = format!("{:?}", sent.what);
        let kind = kind.split('(').next().unwrap_or_default();
        let of = if kind == "Rollback" && sent.who != Who::All { " of a seed" } else { "" };
        self.count(&format!("{kind}{of} {answered}"));
        if answered == "not_durable" {
            self.count(answered);
        }
        if let Some(crashed_at) = self.crashed_at {
            self.count("a command after a crash");
            let before = self.sent.iter().take(crashed_at).any(|before| before.wire == sent.wire);
            if before && answered == "nonce_replayed" {
                self.count("a replay rejected after a crash");
            }
        }
        self.agree(answer, expected)?;
        let gone_back = matches!(sent.what, What::Rollback(_)) && answer.is_ok();
        match sent.who.index().filter(|_| gone_back) {
            Some(index) => self.seed_went_back(index),
            None => Ok(()),
        }
    }

    /// What time alone moves is no other seed's matter.
    pub fn hand_over(&mut self, wire: &[u8]) -> Result<(), &'static str> {
        let seen = &mut self.seen;
        seen.is_command = true;
        let due = |end: Option<Monotonic>| end.is_some_and(|end| end <= self.model.now);
        seen.touched.extend((0..3).filter(|index| due(self.model.seeds[*index].embargo_end)));
        match self.world.manager.submit(wire) {
            Ok(receipt) => {
                let id = receipt.command.to_string();
                seen.hand_over(&receipt.transitions);
                seen.obeyed.push((id.clone(), wire.to_vec(), self.model.now));
                seen.accepted.push(id.clone());
                seen.journal.answer = Some((id, None));
                Ok(())
            }
            Err(error) => {
                match &error {
                    CommandError::Rejected(rejection) => seen.rejected.push(rejection.reason().to_owned()),
                    CommandError::Refused { command, refusal, transitions } => {
                        let (id, reason) = (command.to_string(), refusal.reason().to_owned());
                        if reason != "not_durable" {
                            seen.hand_over(transitions);
                            seen.obeyed.push((id.clone(), wire.to_vec(), self.model.now));
                        }
                        seen.journal.answer = Some((id.clone(), Some(reason.clone())));
                        seen.refused.push((id, reason));
                    }
                    other => seen.rejected.push(other.to_string()),
                }
                Err(error.reason())
            }
        }
    }
}

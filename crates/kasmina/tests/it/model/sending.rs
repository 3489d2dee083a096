//! Commands on their way from whoever sends them to the manager.

use kasmina::{CommandError, engine::Seed, leyline::v1::SeedLifecycleStage::*, safety::Clock};

use super::{
    command::{Blend, Extra, Flag, How, Kernel, Number, Schedule, What, Who},
    rig::{Rig, Sent, shifted},
};
use crate::common::seed;

impl Rig {
    /// The command so many before the last.
    pub fn replayed(&self, index: usize) -> Option<&Sent> {
        let last = self.sent.len().checked_sub(1)?;
        self.sent.get(last - index.min(last))
    }

    pub fn seed(&self, index: usize) -> &Seed {
        &self.world.manager.state().seeds[&seed(Who::SEEDS[index].name())]
    }

    /// What the seed's stage asks for.
    pub fn next_of(&self, who: Who) -> What {
        let seed = self.seed(who.index().unwrap_or_default());
        if seed.stage.graft().is_some_and(|graft| graft.paused) {
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
        next.into_iter().find(|(stage, _)| *stage == seed.stage.leyline()).map_or(What::Cull, |(_, what)| what)
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
        Sent { who, what, how, id, wire }
    }

    pub fn submit(&mut self, sent: &Sent) -> Result<(), String> {
        let epochs = self.world.manager.epochs();
        let rejections = self.seen.rejected.len();
        let answer = self.hand_over(&sent.wire);
        let answered = answer.err().unwrap_or("accepted");
        if matches!(sent.how, How::Forged | How::Flipped(_)) && self.seen.rejected.len() == rejections {
            return Err(format!("a command that nobody signed was answered: {answered}"));
        }
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
        let What::Rollback(epoch) = sent.what else { return Ok(()) };
        match (sent.who.index(), epoch.or(epochs.last().copied())) {
            (Some(index), Some(epoch)) if answer.is_ok() => self.seed_went_back(index, epoch),
            _ => Ok(()),
        }
    }

    /// What time alone moves is no other seed's matter.
    pub fn hand_over(&mut self, wire: &[u8]) -> Result<(), &'static str> {
        let now = self.seen.now;
        let due = |index: &usize| self.seed(*index).embargo_until().is_some_and(|end| end <= now);
        let due: Vec<_> = (0..3).filter(due).collect();
        let seen = &mut self.seen;
        seen.is_command = true;
        seen.touched.extend(due);
        match self.world.manager.submit(wire) {
            Ok(receipt) => {
                let id = receipt.command.to_string();
                seen.hand_over(&receipt.transitions);
                seen.obeyed.push((id.clone(), wire.to_vec(), now));
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
                            seen.obeyed.push((id.clone(), wire.to_vec(), now));
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

//! Commands of senders in Rust.

use std::collections::BTreeMap;

use kasmina_leyline::{
    BlueprintId, CommandId, InvalidId, SeedId, UnixTime,
    v1::{AdaptationCommand, CommandSeedOperation, CommandType, SeedOperation, adaptation_command::Payload},
    wire::Malformed,
};
use kasmina_security::{Secret, Signer};
use prost_types::{Struct, Value, value::Kind};

/// Writes and signs commands: what comes out goes over the bus, or straight into
/// [`SeedManager::submit`](crate::SeedManager::submit).
///
/// Command ids are the sender's name, its time and a count, so no two of them are the same unless two senders of one name
/// have the same clock.
#[derive(Debug)]
pub struct CommandSender {
    signer: Signer,
    issued_by: String,
    sent: u64,
}

impl CommandSender {
    /// A sender of this name that shares `secret` with the receiver.
    ///
    /// # Errors
    /// [`InvalidId`] for a name that its command ids could not begin with: one that is no identifier, or longer than 80
    /// bytes.
    pub fn new(secret: &Secret, issued_by: impl Into<String>) -> Result<Self, InvalidId> {
        let issued_by = issued_by.into();
        // The longest id that this sender can ever write.
        CommandId::new(format!("{issued_by}-{}-{}", i64::MIN, u64::MAX))?;
        Ok(Self { signer: Signer::new(secret), issued_by, sent: 0 })
    }

    /// GERMINATE: graft the blueprint's kernel.
    ///
    /// # Errors
    /// [`Malformed`] for a command that receivers would refuse.
    pub fn germinate(&mut self, seed: &SeedId, blueprint: &BlueprintId, now: UnixTime) -> Result<Vec<u8>, Malformed> {
        self.germinate_with(seed, blueprint, [], [], now)
    }

    /// GERMINATE with parameters of the blueprint and with annotations, for instance what
    /// [`CommandContext`](crate::CommandContext) is read from.
    ///
    /// # Errors
    /// [`Malformed`] for a command that receivers would refuse.
    pub fn germinate_with<const P: usize, const A: usize>(
        &mut self,
        seed: &SeedId,
        blueprint: &BlueprintId,
        parameters: [(&str, f32); P],
        annotations: [(&str, &str); A],
        now: UnixTime,
    ) -> Result<Vec<u8>, Malformed> {
        let operation = CommandSeedOperation {
            operation: SeedOperation::SeedOpGerminate.into(),
            blueprint_id: blueprint.to_string(),
            parameters: parameters.map(|(name, value)| (name.to_owned(), value)).into(),
        };
        let mut command = self.command(seed, operation);
        command.annotations = texts(annotations);
        self.send(command, now)
    }

    /// A seed operation that needs nothing but its seed, or what `parameters` and `annotations` say.
    ///
    /// # Errors
    /// [`Malformed`] for a command that receivers would refuse.
    pub fn operate<const P: usize, const A: usize>(
        &mut self,
        seed: &SeedId,
        operation: SeedOperation,
        parameters: [(&str, f32); P],
        annotations: [(&str, &str); A],
        now: UnixTime,
    ) -> Result<Vec<u8>, Malformed> {
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value)).into();
        let operation =
            CommandSeedOperation { operation: operation.into(), parameters, ..CommandSeedOperation::default() };
        let mut command = self.command(seed, operation);
        command.annotations = texts(annotations);
        self.send(command, now)
    }

    /// PAUSE, or with `resume` its reversal.
    ///
    /// # Errors
    /// [`Malformed`] for a command that receivers would refuse.
    pub fn pause(&mut self, seed: &SeedId, resume: bool, now: UnixTime) -> Result<Vec<u8>, Malformed> {
        let command = AdaptationCommand {
            command_type: CommandType::CommandPause.into(),
            target_seed_id: seed.to_string(),
            annotations: texts([("resume", if resume { "true" } else { "false" })]),
            ..AdaptationCommand::default()
        };
        self.send(command, now)
    }

    /// ROLLBACK of everything to the checkpoint of `epoch`; the trainer then does it by
    /// [`roll_back`](crate::SeedManager::roll_back).
    ///
    /// # Errors
    /// [`Malformed`] for a command that receivers would refuse.
    pub fn roll_back(&mut self, epoch: u64, now: UnixTime) -> Result<Vec<u8>, Malformed> {
        self.send(rollback(String::new(), Some(epoch)), now)
    }

    /// ROLLBACK of one seed to the checkpoint of `epoch`, or to the newest.
    ///
    /// # Errors
    /// [`Malformed`] for a command that receivers would refuse.
    pub fn roll_back_seed(&mut self, seed: &SeedId, epoch: Option<u64>, now: UnixTime) -> Result<Vec<u8>, Malformed> {
        self.send(rollback(seed.to_string(), epoch), now)
    }

    /// Any command. Its version, id, sender and time are filled in, in place of what it has there.
    ///
    /// # Errors
    /// [`Malformed`] for a command that receivers would refuse.
    pub fn send(&mut self, command: AdaptationCommand, now: UnixTime) -> Result<Vec<u8>, Malformed> {
        self.sent += 1;
        self.signer.sign(&AdaptationCommand {
            version: 1,
            command_id: format!("{}-{}-{}", self.issued_by, now.as_nanos(), self.sent),
            issued_at: Some(now.into()),
            issued_by: self.issued_by.clone(),
            ..command
        })
    }

    fn command(&self, seed: &SeedId, operation: CommandSeedOperation) -> AdaptationCommand {
        AdaptationCommand {
            command_type: CommandType::CommandSeed.into(),
            target_seed_id: seed.to_string(),
            payload: Some(Payload::SeedOperation(operation)),
            ..AdaptationCommand::default()
        }
    }
}

fn rollback(target_seed_id: String, epoch: Option<u64>) -> AdaptationCommand {
    let number = |epoch: u64| Value { kind: Some(Kind::NumberValue(epoch as f64)) };
    let fields = epoch.map(|epoch| ("target_epoch".to_owned(), number(epoch))).into_iter().collect();
    AdaptationCommand {
        command_type: CommandType::CommandRollback.into(),
        target_seed_id,
        payload: Some(Payload::RollbackPayload(Struct { fields })),
        ..AdaptationCommand::default()
    }
}

fn texts<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_makes_no_valid_id_is_refused() {
        let secret = Secret::new("hush").unwrap();
        for name in ["two words", "é", &"x".repeat(120)] {
            assert!(CommandSender::new(&secret, name).is_err(), "{name}");
        }
        assert!(CommandSender::new(&secret, "tamiyo").is_ok());
    }
}

//! A sender, a receiver, and the commands between them.

use kasmina_commands::{Command, CommandSender, ReadSettings, Unreadable, read};
use kasmina_leyline::{Monotonic, SeedId, TrainingRunId, UnixTime, v1::AdaptationCommand};
use kasmina_security::{CommandVerifier, KeyRing, Secret, Verified, VerifiedBytes, Verifier};
use prost::Message;

pub(crate) const NOW: UnixTime = UnixTime::from_millis(1_790_000_000_000);

pub(crate) fn secret() -> Secret {
    Secret::new("a shared secret").unwrap()
}

pub(crate) fn sender() -> CommandSender {
    CommandSender::new(&secret(), "tamiyo").unwrap()
}

pub(crate) fn seed() -> SeedId {
    SeedId::new("seed-1").unwrap()
}

pub(crate) fn settings() -> ReadSettings {
    ReadSettings {
        run: TrainingRunId::new("run-7").unwrap(),
        max_alpha_vec: 64,
        default_total_steps: 1_000,
        degraded_below: 0.7,
    }
}

pub(crate) fn verify(wire: &[u8]) -> Verified {
    let mut verifier = CommandVerifier::new(KeyRing::of("k1", secret()));
    verifier.verify(wire, NOW, Monotonic::ORIGIN).and_then(VerifiedBytes::decode).unwrap()
}

pub(crate) fn read_wire(wire: &[u8]) -> Result<Command, Unreadable> {
    read(&verify(wire), &settings(), NOW)
}

/// Signs a command as it is and reads it.
pub(crate) fn read_command(command: AdaptationCommand) -> Result<Command, Unreadable> {
    read_wire(&sender().send(command, NOW).unwrap())
}

/// What a command says, without its signature.
pub(crate) fn decoded(wire: &[u8]) -> AdaptationCommand {
    AdaptationCommand::decode(wire).unwrap()
}

//! The load manager's messages, to and from Leyline.

use kasmina_leyline::v1::{KernelArtifactError, KernelArtifactReady, KernelPrefetchRequest};
use kasmina_leyline::{BlueprintId, UnixTime};

use super::effects::Outgoing;
use super::flights::Step;
use crate::container::excerpt;
use crate::{Digest, Digests, LibraryError, LoadError};

/// The request ids of one manager: `load-<start in hexadecimal nanoseconds>-<number>`. A manager that was started at
/// another time has others, so an answer to a process that has died means nothing to the next.
#[derive(Debug)]
pub(crate) struct Ids {
    prefix: String,
}

impl Ids {
    pub(crate) fn new(started: UnixTime) -> Self {
        Self { prefix: format!("load-{:x}-", started.as_nanos()) }
    }

    /// The number of the load that a request id names. Another spelling of the same number is not an id.
    pub(crate) fn number(&self, request_id: &str) -> Option<u64> {
        let digits = request_id.strip_prefix(&self.prefix)?;
        digits.parse().ok().filter(|number: &u64| number.to_string() == digits)
    }

    pub(crate) fn message(&self, outgoing: &Outgoing) -> KernelPrefetchRequest {
        KernelPrefetchRequest {
            request_id: format!("{}{}", self.prefix, outgoing.number),
            blueprint_id: outgoing.blueprint.as_str().to_owned(),
            training_run_id: outgoing.training_run_id.as_str().to_owned(),
            issued_at: Some(outgoing.issued_at.into()),
        }
    }
}

/// What to do with the message that a kernel of `blueprint` is ready.
pub(crate) fn ready(message: KernelArtifactReady, blueprint: &BlueprintId) -> Step {
    let KernelArtifactReady { blueprint_id, artifact_ref, checksum, guard_digest, .. } = message;
    let digest = |field, text: &str| {
        text.parse::<Digest>().map_err(|error| LoadError::Answer { detail: format!("{field}: {error}") })
    };
    let digests = same(&blueprint_id, blueprint)
        .and_then(|()| digest("checksum", &checksum))
        .and_then(|checksum| Ok(Digests { checksum, guard_digest: digest("guard_digest", &guard_digest)? }));
    match digests {
        Ok(digests) => Step::Read { reference: artifact_ref, digests },
        Err(error) => Step::Check(Err(error)),
    }
}

/// What to do with the message that there will be no kernel of `blueprint`.
pub(crate) fn failed(message: &KernelArtifactError, blueprint: &BlueprintId) -> Step {
    let refused = LibraryError::Refused { detail: excerpt(&message.reason) };
    Step::Check(Err(same(&message.blueprint_id, blueprint).err().unwrap_or_else(|| refused.into())))
}

fn same(got: &str, expected: &BlueprintId) -> Result<(), LoadError> {
    if got == expected.as_str() {
        return Ok(());
    }
    Err(LoadError::Answer { detail: format!("it is about {:?}, expected {expected}", excerpt(got)) })
}

//! From a request to its answer.

use kasmina_kernel_load::LoadError;
use kasmina_leyline::{
    BlueprintId,
    v1::{BusMessageType, KernelArtifactError, KernelArtifactReady, KernelPrefetchRequest},
};
use kasmina_oona::Delivery;
use prost::Message as _;

use crate::shelf::Found;

/// The longest request id that is sent back, in bytes. Our choice: a load manager's has some thirty.
const MOST_ID: usize = 256;

pub(crate) enum Answer {
    Ready(KernelArtifactReady),
    Error(KernelArtifactError),
    /// Nobody could tell what an answer is to.
    Malformed,
    NotForUs,
}

pub(crate) fn answer(delivery: &Delivery, find: impl FnOnce(&BlueprintId) -> Result<Found, LoadError>) -> Answer {
    if delivery.message_type != BusMessageType::KernelPrefetchRequest {
        return Answer::NotForUs;
    }
    let Ok(request) = KernelPrefetchRequest::decode(delivery.envelope.payload.as_slice()) else {
        return Answer::Malformed;
    };
    let KernelPrefetchRequest { request_id, blueprint_id, .. } = request;
    if request_id.is_empty() || request_id.len() > MOST_ID {
        return Answer::Malformed;
    }
    let found = match BlueprintId::new(&blueprint_id) {
        Ok(blueprint) => find(&blueprint).map_err(|error| error.reason()),
        // No library has a kernel of that name.
        Err(_) => Err("unknown_blueprint"),
    };
    match found {
        Ok(Found { reference, digests, times }) => Answer::Ready(KernelArtifactReady {
            request_id,
            blueprint_id,
            artifact_ref: reference,
            checksum: digests.checksum.to_string(),
            guard_digest: digests.guard_digest.to_string(),
            prewarm_p50_ms: times.p50,
            prewarm_p95_ms: times.p95,
        }),
        Err(reason) => Answer::Error(KernelArtifactError { request_id, blueprint_id, reason: reason.to_owned() }),
    }
}

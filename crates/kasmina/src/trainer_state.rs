//! What of the trainer goes back with the seeds.

use std::collections::BTreeMap;

use burn::{module::AutodiffModule, optim::Optimizer};
use kasmina_blending::GraftBackend;
use kasmina_isolation::independent_copy;
use kasmina_kernel_load::weights::{module_from_bytes, module_to_bytes, optimizer_from_bytes, optimizer_to_bytes};

use crate::error::CheckpointError;

/// What of the trainer goes back with the seeds: its snapshot function.
///
/// [`HostState`] is a Burn module with its optimizer; [`SeedManager::checkpoint`](crate::SeedManager::checkpoint) and
/// [`roll_back`](crate::SeedManager::roll_back) use it. A trainer with more to restore, such as a place in its data, implements
/// this for what it has. Anything missing from the snapshot makes the resumed
/// run diverge from the original.
pub trait TrainerState: Send + Sized + 'static {
    /// A copy that further training does not change.
    fn snapshot(&self) -> Self;

    /// The state as named bytes, for the store.
    ///
    /// # Errors
    /// [`CheckpointError`]: then there is no checkpoint in the store.
    fn to_parts(&self) -> Result<BTreeMap<String, Vec<u8>>, CheckpointError>;

    /// Takes up what [`to_parts`](Self::to_parts) gave, perhaps in another process; parts that it does not know are not its own.
    ///
    /// # Errors
    /// [`CheckpointError`]: the state is as it was.
    fn take_parts(&mut self, parts: &BTreeMap<String, Vec<u8>>) -> Result<(), CheckpointError>;
}

/// A host in 32-bit floats, and its optimizer: the store keeps the optimizer's state in 32 bits.
#[derive(Clone, Debug)]
pub struct HostState<B: GraftBackend, H, O> {
    /// The host.
    pub host: H,
    /// Its optimizer.
    pub optimizer: O,
    device: B::Device,
}

const HOST: &str = "host";
const OPTIMIZER: &str = "host_optimizer";

impl<B: GraftBackend, H: AutodiffModule<B>, O: Optimizer<H, B>> HostState<B, H, O> {
    /// A copy of both that further training does not change. Copies handles, no weights.
    #[must_use]
    pub fn of(host: &H, optimizer: &O, device: &B::Device) -> Self {
        Self { host: independent_copy(host), optimizer: optimizer.clone(), device: device.clone() }
    }
}

impl<B, H, O> TrainerState for HostState<B, H, O>
where
    B: GraftBackend,
    H: AutodiffModule<B> + 'static,
    O: Optimizer<H, B> + 'static,
{
    fn snapshot(&self) -> Self {
        Self::of(&self.host, &self.optimizer, &self.device)
    }

    fn to_parts(&self) -> Result<BTreeMap<String, Vec<u8>>, CheckpointError> {
        // Running statistics are brought together on the way to the inner backend.
        let (host, optimizer) = (module_to_bytes(&self.host.valid())?, optimizer_to_bytes(&self.optimizer)?);
        Ok([(HOST.to_owned(), host), (OPTIMIZER.to_owned(), optimizer)].into())
    }

    fn take_parts(&mut self, parts: &BTreeMap<String, Vec<u8>>) -> Result<(), CheckpointError> {
        let host = module_from_bytes(independent_copy(&self.host), blob(parts, HOST)?, "the host", &self.device)?;
        let optimizer = blob(parts, OPTIMIZER)?.to_vec();
        self.optimizer = optimizer_from_bytes(self.optimizer.clone(), optimizer, "the host's optimizer", &self.device)?;
        self.host = host;
        Ok(())
    }
}

fn blob<'a>(parts: &'a BTreeMap<String, Vec<u8>>, name: &str) -> Result<&'a [u8], CheckpointError> {
    parts.get(name).map(Vec::as_slice).ok_or_else(|| CheckpointError::Missing { blob: name.to_owned() })
}

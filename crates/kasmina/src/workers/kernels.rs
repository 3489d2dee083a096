//! A kernel that has come to several workers.

use burn::module::ParamId;
use kasmina_leyline::SeedId;
use serde::{Deserialize, Serialize};

/// What became of a seed's kernel on one worker, after it has run alone for the first time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KernelCame {
    pub(crate) seed: SeedId,
    /// The checksum of its artifact and the ids of its parameters, or why there is no kernel, and whether its source is to blame.
    pub(crate) outcome: Result<(String, Vec<u64>), (String, bool)>,
}

impl KernelCame {
    /// The ids that the kernel's parameters have on all workers, which are those of the first; or why it is not a kernel for all of them.
    pub(crate) fn agree(all: &[Vec<Self>], seed: &SeedId) -> Result<Vec<ParamId>, String> {
        let mut first: Option<&(String, Vec<u64>)> = None;
        for (worker, came) in all.iter().enumerate() {
            let outcome = came.iter().find(|one| one.seed == *seed).map(|one| &one.outcome);
            match outcome {
                None => return Err(format!("worker {worker} does not have it")),
                Some(Err((reason, _))) => return Err(format!("worker {worker}: {reason}")),
                Some(Ok(kernel)) => {
                    let (artifact, ids) = first.get_or_insert(kernel);
                    if *artifact != kernel.0 || ids.len() != kernel.1.len() {
                        return Err(format!("worker {worker} has another artifact"));
                    }
                }
            }
        }
        let (_, ids) = first.ok_or("no worker has it")?;
        Ok(ids.iter().copied().map(ParamId::from).collect())
    }

    /// Whether the source of kernels is to blame on any worker.
    pub(crate) fn source_failed(all: &[Vec<Self>], seed: &SeedId) -> bool {
        let of_seed = all.iter().flatten().filter(|came| came.seed == *seed);
        of_seed.filter_map(|came| came.outcome.as_ref().err()).any(|(_, source_failed)| *source_failed)
    }
}

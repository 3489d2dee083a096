//! A kernel that has come to several workers.

use burn::{
    module::{Module, ModuleMapper, Param, ParamId},
    tensor::{Tensor, backend::Backend},
};
use kasmina_kernel_load::KernelModule;
use kasmina_leyline::SeedId;
use serde::{Deserialize, Serialize};

/// What became of a seed's kernel on one worker, after it has run alone for the first time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KernelCame {
    pub(crate) seed: SeedId,
    /// The checksum of its artifact and the ids of its parameters, or why there is no kernel.
    pub(crate) outcome: Result<(String, Vec<u64>), String>,
}

impl KernelCame {
    /// The ids that the kernel's parameters have on all workers, which are those of the first; or why it is not a kernel for all of them.
    pub(crate) fn agree(all: &[Vec<Self>], seed: &SeedId) -> Result<Vec<ParamId>, String> {
        let mut first: Option<&(String, Vec<u64>)> = None;
        for (worker, came) in all.iter().enumerate() {
            let outcome = came.iter().find(|one| one.seed == *seed).map(|one| &one.outcome);
            match outcome {
                None => return Err(format!("worker {worker} does not have it")),
                Some(Err(reason)) => return Err(format!("worker {worker}: {reason}")),
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
}

/// The kernel with other ids for its parameters, in the order in which it is visited.
pub(crate) fn with_ids<B: Backend>(kernel: KernelModule<B>, ids: &[ParamId]) -> KernelModule<B> {
    kernel.map(&mut Rename(ids.iter()))
}

struct Rename<'a>(std::slice::Iter<'a, ParamId>);

impl<B: Backend> ModuleMapper<B> for Rename<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let Some(id) = self.0.next() else { return param };
        let (_, value, mapper) = param.consume();
        Param::from_mapped_value(*id, value, mapper)
    }
}

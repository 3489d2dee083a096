//! Optimizers, after something has left the module that they train.

use std::collections::BTreeSet;

use burn::{
    module::{AutodiffModule, list_param_ids},
    optim::{Optimizer, SimpleOptimizer, adaptor::OptimizerAdaptor},
    tensor::backend::AutodiffBackend,
};

/// The same optimizer, without what it knows of parameters that the module does not have. Call it after a fossil has left the model (TERMINATE): an optimizer keeps the moments of
/// every parameter that it has ever stepped, for AdamW twice the memory of the parameters. What it knows of the others stays, of frozen ones too.
#[must_use]
pub fn prune_optimizer<O, M, B>(optimizer: OptimizerAdaptor<O, M, B>, module: &M) -> OptimizerAdaptor<O, M, B>
where
    O: SimpleOptimizer<B::InnerBackend>,
    M: AutodiffModule<B>,
    B: AutodiffBackend,
{
    let present: BTreeSet<_> = list_param_ids(module).into_iter().collect();
    let mut record = optimizer.to_record();
    record.retain(|id, _| present.contains(id));
    record.shrink_to_fit();
    optimizer.load_record(record)
}

//! All numbers of a model, as a checksum.

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Int, Tensor, backend::Backend},
};
use kasmina_rollback::Digest;

/// The checksum of all floats and integers of a module, in the order in which it is visited: parameters and running statistics. Names do not
/// count.
pub(crate) fn weights_digest<B: Backend, M: Module<B>>(module: &M) -> Digest {
    let mut bytes = Bytes(Vec::new());
    module.visit(&mut bytes);
    Digest::of(&bytes.0)
}

struct Bytes(Vec<u8>);

impl<B: Backend> ModuleVisitor<B> for Bytes {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.0.extend_from_slice(param.val().into_data().as_bytes());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<B, D, Int>>) {
        self.0.extend_from_slice(param.val().into_data().as_bytes());
    }
}

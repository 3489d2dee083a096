//! Plain operations of LibTorch.

use burn::backend::LibTorch;
use burn::tensor::backend::Backend;

use crate::BlendBackend;

impl<E> BlendBackend for LibTorch<E>
where
    Self: Backend,
{
    /// On a GPU it queues. On the CPU it does not, and waiting costs the read of a number.
    fn is_queued() -> bool {
        true
    }
}

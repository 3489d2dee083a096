//! Plain operations of LibTorch.

use burn::backend::LibTorch;
use burn::tensor::backend::Backend;

use crate::BlendBackend;

impl<E> BlendBackend for LibTorch<E>
where
    Self: Backend,
{
    /// On a GPU it queues. On the CPU, waiting for it costs nothing.
    fn is_queued() -> bool {
        true
    }
}

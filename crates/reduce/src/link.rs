//! Workers that are processes.

use burn::tensor::{Tensor, TensorData, backend::Backend};

use crate::{Part, Place, Reduce, ReduceError, tree::mean_of_slices};

/// Carries bytes between workers.
pub trait Link: Send {
    /// Which worker this is.
    fn place(&self) -> Place;

    /// Sends bytes to all workers, and gives what each has sent in the same exchange, by rank.
    ///
    /// # Errors
    /// [`ReduceError`]; the next exchange is a new one.
    fn exchange(&mut self, sent: Vec<u8>) -> Result<Vec<Vec<u8>>, ReduceError>;
}

/// A worker that gets what all have sent, and adds it up by itself, as 32-bit floats.
///
/// Each tensor goes to every worker: with `w` workers and `n` values, a worker sends `4n` bytes and receives `4nw`. That is as fast as
/// the link is for small models and a few workers; many workers with large models want a ring, as collective libraries have it.
#[derive(Debug)]
pub struct Linked<L>(L);

impl<L: Link> Linked<L> {
    /// A worker that is joined to others by a link.
    pub const fn new(link: L) -> Self {
        Self(link)
    }

    /// The link.
    #[must_use]
    pub const fn link(&self) -> &L {
        &self.0
    }
}

/// What is sent begins with what it is, in so many bytes, so that an exchange of different things is seen as that.
const LENGTH_BYTES: usize = 2;

impl<L: Link> Linked<L> {
    fn exchange(&mut self, what: &str, body: &[u8]) -> Result<Vec<Vec<u8>>, ReduceError> {
        let length = u16::try_from(what.len()).map_err(|_| ReduceError::Link(format!("{what} is too long a name")))?;
        let mut sent = Vec::with_capacity(LENGTH_BYTES + what.len() + body.len());
        sent.extend_from_slice(&length.to_le_bytes());
        sent.extend_from_slice(what.as_bytes());
        sent.extend_from_slice(body);
        let received = self.0.exchange(sent)?;
        let workers = self.0.place().workers;
        if received.len() != workers {
            return Err(ReduceError::Link(format!("{} of {workers} workers are in the answer", received.len())));
        }
        let bodies = received.into_iter().enumerate().map(|(worker, mut received)| {
            let theirs =
                split_name(&received).ok_or_else(|| ReduceError::Link(format!("worker {worker} sent no name")))?;
            if theirs != what.as_bytes() {
                let theirs = String::from_utf8_lossy(theirs).into_owned();
                return Err(ReduceError::Mismatch { worker, ours: what.to_owned(), theirs });
            }
            received.drain(..LENGTH_BYTES + what.len());
            Ok(received)
        });
        bodies.collect()
    }
}

fn split_name(received: &[u8]) -> Option<&[u8]> {
    let (length, rest) = received.split_first_chunk::<LENGTH_BYTES>()?;
    rest.get(..usize::from(u16::from_le_bytes(*length)))
}

impl<B: Backend, L: Link> Reduce<B> for Linked<L> {
    fn place(&self) -> Place {
        self.0.place()
    }

    fn reduce(&mut self, part: &Part, gradients: Tensor<B, 1>) -> Result<Tensor<B, 1>, ReduceError> {
        let (device, dtype, count) = (gradients.device(), gradients.dtype(), gradients.dims()[0]);
        let values: Vec<f32> = gradients.into_data().iter::<f32>().collect();
        let received = self.exchange(&format!("{count} values of {part}"), bytemuck::cast_slice(&values))?;
        let read = |(worker, bytes): (usize, Vec<u8>)| {
            if bytes.len() != size_of_val(values.as_slice()) {
                return Err(ReduceError::Link(format!("worker {worker} sent {} bytes of {part}", bytes.len())));
            }
            Ok(bytes.chunks_exact(size_of::<f32>()).map(bytemuck::pod_read_unaligned).collect())
        };
        let received = received.into_iter().enumerate().map(read).collect::<Result<Vec<Vec<f32>>, _>>()?;
        let mean = mean_of_slices(received).unwrap_or_default();
        let mean = Tensor::from_data(TensorData::new(mean, [count]).convert_dtype(dtype), (&device, dtype));
        Ok(mean)
    }

    fn gather(&mut self, facts: Vec<u8>) -> Result<Vec<Vec<u8>>, ReduceError> {
        self.exchange("facts", &facts)
    }
}

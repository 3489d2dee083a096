//! The thread that calls burn-collective, whose calls have no time-out.

use std::{
    sync::mpsc::{Receiver, Sender},
    thread,
};

use burn::tensor::{Tensor, TensorData, TensorPrimitive, backend::Backend};
use burn_collective::{CollectiveConfig, CollectiveError, PeerId, ReduceOperation, all_reduce, register};
use kasmina_reduce::{Part, Place, ReduceError};

use crate::header;

pub(crate) enum Ask<B: Backend> {
    Mean(Part, Tensor<B, 1>),
    Facts(Vec<u8>),
}

pub(crate) enum Answer<B: Backend> {
    /// All workers have registered.
    Met,
    Mean(Tensor<B, 1>),
    Facts(Vec<Vec<u8>>),
}

pub(crate) type Outcome<B> = Result<Answer<B>, ReduceError>;

/// Makes the calls of one worker.
pub(crate) struct Caller<B: Backend> {
    pub(crate) peer: PeerId,
    pub(crate) place: Place,
    pub(crate) device: B::Device,
}

impl<B: Backend> Caller<B> {
    /// Registers, and then answers until nobody asks any more.
    pub(crate) fn run(self, config: CollectiveConfig, asks: Receiver<Ask<B>>, answers: Sender<Outcome<B>>) {
        thread::spawn(move || {
            let met = register::<B>(self.peer, self.device.clone(), config).map(|()| Answer::Met).map_err(failed);
            if answers.send(met).is_err() {
                return;
            }
            for ask in asks {
                let answer = match ask {
                    Ask::Mean(part, gradients) => self.mean(&part, gradients).map(Answer::Mean),
                    Ask::Facts(facts) => self.facts(&facts).map(Answer::Facts),
                };
                if answers.send(answer).is_err() {
                    return;
                }
            }
        });
    }

    fn mean(&self, part: &Part, gradients: Tensor<B, 1>) -> Result<Tensor<B, 1>, ReduceError> {
        let count = gradients.dims()[0];
        self.agree(&format!("{count} values of {part}"), 0)?;
        if count == 0 {
            return Ok(gradients);
        }
        self.all_reduce(gradients, ReduceOperation::Mean)
    }

    fn facts(&self, facts: &[u8]) -> Result<Vec<Vec<u8>>, ReduceError> {
        let lengths = self.agree("facts", facts.len())?;
        let longest = lengths.iter().copied().max().unwrap_or_default();
        let mut slots = self.slots(facts, longest)?;
        slots.iter_mut().zip(lengths).for_each(|(slot, length)| slot.truncate(length));
        Ok(slots)
    }

    fn agree(&self, name: &str, facts: usize) -> Result<Vec<usize>, ReduceError> {
        header::agree(&self.slots(&header::write(name, facts)?, header::BYTES)?, name)
    }

    /// What all workers have in their slots of so many bytes: a sum in which each worker has zeros in the slots of the others. A byte is
    /// exact as a float of any width.
    fn slots(&self, ours: &[u8], bytes: usize) -> Result<Vec<Vec<u8>>, ReduceError> {
        if bytes == 0 {
            return Ok(vec![Vec::new(); self.place.workers]);
        }
        let mut values = vec![0.0_f32; bytes * self.place.workers];
        let slot = values.iter_mut().skip(self.place.rank * bytes);
        slot.zip(ours).for_each(|(value, byte)| *value = f32::from(*byte));
        let count = values.len();
        let values = Tensor::from_data(TensorData::new(values, [count]), &self.device);
        let sum = self.all_reduce(values, ReduceOperation::Sum)?;
        let sum: Vec<u8> = sum.into_data().iter::<f32>().map(|value| value as u8).collect();
        Ok(sum.chunks(bytes).map(<[u8]>::to_vec).collect())
    }

    fn all_reduce(&self, tensor: Tensor<B, 1>, operation: ReduceOperation) -> Result<Tensor<B, 1>, ReduceError> {
        let sum = all_reduce::<B>(self.peer, tensor.into_primitive().tensor(), operation).map_err(failed)?;
        Ok(Tensor::from_primitive(TensorPrimitive::Float(sum)))
    }
}

fn failed(error: CollectiveError) -> ReduceError {
    ReduceError::Link(format!("burn-collective: {error:?}"))
}

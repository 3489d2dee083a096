//! What comes over a link is not trusted.

use burn::backend::Flex;
use kasmina_reduce::{Link, Linked, Part, Place, Reduce, ReduceError, conformance::tensor};
use proptest::prelude::*;

/// Gives what a test says, whatever was sent. Place 1 of 2.
struct Scripted(Option<Vec<u8>>, usize);

impl Link for Scripted {
    fn place(&self) -> Place {
        Place { rank: 0, workers: 2 }
    }

    fn exchange(&mut self, sent: Vec<u8>) -> Result<Vec<Vec<u8>>, ReduceError> {
        let other = self.0.take().unwrap_or_else(|| sent.clone());
        Ok([sent, other].into_iter().cycle().take(self.1).collect())
    }
}

#[test]
fn answer_of_too_few_workers_is_refused() {
    for answers in [0, 1, 3] {
        let mut worker = Linked::new(Scripted(None, answers));
        let refused = Reduce::<Flex>::gather(&mut worker, vec![1]).unwrap_err();
        assert_eq!(refused.reason(), "link_failed", "{answers}");
    }
}

#[test]
fn gradients_that_were_cut_are_refused() {
    let whole = {
        let mut bytes = vec![20, 0];
        bytes.extend_from_slice(b"2 values of the host");
        bytes.extend_from_slice(&1.0_f32.to_le_bytes());
        bytes
    };
    let mut worker = Linked::new(Scripted(Some(whole), 2));
    let refused = worker.reduce(&Part::Host, tensor::<Flex>(&[1.0, 2.0])).unwrap_err();
    assert!(refused.to_string().contains("worker 1 sent 4 bytes"), "{refused}");
}

proptest! {
    #[test]
    fn bytes_that_mean_nothing_are_refused_and_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut worker = Linked::new(Scripted(Some(bytes), 2));
        prop_assert!(worker.reduce(&Part::Host, tensor::<Flex>(&[1.0])).is_err());
    }
}

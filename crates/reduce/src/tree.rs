//! Sums whose order does not depend on who comes first.

use burn::tensor::{Tensor, backend::Backend};

/// The mean of tensors of one length, added up in pairs: (0 + 1) + (2 + 3). `None` of none.
pub(crate) fn mean<B: Backend>(tensors: Vec<Tensor<B, 1>>) -> Option<Tensor<B, 1>> {
    let count = tensors.len();
    let sum = in_pairs(tensors, |one, other| one + other)?;
    Some(if count == 1 { sum } else { sum / count as f32 })
}

/// As [`mean`], of numbers.
pub(crate) fn mean_of_slices(slices: Vec<Vec<f32>>) -> Option<Vec<f32>> {
    let count = slices.len() as f32;
    let mut sum = in_pairs(slices, |mut one: Vec<f32>, other| {
        one.iter_mut().zip(other).for_each(|(one, other)| *one += other);
        one
    })?;
    if count > 1.0 {
        sum.iter_mut().for_each(|value| *value /= count);
    }
    Some(sum)
}

fn in_pairs<T>(mut values: Vec<T>, add: impl Fn(T, T) -> T) -> Option<T> {
    while values.len() > 1 {
        let mut rest = values.into_iter();
        let mut sums = Vec::new();
        while let Some(one) = rest.next() {
            sums.push(match rest.next() {
                Some(other) => add(one, other),
                None => one,
            });
        }
        values = sums;
    }
    values.pop()
}

//! Numbers of two devices, and how far they are apart.

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{
        Tensor, TensorData,
        backend::{AutodiffBackend, Backend},
    },
};

use crate::failure::Failure;

/// Named numbers: an output, or the gradients of something.
pub(crate) type Numbers = Vec<(String, Vec<f32>)>;

/// A tensor of these numbers, drawn uniformly from [-1, 1).
pub(crate) fn random<B: Backend, const D: usize>(random: &mut fastrand::Rng, shape: [usize; D]) -> Tensor<B, D> {
    let values: Vec<f32> = (0..shape.iter().product()).map(|_: usize| random.f32() * 2.0 - 1.0).collect();
    Tensor::from_data(TensorData::new(values, shape), &Default::default())
}

pub(crate) fn read<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// Every parameter of a module, by number.
pub(crate) fn parameters<B: Backend, M: Module<B>>(module: &M) -> Vec<f32> {
    struct All(Vec<f32>);
    impl<B: Backend> ModuleVisitor<B> for All {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.0.extend(read(param.val()));
        }
    }
    let mut all = All(Vec::new());
    module.visit(&mut all);
    all.0
}

/// The gradient of every parameter of a module.
pub(crate) fn gradients<B: AutodiffBackend, M: Module<B>>(module: &M, gradients: &B::Gradients) -> Numbers {
    struct All<'a, B: AutodiffBackend>(&'a B::Gradients, Numbers);
    impl<B: AutodiffBackend> ModuleVisitor<B> for All<'_, B> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            let values = param.val().grad(self.0).map(read).unwrap_or_default();
            self.1.push((format!("gradient of parameter {}", self.1.len()), values));
        }
    }
    let mut all = All(gradients, Vec::new());
    module.visit(&mut all);
    all.1
}

/// The largest difference as a share of the largest number of both, or of 1 if all are smaller. Numbers that are not finite, or not there,
/// are as far away as can be.
pub(crate) fn difference(one: &[f32], other: &[f32]) -> f64 {
    if one.is_empty() || one.len() != other.len() || !one.iter().chain(other).all(|number| number.is_finite()) {
        return f64::INFINITY;
    }
    let scale = one.iter().chain(other).map(|number| number.abs()).fold(1.0_f32, f32::max);
    let largest = one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
    f64::from(largest / scale)
}

/// The largest difference, if all are within the tolerance.
pub(crate) fn compare(case: &str, got: &Numbers, expected: &Numbers, tolerance: f64) -> Result<f64, Failure> {
    let count = |got, expected| Failure::Count { what: case.to_owned(), got, expected };
    if got.len() != expected.len() {
        return Err(count(got.len(), expected.len()));
    }
    let mut worst = 0.0_f64;
    for ((name, got), (_, expected)) in got.iter().zip(expected) {
        if got.len() != expected.len() {
            return Err(count(got.len(), expected.len()));
        }
        if got.is_empty() {
            // Neither has a gradient.
            continue;
        }
        let difference = difference(got, expected);
        if difference > tolerance {
            return Err(Failure::Differs { what: format!("{case}, {name}"), difference, tolerance });
        }
        worst = worst.max(difference);
    }
    Ok(worst)
}

#[cfg(test)]
mod tests {
    use super::{compare, difference};

    #[test]
    fn difference_is_a_share_of_the_largest_number_and_odd_numbers_are_never_near() {
        assert_eq!(difference(&[1.0, -8.0], &[1.5, -8.0]), 0.0625);
        assert_eq!(difference(&[0.001], &[0.0]), f64::from(0.001_f32));
        for odd in [f32::NAN, f32::INFINITY] {
            assert_eq!(difference(&[odd, 1.0], &[1.0, 1.0]), f64::INFINITY);
            assert_eq!(difference(&[odd], &[odd]), f64::INFINITY);
        }
        assert_eq!(difference(&[], &[]), f64::INFINITY);
        assert_eq!(difference(&[1.0, 2.0], &[1.0]), f64::INFINITY);
    }

    #[test]
    fn numbers_that_are_apart_or_missing_fail() {
        let numbers = |values: &[f32]| vec![("output".to_owned(), values.to_vec())];
        assert_eq!(compare("case", &numbers(&[1.0]), &numbers(&[1.0]), 1e-5).unwrap(), 0.0);
        let apart = compare("case", &numbers(&[1.1]), &numbers(&[1.0]), 1e-5).unwrap_err();
        assert!(apart.to_string().starts_with("case, output: differs by 9.09e-2"), "{apart}");
        assert!(compare("case", &numbers(&[1.0, 2.0]), &numbers(&[1.0]), 1.0).is_err());
        assert!(compare("case", &Vec::new(), &numbers(&[1.0]), 1.0).is_err());
    }
}

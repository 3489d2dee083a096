//! Trend and oscillation of the losses in a window.

/// Statistics of a window of losses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    pub(crate) mean: f32,
    /// The mean of the second half over that of the first, minus one.
    pub(crate) rise: f32,
    /// That difference, in standard errors. See also [`rank_significance`].
    pub(crate) significance: f32,
    /// The mean absolute step over the mean.
    pub(crate) oscillation: f32,
}

impl Window {
    /// The statistics of the last `size` losses; `None` for fewer than two. A NaN makes the mean NaN.
    pub(crate) fn of(losses: &[f32], size: usize) -> Option<Self> {
        let losses = &losses[losses.len().saturating_sub(size)..];
        if losses.len() < 2 {
            return None;
        }
        let (early, late) = losses.split_at(losses.len() / 2);
        let steps = losses.iter().zip(&losses[1..]).map(|(before, after)| f64::from((after - before).abs()));
        let step = steps.sum::<f64>() / (losses.len() - 1) as f64;
        let scale = mean(losses).abs().max(f64::MIN_POSITIVE);
        let difference = mean(late) - mean(early);
        let error = (squared_error(early) + squared_error(late)).sqrt();
        Some(Self {
            mean: mean(losses) as f32,
            rise: (difference / mean(early).abs().max(f64::MIN_POSITIVE)) as f32,
            significance: (difference / error.max(f64::MIN_POSITIVE)) as f32,
            oscillation: (step / scale) as f32,
        })
    }
}

/// How many standard deviations more often than by chance a loss of the second half is above one of the first (the statistic of
/// Mann and Whitney). A loss that doubles in every step has so large a spread that its rise is not significant in standard errors; its
/// order leaves no doubt.
pub(crate) fn rank_significance(losses: &[f32], size: usize) -> f32 {
    let losses = &losses[losses.len().saturating_sub(size)..];
    let (early, late) = losses.split_at(losses.len() / 2);
    let above = |loss: &f32| early.iter().filter(|earlier| loss > *earlier).count() as f64;
    let even = |loss: &f32| early.iter().filter(|earlier| loss == *earlier).count() as f64;
    let wins: f64 = late.iter().map(|loss| above(loss) + even(loss) / 2.0).sum();
    let pairs = (early.len() * late.len()) as f64;
    let deviation = (pairs * (losses.len() + 1) as f64 / 12.0).sqrt();
    ((wins - pairs / 2.0) / deviation.max(f64::MIN_POSITIVE)) as f32
}

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64
}

/// The square of the standard error of the mean.
fn squared_error(values: &[f32]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum();
    let count = values.len() as f64;
    squares / (count - 1.0).max(1.0) / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_in_the_middle_is_a_rise_of_its_height() {
        let window = Window::of(&[9.0, 1.0, 1.0, 2.0, 2.0], 4).unwrap();
        assert_eq!((window.mean, window.rise, window.oscillation), (1.5, 1.0, 1.0 / 3.0 / 1.5));
        assert!(window.significance > 1e6, "no spread: no doubt");
    }

    #[test]
    fn significance_counts_standard_errors() {
        // Means 2 and 4, each with a variance of 1 over three: 2 / sqrt(1/3 + 1/3).
        let window = Window::of(&[1.0, 2.0, 3.0, 3.0, 4.0, 5.0], 6).unwrap();
        assert!((window.significance - 2.0 / (2.0_f32 / 3.0).sqrt()).abs() < 1e-6);
    }

    #[test]
    fn order_of_a_loss_that_doubles_is_significant() {
        let doubling: Vec<f32> = (0..24).map(|step| 2.0_f32.powi(step)).collect();
        assert!(Window::of(&doubling, 128).unwrap().significance < 2.0);
        // 12 * 12 / 2 pairs more than by chance, in deviations of sqrt(144 * 25 / 12).
        assert!((rank_significance(&doubling, 128) - 72.0 / 300.0_f32.sqrt()).abs() < 1e-5);
        assert_eq!(rank_significance(&[1.0; 24], 128), 0.0);
        assert_eq!(rank_significance(&[], 128), 0.0);
    }

    #[test]
    fn fewer_than_two_losses_give_no_window() {
        assert_eq!(Window::of(&[], 8), None);
        assert_eq!(Window::of(&[1.0], 8), None);
        assert_eq!(Window::of(&[1.0, 2.0], 1), None);
    }

    #[test]
    fn losses_of_zero_are_not_divided_by() {
        let window = Window::of(&[0.0; 8], 8).unwrap();
        assert_eq!((window.rise, window.oscillation), (0.0, 0.0));
    }
}

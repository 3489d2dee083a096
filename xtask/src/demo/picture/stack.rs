//! Where things stand: axes, and labels that must not touch.

/// One axis: what part of the data lies on what part of the picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    data: (f64, f64),
    picture: (f64, f64),
}

impl Axis {
    pub(super) fn new(data: (f64, f64), picture: (f64, f64)) -> Self {
        Self { data, picture }
    }

    /// Where a value lies, never outside the axis.
    pub(super) fn at(&self, value: f64) -> f64 {
        let (first, last) = self.data;
        let share = if last > first { ((value - first) / (last - first)).clamp(0.0, 1.0) } else { 0.0 };
        self.picture.0 + share * (self.picture.1 - self.picture.0)
    }

    /// Both ends on the picture.
    pub(super) fn ends(&self) -> (f64, f64) {
        self.picture
    }

    /// About `count` round values on it.
    pub(super) fn ticks(&self, count: f64) -> Vec<f64> {
        let (first, last) = self.data;
        let step = round_step((last - first) / count);
        if !step.is_finite() || step <= 0.0 {
            return vec![first];
        }
        let (from, to) = ((first / step - 1e-9).ceil() as i64, (last / step + 1e-9).floor() as i64);
        (from..=to).map(|index| index as f64 * step).collect()
    }
}

/// The next larger one of 1, 2 and 5 times a power of ten.
fn round_step(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough * 0.999).unwrap_or(10.0 * power)
}

/// Rows for labels that hang from leaders: each begins at its leader `(x, width)`, to the right of it. No label touches
/// another one or another one's leader. `labels` are in order of their places; the first row is 0.
pub(super) fn hang(labels: &[(f64, f64)], gap: f64) -> Vec<usize> {
    let mut rows = vec![0; labels.len()];
    for index in (0..labels.len()).rev() {
        let Some(((x, width), rest)) = labels.get(index..).and_then(<[_]>::split_first).map(|(own, rest)| (*own, rest))
        else {
            continue;
        };
        let in_reach = rest.iter().zip(rows.iter().skip(index + 1)).filter(|((other, _), _)| *other < x + width + gap);
        let row = in_reach.map(|(_, row)| row + 1).max().unwrap_or(0);
        if let Some(slot) = rows.get_mut(index) {
            *slot = row;
        }
    }
    rows
}

/// Moves places as little as needed to keep them `gap` apart, in their order, for few places.
pub(super) fn apart(places: &mut [f64], gap: f64) {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by(|a, b| places[*a].total_cmp(&places[*b]));
    for pair in order.windows(2) {
        let &[upper, lower] = pair else { continue };
        let lacking = gap - (places[lower] - places[upper]);
        if lacking > 0.0 {
            places[upper] -= lacking / 2.0;
            places[lower] += lacking / 2.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Axis, apart, hang};

    #[test]
    fn values_lie_between_the_ends() {
        let axis = Axis::new((0.0, 10.0), (100.0, 0.0));
        assert_eq!([0.0, 5.0, 10.0, 20.0, -1.0].map(|value| axis.at(value)), [100.0, 50.0, 0.0, 0.0, 100.0]);
        assert_eq!(Axis::new((3.0, 3.0), (1.0, 2.0)).at(3.0), 1.0);
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(
            Axis::new((0.0, 60.0), (0.0, 1.0)).ticks(12.0),
            (0..=12).map(|tick| f64::from(tick) * 5.0).collect::<Vec<_>>()
        );
        assert_eq!(Axis::new((0.0, 1.0), (0.0, 1.0)).ticks(2.0), [0.0, 0.5, 1.0]);
        assert_eq!(Axis::new((2.0, 2.0), (0.0, 1.0)).ticks(5.0), [2.0]);
    }

    #[test]
    fn labels_share_a_row_only_where_there_is_room() {
        assert_eq!(hang(&[(0.0, 10.0), (50.0, 10.0)], 4.0), [0, 0]);
        assert_eq!(hang(&[(0.0, 10.0), (5.0, 10.0), (9.0, 10.0)], 4.0), [2, 1, 0]);
        assert_eq!(hang(&[(0.0, 10.0), (5.0, 3.0), (30.0, 3.0)], 4.0), [1, 0, 0]);
        assert!(hang(&[], 4.0).is_empty());
    }

    #[test]
    fn places_are_kept_apart_in_their_order() {
        let mut places = [10.0, 8.0];
        apart(&mut places, 6.0);
        assert_eq!(places, [12.0, 6.0]);
        let mut far = [0.0, 100.0];
        apart(&mut far, 6.0);
        assert_eq!(far, [0.0, 100.0]);
    }
}

//! Runs two sides in turns.

use std::time::Duration;

use kasmina_safety::Clock;

use crate::Side;

/// How much is done for a row.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How long each side runs before anything counts, at least. Without it, a side still runs once to three times: that is how the number of its runs in
    /// a sample is found.
    pub warm_up: Duration,
    /// The least that a sample of one side takes; faster sides run many times in one.
    pub sample: Duration,
    /// How long pairs are taken, with what they need to be prepared. `at_least` and `at_most` come first.
    pub time: Duration,
    /// The fewest pairs that are taken, even if that takes longer than `time`.
    pub at_least: usize,
    /// The most pairs that are taken, even if `time` is not over.
    pub at_most: usize,
}

impl Effort {
    /// For numbers that are compared. Our choices: a clock of 50 ns is 0.005 % of a sample, and with 30 pairs the interval of the median
    /// has half of the samples in it.
    pub const FULL: Self = Self {
        warm_up: Duration::from_millis(200),
        sample: Duration::from_millis(1),
        time: Duration::from_millis(2_500),
        at_least: 30,
        at_most: 600,
    };

    /// For a look at everything: 15 pairs, or a quarter of a second.
    pub const QUICK: Self = Self {
        warm_up: Duration::from_millis(30),
        sample: Duration::from_micros(300),
        time: Duration::from_millis(250),
        at_least: 15,
        at_most: 300,
    };

    /// The same for something that takes a good part of a second: at least a quarter of the pairs, and no time to warm up.
    #[must_use]
    pub const fn for_slow(self) -> Self {
        Self { warm_up: Duration::ZERO, at_least: self.at_least / 4 + 3, ..self }
    }
}

/// Takes samples.
#[derive(Clone, Copy)]
pub struct Meter<'c> {
    clock: &'c dyn Clock,
    /// How much is done for a row.
    pub effort: Effort,
}

/// What one run of each side took, pair by pair; the second list is empty for something that has no yardstick.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// In the row's unit: nanoseconds, unless it says another.
    pub ours: Vec<f64>,
    /// The same of the yardstick, as many or none.
    pub yardstick: Vec<f64>,
}

impl<'c> Meter<'c> {
    /// A meter that reads this clock.
    #[must_use]
    pub fn new(clock: &'c dyn Clock, effort: Effort) -> Self {
        Self { clock, effort }
    }

    /// The same for something slow.
    #[must_use]
    pub fn slow(self) -> Self {
        Self { effort: self.effort.for_slow(), ..self }
    }

    /// Both sides in turns: ours first in every second pair, so that what the first leaves behind (caches, pages, heat) hits both.
    #[must_use]
    pub fn pair(&self, mut ours: Side<'_>, mut yardstick: Side<'_>) -> Samples {
        let counts = [self.calibrate(&mut ours), self.calibrate(&mut yardstick)];
        let mut samples = Samples::default();
        self.until_enough(|pair| {
            let mut first = || samples.ours.push(self.sample(&mut ours, counts[0]));
            let mut second = || samples.yardstick.push(self.sample(&mut yardstick, counts[1]));
            if pair % 2 == 0 {
                first();
                second();
            } else {
                second();
                first();
            }
        });
        samples
    }

    /// Any number of sides in turns, each of which comes first in a round; the samples of each, in the order of the sides.
    #[must_use]
    pub fn turns(&self, sides: &mut [Side<'_>]) -> Vec<Vec<f64>> {
        let counts: Vec<_> = sides.iter_mut().map(|side| self.calibrate(side)).collect();
        let mut samples = vec![Vec::new(); sides.len()];
        self.until_enough(|round| {
            let mut all: Vec<_> = sides.iter_mut().zip(&counts).zip(&mut samples).collect();
            let first = round % all.len().max(1);
            all.rotate_left(first);
            all.into_iter().for_each(|((side, count), samples)| samples.push(self.sample(side, *count)));
        });
        samples
    }

    /// One side by itself. Its numbers can only be compared with a limit that is far away: see [`pair`](Self::pair).
    #[must_use]
    pub fn alone(&self, mut ours: Side<'_>) -> Samples {
        let count = self.calibrate(&mut ours);
        let mut samples = Samples::default();
        self.until_enough(|_| samples.ours.push(self.sample(&mut ours, count)));
        samples
    }

    /// Two numbers that come from one run: a whole and a part of it.
    #[must_use]
    pub fn joint(&self, mut one: impl FnMut() -> [Duration; 2]) -> Samples {
        let mut samples = Samples::default();
        let _ = one();
        self.until_enough(|_| {
            let [ours, yardstick] = one().map(|took| took.as_nanos() as f64);
            samples.ours.push(ours);
            samples.yardstick.push(yardstick);
        });
        samples
    }

    /// Calls `one` with 0, 1 and so on.
    fn until_enough(&self, mut one: impl FnMut(usize)) {
        let started = self.clock.monotonic();
        for index in 0..self.effort.at_most.max(1) {
            if index >= self.effort.at_least && self.clock.monotonic().since(started) >= self.effort.time {
                break;
            }
            one(index);
        }
    }

    /// What one run takes, in nanoseconds.
    fn sample(&self, side: &mut Side<'_>, count: u64) -> f64 {
        side.run(count, self.clock).as_nanos() as f64 / count as f64
    }

    /// Warms a side up, and finds how often it has to run for a sample. A run that was interrupted seems long enough: what counts is the
    /// shortest of three.
    fn calibrate(&self, side: &mut Side<'_>) -> u64 {
        let started = self.clock.monotonic();
        let mut count = 1;
        loop {
            let took = self.shortest(side, count);
            let is_warm = self.clock.monotonic().since(started) >= self.effort.warm_up;
            if took >= self.effort.sample && is_warm {
                return count;
            }
            if took < self.effort.sample {
                let missing = self.effort.sample.as_nanos() as f64 / took.as_nanos().max(1) as f64;
                // In steps, because the first runs are cold and the clock is coarse.
                count = (count as f64 * missing.clamp(1.1, 10.0)).ceil() as u64;
            }
        }
    }

    /// Of up to three samples. One that is short needs no other, and no interruption makes a sample so much longer than it must be.
    fn shortest(&self, side: &mut Side<'_>, count: u64) -> Duration {
        let mut shortest = side.run(count, self.clock);
        for _ in 0..2 {
            if shortest < self.effort.sample || shortest > 50 * self.effort.sample {
                break;
            }
            shortest = shortest.min(side.run(count, self.clock));
        }
        shortest
    }
}

#[cfg(test)]
#[path = "meter_tests.rs"]
mod tests;

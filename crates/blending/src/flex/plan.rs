//! What becomes of each pair of elements, and where it goes.

use std::ops::Range;

/// `blend(host, seed, weight)`.
pub(super) trait Blend: Fn(f32, f32, f32) -> f32 + Sync {}

impl<F: Fn(f32, f32, f32) -> f32 + Sync> Blend for F {}

/// Whose memory takes the result.
#[derive(Clone, Copy)]
pub(super) enum Own {
    Host,
    Seed,
}

/// A blend whose weights repeat along the tensors, each for `inner` elements.
pub(super) struct Plan<F> {
    weights: Vec<f32>,
    inner: usize,
    blend: F,
}

/// The weight of a run of elements.
enum Weight<'a> {
    Same(f32),
    Each(&'a [f32]),
}

impl<F: Blend> Plan<F> {
    pub(super) const fn new(weights: Vec<f32>, inner: usize, blend: F) -> Self {
        Self { weights, inner, blend }
    }

    /// One weight for all elements.
    pub(super) fn same(weight: f32, blend: F) -> Self {
        Self::new(vec![weight], usize::MAX, blend)
    }

    /// Appends the blend of slices that begin `offset` elements after the beginning of their tensors.
    #[inline]
    pub(super) fn append(&self, offset: usize, host: &[f32], seed: &[f32], out: &mut Vec<f32>) {
        let blend = &self.blend;
        self.for_each_run(offset, host.len(), |run, weight| {
            let pairs = host[run.clone()].iter().zip(&seed[run]);
            match weight {
                Weight::Same(weight) => out.extend(pairs.map(|(host, seed)| blend(*host, *seed, weight))),
                Weight::Each(weights) => {
                    out.extend(pairs.zip(weights).map(|((host, seed), weight)| blend(*host, *seed, *weight)));
                }
            }
        });
    }

    /// Puts the blend in place of `own`, which is the host or the seed.
    #[inline]
    pub(super) fn overwrite(&self, whose: Own, offset: usize, own: &mut [f32], other: &[f32]) {
        let blend = &self.blend;
        match whose {
            Own::Host => self.change(offset, own, other, blend),
            Own::Seed => self.change(offset, own, other, |seed, host, weight| blend(host, seed, weight)),
        }
    }

    #[inline(always)]
    fn change(&self, offset: usize, own: &mut [f32], other: &[f32], blend: impl Fn(f32, f32, f32) -> f32) {
        self.for_each_run(offset, own.len(), |run, weight| {
            let pairs = own[run.clone()].iter_mut().zip(&other[run]);
            match weight {
                Weight::Same(weight) => pairs.for_each(|(own, other)| *own = blend(*own, *other, weight)),
                Weight::Each(weights) => {
                    pairs.zip(weights).for_each(|((own, other), weight)| *own = blend(*own, *other, *weight));
                }
            }
        });
    }

    /// Runs of one weight, or through all weights if each is for one element.
    #[inline(always)]
    fn for_each_run(&self, offset: usize, length: usize, mut act: impl FnMut(Range<usize>, Weight<'_>)) {
        let Self { weights, inner, .. } = self;
        if length == 0 {
            // An empty axis may be what `inner` counts.
            return;
        }
        // A division takes as long as the blend of some dozen elements, so there are two here and none in the loop.
        let (mut which, mut done) = (offset / inner % weights.len(), offset % inner);
        let mut start = 0;
        while start < length {
            let left = if *inner == 1 { weights.len() - which } else { inner - done };
            let run = start..start.saturating_add(left).min(length);
            start = run.end;
            if *inner == 1 {
                act(run, Weight::Each(&weights[which..]));
                which = 0;
            } else {
                act(run, Weight::Same(weights[which]));
                done = 0;
                which = if which + 1 == weights.len() { 0 } else { which + 1 };
            }
        }
    }
}

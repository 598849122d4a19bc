//! A draw from the values of the field in the cone about the last direction.
//!
//! $$p_j \propto f(n_j)\,[\,f(n_j) \ge \tau\max_k f(n_k)\,]\,[\,|n_j\cdot d| \ge \cos\alpha\,]\,
//!   (1 - w + w|n_j\cdot d|)$$
//!
//! | symbol | |
//! |---|---|
//! | $n_j$ | axes of the sphere |
//! | τ | part of the largest value below which a value is nothing |
//! | α | largest angle of a step |
//! | w | angular weight, 0 by default |
//!
//! Source: Berman et al. 2008, doi:10.1016/j.neuroimage.2007.08.021 (draws from an ODF);
//! Garyfallidis et al. 2014, doi:10.3389/fninf.2014.00008 (the cone). Validated by
//! `draws_follow_the_values_in_the_cone` in `kernels/tests/suite/streamlines.rs`.

use super::axes::PATCH;
use super::functions::Functions;
use super::lattice::Number;
use super::{Chance, Heading, Rule, Scratch, Stop, Vec3};
use crate::vector::dot;

/// A field of functions on the sphere of which directions are drawn.
#[derive(Clone, Debug)]
pub struct MassRule<'a, T> {
    /// The field; the largest value is at least the threshold of its peaks.
    pub functions: Functions<'a, T>,
    /// Values below this part of the largest are nothing.
    pub part: f64,
    /// Cosine of the cone.
    pub cos_cone: f64,
    /// Angular weight.
    pub angular_weight: f64,
}

/// The weights of a patch; arrays by value stay in registers.
#[inline(always)]
fn weights_of(
    values: &[f32; PATCH],
    cosines: [f32; PATCH],
    low: f32,
    cone: f32,
    w: f32,
) -> [f32; PATCH] {
    let mut out = [0.0; PATCH];
    for i in 0..PATCH {
        let c = cosines[i].abs();
        let v = values[i] * (1.0 - w + w * c);
        let v = if values[i] >= low { v } else { 0.0 };
        out[i] = if c >= cone { v } else { 0.0 };
    }
    out
}

#[inline(always)]
fn plus(mut a: [f32; PATCH], b: &[f32; PATCH]) -> [f32; PATCH] {
    for i in 0..PATCH {
        a[i] += b[i];
    }
    a
}

/// The sum by a fixed tree.
#[inline(always)]
fn tree_sum(mut sums: [f32; PATCH]) -> f32 {
    let mut half = PATCH / 2;
    while half > 0 {
        for i in 0..half {
            sums[i] += sums[i + half];
        }
        half /= 2;
    }
    sums[0]
}

/// The first weight above what is left of a drawn sum, which is lowered by those before it. Rounding
/// may leave a rest at the very end: then the last positive weight.
#[inline(always)]
fn drawn(weights: impl Iterator<Item = f32>, left: &mut f32) -> Option<usize> {
    let mut chosen = None;
    for (i, v) in weights.enumerate() {
        if v > 0.0 {
            chosen = Some(i);
            if *left < v {
                break;
            }
            *left -= v;
        }
    }
    chosen
}

impl<T: Number> Rule for MassRule<'_, T> {
    #[inline(always)]
    fn starts<const FMA: bool>(&self, x: Vec3, scratch: &mut Scratch, out: &mut Vec<Heading>) {
        self.functions.starts::<FMA>(x, scratch, out);
    }

    #[inline(always)]
    fn heading<const FMA: bool>(
        &self,
        x: Vec3,
        previous: Vec3,
        chance: &mut Chance,
        scratch: &mut Scratch,
    ) -> Result<Heading, Stop> {
        self.functions.sample::<FMA>(x, &mut scratch.terms).ok_or(Stop::Outside)?;
        let axes = self.functions.peaks.axes;
        let largest = axes.evaluate::<FMA>(&scratch.terms, &mut scratch.values);
        if f64::from(largest) < self.functions.peaks.threshold || largest <= 0.0 {
            return Err(Stop::Threshold);
        }
        let low = (self.part as f32 * largest).max(f32::MIN_POSITIVE);
        let (cone, w) = (self.cos_cone as f32, self.angular_weight as f32);
        let n = axes.axes().len();
        scratch.weights.resize(n, 0.0);
        let weights = scratch.weights[..n].as_chunks_mut::<PATCH>().0;
        let values = scratch.values[..n].as_chunks::<PATCH>().0;
        // The cumulative distribution in two levels: the k-th axes of all patches together, then
        // one by one.
        let mut sums = [0.0_f32; PATCH];
        for (p, (out, values)) in weights.iter_mut().zip(values).enumerate() {
            *out = weights_of(values, axes.cosines(previous, p), low, cone, w);
            sums = plus(sums, out);
        }
        let total = tree_sum(sums);
        if total <= 0.0 {
            return Err(Stop::Angle);
        }
        let mut left = (chance.pair()[0] * f64::from(total)) as f32;
        let k = drawn(sums.into_iter(), &mut left).ok_or(Stop::Angle)?;
        let patch = drawn(weights.iter().map(|w| w[k]), &mut left).ok_or(Stop::Angle)?;
        let chosen = patch * PATCH + k;
        let axis = axes.axes()[chosen];
        let sign = 1.0_f64.copysign(dot(axis, previous));
        Ok(Heading {
            direction: axis.map(|v| sign * v),
            amplitude: f64::from(scratch.values[chosen]),
        })
    }
}

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
//! `draws_follow_the_values_in_the_cone` in `kernels/tests/streamlines.rs`.

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

/// The sum of a patch by a fixed tree.
#[inline(always)]
fn tree_sum(patch: &[f32; PATCH]) -> f32 {
    let mut sums = *patch;
    let mut half = PATCH / 2;
    while half > 0 {
        for i in 0..half {
            sums[i] += sums[i + half];
        }
        half /= 2;
    }
    sums[0]
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
        let n = axes.padded();
        scratch.weights.resize(n, 0.0);
        let weights = scratch.weights[..n].as_chunks_mut::<PATCH>().0;
        let values = scratch.values[..n].as_chunks::<PATCH>().0;
        for (p, (out, values)) in weights.iter_mut().zip(values).enumerate() {
            let cosines = axes.cosines(previous, p);
            let mut own = [0.0; PATCH];
            for i in 0..PATCH {
                let c = cosines[i].abs();
                let v = values[i] * (1.0 - w + w * c);
                let v = if values[i] >= low { v } else { 0.0 };
                own[i] = if c >= cone { v } else { 0.0 };
            }
            *out = own;
        }
        // Sums of patches, then of the axes of one patch: the cumulative distribution in
        // two levels, in a fixed order.
        let sums = &mut scratch.sums;
        sums.resize(weights.len(), 0.0);
        for (s, patch) in sums.iter_mut().zip(&*weights) {
            *s = tree_sum(patch);
        }
        let total: f32 = sums.iter().sum();
        if total <= 0.0 {
            return Err(Stop::Angle);
        }
        let mut left = (chance.pair()[0] * f64::from(total)) as f32;
        let mut chosen = None;
        'search: for ((p, patch), own) in weights.iter().enumerate().zip(&*sums) {
            if left >= *own {
                left -= own;
                continue;
            }
            for (i, v) in patch.iter().enumerate() {
                if *v > 0.0 {
                    chosen = Some(p * PATCH + i);
                    if left < *v {
                        break 'search;
                    }
                    left -= v;
                }
            }
            break;
        }
        // Rounding may leave a rest at the very end: then the last axis with a weight.
        let flat = weights.as_flattened();
        let chosen = chosen.or_else(|| flat.iter().rposition(|v| *v > 0.0));
        let chosen = chosen.ok_or(Stop::Angle)?;
        let axis = axes.axes()[chosen];
        let sign = 1.0_f64.copysign(dot(axis, previous));
        Ok(Heading {
            direction: axis.map(|v| sign * v),
            amplitude: f64::from(scratch.values[chosen]),
        })
    }
}

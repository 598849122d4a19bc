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

use super::axes::AxisTable;
use super::lattice::{Lattice, Number};
use super::peak::peaks_of;
use super::{Chance, Heading, Rule, Scratch, Stop, Vec3, dot};

/// A field of functions on the sphere of which directions are drawn.
#[derive(Clone, Debug)]
pub struct MassRule<'a, T> {
    /// Collected terms in every voxel.
    pub field: &'a Lattice<T>,
    /// Order of the functions.
    pub order: usize,
    /// The directions.
    pub axes: &'a AxisTable,
    /// The largest value is at least this.
    pub threshold: f64,
    /// Values below this part of the largest are nothing.
    pub part: f64,
    /// Cosine of the cone.
    pub cos_cone: f64,
    /// Angular weight.
    pub angular_weight: f64,
    /// Peaks at the seed: part of the largest, cosine of the separation.
    pub start: [f64; 2],
}

impl<T: Number> Rule for MassRule<'_, T> {
    fn starts(&self, x: Vec3, scratch: &mut Scratch, out: &mut Vec<Heading>) {
        out.clear();
        let Some(taps) = self.field.taps(x) else { return };
        scratch.terms.resize(self.field.width(), 0.0);
        self.field.sample::<false>(&taps, &mut scratch.terms);
        let rule = [self.threshold, self.start[0], self.start[1]];
        peaks_of::<false>(self.order, &scratch.terms, self.axes, rule, &mut scratch.values, out);
    }

    #[inline(always)]
    fn heading<const FMA: bool>(
        &self,
        x: Vec3,
        previous: Vec3,
        chance: &mut Chance,
        scratch: &mut Scratch,
    ) -> Result<Heading, Stop> {
        let taps = self.field.taps(x).ok_or(Stop::Outside)?;
        scratch.terms.resize(self.field.width(), 0.0);
        self.field.sample::<FMA>(&taps, &mut scratch.terms);
        self.axes.evaluate::<FMA>(&scratch.terms, &mut scratch.values);
        let values = &mut scratch.values;
        let largest = values.iter().fold(0.0_f32, |m, v| m.max(*v));
        if f64::from(largest) < self.threshold || largest <= 0.0 {
            return Err(Stop::Threshold);
        }
        let low = (self.part as f32 * largest).max(f32::MIN_POSITIVE);
        let (cone, w) = (self.cos_cone as f32, self.angular_weight as f32);
        let n = self.axes.padded();
        scratch.weights.resize(n, 0.0);
        let weights = &mut scratch.weights[..n];
        self.axes.cosines(previous, |i, cosine| {
            let c = cosine.abs();
            let v = values[i];
            let keep = v >= low && c >= cone;
            weights[i] = if keep { v * (1.0 - w + w * c) } else { 0.0 };
        });
        // Sums of patches, then of the axes of one patch: the cumulative distribution in
        // two levels, in a fixed order.
        let patches = weights.as_chunks::<{ super::axes::PATCH }>().0;
        let sum = |patch: &[f32; super::axes::PATCH]| {
            let mut parts = [0.0_f32; 4];
            for quad in patch.as_chunks::<4>().0 {
                for (p, v) in parts.iter_mut().zip(quad) {
                    *p += v;
                }
            }
            (parts[0] + parts[2]) + (parts[1] + parts[3])
        };
        let total: f32 = patches.iter().map(sum).sum();
        if total <= 0.0 {
            return Err(Stop::Angle);
        }
        let mut left = (chance.pair()[0] * f64::from(total)) as f32;
        let mut chosen = None;
        'search: for (p, patch) in patches.iter().enumerate() {
            let own = sum(patch);
            if left >= own {
                left -= own;
                continue;
            }
            for (i, v) in patch.iter().enumerate() {
                if *v > 0.0 {
                    chosen = Some(p * super::axes::PATCH + i);
                    if left < *v {
                        break 'search;
                    }
                    left -= v;
                }
            }
            break;
        }
        // Rounding may leave a rest at the very end: then the last axis with a weight.
        let chosen = chosen.or_else(|| weights.iter().rposition(|v| *v > 0.0));
        let chosen = chosen.ok_or(Stop::Angle)?;
        let axis = self.axes.axes()[chosen];
        let sign = 1.0_f64.copysign(dot(axis, previous));
        Ok(Heading { direction: axis.map(|v| sign * v), amplitude: f64::from(values[chosen]) })
    }
}

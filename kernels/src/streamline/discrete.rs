//! Discrete peaks: vectors in voxels, between which the directions nearest to the last one are
//! interpolated.
//!
//! $$d = \frac{\sum_c w_c\,\sigma_c u_c}{\left|\sum_c w_c\,\sigma_c u_c\right|},\qquad
//!   u_c = \arg\max_{u\in c}|u\cdot d_\mathrm{previous}|,\quad \sigma_c = \mathrm{sign}(u_c\cdot d_\mathrm{previous})$$
//!
//! over the eight voxels c about the point that have a peak within the largest angle. Where they weigh
//! less than half there is no direction.
//!
//! | symbol | |
//! |---|---|
//! | $w_c$ | trilinear weight of a voxel |
//! | u | unit vectors of the peaks of a voxel that are not below the threshold |
//!
//! Source: Garyfallidis 2012, Towards an accurate brain tractography (thesis, Cambridge), section
//! 3.4 (EuDX); Mori & van Zijl 2002, doi:10.1002/nbm.781. Validated by
//! `discrete_peaks_are_interpolated` in `kernels/tests/suite/streamlines.rs`.

use super::lattice::{Lattice, Number};
use super::{Chance, Heading, Rule, Scratch, Stop, Vec3};
use crate::vector::{along, dot, unit};

/// Numbers of a peak: unit vector and amplitude.
pub const PEAK_WIDTH: usize = 4;

/// A field of peaks that are followed.
#[derive(Clone, Debug)]
pub struct DiscreteRule<'a, T> {
    /// x, y, z (unit vector in the axes of the field) and amplitude of every peak, the largest first;
    /// amplitude 0 is none.
    pub field: &'a Lattice<T>,
    /// Lowest amplitude of a peak.
    pub threshold: f64,
    /// Cosine of the largest angle between a peak and the last direction.
    pub cos_angle: f64,
    /// Lowest weight of the voxels that have a direction.
    pub total_weight: f64,
}

impl<T: Number> DiscreteRule<'_, T> {
    /// The peaks of a voxel that are not below the threshold.
    #[inline(always)]
    fn peaks(&self, offset: usize) -> impl Iterator<Item = Heading> {
        let numbers = &self.field.values()[offset..offset + self.field.width()];
        numbers.as_chunks::<PEAK_WIDTH>().0.iter().map_while(|p| {
            let [x, y, z, amplitude]: [f64; PEAK_WIDTH] = p.map(Into::into);
            let kept = amplitude > 0.0 && amplitude >= self.threshold;
            kept.then_some(Heading { direction: [x, y, z], amplitude })
        })
    }
}

impl<T: Number> Rule for DiscreteRule<'_, T> {
    #[inline(always)]
    fn starts<const FMA: bool>(&self, x: Vec3, _scratch: &mut Scratch, out: &mut Vec<Heading>) {
        out.clear();
        let Some(taps) = self.field.taps(x) else { return };
        // The voxel whose centre is nearest.
        let mut nearest = (0.0, 0);
        self.field.each(&taps, |offset, tap| {
            let weight = taps.weight(tap);
            if weight > nearest.0 {
                nearest = (weight, offset);
            }
        });
        out.extend(self.peaks(nearest.1));
    }

    #[inline(always)]
    fn heading<const FMA: bool>(
        &self,
        x: Vec3,
        previous: Vec3,
        _chance: &mut Chance,
        _scratch: &mut Scratch,
    ) -> Result<Heading, Stop> {
        let taps = self.field.taps(x).ok_or(Stop::Outside)?;
        let (mut sum, mut amplitude, mut total) = ([0.0; 3], 0.0, 0.0);
        let mut why = Stop::Threshold;
        self.field.each(&taps, |offset, tap| {
            let weight = taps.weight(tap);
            let mut best: Option<(f64, Heading)> = None;
            for peak in self.peaks(offset) {
                let cosine = dot(peak.direction, previous);
                if best.is_none_or(|(c, _)| cosine.abs() > c.abs()) {
                    best = Some((cosine, peak));
                }
            }
            let Some((cosine, peak)) = best else { return };
            if cosine.abs() < self.cos_angle {
                why = Stop::Angle;
                return;
            }
            sum = along(sum, weight.copysign(cosine), peak.direction);
            amplitude += weight * peak.amplitude;
            total += weight;
        });
        if total <= 0.0 || total < self.total_weight {
            return Err(why);
        }
        Ok(Heading { direction: unit(sum), amplitude: amplitude / total })
    }
}

//! Of all peaks of the field, the one nearest to the last direction.
//!
//! $$d = \arg\max_{u\in\text{peaks}}|u\cdot d_\mathrm{previous}|$$
//!
//! Peaks are axes that no neighbour exceeds, at least a part of the largest value and apart by an
//! angle, the largest first; the chosen one is then climbed by Newton's method.
//!
//! Source: Garyfallidis et al. 2014, doi:10.3389/fninf.2014.00008 (closest peak). Validated by
//! `the_closest_peak_is_taken` in `kernels/tests/streamlines.rs`.

use super::axes::AxisTable;
use super::lattice::{Lattice, Number};
use super::peak::{climb, peaks_of};
use super::{Chance, Heading, Rule, Scratch, Stop, Vec3, dot};

/// A field of functions on the sphere whose closest peak is followed.
#[derive(Clone, Debug)]
pub struct ClosestRule<'a, T> {
    /// Collected terms in every voxel.
    pub field: &'a Lattice<T>,
    /// Order of the functions.
    pub order: usize,
    /// Where peaks are looked for.
    pub axes: &'a AxisTable,
    /// Lowest amplitude of a peak.
    pub threshold: f64,
    /// Lowest part of the largest peak.
    pub relative: f64,
    /// Largest cosine between two peaks.
    pub cos_separation: f64,
}

/// The closest of all peaks of a function.
#[inline(always)]
pub(crate) fn closest<const FMA: bool>(
    order: usize,
    axes: &AxisTable,
    [threshold, relative, cos_separation]: [f64; 3],
    previous: Vec3,
    scratch: &mut Scratch,
) -> Result<Heading, Stop> {
    axes.evaluate::<FMA>(&scratch.terms, &mut scratch.values);
    let values = &scratch.values;
    let peaks = &mut scratch.peaks;
    peaks.clear();
    axes.each_maximum_of(values, |i| {
        peaks.push(Heading { direction: axes.axes()[i], amplitude: f64::from(values[i]) });
    });
    peaks.sort_by(|a, b| b.amplitude.total_cmp(&a.amplitude));
    let largest = peaks.first().map(|p| p.amplitude).ok_or(Stop::Direction)?;
    if largest < threshold {
        return Err(Stop::Threshold);
    }
    let lowest = threshold.max(relative * largest);
    let mut kept = 0;
    let mut best: Option<(f64, Vec3)> = None;
    for i in 0..peaks.len() {
        let peak = peaks[i];
        if peak.amplitude < lowest {
            break;
        }
        let apart =
            peaks[..kept].iter().all(|o| dot(o.direction, peak.direction).abs() <= cos_separation);
        if !apart {
            continue;
        }
        peaks[kept] = peak;
        kept += 1;
        let cosine = dot(peak.direction, previous);
        if best.is_none_or(|(c, _)| cosine.abs() > c) {
            let sign = 1.0_f64.copysign(cosine);
            best = Some((cosine.abs(), peak.direction.map(|v| sign * v)));
        }
    }
    let (_, from) = best.ok_or(Stop::Direction)?;
    climb::<FMA>(order, &scratch.terms, from).ok_or(Stop::Direction)
}

impl<T: Number> Rule for ClosestRule<'_, T> {
    fn starts(&self, x: Vec3, scratch: &mut Scratch, out: &mut Vec<Heading>) {
        out.clear();
        let Some(taps) = self.field.taps(x) else { return };
        scratch.terms.resize(self.field.width(), 0.0);
        self.field.sample::<false>(&taps, &mut scratch.terms);
        let rule = [self.threshold, self.relative, self.cos_separation];
        peaks_of::<false>(self.order, &scratch.terms, self.axes, rule, &mut scratch.values, out);
    }

    #[inline(always)]
    fn heading<const FMA: bool>(
        &self,
        x: Vec3,
        previous: Vec3,
        _chance: &mut Chance,
        scratch: &mut Scratch,
    ) -> Result<Heading, Stop> {
        let taps = self.field.taps(x).ok_or(Stop::Outside)?;
        scratch.terms.resize(self.field.width(), 0.0);
        self.field.sample::<FMA>(&taps, &mut scratch.terms);
        let rule = [self.threshold, self.relative, self.cos_separation];
        closest::<FMA>(self.order, self.axes, rule, previous, scratch)
    }
}

//! A field of functions on the sphere, and which of their maxima are peaks.
//!
//! A maximum is a peak if it is at least a threshold, at least a part of the largest, and apart by
//! an angle from every larger one. Maxima are looked for among axes that cover the sphere,
//! then climbed by Newton's method.
//!
//! Source: Jeurissen et al. 2013, doi:10.1002/hbm.22099; Garyfallidis et al. 2014,
//! doi:10.3389/fninf.2014.00008 (relative threshold and angle of separation). Validated by
//! `the_closest_peak_is_taken` in `kernels/tests/suite/streamlines.rs`.

use super::axes::AxisTable;
use super::lattice::{Lattice, Number, Taps};
use super::{Heading, Scratch, Stop, Vec3};
use crate::sphere_peak::climb;
use crate::vector::dot;

/// Newton's method stops after a step shorter than this, rad.
pub(crate) const TOLERANCE: f64 = 1e-7;

/// Which maxima of a function are peaks.
#[derive(Clone, Copy, Debug)]
pub struct Peaks<'a> {
    /// Where maxima are looked for; also the order of the functions.
    pub axes: &'a AxisTable,
    /// Lowest amplitude of a peak.
    pub threshold: f64,
    /// Lowest part of the largest peak.
    pub relative: f64,
    /// Largest cosine between two peaks.
    pub cos_separation: f64,
}

/// Functions on the sphere on a lattice.
#[derive(Clone, Debug)]
pub struct Functions<'a, T> {
    /// Collected terms ([`crate::sphere_series`]) in every voxel.
    pub field: &'a Lattice<T>,
    /// Their peaks.
    pub peaks: Peaks<'a>,
}

impl Peaks<'_> {
    /// All peaks of a function given by its collected terms, the largest first.
    pub fn find(&self, terms: &[f64], out: &mut Vec<Heading>) {
        self.all::<false>(terms, &mut Vec::new(), out);
    }

    /// All peaks, the largest first.
    #[inline(always)]
    pub(crate) fn all<const FMA: bool>(
        &self,
        terms: &[f64],
        values: &mut Vec<f32>,
        out: &mut Vec<Heading>,
    ) {
        let axes = self.axes;
        out.clear();
        let highest = axes.evaluate::<FMA>(terms, values);
        // An axis next to a peak has more than half of its height: lower ones need no climb.
        let lowest = 0.5 * self.threshold.max(self.relative * f64::from(highest));
        for i in 0..axes.axes().len() {
            if f64::from(values[i]) < lowest || !axes.is_maximum(values, i) {
                continue;
            }
            if let Some((direction, amplitude)) =
                climb::<FMA>(axes.order(), terms, axes.axes()[i], TOLERANCE)
                && amplitude >= self.threshold
                // Climbing from an edge of the cap of another peak is not a peak of its own.
                && out.iter().all(|o| dot(o.direction, direction).abs() < 1.0 - 1e-6)
            {
                out.push(Heading { direction, amplitude });
            }
        }
        out.sort_by(|a, b| b.amplitude.total_cmp(&a.amplitude));
        let kept = self.keep(out);
        out.truncate(kept);
    }

    /// Moves the peaks among maxima, the largest first, to the front; their number.
    #[inline(always)]
    fn keep(&self, maxima: &mut [Heading]) -> usize {
        let Some(largest) = maxima.first().map(|p| p.amplitude) else { return 0 };
        let lowest = self.threshold.max(self.relative * largest);
        let mut kept = 0;
        for i in 0..maxima.len() {
            let peak = maxima[i];
            let apart = maxima[..kept]
                .iter()
                .all(|o| dot(o.direction, peak.direction).abs() <= self.cos_separation);
            if peak.amplitude >= lowest && apart {
                maxima[kept] = peak;
                kept += 1;
            }
        }
        kept
    }

    /// The peak closest to the last direction, of the function whose terms are in the scratch.
    #[inline(always)]
    pub(crate) fn closest<const FMA: bool>(
        &self,
        previous: Vec3,
        scratch: &mut Scratch,
    ) -> Result<Heading, Stop> {
        let axes = self.axes;
        let largest = axes.evaluate::<FMA>(&scratch.terms, &mut scratch.values);
        if largest <= 0.0 {
            return Err(Stop::Direction);
        }
        if f64::from(largest) < self.threshold {
            return Err(Stop::Threshold);
        }
        let lowest = self.threshold.max(self.relative * f64::from(largest));
        let values = &scratch.values[..axes.axes().len()];
        let peaks = &mut scratch.peaks;
        peaks.clear();
        for (i, v) in values.iter().enumerate() {
            if f64::from(*v) >= lowest && axes.is_maximum(values, i) {
                peaks.push(Heading { direction: axes.axes()[i], amplitude: f64::from(*v) });
            }
        }
        peaks.sort_by(|a, b| b.amplitude.total_cmp(&a.amplitude));
        let kept = self.keep(peaks);
        let mut best: Option<(f64, Vec3)> = None;
        for peak in &peaks[..kept] {
            let cosine = dot(peak.direction, previous);
            if best.is_none_or(|(c, _)| cosine.abs() > c) {
                let sign = 1.0_f64.copysign(cosine);
                best = Some((cosine.abs(), peak.direction.map(|v| sign * v)));
            }
        }
        let (_, from) = best.ok_or(Stop::Direction)?;
        let (direction, amplitude) =
            climb::<FMA>(axes.order(), &scratch.terms, from, TOLERANCE).ok_or(Stop::Direction)?;
        Ok(Heading { direction, amplitude })
    }
}

impl<T: Number> Functions<'_, T> {
    /// Order of the functions.
    #[inline(always)]
    pub fn order(&self) -> usize {
        self.peaks.axes.order()
    }

    /// The terms at a point; `None` outside of the field.
    #[inline(always)]
    pub(crate) fn sample<const FMA: bool>(&self, x: Vec3, terms: &mut Vec<f64>) -> Option<Taps> {
        let taps = self.field.taps(x)?;
        terms.resize(self.field.width(), 0.0);
        self.field.sample::<FMA>(&taps, terms);
        Some(taps)
    }

    /// The peaks at a point.
    #[inline(always)]
    pub(crate) fn starts<const FMA: bool>(
        &self,
        x: Vec3,
        scratch: &mut Scratch,
        out: &mut Vec<Heading>,
    ) {
        out.clear();
        if self.sample::<FMA>(x, &mut scratch.terms).is_some() {
            self.peaks.all::<FMA>(&scratch.terms, &mut scratch.values, out);
        }
    }
}

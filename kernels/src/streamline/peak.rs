//! The peak of a function on the sphere that Newton's method finds from the last direction.
//!
//! $$\delta = -H_T^{-1}\,P\nabla f,\qquad H_T = P\,\nabla^2 f\,P - (u\cdot\nabla f)\,P,\qquad P = I - uu^\top$$
//!
//! At a peak the gradient in the tangent plane is zero, so by the implicit function theorem
//! its derivative with respect to any number c is $-H_T^{-1}P\,\partial_c\nabla f$, and that of the
//! amplitude is $\partial_c f$ alone.
//!
//! Source: Tournier, Calamante & Connelly 2012, doi:10.1002/ima.22005 (SD_STREAM: follow the
//! peak nearest by Newton's method); Absil, Mahony & Sepulchre 2008, Optimization Algorithms
//! on Matrix Manifolds, eq. 5.15 (Hessian on the sphere). Validated by
//! `kernels/tests/streamlines.rs`.

use super::axes::AxisTable;
use super::lattice::{Lattice, Number};
use super::{Chance, Heading, Rule, Scratch, Stop, Vec3, along, dot, normals, unit};
use crate::sphere_series::{Jet, jet_of};

/// Newton's method stops after a step shorter than this: the next would be its square.
const TOLERANCE: f64 = 1e-7;
/// Longest step, rad.
const LONGEST: f64 = 0.3;
const STEPS: usize = 50;

/// A field of functions on the sphere whose nearest peak is followed.
#[derive(Clone, Debug)]
pub struct PeakRule<'a, T> {
    /// Collected terms ([`crate::sphere_series`]) in every voxel.
    pub field: &'a Lattice<T>,
    /// Order of the functions.
    pub order: usize,
    /// Lowest amplitude of a peak.
    pub threshold: f64,
    /// Where peaks are looked for at the seed.
    pub axes: &'a AxisTable,
    /// Peaks at the seed are at least this part of the largest.
    pub relative: f64,
    /// Largest cosine between peaks at the seed.
    pub cos_separation: f64,
}

/// The tangent Hessian at a direction and the gradient, in two normals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bend {
    pub(crate) normals: [Vec3; 2],
    pub(crate) slope: [f64; 2],
    /// 11, 12, 22.
    pub(crate) hessian: [f64; 3],
}

#[inline(always)]
pub(crate) fn bend(jet: &Jet, u: Vec3) -> Bend {
    let e = normals(u);
    let h = &jet.hessian;
    let times = |v: Vec3| {
        [
            h[0] * v[0] + h[3] * v[1] + h[4] * v[2],
            h[3] * v[0] + h[1] * v[1] + h[5] * v[2],
            h[4] * v[0] + h[5] * v[1] + h[2] * v[2],
        ]
    };
    let radial = dot(u, jet.gradient);
    let (a, b) = (times(e[0]), times(e[1]));
    Bend {
        normals: e,
        slope: [dot(e[0], jet.gradient), dot(e[1], jet.gradient)],
        hessian: [dot(e[0], a) - radial, dot(e[0], b), dot(e[1], b) - radial],
    }
}

impl Bend {
    /// $-H_T^{-1}$ times a tangent vector given by its components; `None` where the function
    /// does not fall in every direction.
    #[inline(always)]
    pub(crate) fn newton(&self, s: [f64; 2]) -> Option<[f64; 2]> {
        let [a, b, c] = self.hessian;
        let determinant = a * c - b * b;
        (a < 0.0 && determinant > 0.0)
            .then(|| [(b * s[1] - c * s[0]) / determinant, (b * s[0] - a * s[1]) / determinant])
    }
}

/// Climbs to the peak from a direction; `None` where there is none.
#[inline(always)]
pub(crate) fn climb<const FMA: bool>(order: usize, terms: &[f64], from: Vec3) -> Option<Heading> {
    let mut u = from;
    for _ in 0..STEPS {
        let jet = jet_of::<FMA>(order, terms, u);
        let bend = bend(&jet, u);
        let g = bend.slope;
        let size = (g[0] * g[0] + g[1] * g[1]).sqrt();
        let mut step = match bend.newton(g) {
            Some(step) => step,
            // Uphill, as far as the longest step.
            None if size > 0.0 => [LONGEST * g[0] / size, LONGEST * g[1] / size],
            None => return None,
        };
        let length = (step[0] * step[0] + step[1] * step[1]).sqrt();
        if !length.is_finite() {
            return None;
        }
        if length > LONGEST {
            step = [step[0] * LONGEST / length, step[1] * LONGEST / length];
        }
        u = unit(along(along(u, step[0], bend.normals[0]), step[1], bend.normals[1]));
        if length < TOLERANCE {
            // The value at the end of the step, to its third power.
            let amplitude = jet.value + 0.5 * (g[0] * step[0] + g[1] * step[1]);
            return Some(Heading { direction: u, amplitude });
        }
    }
    None
}

/// All peaks of a function that are at least `threshold` and at least `relative` of the
/// largest, apart by an angle whose cosine is at most `cos_separation`; the largest first.
pub fn find_peaks(
    order: usize,
    terms: &[f64],
    axes: &AxisTable,
    threshold: f64,
    relative: f64,
    cos_separation: f64,
    out: &mut Vec<Heading>,
) {
    let mut scratch = Scratch::default();
    peaks_of::<false>(
        order,
        terms,
        axes,
        [threshold, relative, cos_separation],
        &mut scratch.values,
        out,
    );
}

#[inline(always)]
pub(crate) fn peaks_of<const FMA: bool>(
    order: usize,
    terms: &[f64],
    axes: &AxisTable,
    [threshold, relative, cos_separation]: [f64; 3],
    values: &mut Vec<f32>,
    out: &mut Vec<Heading>,
) {
    out.clear();
    axes.evaluate::<FMA>(terms, values);
    axes.each_maximum(values, |axis| {
        if let Some(peak) = climb::<FMA>(order, terms, axis)
            && peak.amplitude >= threshold
            // Climbing from an edge of the cap of another peak is not a peak of its own.
            && out.iter().all(|o| dot(o.direction, peak.direction).abs() < 1.0 - 1e-6)
        {
            out.push(peak);
        }
    });
    out.sort_by(|a, b| b.amplitude.total_cmp(&a.amplitude));
    let Some(largest) = out.first().map(|p| p.amplitude) else { return };
    let mut kept = 0;
    for i in 0..out.len() {
        let peak = out[i];
        let apart =
            out[..kept].iter().all(|o| dot(o.direction, peak.direction).abs() <= cos_separation);
        if peak.amplitude >= relative * largest && apart {
            out[kept] = peak;
            kept += 1;
        }
    }
    out.truncate(kept);
}

impl<T: Number> PeakRule<'_, T> {
    #[inline(always)]
    fn terms<'s, const FMA: bool>(&self, x: Vec3, scratch: &'s mut Vec<f64>) -> Option<&'s [f64]> {
        let taps = self.field.taps(x)?;
        scratch.resize(self.field.width(), 0.0);
        self.field.sample::<FMA>(&taps, scratch);
        Some(scratch)
    }
}

impl<T: Number> Rule for PeakRule<'_, T> {
    fn starts(&self, x: Vec3, scratch: &mut Scratch, out: &mut Vec<Heading>) {
        out.clear();
        let Some(terms) = self.terms::<false>(x, &mut scratch.terms) else { return };
        let rule = [self.threshold, self.relative, self.cos_separation];
        peaks_of::<false>(self.order, terms, self.axes, rule, &mut scratch.values, out);
    }

    #[inline(always)]
    fn heading<const FMA: bool>(
        &self,
        x: Vec3,
        previous: Vec3,
        _chance: &mut Chance,
        scratch: &mut Scratch,
    ) -> Result<Heading, Stop> {
        let terms = self.terms::<FMA>(x, &mut scratch.terms).ok_or(Stop::Outside)?;
        let peak = climb::<FMA>(self.order, terms, previous).ok_or(Stop::Direction)?;
        if peak.amplitude >= self.threshold { Ok(peak) } else { Err(Stop::Threshold) }
    }
}

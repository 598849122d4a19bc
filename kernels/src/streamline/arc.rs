//! A draw of a circular arc by the field along it.
//!
//! $$x(s) = x + \frac{\sin\kappa s}{\kappa}\,t + \frac{1-\cos\kappa s}{\kappa}\,n,\qquad
//!   t(s) = \cos(\kappa s)\,t + \sin(\kappa s)\,n,\qquad p \propto m_i\, f(x(s_i), t(s_i))$$
//!
//! with m the geometric mean over the samples of one step (second-order integration over
//! fibre orientation distributions), or the arithmetic mean over a longer probe (parallel
//! transport tractography with a probe of no width). An arc with a sample below the threshold
//! is nothing (geometric mean), or one whose mean is (arithmetic mean).
//!
//! | symbol | unit | |
//! |---|---|---|
//! | κ | 1/mm | curvature, at most 2 sin(α/2)/h for steps h and angle α |
//! | t, n | | direction, unit normal |
//!
//! The published methods reject until an arc is accepted, up to 1000 times. Here `candidates`
//! arcs cover the disc of curvatures evenly, turned by a random angle and moved by a random radius
//! at every step, and one is drawn by its weight: the same law but for the spacing of
//! candidates, without a bound to calibrate.
//!
//! Source: Tournier, Calamante & Connelly 2010, Proc. ISMRM 18:1670; Aydogan & Shi 2021,
//! doi:10.1109/TMI.2020.3034038, eq. 5 to 9. Validated by
//! `arcs_follow_a_straight_field_and_are_drawn_by_weight` in `kernels/tests/suite/streamlines.rs`.

use super::functions::Functions;
use super::lattice::Number;
use super::march::Limits;
use super::{Chance, Heading, Rule, Scratch, State, Stop, Vec3};
use crate::sphere_series::value;
use crate::vector::{along, normals, unit};

/// How an arc is weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArcMean {
    /// Geometric mean; no sample below the threshold.
    Geometric,
    /// Arithmetic mean of what is positive; it is not below the threshold.
    Arithmetic,
}

/// A field of functions on the sphere along which arcs are drawn.
#[derive(Clone, Debug)]
pub struct ArcRule<'a, T> {
    /// The field; its lowest value is the threshold of the peaks.
    pub functions: Functions<'a, T>,
    /// Length over which an arc is weighed, mm.
    pub probe: f64,
    /// Samples along it, the last at its end.
    pub samples: usize,
    /// The weight.
    pub mean: ArcMean,
    /// Arcs at a step.
    pub candidates: usize,
    /// Largest curvature, 1/mm.
    pub curvature: f64,
}

/// Point and direction of an arc.
#[inline(always)]
fn on_arc(x: Vec3, t: Vec3, n: Vec3, kappa: f64, s: f64) -> (Vec3, Vec3) {
    let angle = kappa * s;
    let (sine, cosine) = angle.sin_cos();
    // sin(a)/a and (1 - cos a)/a, by their series near 0.
    let (forward, side) = if angle > 1e-4 {
        (sine / angle, (1.0 - cosine) / angle)
    } else {
        (1.0 - angle * angle / 6.0, 0.5 * angle)
    };
    let place = along(along(x, s * forward, t), s * side, n);
    let direction = along([0.0; 3], cosine, t);
    (place, along(direction, sine, n))
}

impl<T: Number> ArcRule<'_, T> {
    #[inline(always)]
    fn weight<const FMA: bool>(
        &self,
        x: Vec3,
        t: Vec3,
        n: Vec3,
        kappa: f64,
        terms: &mut Vec<f64>,
    ) -> f64 {
        let mut total = match self.mean {
            ArcMean::Geometric => 1.0,
            ArcMean::Arithmetic => 0.0,
        };
        for i in 1..=self.samples {
            let s = self.probe * i as f64 / self.samples as f64;
            let (place, direction) = on_arc(x, t, n, kappa, s);
            if self.functions.sample::<FMA>(place, terms).is_none() {
                return 0.0;
            }
            let v = value(self.functions.order(), terms, direction);
            match self.mean {
                ArcMean::Geometric if v < self.functions.peaks.threshold || v <= 0.0 => return 0.0,
                ArcMean::Geometric => total *= v,
                ArcMean::Arithmetic => total += v.max(0.0),
            }
        }
        match self.mean {
            ArcMean::Geometric => total.powf(1.0 / self.samples as f64),
            ArcMean::Arithmetic => {
                let mean = total / self.samples as f64;
                if mean < self.functions.peaks.threshold { 0.0 } else { mean }
            }
        }
    }
}

impl<T: Number> Rule for ArcRule<'_, T> {
    #[inline(always)]
    fn starts<const FMA: bool>(&self, x: Vec3, scratch: &mut Scratch, out: &mut Vec<Heading>) {
        self.functions.starts::<FMA>(x, scratch, out);
    }

    #[inline(always)]
    fn heading<const FMA: bool>(
        &self,
        x: Vec3,
        previous: Vec3,
        _chance: &mut Chance,
        scratch: &mut Scratch,
    ) -> Result<Heading, Stop> {
        self.functions.sample::<FMA>(x, &mut scratch.terms).ok_or(Stop::Outside)?;
        let amplitude = value(self.functions.order(), &scratch.terms, previous);
        if amplitude < self.functions.peaks.threshold {
            return Err(Stop::Threshold);
        }
        Ok(Heading { direction: previous, amplitude })
    }

    #[inline(always)]
    fn advance<const FMA: bool>(
        &self,
        state: &mut State,
        limits: &Limits,
        chance: &mut Chance,
        scratch: &mut Scratch,
    ) -> Result<(), Stop> {
        let (x, t) = (state.x, state.direction);
        let e = normals(t);
        let [turn, shift] = chance.pair();
        let [pick, _] = chance.pair();
        let golden = std::f64::consts::PI * (3.0 - 5.0_f64.sqrt());
        let n = self.candidates.max(1);
        scratch.arcs.clear();
        let mut total = 0.0;
        for j in 0..n {
            // Even over the disc of curvatures.
            let kappa = self.curvature * ((j as f64 + shift) / n as f64).sqrt();
            let (s, c) = (std::f64::consts::TAU * turn + golden * j as f64).sin_cos();
            let normal = along(along([0.0; 3], c, e[0]), s, e[1]);
            let w = self.weight::<FMA>(x, t, normal, kappa, &mut scratch.terms);
            total += w;
            scratch.arcs.push((w, kappa, normal));
        }
        if total <= 0.0 {
            return Err(Stop::Threshold);
        }
        let mut left = pick * total;
        let mut chosen = None;
        for (w, kappa, normal) in &scratch.arcs {
            if *w > 0.0 {
                chosen = Some((*w, *kappa, *normal));
                if left < *w {
                    break;
                }
                left -= w;
            }
        }
        let (w, kappa, normal) = chosen.ok_or(Stop::Threshold)?;
        let (place, direction) = on_arc(x, t, normal, kappa, limits.step);
        state.x = place;
        state.direction = unit(direction);
        state.amplitude = w;
        Ok(())
    }
}

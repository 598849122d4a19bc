//! Resampled residuals: at every step the measured signals are replaced by what a series of
//! harmonics fits to them plus residuals drawn from all measurements.
//!
//! $$m^* = Hm + (Rm)_{\pi},\qquad c = A\,g(v) + B\,v + c_0,\qquad v = \max(m^*, m_{\min})/\bar b_0$$
//!
//! | symbol | |
//! |---|---|
//! | m | signals of the weighted measurements at the point |
//! | H | hat matrix of the fit |
//! | R | residuals, divided by sqrt(1 - leverage), centred |
//! | π | indices drawn with replacement |
//! | g | ln(-ln v) (constant solid angle), or -ln v (3/2 + ln v) v (orientation probability) |
//! | A, B, c_0 | what makes terms of the orientation function of it |
//!
//! The direction is the closest peak of the function; where there is none the residuals are
//! drawn again, up to `attempts` times.
//!
//! Source: Berman et al. 2008, doi:10.1016/j.neuroimage.2007.08.021, section 2.3 (residual
//! bootstrap); Aganj et al. 2010, doi:10.1002/mrm.22365, eq. 14 (CSA); Tristán-Vega, Westin &
//! Aja-Fernández 2010, doi:10.1016/j.neuroimage.2009.11.066, eq. 20 (OPDT). Validated by
//! `bootstrap_of_exact_signals_is_the_peak` in `kernels/tests/suite/streamlines.rs`.

use super::functions::Peaks;
use super::lattice::{Lattice, Number};
use super::{Chance, Heading, Rule, Scratch, Stop, Vec3};
use crate::log::log_plain;
use crate::simd::madd;
use crate::vector::dot;

/// Smallest and largest relative signal of the constant solid angle function.
const CLAMP: [f64; 2] = [0.001, 0.999];

/// What makes an orientation function of signals.
#[derive(Clone, Debug)]
pub struct Resampling {
    /// Number of weighted measurements.
    pub measurements: usize,
    /// H, `[column][row]`, rows filled up to a multiple of 8.
    pub hat: Vec<f64>,
    /// R in the same layout.
    pub residual: Vec<f64>,
    /// A, `[measurement][term]`, terms filled up to a multiple of 8.
    pub outer: Vec<f64>,
    /// B in the same layout; empty for none.
    pub linear: Vec<f64>,
    /// c_0, as many as the filled terms.
    pub constant: Vec<f64>,
    /// Whether g is that of the constant solid angle.
    pub solid_angle: bool,
    /// Lowest signal.
    pub lowest: f64,
}

/// A field of signals that are resampled.
#[derive(Clone, Debug)]
pub struct BootstrapRule<'a, T> {
    /// Signals of the weighted measurements in every voxel, then the mean of b = 0.
    pub field: &'a Lattice<T>,
    /// From signals to functions.
    pub resampling: &'a Resampling,
    /// Peaks of the functions.
    pub peaks: Peaks<'a>,
    /// Largest angle of a step, by its cosine.
    pub cos_angle: f64,
    /// How often residuals are drawn where there is no peak in the cone.
    pub attempts: u32,
}

/// out += M x, columns after one another.
#[inline(always)]
fn product<const FMA: bool>(columns: &[f64], x: &[f64], out: &mut [f64]) {
    let rows = out.len();
    for (column, v) in columns.chunks_exact(rows).zip(x) {
        for (o, m) in out.iter_mut().zip(column) {
            *o = madd::<FMA>(*m, *v, *o);
        }
    }
}

impl Resampling {
    /// The terms of the function of relative signals, which are overwritten.
    pub fn function(&self, v: &mut [f64], terms: &mut Vec<f64>) {
        self.terms::<false>(v, terms);
    }

    /// The terms of the function of relative signals.
    #[inline(always)]
    pub(crate) fn terms<const FMA: bool>(&self, v: &mut [f64], terms: &mut Vec<f64>) {
        terms.clear();
        terms.extend_from_slice(&self.constant);
        if !self.linear.is_empty() {
            product::<FMA>(&self.linear, v, terms);
        }
        for v in v.iter_mut() {
            *v = if self.solid_angle {
                log_plain(-log_plain(v.clamp(CLAMP[0], CLAMP[1])))
            } else {
                let l = log_plain(v.max(f64::MIN_POSITIVE));
                -l * (1.5 + l) * *v
            };
        }
        product::<FMA>(&self.outer, v, terms);
    }
}

impl<T: Number> BootstrapRule<'_, T> {
    /// Fit and residuals of the signals at a point, and the mean of b = 0.
    #[inline(always)]
    fn fit<const FMA: bool>(&self, x: Vec3, scratch: &mut Scratch) -> Result<f64, Stop> {
        let taps = self.field.taps(x).ok_or(Stop::Outside)?;
        let n = self.resampling.measurements;
        scratch.terms.resize(self.field.width(), 0.0);
        self.field.sample::<FMA>(&taps, &mut scratch.terms);
        let b0 = scratch.terms[n];
        if b0.is_nan() || b0 <= 0.0 {
            return Err(Stop::Threshold);
        }
        let rows = n.next_multiple_of(8);
        let [fitted, residuals, _] = &mut scratch.signals;
        for (out, matrix) in
            [(fitted, &self.resampling.hat), (residuals, &self.resampling.residual)]
        {
            out.clear();
            out.resize(rows, 0.0);
            product::<FMA>(matrix, &scratch.terms[..n], out);
        }
        Ok(b0)
    }
}

impl<T: Number> Rule for BootstrapRule<'_, T> {
    #[inline(always)]
    fn starts<const FMA: bool>(&self, x: Vec3, scratch: &mut Scratch, out: &mut Vec<Heading>) {
        out.clear();
        let Ok(b0) = self.fit::<FMA>(x, scratch) else { return };
        let n = self.resampling.measurements;
        let mut v: Vec<f64> =
            scratch.terms[..n].iter().map(|s| s.max(self.resampling.lowest) / b0).collect();
        let mut terms = Vec::new();
        self.resampling.terms::<FMA>(&mut v, &mut terms);
        self.peaks.all::<FMA>(&terms, &mut scratch.values, out);
    }

    #[inline(always)]
    fn heading<const FMA: bool>(
        &self,
        x: Vec3,
        previous: Vec3,
        chance: &mut Chance,
        scratch: &mut Scratch,
    ) -> Result<Heading, Stop> {
        let b0 = self.fit::<FMA>(x, scratch)?;
        let n = self.resampling.measurements;
        let mut why = Stop::Direction;
        for _ in 0..self.attempts.max(1) {
            let [fitted, residuals, drawn] = &mut scratch.signals;
            drawn.clear();
            for quad in fitted[..n].chunks(4) {
                for (f, word) in quad.iter().zip(chance.words()) {
                    // The high part of the product: even to 2^-32.
                    let pick = (u64::from(word) * n as u64) >> 32;
                    let m = f + residuals[pick as usize];
                    drawn.push(m.max(self.resampling.lowest) / b0);
                }
            }
            self.resampling.terms::<FMA>(drawn, &mut scratch.terms);
            match self.peaks.closest::<FMA>(previous, scratch) {
                Ok(peak) if dot(peak.direction, previous) >= self.cos_angle => return Ok(peak),
                Ok(_) => why = Stop::Angle,
                Err(stop) => why = stop,
            }
        }
        Err(why)
    }
}

//! How well a sinogram fits its mirror image about an axis: a score of the axis in closed
//! form.
//!
//! A ray seen from behind is the same ray, $p(\theta + \pi, u) = p(\theta, 2c - u)$, with the
//! axis at pixel $c$. A mirror image is $e^{-2i\omega c}\overline{\hat p}$ in frequencies along u,
//! so every misfit that is linear in the projections has the form $X + e^{-2i\omega c}Y$ and
//!
//! $$E(c) = \sum |X + e^{-2i\omega c}Y|^2 = P + 2\,\mathrm{Re}\sum_\omega e^{-2i\omega c}G(\omega),
//!   \qquad G = \sum \bar X Y$$
//!
//! is a sum of few cosines: it is known for every $c$, also between pixels, after one pass.
//!
//! *Full turn*: X and −Y are the transforms of views half a turn apart. *Half turn*: the scan
//! and its mirror image are a full turn; an object within R of the axis leaves the angular
//! frequencies $|m| > R\omega$ empty (a double wedge), and X, Y are what the two halves have
//! there.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $c$ | pixel | axis |
//! | $\omega$ | rad a pixel | frequency along u |
//! | $m$ | cycles a turn | frequency along the views |
//! | $R$ | pixel | radius of the object |
//!
//! Source: Vo, Drakopoulos, Atwood & Reinhard 2014, doi:10.1364/OE.22.019078 (the double
//! wedge; there a mean of moduli, here squares, which have this closed form). Validated by
//! `the_axis_is_found` in `inference/tests/suite/prepare.rs` and the tests below.

use rustfft::{FftPlanner, num_complex::Complex};
use std::f64::consts::{PI, TAU};

/// Angular frequencies beside the double wedge that are left out, too: the edge is not sharp
/// where frequencies are low.
const MARGIN: usize = 6;

/// The sums of which a score is made; those of several sinograms may be added.
#[derive(Debug, Clone, PartialEq)]
pub struct MirrorSums {
    /// Spacing of the frequencies, rad a pixel.
    step: f64,
    /// G of every frequency.
    cross: Vec<Complex<f64>>,
    /// P.
    power: f64,
    /// Number of terms.
    terms: f64,
    /// Sum of ω² over the terms.
    weight: f64,
    /// Length of a row with its zeros over that without: so many neighbouring frequencies
    /// have one noise.
    padding: f64,
}

/// An axis with its standard deviation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis {
    /// Pixel, counted from 0; pixels may be split.
    pub centre: f64,
    /// Standard deviation, for misfits that are independent noise.
    pub sd: f64,
}

/// Transforms along u of a sinogram `[view, u]`, twice as long with zeros, frequencies above
/// zero.
fn along_u(sinogram: &[f64], nu: usize) -> (Vec<Vec<Complex<f64>>>, f64) {
    let length = (2 * nu).next_power_of_two();
    let fft = FftPlanner::new().plan_fft_forward(length);
    let rows = sinogram.chunks_exact(nu).map(|row| {
        let mut buffer = vec![Complex::default(); length];
        buffer.iter_mut().zip(row).for_each(|(b, v)| *b = Complex::new(*v, 0.0));
        fft.process(&mut buffer);
        buffer.truncate(length / 2);
        buffer
    });
    (rows.collect(), TAU / length as f64)
}

impl MirrorSums {
    fn empty(frequencies: usize, step: f64, nu: usize) -> Self {
        let cross = vec![Complex::default(); frequencies];
        let padding = 2.0 * frequencies as f64 / nu as f64;
        Self { step, cross, power: 0.0, terms: 0.0, weight: 0.0, padding }
    }

    fn add_term(&mut self, j: usize, x: Complex<f64>, y: Complex<f64>) {
        self.cross[j] += x.conj() * y;
        self.power += x.norm_sqr() + y.norm_sqr();
        self.terms += 1.0;
        let omega = j as f64 * self.step;
        self.weight += omega * omega;
    }

    /// From pairs of views half a turn apart, `(view, the one from behind)`.
    pub fn of_pairs(sinogram: &[f64], nu: usize, pairs: &[(usize, usize)]) -> Self {
        let (rows, step) = along_u(sinogram, nu);
        let mut sums = Self::empty(rows.first().map_or(0, Vec::len), step, nu);
        for &(front, behind) in pairs {
            #[allow(clippy::needless_range_loop, reason = "two rows at one frequency")]
            for j in 1..sums.cross.len() {
                sums.add_term(j, rows[behind][j], -rows[front][j].conj());
            }
        }
        sums
    }

    /// From views evenly over half a turn, its end left out; `radius` R in pixels.
    pub fn of_half_turn(sinogram: &[f64], nu: usize, radius: f64) -> Self {
        let (rows, step) = along_u(sinogram, nu);
        let n = rows.len();
        let mut sums = Self::empty(rows.first().map_or(0, Vec::len), step, nu);
        let fft = FftPlanner::new().plan_fft_forward(2 * n);
        let mut buffer = vec![Complex::default(); 2 * n];
        for j in 1..sums.cross.len() {
            let omega = j as f64 * step;
            let first = (radius * omega).ceil() as usize + MARGIN;
            if first >= n {
                break;
            }
            buffer.fill(Complex::default());
            buffer.iter_mut().zip(&rows).for_each(|(b, row)| *b = row[j]);
            fft.process(&mut buffer);
            // m and -m say the same.
            for m in first..n {
                let sign = if m % 2 == 0 { 1.0 } else { -1.0 };
                sums.add_term(j, buffer[m], sign * buffer[2 * n - m].conj());
            }
        }
        sums
    }

    /// Adds the sums of another sinogram of the same size.
    pub fn add(&mut self, other: &MirrorSums) {
        self.cross.iter_mut().zip(&other.cross).for_each(|(a, b)| *a += *b);
        self.power += other.power;
        self.terms += other.terms;
        self.weight += other.weight;
    }

    /// E(c) over P: 0 where everything fits; 1 where nothing is common.
    pub fn score(&self, centre: f64) -> f64 {
        if self.power == 0.0 { 1.0 } else { self.derivatives(centre)[0] / self.power }
    }

    /// E, E' and E'' at an axis.
    fn derivatives(&self, centre: f64) -> [f64; 3] {
        let (mut e, mut slope, mut curve) = (self.power, 0.0, 0.0);
        for (j, g) in self.cross.iter().enumerate() {
            let omega = 2.0 * j as f64 * self.step;
            let z = Complex::from_polar(1.0, -omega * centre) * g;
            e += 2.0 * z.re;
            slope += 2.0 * omega * z.im;
            curve -= 2.0 * omega * omega * z.re;
        }
        [e, slope, curve]
    }

    /// The axis of least E between `low` and `high`: a search of steps of a quarter pixel,
    /// then Newton. `None` where there is no minimum inside.
    ///
    /// The standard deviation is that of independent noise in X and Y,
    /// $\operatorname{var} c = (q\sigma^2E'' + 2\sigma^4\sum\omega^2)/E''^2$ with
    /// $\sigma^2 = E/\text{terms}$ and $q$ the length of a row with its zeros over that
    /// without.
    pub fn minimum(&self, low: f64, high: f64) -> Option<Axis> {
        let steps = ((high - low) * 4.0).ceil().max(1.0) as usize;
        let at = |k: usize| low + (high - low) * k as f64 / steps as f64;
        let scores: Vec<f64> = (0..=steps).map(|k| self.derivatives(at(k))[0]).collect();
        let best = (0..=steps).min_by(|a, b| scores[*a].total_cmp(&scores[*b]))?;
        if best == 0 || best == steps || self.power == 0.0 {
            return None;
        }
        let (mut a, mut b) = (at(best - 1), at(best + 1));
        let mut centre = at(best);
        for _ in 0..60 {
            let [_, slope, curve] = self.derivatives(centre);
            if slope > 0.0 {
                b = centre
            } else {
                a = centre
            }
            let next = centre - slope / curve;
            let next = if curve > 0.0 && next > a && next < b { next } else { 0.5 * (a + b) };
            let moved = (next - centre).abs();
            centre = next;
            if moved < 1e-12 * high.abs().max(1.0) {
                break;
            }
        }
        let [e, _, curve] = self.derivatives(centre);
        if curve <= 0.0 {
            return None;
        }
        let noise = (e / self.terms).max(0.0);
        let sd = (self.padding * noise * curve + 2.0 * noise * noise * self.weight).sqrt() / curve;
        Some(Axis { centre, sd })
    }
}

/// Pairs of views half a turn apart, to `tolerance` rad.
pub fn pairs(angles: &[f64], tolerance: f64) -> Vec<(usize, usize)> {
    let mut order: Vec<usize> = (0..angles.len()).collect();
    let turn: Vec<f64> = angles.iter().map(|a| a.rem_euclid(TAU)).collect();
    order.sort_by(|a, b| turn[*a].total_cmp(&turn[*b]));
    let sorted: Vec<f64> = order.iter().map(|k| turn[*k]).collect();
    let mut found = Vec::new();
    for (front, angle) in angles.iter().enumerate() {
        let wanted = (angle + PI).rem_euclid(TAU);
        let at = sorted.partition_point(|a| *a < wanted);
        let near = [at.checked_sub(1).unwrap_or(sorted.len() - 1), at % sorted.len()];
        let apart = |k: &usize| {
            let d = (sorted[*k] - wanted).abs();
            d.min(TAU - d)
        };
        let best = if apart(&near[0]) <= apart(&near[1]) { near[0] } else { near[1] };
        let behind = order[best];
        // Each pair once.
        if apart(&best) <= tolerance && (front < behind || !found.contains(&(behind, front))) {
            found.push((front, behind));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gaussian blobs about an axis.
    fn sinogram(angles: &[f64], nu: usize, centre: f64) -> Vec<f64> {
        let blobs = [(6.0, 3.0, 2.0, 1.0), (-9.0, 4.0, 1.5, 0.7), (2.0, -11.0, 3.0, 0.4)];
        let mut out = Vec::new();
        for a in angles {
            let (s, c) = a.sin_cos();
            for u in 0..nu {
                let at = |(x, y, w, h): (f64, f64, f64, f64)| {
                    let d = (u as f64 - centre - (x * c + y * s)) / w;
                    h * (-0.5 * d * d).exp()
                };
                out.push(blobs.into_iter().map(at).sum());
            }
        }
        out
    }

    #[test]
    fn closed_forms_find_the_axis() {
        let (n, nu) = (90, 64);
        for centre in [31.5, 29.37, 36.81] {
            let half: Vec<f64> = (0..n).map(|k| PI * k as f64 / n as f64).collect();
            let sums = MirrorSums::of_half_turn(&sinogram(&half, nu, centre), nu, 34.0);
            let found = sums.minimum(20.0, 44.0).map_or(f64::NAN, |a| a.centre);
            assert!((found - centre).abs() < 1e-6, "{found} {centre}");
            let full: Vec<f64> = (0..n).map(|k| TAU * k as f64 / n as f64).collect();
            let found = pairs(&full, 1e-6);
            assert_eq!(found.len(), n / 2);
            let sums = MirrorSums::of_pairs(&sinogram(&full, nu, centre), nu, &found);
            let axis = sums.minimum(20.0, 44.0).map_or(f64::NAN, |a| a.centre);
            assert!((axis - centre).abs() < 1e-6, "{axis} {centre}");
            assert!(sums.score(centre) < 1e-9 && sums.score(centre + 2.0) > 0.05);
        }
    }

    #[test]
    fn derivatives_equal_differences() {
        let full: Vec<f64> = (0..40).map(|k| TAU * k as f64 / 40.0).collect();
        let sums = MirrorSums::of_pairs(&sinogram(&full, 50, 24.0), 50, &pairs(&full, 1e-6));
        let (c, h) = (25.3, 1e-4);
        let [e, slope, curve] = sums.derivatives(c);
        let [up, slope_up, _] = sums.derivatives(c + h);
        let [down, slope_down, _] = sums.derivatives(c - h);
        assert!(((up - down) / (2.0 * h) - slope).abs() < 1e-6 * e);
        assert!(((slope_up - slope_down) / (2.0 * h) - curve).abs() < 1e-6 * e);
        assert!(sums.minimum(24.3, 24.9).is_none());
    }
}

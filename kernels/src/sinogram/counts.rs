//! Counts, flats and darks to line integrals, with the inverse variance of each.
//!
//! $$p = \ln(F - D) - \ln(y - D),\qquad
//!   \operatorname{var} p = \frac{\operatorname{var} y}{s^2} + \frac{\operatorname{var} F}{w^2}
//!   + \operatorname{var} D\left(\frac1s - \frac1w\right)^2,\quad s = y - D,\ w = F - D$$
//!
//! $$\operatorname{var} y = g\,s + r^2,\qquad \operatorname{var} F = k_F\,(g\,w + r^2)/n_F,\qquad
//!   \operatorname{var} D = k_D\,r^2/n_D$$
//!
//! A pixel with $s$ below half a photon, $g/2$, counts as half a photon. A pixel whose flat
//! is not above its dark is dead: its value is interpolated along u and its weight is 0.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $y, F, D$ | counts | projection, mean flat, mean dark |
//! | $g$ | counts a photon | gain of the detector |
//! | $r$ | counts | noise of a dark image |
//! | $n$ | | number of images averaged |
//! | $k$ | | 1 for a mean; $\pi/2$ for a median of three and more |
//! | $p$ | 1 | line integral |
//!
//! Errors of flat and dark are common to all views; `var p` counts them for each view alone.
//!
//! Source: first-order propagation; for the variance of log counts see Sauer & Bouman 1993,
//! doi:10.1109/78.193196; for the gain from flats (photon transfer) Janesick 2007,
//! doi:10.1117/3.725073. Validated by `weights_are_inverse_variances` in
//! `inference/tests/suite/prepare.rs` and by the tests below.

use super::median;
use crate::ray::Real;

/// How images are averaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Averaging {
    /// The mean.
    Mean,
    /// The median: bright outliers do not count.
    Median,
}

/// The average of some images, `[pixel]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Average {
    /// The average.
    pub value: Vec<f64>,
    /// The variance of one image about the mean; empty for a single image.
    pub variance: Vec<f64>,
    /// Number of images over the factor of the averaging: the variance of `value` is that of
    /// an image over this.
    pub images: f64,
}

impl Average {
    /// Averages images `[image, pixel]`.
    pub fn of(images: &[f64], pixels: usize, averaging: Averaging) -> Self {
        let n = images.len() / pixels.max(1);
        let mut value = Vec::with_capacity(pixels);
        let mut variance = Vec::with_capacity(if n > 1 { pixels } else { 0 });
        let mut column = vec![0.0; n];
        for at in 0..pixels {
            column.iter_mut().enumerate().for_each(|(k, c)| *c = images[k * pixels + at]);
            let mean = column.iter().sum::<f64>() / n as f64;
            if n > 1 {
                let sum: f64 = column.iter().map(|c| (c - mean) * (c - mean)).sum();
                variance.push(sum / (n - 1) as f64);
            }
            value.push(match averaging {
                Averaging::Mean => mean,
                Averaging::Median => median(&mut column),
            });
        }
        let factor =
            if averaging == Averaging::Median && n > 2 { std::f64::consts::FRAC_PI_2 } else { 1.0 };
        Self { value, variance, images: n as f64 / factor }
    }

    /// An average that is known exactly.
    pub fn exact(value: Vec<f64>) -> Self {
        Self { value, variance: Vec::new(), images: f64::INFINITY }
    }
}

/// What a view is compared with, `[pixel]`.
#[derive(Debug, Clone, Default)]
pub struct Reference {
    /// Mean dark.
    pub dark: Vec<f64>,
    /// Mean flat less mean dark.
    pub span: Vec<f64>,
    /// Variance of the mean dark.
    pub var_dark: f64,
    /// Variance of the mean flat.
    pub var_flat: Vec<f64>,
    /// Variance of one dark image.
    pub var_read: f64,
    /// Counts a photon.
    pub gain: f64,
}

/// What happened to the pixels of a view.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Pixels of less than half a photon.
    pub starved: usize,
    /// Pixels whose flat is not above the dark.
    pub dead: usize,
}

impl std::ops::Add for Tally {
    type Output = Tally;

    fn add(self, other: Tally) -> Tally {
        Tally { starved: self.starved + other.starved, dead: self.dead + other.dead }
    }
}

impl Reference {
    /// The line integrals of a view and their inverse variances.
    ///
    /// `mask_starved` gives pixels of less than half a photon the weight 0.
    ///
    /// # Shapes
    /// All `[v, u]` with rows of `nu` pixels.
    pub fn line_integrals<T: Real>(
        &self,
        counts: &[f64],
        nu: usize,
        mask_starved: bool,
        out: &mut [T],
        weights: &mut [T],
    ) -> Tally {
        let floor = 0.5 * self.gain;
        let mut tally = Tally::default();
        for (at, &y) in counts.iter().enumerate() {
            let w = self.span[at];
            // Also for NaN.
            if !(w > 0.0 && w.is_finite()) {
                tally.dead += 1;
                out[at] = T::narrow(f64::NAN);
                weights[at] = T::narrow(0.0);
                continue;
            }
            let above = y - self.dark[at];
            let is_starved = above < floor;
            let s = above.max(floor);
            let var_y = self.gain * s + self.var_read;
            let common = 1.0 / s - 1.0 / w;
            let variance =
                var_y / (s * s) + self.var_flat[at] / (w * w) + self.var_dark * common * common;
            out[at] = T::narrow(w.ln() - s.ln());
            weights[at] = T::narrow(if is_starved && mask_starved { 0.0 } else { 1.0 / variance });
            tally.starved += usize::from(is_starved);
        }
        if tally.dead > 0 {
            out.chunks_exact_mut(nu).for_each(bridge);
        }
        tally
    }
}

/// Values that are not finite, by linear interpolation between the nearest others of the
/// row; 0 where there are none.
pub fn bridge<T: Real>(row: &mut [T]) {
    let finite = |v: T| v.wide().is_finite();
    let mut last: Option<usize> = None;
    let mut at = 0;
    while at < row.len() {
        if finite(row[at]) {
            last = Some(at);
            at += 1;
            continue;
        }
        let next = (at..row.len()).find(|k| finite(row[*k]));
        let end = next.unwrap_or(row.len());
        for k in at..end {
            let value = match (last, next) {
                (Some(a), Some(b)) => {
                    let t = (k - a) as f64 / (b - a) as f64;
                    (1.0 - t) * row[a].wide() + t * row[b].wide()
                }
                (Some(a), None) => row[a].wide(),
                (None, Some(b)) => row[b].wide(),
                (None, None) => 0.0,
            };
            row[k] = T::narrow(value);
        }
        at = end;
    }
}

/// Subtracts from every row the line through the means of its first and last `air` pixels:
/// there the beam meets nothing.
pub fn level_air<T: Real>(row: &mut [T], air: usize) {
    let n = row.len();
    let air = air.min(n / 2);
    if air == 0 {
        return;
    }
    let mean = |part: &[T]| part.iter().map(|v| v.wide()).sum::<f64>() / air as f64;
    let (left, right) = (mean(&row[..air]), mean(&row[n - air..]));
    // The means stand at the middles of the two strips.
    let first = 0.5 * (air as f64 - 1.0);
    let slope = (right - left) / (n as f64 - 1.0 - 2.0 * first);
    for (at, v) in row.iter_mut().enumerate() {
        *v = T::narrow(v.wide() - left - slope * (at as f64 - first));
    }
}

/// Counts a photon from flats: the slope of variance over mean, all pixels together.
///
/// `var_read` is the variance of a dark image. Slow changes of the whole beam must have been
/// divided out. `None` where the variance is not above that of the dark.
pub fn gain(flat: &Average, dark: &[f64], var_read: f64) -> Option<f64> {
    if flat.variance.is_empty() {
        return None;
    }
    let (mut variance, mut span) = (0.0, 0.0);
    for ((v, f), d) in flat.variance.iter().zip(&flat.value).zip(dark) {
        if f > d {
            variance += v - var_read;
            span += f - d;
        }
    }
    let gain = variance / span;
    (gain > 0.0 && gain.is_finite()).then_some(gain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(pixels: usize) -> Reference {
        Reference {
            dark: vec![10.0; pixels],
            span: vec![1000.0; pixels],
            var_dark: 0.5,
            var_flat: vec![100.0; pixels],
            var_read: 5.0,
            gain: 1.0,
        }
    }

    #[test]
    fn counts_give_line_integrals_back() {
        let p = [0.0, 1.0, 2.5, -0.01];
        let counts = p.map(|p: f64| 10.0 + 1000.0 * (-p).exp());
        let (mut out, mut w) = ([0.0_f64; 4], [0.0_f64; 4]);
        let tally = reference(4).line_integrals(&counts, 4, false, &mut out, &mut w);
        assert_eq!(tally, Tally::default());
        for k in 0..4 {
            assert!((out[k] - p[k]).abs() < 1e-14, "{out:?}");
            let s = counts[k] - 10.0;
            let c = 1.0 / s - 1e-3;
            let variance = (s + 5.0) / (s * s) + 100.0 / 1e6 + 0.5 * c * c;
            assert!((w[k] * variance - 1.0).abs() < 1e-14);
        }
    }

    #[test]
    fn starved_and_dead_pixels_are_counted() {
        let mut r = reference(6);
        r.span[2] = 0.0;
        r.span[5] = f64::NAN;
        let counts = [10.0, 3.0, 500.0, 10.5, 1010.0, 9.0];
        let (mut out, mut w) = ([0.0_f32; 6], [0.0_f32; 6]);
        let tally = r.line_integrals(&counts, 6, true, &mut out, &mut w);
        assert_eq!(tally, Tally { starved: 2, dead: 2 });
        let half = (2000.0_f32).ln();
        for (value, expected) in out.iter().zip([half, half, half, half, 0.0, 0.0]) {
            assert!((value - expected).abs() < 1e-5, "{out:?}");
        }
        assert_eq!([w[0], w[1], w[2], w[5]], [0.0; 4]);
        assert!(w[3] > 0.0 && w[4] > w[3]);
        r.line_integrals(&counts, 6, false, &mut out, &mut w);
        assert!(w[0] > 0.0 && w[0] == w[3]);
    }

    #[test]
    fn gaps_are_bridged_and_air_levelled() {
        let n = f64::NAN;
        let mut row = [n, 1.0, n, n, 4.0, n];
        bridge(&mut row);
        assert_eq!(row, [1.0, 1.0, 2.0, 3.0, 4.0, 4.0]);
        let mut row = [n, n];
        bridge(&mut row);
        assert_eq!(row, [0.0, 0.0]);
        let mut row: Vec<f64> = (0..10).map(|k| 0.1 * k as f64 + 3.0).collect();
        row[5] += 1.0;
        level_air(&mut row, 2);
        for (k, v) in row.iter().enumerate() {
            let expected = if k == 5 { 1.0 } else { 0.0 };
            assert!((v - expected).abs() < 1e-14, "{row:?}");
        }
    }

    #[test]
    fn averages() {
        let images = [1.0, 2.0, 3.0, 4.0, 8.0, 0.0];
        let mean = Average::of(&images, 2, Averaging::Mean);
        assert_eq!((mean.value, mean.images), (vec![4.0, 2.0], 3.0));
        assert_eq!(mean.variance, [13.0, 4.0]);
        assert_eq!(Average::of(&images, 2, Averaging::Median).value, [3.0, 2.0]);
        assert!(Average::of(&images[..2], 2, Averaging::Median).variance.is_empty());
    }
}

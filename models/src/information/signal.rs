//! What one measurement tells about its signal: the expected information of a noise.
//!
//! $$w(S) = \mathrm{E}\Big[\Big(\frac{\partial\ln p}{\partial S}\Big)^2\Big]
//!   = \frac{F(S/\sigma)}{\sigma^2},\qquad
//!   F(a) = \int_0^\infty p(y\mid a)\,[y\,r(ya) - a]^2\,dy$$
//!
//! | noise | $F$ |
//! |---|---|
//! | Gaussian | 1 |
//! | Student-t | $(\nu + 1)/(\nu + 3)$ |
//! | Rician | the integral with $r = I_1/I_0$: $a^2$ for small $a$, $1 - 1/2a^2$ for large |
//! | non-central chi of N coils | the integral with $r = I_N/I_{N-1}$: $a^2/N$ for small $a$ |
//!
//! The integral is a Gauss-Legendre sum over nine standard deviations about the mean,
//! and stands in a table of $R(a) = F(a)\,(a^2 + N)/a^2$, which is 1 at both ends, over
//! $\ln(1 + a)$ with cubic pieces through value and slope (`table_equals_quadrature`:
//! 1e-7 of $F$). The slope of $F$ is that of the pieces, so a gradient is the
//! derivative of the values that it comes with.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $S, \sigma$ | of the signals | noise-free signal, noise of one channel |
//! | $a = S/\sigma$ | 1 | |
//!
//! Source: Karlsen, Verhagen & Bovée 1999,
//! doi:10.1002/(SICI)1522-2594(199903)41:3<614::AID-MRM26>3.0.CO;2-1 (Rician); Alexander
//! 2008, doi:10.1002/mrm.21646 (its use in design); Lange, Little & Taylor 1989,
//! doi:10.1080/01621459.1989.10478852 (Student-t). Validated by
//! `rician_information_equals_quadrature`, `table_equals_quadrature` and `ends_are_known`.

use crate::noise::{Constants, NoiseKind};
use microtome_kernels::legendre::gauss_legendre;

/// Pieces of the table a unit of ln(1 + a).
const PIECES: f64 = 64.0;
/// The table ends here; R is 1 to 1e-6 beyond.
const A_MAX: f64 = 2e4;
/// Points of the quadrature.
const NODES: usize = 120;
/// Half width of the quadrature, standard deviations.
const REACH: f64 = 9.0;

/// The expected information of one measurement about its signal, for one noise.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalInformation {
    kind: NoiseKind,
    /// R and its slope with respect to ln(1 + a), at equal steps; empty where F is constant.
    table: Vec<[f64; 2]>,
}

/// $F(a)$ and $F'(a)$ of magnitudes of N coils, by quadrature.
///
/// $F' = \mathrm{E}[u^3] + 2\mathrm{E}[u\,u']$ with the score $u$, since
/// $\partial p/\partial a = p\,u$.
fn quadrature(kind: NoiseKind, coils: u32, a: f64, rule: &[(f64, f64)]) -> [f64; 2] {
    // The mean of y² is a² + 2N and the variance of y at most 1.
    let middle = (a * a + 2.0 * f64::from(coils)).sqrt();
    let (low, high) = ((middle - REACH).max(0.0), middle + REACH);
    let (half, centre) = (0.5 * (high - low), 0.5 * (high + low));
    let mut sum = [0.0; 2];
    for (node, weight) in rule {
        let mut y = [0.0; 8];
        let (mut s, mut mask) = (y, y);
        (y[0], s[0], mask[0]) = (centre + half * node, a, 1.0);
        let (mut score, mut curvature) = ([0.0; 8], [0.0; 8]);
        let ln_p = kind.curvature(&y, &s, &mask, 1.0, &mut score, &mut curvature)
            + Constants::new(kind, &y[..1]).at(1.0);
        let (p, u) = (half * weight * ln_p.exp(), score[0]);
        sum[0] += p * u * u;
        sum[1] += p * u * (u * u - 2.0 * curvature[0]);
    }
    sum
}

impl SignalInformation {
    /// Prepares a noise: for magnitudes a table of some 640 integrals.
    pub fn new(kind: NoiseKind) -> Self {
        let Some(coils) = kind.coils() else { return Self { kind, table: Vec::new() } };
        let n = f64::from(coils);
        let rule = gauss_legendre(NODES);
        let steps = (A_MAX.ln_1p() * PIECES).ceil() as usize;
        let row = |i: usize| {
            let a = (i as f64 / PIECES).exp_m1();
            if a == 0.0 {
                return [1.0, 0.0];
            }
            let [f, slope] = quadrature(kind, coils, a, &rule);
            let (square, factor) = (a * a, (a * a + n) / (a * a));
            let ratio = f * factor;
            let d_ratio = slope * factor - f * 2.0 * n / (square * a);
            [ratio, d_ratio * (1.0 + a)]
        };
        Self { kind, table: (0..=steps).map(row).collect() }
    }

    /// The noise.
    pub fn kind(&self) -> NoiseKind {
        self.kind
    }

    /// $w$ and $\partial w/\partial S$ at a signal.
    ///
    /// # Units
    /// `s` and `sigma` in the unit of the signals, $w$ in its inverse square.
    pub fn at(&self, s: f64, sigma: f64) -> [f64; 2] {
        let w = 1.0 / (sigma * sigma);
        let [f, slope] = self.relative(s.abs() / sigma);
        [w * f, w / sigma * slope * s.signum()]
    }

    /// $F$ and its slope at $a \ge 0$: the information in units of $1/\sigma^2$.
    pub fn relative(&self, a: f64) -> [f64; 2] {
        let n = match self.kind {
            NoiseKind::StudentT { nu } => return [(nu + 1.0) / (nu + 3.0), 0.0],
            NoiseKind::Gaussian => return [1.0, 0.0],
            NoiseKind::Rician => 1.0,
            NoiseKind::NcChi { coils } => f64::from(coils),
        };
        let at = a.ln_1p() * PIECES;
        let i = at.floor() as usize;
        let [ratio, slope] = match (self.table.get(i), self.table.get(i + 1)) {
            (Some(left), Some(right)) => hermite(left, right, at - i as f64),
            _ => [1.0, 0.0],
        };
        let all = a * a + n;
        let share = a * a / all;
        [ratio * share, slope * PIECES / (1.0 + a) * share + ratio * 2.0 * a * n / (all * all)]
    }
}

/// The cubic through two values and slopes, at `t` of the step; the slope is a step.
fn hermite(left: &[f64; 2], right: &[f64; 2], t: f64) -> [f64; 2] {
    let (p, q) = (left[0], right[0]);
    let (m, n) = (left[1] / PIECES, right[1] / PIECES);
    let (c, d) = (3.0 * (q - p) - 2.0 * m - n, 2.0 * (p - q) + m + n);
    [p + t * (m + t * (c + t * d)), m + t * (2.0 * c + 3.0 * t * d)]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use microtome_kernels::special::{bessel_ratio, ln_i0e};

    /// The Rician integral written out, by the midpoint rule in fine steps.
    fn plain_rician(a: f64) -> f64 {
        let (low, h) = ((a - 12.0).max(0.0), 1e-4);
        let steps = ((a + 14.0 - low) / h) as usize;
        (0..steps)
            .map(|i| {
                let y = low + (i as f64 + 0.5) * h;
                let p = y * (-0.5 * (y - a) * (y - a) + ln_i0e(y * a)).exp();
                let u = y * bessel_ratio(y * a) - a;
                p * u * u * h
            })
            .sum()
    }

    #[test]
    fn rician_information_equals_quadrature() {
        let information = SignalInformation::new(NoiseKind::Rician);
        for a in [0.01, 0.3, 1.0, 1.7, 2.5, 4.0, 8.0, 30.0] {
            let (found, wanted) = (information.relative(a)[0], plain_rician(a));
            assert!((found / wanted - 1.0).abs() < 1e-7, "{a}: {found} {wanted}");
        }
    }

    #[test]
    fn table_equals_quadrature() {
        let rule = gauss_legendre(200);
        for coils in [1, 4, 32] {
            let kind = NoiseKind::NcChi { coils };
            let information = SignalInformation::new(kind);
            let mut a = 0.013;
            while a < 900.0 {
                let ([f, slope], [found, d]) =
                    (quadrature(kind, coils, a, &rule), information.relative(a));
                assert!((found / f - 1.0).abs() < 1e-7, "{coils} coils, {a}: {found} {f}");
                let scale = f / a + 1e-3;
                assert!((d - slope).abs() < 1e-4 * scale, "{coils} coils, {a}: {d} {slope}");
                a *= 1.083;
            }
        }
    }

    #[test]
    fn ends_are_known() {
        let rician = SignalInformation::new(NoiseKind::Rician);
        assert!((rician.relative(1e-3)[0] / 1e-6 - 1.0).abs() < 1e-5);
        let far = 200.0_f64;
        assert!((rician.relative(far)[0] - (1.0 - 0.5 / (far * far))).abs() < 1e-8);
        let coils = SignalInformation::new(NoiseKind::NcChi { coils: 4 });
        assert!((coils.relative(1e-3)[0] / 0.25e-6 - 1.0).abs() < 1e-5);
        let student = SignalInformation::new(NoiseKind::StudentT { nu: 5.0 });
        assert_eq!(student.at(3.0, 2.0), [0.75 / 4.0, 0.0]);
        let [w, slope] = rician.at(-2.0, 1.0);
        assert_eq!([w, -slope], rician.at(2.0, 1.0));
        assert!(slope < 0.0);
    }
}

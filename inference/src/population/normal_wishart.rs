//! The population of pooled coordinates: its mean, its covariance, and their
//! conjugate draws.
//!
//! With $Z$ the coordinates of $n$ voxels, one a row, and $K$ the structure of the
//! field ([`super::Field`]; the identity for a population without places)
//! $$\mathrm{vec}(Z)\sim\mathcal N(1\otimes m,\ K^{-1}\otimes\Sigma),\qquad
//!   m_k\sim\mathcal N(\mu_k, A_k^2),$$
//! $$\Sigma\,|\,a\sim\mathcal{IW}\!\left(\nu+d-1,\ 2\nu\,\mathrm{diag}(1/a)\right),\qquad
//!   a_k\sim\mathcal{IG}(1/2, 1/A_k^2),\qquad \nu = 2,$$
//! times $\exp(-\tfrac12\sum_k(\epsilon A_k)^2P_{kk})$, $\epsilon=0.03$. Without that
//! factor every standard deviation is half-t with 2 degrees of freedom and scale $A_k$
//! and every correlation uniform on (-1, 1); the factor keeps standard deviations from
//! values far below $\epsilon A_k$, where a chain could neither stay nor leave quickly and
//! nothing is gained: no tissue is that uniform. $\mu_k$ and $A_k$ are mean and standard
//! deviation of the coordinate under the independent priors. A scan draws in turn
//! $$a_k\,|\,\cdot\sim\mathcal{IG}\!\left(\tfrac{\nu+d}{2},\ \nu P_{kk}+A_k^{-2}\right),\qquad
//!   m\,|\,\cdot\sim\mathcal N\!\left(B^{-1}(\kappa P\bar z+A^{-2}\mu),\ B^{-1}\right),\
//!   B=\kappa P+A^{-2},$$
//! $$\Sigma\,|\,\cdot\sim\mathcal{IW}\!\left(\nu+d-1+n,\ 2\nu\,\mathrm{diag}(1/a)+\epsilon^2\mathrm{diag}(A^2)+(Z-1m^T)^TK(Z-1m^T)\right)$$
//! with $P=\Sigma^{-1}$ and $\kappa = 1^TK1$, inverse Wisharts by Bartlett's factor.
//!
//! Source: Huang & Wand 2013, doi:10.1214/13-BA815, equations 2 to 5; Bartlett 1933,
//! doi:10.1017/S0370164600045764; Chung et al. 2013, doi:10.1007/s11336-013-9328-2 (why
//! to keep away from zero).
//! Validated by `moments_of_the_wishart`, `marginals_of_the_hyperprior` below and
//! `joint_distribution` in `tests.rs`.

use crate::dense::{backward, cholesky, cholesky_inverse, cholesky_solve};
use rand::{Rng, RngExt};
use rand_distr::{ChiSquared, Distribution, Gamma, StandardNormal};

/// Degrees of freedom of the half-t priors of standard deviations.
pub(crate) const NU: f64 = 2.0;

/// Share ε of $A_k$ below which standard deviations are improbable.
const FLOOR: f64 = 0.03;

/// What is known of the population beforehand.
#[derive(Debug, Clone, PartialEq)]
pub struct Hyperprior {
    /// Centre of the mean of each coordinate.
    pub mean: Vec<f64>,
    /// Its standard deviation, and the scale of the half-t prior of the standard
    /// deviation of the population.
    pub sd: Vec<f64>,
}

impl Hyperprior {
    /// $(\epsilon A_k)^2$.
    pub(crate) fn floor(&self, k: usize) -> f64 {
        (FLOOR * self.sd[k]).powi(2)
    }
}

/// The population at one draw.
#[derive(Debug, Clone, PartialEq)]
pub struct Population {
    /// m.
    pub mean: Vec<f64>,
    /// $P=\Sigma^{-1}$, `[d, d]`.
    pub precision: Vec<f64>,
    /// Σ, `[d, d]`.
    pub covariance: Vec<f64>,
    /// $\ln|P|$.
    pub ln_det: f64,
    /// a.
    pub auxiliary: Vec<f64>,
}

/// What the population needs to know of the coordinates of the voxels.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// Voxels.
    pub n: f64,
    /// $\sum_v (z_v-m)$.
    pub sum: Vec<f64>,
    /// $\sum_v (z_v-m)(z_v-m)^T$.
    pub outer: Vec<f64>,
    /// $\sum_{v\sim w}\omega_{vw}(z_v-z_w)(z_v-z_w)^T$ over pairs of neighbours.
    pub differences: Vec<f64>,
}

impl Statistics {
    /// Of no voxel.
    pub fn new(d: usize) -> Self {
        let zeros = |n: usize| vec![0.0; n];
        Self { n: 0.0, sum: zeros(d), outer: zeros(d * d), differences: zeros(d * d) }
    }

    /// Adds one voxel by its deviation from the mean.
    pub fn add(&mut self, deviation: &[f64]) {
        self.n += 1.0;
        for (s, d) in self.sum.iter_mut().zip(deviation) {
            *s += d;
        }
        add_outer(&mut self.outer, deviation);
    }

    /// Adds one pair of neighbours.
    pub fn add_difference(&mut self, difference: &[f64]) {
        add_outer(&mut self.differences, difference);
    }

    /// Adds those of other voxels.
    pub fn merge(&mut self, other: &Self) {
        self.n += other.n;
        let pairs = [
            (&mut self.sum, &other.sum),
            (&mut self.outer, &other.outer),
            (&mut self.differences, &other.differences),
        ];
        for (a, b) in pairs {
            for (a, b) in a.iter_mut().zip(b) {
                *a += b;
            }
        }
    }
}

fn add_outer(out: &mut [f64], x: &[f64]) {
    for (row, a) in out.chunks_exact_mut(x.len().max(1)).zip(x) {
        for (o, b) in row.iter_mut().zip(x) {
            *o += a * b;
        }
    }
}

/// A draw of the Wishart distribution: $\mathrm E[W]=\mathrm{df}\,S^{-1}$, from the
/// lower Cholesky factor of $S$.
///
/// $W=(L^{-T}T)(L^{-T}T)^T$ with $T$ lower triangular, $T_{ii}^2\sim\chi^2_{\mathrm{df}-i}$
/// and standard normals below.
fn wishart<R: Rng + ?Sized>(factor: &[f64], d: usize, df: f64, rng: &mut R) -> Vec<f64> {
    let mut columns = vec![0.0; d * d];
    // Row j of `columns` is column j of T, then of L⁻ᵀ T.
    for (j, column) in columns.chunks_exact_mut(d).enumerate() {
        let square = ChiSquared::new(df - j as f64).map_or(f64::NAN, |c| c.sample(rng));
        column[j] = square.sqrt();
        for t in &mut column[j + 1..] {
            *t = StandardNormal.sample(rng);
        }
        backward(factor, d, column);
    }
    let mut w = vec![0.0; d * d];
    for column in columns.chunks_exact(d) {
        add_outer(&mut w, column);
    }
    w
}

impl Population {
    /// The population of a precision matrix; `None` where that is not positive.
    pub fn new(mean: Vec<f64>, precision: Vec<f64>, auxiliary: Vec<f64>) -> Option<Self> {
        let d = mean.len();
        let mut factor = precision.clone();
        cholesky(&mut factor, d, 1e-15).then(|| Self {
            ln_det: (0..d).map(|i| 2.0 * factor[i * d + i].ln()).sum(),
            covariance: cholesky_inverse(&factor, d),
            mean,
            precision,
            auxiliary,
        })
    }

    /// The centre of the hyperprior.
    pub fn at_prior(prior: &Hyperprior) -> Self {
        let d = prior.mean.len();
        let (mut precision, mut covariance) = (vec![0.0; d * d], vec![0.0; d * d]);
        for (k, a) in prior.sd.iter().enumerate() {
            precision[k * d + k] = 1.0 / (a * a);
            covariance[k * d + k] = a * a;
        }
        Self {
            mean: prior.mean.clone(),
            precision,
            covariance,
            ln_det: prior.sd.iter().map(|a| -2.0 * a.ln()).sum(),
            auxiliary: prior.sd.iter().map(|a| a * a).collect(),
        }
    }

    /// A draw from the hyperprior.
    pub fn from_prior<R: Rng + ?Sized>(prior: &Hyperprior, rng: &mut R) -> Option<Self> {
        let d = prior.mean.len();
        let mean = prior.mean.iter().zip(&prior.sd).map(|(m, a)| {
            let e: f64 = StandardNormal.sample(rng);
            m + a * e
        });
        let mean: Vec<f64> = mean.collect();
        // The factor that keeps standard deviations up is at most one: by rejection.
        loop {
            let auxiliary: Vec<f64> =
                prior.sd.iter().map(|a| inverse_gamma(0.5, 1.0 / (a * a), rng)).collect();
            let mut scale = vec![0.0; d * d];
            for (k, a) in auxiliary.iter().enumerate() {
                scale[k * d + k] = (2.0 * NU / a).sqrt();
            }
            let precision = wishart(&scale, d, NU + d as f64 - 1.0, rng);
            let squares = (0..d).map(|k| prior.floor(k) * precision[k * d + k]);
            let ln_factor = -0.5 * squares.sum::<f64>();
            let u: f64 = rng.random();
            // NaN ends the loop, too; `new` refuses it.
            if !(u.ln() > ln_factor) {
                return Self::new(mean, precision, auxiliary);
            }
        }
    }

    /// The next draw given the voxels, whose statistics are about the mean of this one.
    /// `proper` is the weight of the population mean in a voxel: $K1 = \mathrm{proper}\cdot 1$.
    /// `None` where the numbers have no positive definite covariance.
    pub fn next<R: Rng + ?Sized>(
        &self,
        prior: &Hyperprior,
        statistics: &Statistics,
        proper: f64,
        rng: &mut R,
    ) -> Option<Self> {
        let d = self.mean.len();
        let n = statistics.n;
        let auxiliary: Vec<f64> = prior
            .sd
            .iter()
            .enumerate()
            .map(|(k, a)| {
                let rate = NU * self.precision[k * d + k] + 1.0 / (a * a);
                inverse_gamma(0.5 * (NU + d as f64), rate, rng)
            })
            .collect();
        // The mean, as a deviation from the last one.
        let mut b: Vec<f64> = self.precision.iter().map(|p| p * proper * n).collect();
        let mut step: Vec<f64> = (0..d)
            .map(|i| {
                let row = &self.precision[i * d..(i + 1) * d];
                let pull: f64 = row.iter().zip(&statistics.sum).map(|(p, s)| p * s).sum();
                proper * pull + (prior.mean[i] - self.mean[i]) / (prior.sd[i] * prior.sd[i])
            })
            .collect();
        for (k, a) in prior.sd.iter().enumerate() {
            b[k * d + k] += 1.0 / (a * a);
        }
        if !cholesky(&mut b, d, 1e-15) {
            return None;
        }
        cholesky_solve(&b, d, &mut step);
        let mut noise: Vec<f64> = (0..d).map(|_| StandardNormal.sample(rng)).collect();
        backward(&b, d, &mut noise);
        for (s, e) in step.iter_mut().zip(&noise) {
            *s += e;
        }
        let mean: Vec<f64> = self.mean.iter().zip(&step).map(|(m, s)| m + s).collect();
        // The covariance, about the new mean.
        let mut scale = vec![0.0; d * d];
        for i in 0..d {
            for j in 0..d {
                let about = statistics.outer[i * d + j]
                    - step[i] * statistics.sum[j]
                    - statistics.sum[i] * step[j]
                    + n * step[i] * step[j];
                scale[i * d + j] = proper * about + statistics.differences[i * d + j];
            }
            scale[i * d + i] += 2.0 * NU / auxiliary[i] + prior.floor(i);
        }
        if !cholesky(&mut scale, d, 1e-15) {
            return None;
        }
        let precision = wishart(&scale, d, NU + d as f64 - 1.0 + n, rng);
        Self::new(mean, precision, auxiliary)
    }

    /// Standard deviation of a coordinate.
    pub fn sd(&self, k: usize) -> f64 {
        self.covariance[k * self.mean.len() + k].sqrt()
    }

    /// Correlation of two coordinates.
    pub fn correlation(&self, i: usize, j: usize) -> f64 {
        self.covariance[i * self.mean.len() + j] / (self.sd(i) * self.sd(j))
    }
}

/// A draw of the inverse gamma distribution.
fn inverse_gamma<R: Rng + ?Sized>(shape: f64, rate: f64, rng: &mut R) -> f64 {
    Gamma::new(shape, 1.0).map_or(f64::NAN, |g| rate / g.sample(rng))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use microtome_kernels::philox::PhiloxRng;

    /// E[W] = df S⁻¹ and Var[W_ij] = df (V_ij² + V_ii V_jj), V = S⁻¹.
    #[test]
    fn moments_of_the_wishart() {
        let s = [2.0, 0.6, -0.3, 0.6, 1.0, 0.2, -0.3, 0.2, 0.5];
        let mut factor = s;
        assert!(cholesky(&mut factor, 3, 1e-15));
        let v = cholesky_inverse(&factor, 3);
        let (df, n) = (5.5, 100_000);
        let mut rng = PhiloxRng::new(3, 0, 0);
        let mut sums = [[0.0; 2]; 9];
        for _ in 0..n {
            for (s, w) in sums.iter_mut().zip(wishart(&factor, 3, df, &mut rng)) {
                s[0] += w;
                s[1] += w * w;
            }
        }
        for i in 0..3 {
            for j in 0..3 {
                let [a, b] = sums[3 * i + j].map(|s| s / f64::from(n));
                let variance = df * (v[3 * i + j].powi(2) + v[4 * i] * v[4 * j]);
                let error = (variance / f64::from(n)).sqrt();
                assert!((a - df * v[3 * i + j]).abs() < 5.0 * error, "{i} {j}: {a}");
                // Four times the standard error of a normal variance.
                let relative = (b - a * a) / variance - 1.0;
                assert!(relative.abs() < 20.0 / f64::from(n).sqrt(), "{i} {j}: {relative}");
            }
        }
    }

    /// Of one coordinate: P(sd < x) against quadrature of half-t times the factor.
    #[test]
    fn marginals_of_the_hyperprior() {
        let prior = Hyperprior { mean: vec![1.0], sd: vec![0.7] };
        let density = |sd: f64| {
            let t = sd / 0.7;
            // With t = sd/A: (1 + t²/2)^(-3/2) exp(-ε²/2t²).
            (1.0 + 0.5 * t * t).powf(-1.5) * (-0.5 * (FLOOR / t).powi(2)).exp()
        };
        let mass = |to: f64| {
            // In ln sd, from far below the floor.
            let (from, steps) = ((1e-4_f64).ln(), 40_000);
            let h = (to.ln() - from) / f64::from(steps);
            (0..steps)
                .map(|i| {
                    let sd = (from + (f64::from(i) + 0.5) * h).exp();
                    density(sd) * sd * h
                })
                .sum::<f64>()
        };
        let all = mass(1e5);
        let n = 40_000;
        let mut rng = PhiloxRng::new(5, 0, 0);
        let sd: Vec<f64> =
            (0..n).map(|_| Population::from_prior(&prior, &mut rng).unwrap().sd(0)).collect();
        for x in [0.02, 0.04, 0.1, 0.57, 2.0] {
            let expected = mass(x) / all;
            let found = sd.iter().filter(|s| **s < x).count() as f64 / f64::from(n);
            let error = (expected * (1.0 - expected) / f64::from(n)).sqrt();
            assert!((found - expected).abs() < 5.0 * error, "{x}: {found} {expected}");
        }
    }

    /// Of three: correlations are uniform but for the small share near the floor.
    #[test]
    fn correlations_of_the_hyperprior() {
        let prior = Hyperprior { mean: vec![0.0, 1.0, 2.0], sd: vec![0.5, 1.0, 3.0] };
        let n = 20_000;
        let mut inside = [0.0; 3];
        let mut rng = PhiloxRng::new(6, 0, 0);
        for _ in 0..n {
            let p = Population::from_prior(&prior, &mut rng).unwrap();
            for (inside, (i, j)) in inside.iter_mut().zip([(0, 1), (0, 2), (1, 2)]) {
                *inside += f64::from(u8::from(p.correlation(i, j).abs() < 0.3)) / f64::from(n);
            }
        }
        for share in inside {
            // Five standard errors, and 0.02 for the floor.
            assert!((share - 0.3).abs() < 5.0 * (0.21 / f64::from(n)).sqrt() + 0.02, "{share}");
        }
    }
}

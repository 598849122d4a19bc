//! Priors of scalar parameters, as densities of the parameter itself.
//!
//! A prior is cut to its support and renormalised:
//! $$\ln p(x) = \ln f(x) - \ln[F(\mathrm{hi}) - F(\mathrm{lo})],\quad \mathrm{lo}<x<\mathrm{hi}$$
//!
//! Distribution functions $F$ come from statrs. Validated by
//! `densities_integrate_to_one` and `gradients_equal_differences` below.

use microtome_kernels::log::log as ln;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, LogNormal, Normal};

/// A prior as the user writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PriorSpec {
    /// Mean and standard deviation.
    Normal([f64; 2]),
    /// Mean and standard deviation of the logarithm.
    Lognormal([f64; 2]),
    /// Lower and upper end.
    Uniform([f64; 2]),
    /// Scale of a normal density folded at 0.
    HalfNormal(f64),
    /// Concentrations of the fractions, one a compartment.
    Dirichlet(Vec<f64>),
    /// Uniform on the sphere.
    #[serde(rename = "isotropic")]
    Isotropic,
}

/// A proper prior of one number, cut to a support.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prior {
    shape: Shape,
    support: [f64; 2],
    ln_norm: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
enum Shape {
    Uniform,
    Normal { mean: f64, sd: f64 },
    LogNormal { mean: f64, sd: f64 },
}

/// Why a prior can't be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PriorError {
    /// Numbers that define no density.
    #[error(
        "{prior:?} is not a proper density on [{low}, {high}]; check the order of the numbers and the [range]"
    )]
    Improper {
        /// As given.
        prior: PriorSpec,
        /// Lower end of the support.
        low: f64,
        /// Upper end of the support.
        high: f64,
    },
    /// A prior for another kind of parameter.
    #[error(
        "{prior:?} does not fit a scalar parameter; use normal, lognormal, uniform or half_normal"
    )]
    Kind {
        /// As given.
        prior: PriorSpec,
    },
}

impl Prior {
    /// Cuts a prior to `support` (already within the physical domain).
    ///
    /// # Errors
    /// Numbers that define no density on the support; vector-valued priors.
    pub fn new(spec: &PriorSpec, support: [f64; 2]) -> Result<Self, PriorError> {
        let [mut low, mut high] = support;
        let shape = match *spec {
            PriorSpec::Uniform([a, b]) => {
                low = low.max(a);
                high = high.min(b);
                Shape::Uniform
            }
            PriorSpec::Normal([mean, sd]) => Shape::Normal { mean, sd },
            PriorSpec::HalfNormal(sd) => {
                low = low.max(0.0);
                Shape::Normal { mean: 0.0, sd }
            }
            PriorSpec::Lognormal([mean, sd]) => {
                low = low.max(0.0);
                Shape::LogNormal { mean, sd }
            }
            PriorSpec::Dirichlet(_) | PriorSpec::Isotropic => {
                return Err(PriorError::Kind { prior: spec.clone() });
            }
        };
        let improper = || PriorError::Improper { prior: spec.clone(), low, high };
        if low.is_nan() || high.is_nan() || low >= high {
            return Err(improper());
        }
        let mass = match shape {
            Shape::Uniform => high - low,
            Shape::Normal { mean, sd } => {
                let d = Normal::new(mean, sd).map_err(|_| improper())?;
                interval_mass(&d, low, high)
            }
            Shape::LogNormal { mean, sd } => {
                let d = LogNormal::new(mean, sd).map_err(|_| improper())?;
                interval_mass(&d, low, high)
            }
        };
        if !(mass > 0.0 && mass.is_finite()) {
            return Err(improper());
        }
        const LN_SQRT_TAU: f64 = 0.918_938_533_204_672_7;
        let ln_width = match shape {
            Shape::Uniform => 0.0,
            Shape::Normal { sd, .. } | Shape::LogNormal { sd, .. } => sd.ln() + LN_SQRT_TAU,
        };
        Ok(Self { shape, support: [low, high], ln_norm: mass.ln() + ln_width })
    }

    /// The open interval outside which the density is zero.
    pub fn support(&self) -> [f64; 2] {
        self.support
    }

    /// $\ln p(x)$ and its derivative, inside the support.
    pub fn ln_density(&self, x: f64) -> (f64, f64) {
        let (value, slope) = match self.shape {
            Shape::Uniform => (0.0, 0.0),
            Shape::Normal { mean, sd } => {
                let z = (x - mean) / sd;
                (-0.5 * z * z, -z / sd)
            }
            Shape::LogNormal { mean, sd } => {
                let ln_x = ln(x);
                let z = (ln_x - mean) / sd;
                (-0.5 * z * z - ln_x, -(z / sd + 1.0) / x)
            }
        };
        (value - self.ln_norm, slope)
    }

    /// The value below which a share `p` of the prior lies: with uniform `p`, a
    /// prior draw.
    pub fn quantile(&self, p: f64) -> f64 {
        let [low, high] = self.support;
        let x = match self.shape {
            Shape::Uniform => low + p * (high - low),
            Shape::Normal { mean, sd } => {
                mean + sd * normal_quantile((low - mean) / sd, (high - mean) / sd, p)
            }
            Shape::LogNormal { mean, sd } => {
                let [a, b] = [low, high].map(|x| (x.ln() - mean) / sd);
                (mean + sd * normal_quantile(a, b, p)).exp()
            }
        };
        x.clamp(low, high)
    }

    /// Standard deviation of the prior, by a 400-point quantile rule.
    pub fn sd(&self) -> f64 {
        const N: usize = 400;
        let x: Vec<f64> = (0..N).map(|i| self.quantile((i as f64 + 0.5) / N as f64)).collect();
        let mean = x.iter().sum::<f64>() / N as f64;
        (x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / N as f64).sqrt()
    }
}

/// The quantile of a standard normal cut to (a, b); an interval above zero is mirrored
/// below it, where distribution functions are accurate.
fn normal_quantile(a: f64, b: f64, p: f64) -> f64 {
    if a > 0.0 {
        return -normal_quantile(-b, -a, 1.0 - p);
    }
    let normal = Normal::standard();
    let (below, above) = (normal.cdf(a), normal.cdf(b));
    normal.inverse_cdf(below + p * (above - below))
}

/// F(high) - F(low), from the upper tail where that is the accurate one.
fn interval_mass(d: &impl ContinuousCDF<f64, f64>, low: f64, high: f64) -> f64 {
    if d.cdf(low) > 0.5 { d.sf(low) - d.sf(high) } else { d.cdf(high) - d.cdf(low) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn cases() -> Vec<Prior> {
        let inf = f64::INFINITY;
        vec![
            Prior::new(&PriorSpec::Uniform([0.1, 3.0]), [0.0, inf]).unwrap(),
            Prior::new(&PriorSpec::Normal([1.7, 0.3]), [0.0, inf]).unwrap(),
            Prior::new(&PriorSpec::Normal([0.1, 0.5]), [0.0, 1.0]).unwrap(),
            Prior::new(&PriorSpec::Lognormal([0.2, 0.5]), [0.0, inf]).unwrap(),
            Prior::new(&PriorSpec::HalfNormal(0.4), [-1.0, inf]).unwrap(),
        ]
    }

    #[test]
    fn densities_integrate_to_one() {
        for prior in cases() {
            let [low, high] = prior.support();
            let high = high.min(20.0);
            let n = 200_000;
            let h = (high - low) / f64::from(n);
            let total: f64 =
                (0..n).map(|i| prior.ln_density(low + (f64::from(i) + 0.5) * h).0.exp() * h).sum();
            assert!((total - 1.0).abs() < 1e-6, "{prior:?}: {total}");
        }
    }

    #[test]
    fn gradients_equal_differences() {
        for prior in cases() {
            for x in [0.2, 0.55, 0.9] {
                let h = 1e-5;
                let difference =
                    (prior.ln_density(x + h).0 - prior.ln_density(x - h).0) / (2.0 * h);
                assert!((prior.ln_density(x).1 - difference).abs() < 1e-7);
            }
        }
    }

    #[test]
    fn quantiles_invert_the_distribution() {
        for prior in cases() {
            let [low, _] = prior.support();
            let x = prior.quantile(0.3);
            let n = 100_000;
            let h = (x - low) / f64::from(n);
            let mass: f64 =
                (0..n).map(|i| prior.ln_density(low + (f64::from(i) + 0.5) * h).0.exp() * h).sum();
            assert!((mass - 0.3).abs() < 1e-6, "{prior:?}");
        }
    }

    #[test]
    fn improper_priors_are_refused() {
        assert!(Prior::new(&PriorSpec::Uniform([3.0, 1.0]), [0.0, 9.0]).is_err());
        assert!(Prior::new(&PriorSpec::Normal([1.0, -1.0]), [0.0, 9.0]).is_err());
        assert!(Prior::new(&PriorSpec::Isotropic, [0.0, 9.0]).is_err());
    }
}

//! Draws of everything that is free from its prior.
//!
//! | parameter | draw |
//! |---|---|
//! | scalar, $S_0$, σ | $x = F^{-1}(F(l) + u\,[F(h) - F(l)])$ with uniform $u$, on the support $(l, h)$ of its prior |
//! | angle of period $P$ | $x = u P$ |
//! | axis | a normal vector over its length: uniform on the sphere |
//! | fractions | $f_i = t\,g_i/\sum_j g_j$ with $g_i \sim \mathrm{Gamma}(a_i, 1)$: Dirichlet, $t$ the total |
//!
//! Small concentrations are drawn in logarithms, $\ln g = \ln g' + \ln u / a$ with
//! $g' \sim \mathrm{Gamma}(a + 1, 1)$, so that a fraction of $10^{-300}$ is one and no
//! zero.
//!
//! The defaults of $S_0$ and σ depend on the data and can't be drawn from;
//! [`ModelSpec::with_scale_priors`] writes them as proper priors about a stated level, which a
//! sampler then uses as well.
//!
//! Source: Devroye 1986, *Non-Uniform Random Variate Generation*, ch. XI.4 (Dirichlet); Marsaglia &
//! Tsang 2000, doi:10.1145/358407.358414 (Gamma). Validated by
//! `draws_have_the_moments_of_the_priors` and `log_densities_of_draws_match_their_entropy` below.

use crate::model::{Free, FreeKind, Model};
use crate::prior::{Prior, PriorSpec};
use crate::spec::ModelSpec;
use microtome_kernels::philox::PhiloxRng;
use rand::{Rng, RngExt};
use rand_distr::{Distribution, Gamma, StandardNormal};

/// The default σ is about the level of the signals over this.
const LEVEL_TO_SIGMA: f64 = 25.0;

/// Why a model has no prior to draw from.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PriorDrawError {
    /// A prior that is set from the data.
    #[error(
        "the default prior of `{name}` is set from the data, so there is nothing to draw it from; give one in the model file, [prior] {name} = {{ lognormal = [mean of log, sd of log] }}"
    )]
    DataDependent {
        /// The parameter.
        name: String,
    },
    /// Concentrations that are no Dirichlet density.
    #[error("the fractions have the concentrations {given:?}; positive numbers are needed")]
    Concentration {
        /// As given.
        given: Vec<f64>,
    },
}

/// Draws values of a model from their priors.
///
/// # Example
/// ```
/// use microtome_models::{Model, ModelSpec, PriorSampler};
/// use microtome_kernels::philox::PhiloxRng;
/// let spec = ModelSpec::parse("ball_stick")?.with_scale_priors(100.0, false);
/// let model = Model::new(spec)?;
/// let x = PriorSampler::new(&model, false)?.draw(&mut PhiloxRng::new(7, 0, 0));
/// assert_eq!(x.len(), model.values());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct PriorSampler {
    blocks: Vec<Block>,
    values: usize,
    sigma: Option<Prior>,
}

#[derive(Debug, Clone)]
struct Block {
    at: usize,
    draw: Draw,
}

#[derive(Debug, Clone)]
enum Draw {
    Scalar(Prior),
    Angle(f64),
    Axis,
    Fractions { total: f64, gammas: Vec<(f64, Gamma<f64>)> },
}

/// The random numbers of a simulation, apart from those that samplers take for the same seed
/// and row. Stream 0 is the prior draw, 1 the noise.
pub fn simulation_rng(seed: u64, row: u64, stream: u8) -> PhiloxRng {
    PhiloxRng::new(seed ^ 0x5bc0_7a11_5eed_0001, row, stream)
}

impl ModelSpec {
    /// The specification in which the priors of `s0` and, with `sigma`, of the noise scale
    /// are written out where they would be set from the data: lognormal about `level`
    /// (sd 0.5 of the logarithm) and about `level`/25 (sd 1).
    ///
    /// # Units
    /// `level` in the unit of the signals: what the mean b = 0 signal of a voxel stands for.
    #[must_use]
    pub fn with_scale_priors(&self, level: f64, sigma: bool) -> Self {
        let mut out = self.clone();
        if !out.link.contains_key("s0") {
            let prior = PriorSpec::Lognormal([level.ln(), 0.5]);
            out.prior.entry("s0".into()).or_insert(prior);
        }
        if sigma {
            let prior = PriorSpec::Lognormal([(level / LEVEL_TO_SIGMA).ln(), 1.0]);
            out.prior.entry("sigma".into()).or_insert(prior);
        }
        out
    }
}

impl PriorSampler {
    /// The priors of a model; with `sigma`, the noise scale is drawn as well.
    ///
    /// # Errors
    /// A default prior that is set from the data; see [`ModelSpec::with_scale_priors`].
    pub fn new(model: &Model, sigma: bool) -> Result<Self, PriorDrawError> {
        let mut blocks = Vec::new();
        for free in model.free() {
            blocks.push(Block { at: free.at, draw: draw_of(free)? });
        }
        let sigma = match (sigma, model.sigma_prior()) {
            (false, _) => None,
            (true, Some(prior)) => Some(prior.clone()),
            (true, None) => return Err(PriorDrawError::DataDependent { name: "sigma".into() }),
        };
        Ok(Self { blocks, values: model.values(), sigma })
    }

    /// Number of values of a draw: those of the model, and σ when it is drawn.
    pub fn width(&self) -> usize {
        self.values + usize::from(self.sigma.is_some())
    }

    /// One draw of all values, σ last when it is drawn.
    ///
    /// # Shapes
    /// Returns `[value]`.
    pub fn draw<R: Rng + ?Sized>(&self, rng: &mut R) -> Vec<f64> {
        let mut x = vec![0.0; self.width()];
        for block in &self.blocks {
            let at = block.at;
            match &block.draw {
                Draw::Scalar(prior) => x[at] = prior.quantile(open_uniform(rng)),
                Draw::Angle(period) => x[at] = period * rng.random::<f64>(),
                Draw::Axis => x[at..at + 3].copy_from_slice(&axis(rng)),
                Draw::Fractions { total, gammas } => {
                    fractions(gammas, *total, rng, &mut x[at..at + gammas.len()]);
                }
            }
        }
        if let Some(prior) = &self.sigma {
            x[self.values] = prior.quantile(open_uniform(rng));
        }
        x
    }
}

impl PriorSampler {
    /// The draw of a simulation, canonical as [`Model::canonicalise`] has it.
    ///
    /// # Shapes
    /// Returns `[value]`, σ last when it is drawn.
    pub fn simulate(&self, model: &Model, seed: u64, row: u64) -> Vec<f64> {
        let mut x = self.draw(&mut simulation_rng(seed, row, 0));
        model.canonicalise(&mut x[..self.values]);
        x
    }
}

fn draw_of(free: &Free) -> Result<Draw, PriorDrawError> {
    Ok(match (&free.kind, &free.prior) {
        (FreeKind::Axis, _) => Draw::Axis,
        (FreeKind::Scalar { period: Some(period) }, _) => Draw::Angle(*period),
        (FreeKind::Fractions { total, concentration }, _) => {
            let gammas = concentration
                .iter()
                .map(|a| Gamma::new(a + 1.0, 1.0).map(|g| (*a, g)))
                .collect::<Result<_, _>>()
                .map_err(|_| PriorDrawError::Concentration { given: concentration.clone() })?;
            Draw::Fractions { total: *total, gammas }
        }
        (_, Some(prior)) => Draw::Scalar(prior.clone()),
        (_, None) => return Err(PriorDrawError::DataDependent { name: free.name.clone() }),
    })
}

/// A uniform number that is neither 0 nor 1.
fn open_uniform<R: Rng + ?Sized>(rng: &mut R) -> f64 {
    rng.random::<f64>().clamp(2f64.powi(-54), 1.0 - f64::EPSILON)
}

/// A unit vector, uniform on the sphere.
fn axis<R: Rng + ?Sized>(rng: &mut R) -> [f64; 3] {
    loop {
        let v: [f64; 3] = std::array::from_fn(|_| StandardNormal.sample(rng));
        let square = v.iter().map(|c| c * c).sum::<f64>();
        if square > 1e-12 {
            return v.map(|c| c / square.sqrt());
        }
    }
}

fn fractions<R: Rng + ?Sized>(
    gammas: &[(f64, Gamma<f64>)],
    total: f64,
    rng: &mut R,
    out: &mut [f64],
) {
    for (f, (a, gamma)) in out.iter_mut().zip(gammas) {
        *f = gamma.sample(rng).ln() + open_uniform(rng).ln() / a;
    }
    let largest = out.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    out.iter_mut().for_each(|f| *f = (*f - largest).exp());
    let sum: f64 = out.iter().sum();
    out.iter_mut().for_each(|f| *f = (total * *f / sum).max(f64::MIN_POSITIVE));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const N: usize = 40_000;

    fn draws(toml: &str, sigma: bool) -> (Model, Vec<Vec<f64>>) {
        let spec = ModelSpec::from_toml(toml).unwrap().with_scale_priors(2.0, sigma);
        let model = Model::new(spec).unwrap();
        let sampler = PriorSampler::new(&model, sigma).unwrap();
        let draws = (0..N).map(|i| sampler.draw(&mut PhiloxRng::new(5, i as u64, 0))).collect();
        (model, draws)
    }

    fn at(model: &Model, name: &str) -> usize {
        model.value_names().iter().position(|n| *n == name).unwrap()
    }

    /// Mean within five standard errors of the exact one, and the share below the exact median.
    fn check(draws: &[Vec<f64>], k: usize, mean: f64, sd: f64, median: f64) {
        let n = draws.len() as f64;
        let found = draws.iter().map(|x| x[k]).sum::<f64>() / n;
        assert!((found - mean).abs() < 5.0 * sd / n.sqrt(), "{k}: {found} {mean}");
        let below = draws.iter().filter(|x| x[k] < median).count() as f64 / n;
        assert!((below - 0.5).abs() < 2.5 / n.sqrt(), "{k}: {below} below {median}");
    }

    #[test]
    fn draws_have_the_moments_of_the_priors() {
        let toml = r#"
            [[compartment]]
            kind = "tensor"
            [[compartment]]
            kind = "zeppelin"
            [prior]
            "zeppelin.lambda_par" = { normal = [1.7, 0.3] }
            "zeppelin.lambda_perp" = { half_normal = 0.5 }
            "tensor.lambda_1" = { lognormal = [0.2, 0.4] }
            "tensor.lambda_2" = { uniform = [0.5, 2.5] }
            fractions = { dirichlet = [2.0, 3.0] }
        "#;
        let (model, draws) = draws(toml, true);
        let k = |name: &str| at(&model, name);
        check(&draws, k("zeppelin.lambda_par"), 1.7, 0.3, 1.7);
        let half = (2.0 / std::f64::consts::PI).sqrt() * 0.5;
        check(&draws, k("zeppelin.lambda_perp"), half, 0.31, 0.5 * 0.674_489_75);
        check(&draws, k("tensor.lambda_1"), (0.2_f64 + 0.08).exp(), 0.55, 0.2_f64.exp());
        check(&draws, k("tensor.lambda_2"), 1.5, 0.58, 1.5);
        let psi = std::f64::consts::FRAC_PI_2;
        check(&draws, k("tensor.psi"), psi, 0.91, psi);
        // The median of Beta(2, 3): 6 m² - 8 m³ + 3 m⁴ = 1/2.
        check(&draws, k("tensor.fraction"), 0.4, 0.2, 0.385_727_568_1);
        check(&draws, k("s0"), 2.0 * 0.125_f64.exp(), 1.3, 2.0);
        check(&draws, model.values(), 0.08 * 0.5_f64.exp(), 0.18, 0.08);
        // Archimedes: each coordinate of a uniform unit vector is uniform on [-1, 1].
        for part in ["x", "y", "z"] {
            let (i, j) = (k(&format!("tensor.mu_{part}")), k(&format!("zeppelin.mu_{part}")));
            check(&draws, i, 0.0, 0.58, 0.0);
            check(&draws, j, 0.0, 0.58, 0.0);
            let quarter = draws.iter().filter(|x| x[i].abs() < 0.5).count() as f64 / N as f64;
            assert!((quarter - 0.5).abs() < 2.5 / (N as f64).sqrt(), "{quarter}");
        }
    }

    #[test]
    fn small_concentrations_are_drawn_in_logarithms() {
        let toml = r#"
            [[compartment]]
            kind = "ball"
            [[compartment]]
            kind = "dot"
            [prior]
            fractions = { dirichlet = [0.01, 1.0] }
        "#;
        let (model, draws) = draws(toml, false);
        let k = at(&model, "ball.fraction");
        // Beta(a, 1): P(f < x) = x^a, so ln f is -Exponential(a): median ln(1/2)/a.
        let median = (0.5_f64.ln() / 0.01).exp();
        check(&draws, k, 0.01 / 1.01, 0.07, median);
        assert!(draws.iter().all(|x| x[k] > 0.0 && x[k] <= 1.0 && x[k + 1] > 0.0));
    }

    #[test]
    fn fixed_fractions_leave_the_rest_of_the_simplex() {
        let toml = r#"
            [[compartment]]
            kind = "ball"
            [[compartment]]
            kind = "dot"
            [[compartment]]
            kind = "stick"
            [link]
            "stick.fraction" = { fixed = 0.25 }
        "#;
        let (model, draws) = draws(toml, false);
        let k = at(&model, "ball.fraction");
        check(&draws, k, 0.375, 0.22, 0.375);
        assert!(draws.iter().all(|x| (x[k] + x[k + 1] - 0.75).abs() < 1e-12));
    }

    #[test]
    fn data_dependent_priors_have_no_draws() {
        let model = Model::new(ModelSpec::parse("ball_stick").unwrap()).unwrap();
        let error = PriorSampler::new(&model, false).unwrap_err();
        assert_eq!(error, PriorDrawError::DataDependent { name: "s0".into() });
        let spec = ModelSpec::parse("ball_stick").unwrap().with_scale_priors(1.0, false);
        let error = PriorSampler::new(&Model::new(spec).unwrap(), true).unwrap_err();
        assert_eq!(error, PriorDrawError::DataDependent { name: "sigma".into() });
    }

    #[test]
    fn priors_of_the_user_stay() {
        let toml = "[[compartment]]\nkind = \"ball\"\n[prior]\ns0 = { normal = [3.0, 0.1] }\n";
        let spec = ModelSpec::from_toml(toml).unwrap().with_scale_priors(1.0, true);
        assert_eq!(spec.prior["s0"], PriorSpec::Normal([3.0, 0.1]));
        let [mean, sd] = match spec.prior["sigma"] {
            PriorSpec::Lognormal(v) => v,
            _ => [f64::NAN; 2],
        };
        assert!((mean - (0.04_f64).ln()).abs() < 1e-15 && sd == 1.0);
    }

    /// $\ln r + a^2/2 - a r/2 - 1/2$ with a = 20 and $r = \varphi(a)/[1 - \Phi(a)]$.
    const UPPER_TAIL: f64 = 2.000_686_15;

    /// Without a chart: the mean log density over draws is minus the entropy.
    #[test]
    fn log_densities_of_draws_match_their_entropy() {
        let inf = f64::INFINITY;
        // -h of uniform on width 2.9; of a normal; of a half normal; of a lognormal.
        let normal = |sd: f64| -(sd.ln() + 0.5 * (1.0 + std::f64::consts::TAU.ln()));
        for (spec, support, expected) in [
            (PriorSpec::Uniform([0.1, 3.0]), [0.0, inf], -(2.9_f64.ln())),
            (PriorSpec::Normal([50.0, 0.3]), [0.0, inf], normal(0.3)),
            (PriorSpec::HalfNormal(0.4), [0.0, inf], normal(0.4) + std::f64::consts::LN_2),
            (PriorSpec::Lognormal([0.2, 0.5]), [0.0, inf], normal(0.5) - 0.2),
            // A normal cut at 20 sd, -h in closed form.
            (PriorSpec::Normal([-20.0, 1.0]), [0.0, inf], UPPER_TAIL),
        ] {
            let prior = Prior::new(&spec, support).unwrap();
            let mut rng = PhiloxRng::new(11, 0, 0);
            let mean = (0..N)
                .map(|_| prior.ln_density(prior.quantile(open_uniform(&mut rng))).0)
                .sum::<f64>()
                / N as f64;
            assert!((mean - expected).abs() < 0.02, "{spec:?}: {mean} {expected}");
        }
    }
}

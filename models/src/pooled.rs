//! The density of one voxel when its scalars and fractions have a normal prior
//! that voxels share.
//!
//! $$\ln p(z\,|\,y,m,\Sigma) = \ln p(y\,|\,S(x(z)),\sigma) + \ln p_\mathrm{own}(z_o)
//!   + \ln\mathcal N(z_p;\,m,\Sigma),\qquad z = (z_p, z_o)$$
//!
//! $z_p$ are the coordinates of scalars, fractions, `s0` and a free σ (logarithms,
//! logits, stick-breaking logits of [`Chart`]): their prior is normal in $z$, in place
//! of the independent priors, and has no Jacobian. $z_o$ are axes and angles, which
//! keep their own priors and their Jacobian. [`PooledDensity`] is the sum without the
//! normal term, which a sampler of the population adds.
//!
//! | independent prior | mean and sd in $z$, which centre the hyperprior |
//! |---|---|
//! | of a scalar, of σ | by 400 quantiles |
//! | Dirichlet | of logit Beta: $\psi(a)-\psi(b)$ and $\psi'(a)+\psi'(b)$, $b$ the sum of the later $a$ |
//! | default of `s0` and σ | of their logarithm: that of the average voxel, widened by the spread of the voxels |
//!
//! Source: Orton et al. 2014, doi:10.1002/mrm.24649 (a normal population of
//! transformed parameters).
//! Validated by `gradient_equals_difference`, `agrees_with_the_posterior` and
//! `moments_by_draws` in `tests/suite/pooled.rs`.

use crate::chart::Chart;
use crate::curvature::LikelihoodCurvature;
use crate::evaluate::{Evaluator, Lowered};
use crate::model::{FreeKind, Model};
use crate::noise::Constants;
use crate::prior::{Prior, PriorError};
use serde::{Deserialize, Serialize};
use statrs::function::gamma::digamma;

/// What the priors of the voxels of a region have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coupling {
    /// Nothing: every voxel has the priors of the model.
    #[default]
    Independent,
    /// A normal population of the coordinates, its mean and covariance sampled.
    Hierarchical,
    /// A Gaussian Markov random field of the coordinates over neighbouring voxels.
    Spatial,
}

impl Coupling {
    /// All of them.
    pub const ALL: [Coupling; 3] =
        [Coupling::Independent, Coupling::Hierarchical, Coupling::Spatial];

    /// The word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Coupling::Independent => "independent",
            Coupling::Hierarchical => "hierarchical",
            Coupling::Spatial => "spatial",
        }
    }

    /// Whether voxels have nothing in common.
    pub fn is_independent(&self) -> bool {
        *self == Coupling::Independent
    }
}

/// Why a model has no pooled prior.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PooledError {
    /// Two compartments that could change places.
    #[error(
        "compartments `{a}` and `{b}` are exchangeable, so a population of either means nothing: \
         give them different ranges or fix a parameter of one ([range], [link] in a model file), or take --prior independent"
    )]
    Exchangeable {
        /// One of them.
        a: String,
        /// The other.
        b: String,
    },
    /// Errors of a simulation, which all voxels have in common.
    #[error(
        "`{name}` is an error of a simulation, the same in all voxels, and no population of them; \
         take error_modes = 0 for the dictionary in the model file, or --prior independent"
    )]
    Nuisance {
        /// The parameter.
        name: String,
    },
    /// Axes and angles only.
    #[error("the model has no free scalar, fraction or scale to pool; take --prior independent")]
    Nothing,
    /// A prior that can't be.
    #[error(transparent)]
    Prior(#[from] PriorError),
}

/// One pooled coordinate.
#[derive(Debug, Clone, PartialEq)]
pub struct PooledCoordinate {
    /// The column that it belongs to.
    pub name: String,
    /// Where it is among the coordinates of a voxel.
    pub at: usize,
    /// Its mean under the independent priors.
    pub mean: f64,
    /// Its standard deviation under the independent priors.
    pub sd: f64,
}

/// The pooled coordinates of a model and what all voxels have in common.
#[derive(Debug, Clone)]
pub struct PooledSpace {
    coordinates: Vec<PooledCoordinate>,
    /// Priors of angles by value.
    angles: Vec<(usize, Prior)>,
    axes: usize,
    /// Supports by value, σ last.
    supports: Vec<[f64; 2]>,
    free_sigma: bool,
    /// A chart whose centred blocks mean nothing.
    chart: Chart,
}

/// Mean and sd of $z$ under a prior of $x$.
fn moments(prior: &Prior, mut z_of: impl FnMut(f64) -> f64) -> [f64; 2] {
    const N: usize = 400;
    let z: Vec<f64> = (0..N).map(|i| z_of(prior.quantile((i as f64 + 0.5) / N as f64))).collect();
    let mean = z.iter().sum::<f64>() / N as f64;
    let variance = z.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / N as f64;
    [mean, variance.sqrt()]
}

/// $\psi'(a)$ by a fourth-order difference of $\psi$ after the recurrence
/// $\psi'(a) = \psi'(a+6) + \sum_{i<6} (a+i)^{-2}$.
fn trigamma(a: f64) -> f64 {
    let head: f64 = (0..6).map(|i| (a + f64::from(i)).powi(-2)).sum();
    let (b, h) = (a + 6.0, 1e-2);
    let d = |k: f64| digamma(b + k * h) - digamma(b - k * h);
    head + (8.0 * d(1.0) - d(2.0)) / (12.0 * h)
}

impl PooledSpace {
    /// The pooled coordinates of a model.
    ///
    /// `mean_b0` are the mean b = 0 signals of the voxels: they centre the default
    /// priors of `s0` and σ.
    ///
    /// # Errors
    /// A model with exchangeable compartments, with errors of a simulation, or with nothing to
    /// pool; a prior that can't be.
    pub fn new(model: &Model, free_sigma: bool, mean_b0: &[f64]) -> Result<Self, PooledError> {
        if let Some((a, b)) = exchangeable(model) {
            return Err(PooledError::Exchangeable { a, b });
        }
        if let Some(free) = model.free().iter().find(|f| f.nuisance) {
            return Err(PooledError::Nuisance { name: free.name.clone() });
        }
        let n = mean_b0.len().max(1) as f64;
        let ln_b0 = mean_b0.iter().map(|b| b.ln()).sum::<f64>() / n;
        let spread = mean_b0.iter().map(|b| (b.ln() - ln_b0).powi(2)).sum::<f64>() / n;
        let values = model.values();
        let mut supports = vec![[f64::NEG_INFINITY, f64::INFINITY]; values + 1];
        let mut angles = Vec::new();
        // (value, prior, whether it follows the data of each voxel)
        let mut priors: Vec<(usize, Prior, bool)> = Vec::new();
        for free in model.free() {
            match (&free.kind, &free.prior) {
                (FreeKind::Axis | FreeKind::Fractions { .. }, _) => {}
                (FreeKind::Scalar { period: Some(_) }, Some(prior)) => {
                    angles.push((free.at, prior.clone()));
                }
                (_, Some(prior)) => priors.push((free.at, prior.clone(), false)),
                (_, None) => {
                    let prior = Model::default_scale_prior(ln_b0.exp(), free.range)?;
                    priors.push((free.at, prior, true));
                }
            }
        }
        if free_sigma {
            match model.sigma_prior() {
                Some(prior) => priors.push((values, prior.clone(), false)),
                None => priors.push((values, Model::default_sigma_prior(ln_b0.exp())?, true)),
            }
        }
        for (at, prior, _) in &priors {
            supports[*at] = prior.support();
        }
        let mut centre = vec![0.5; values];
        for free in model.free().iter().filter(|f| f.kind == FreeKind::Axis) {
            centre[free.at..free.at + 3].copy_from_slice(&[0.0, 0.0, 1.0]);
        }
        let chart = chart_about(model, &centre, &supports, free_sigma);
        let (mut x, mut z) = (vec![0.5; chart.values()], vec![0.0; chart.dim()]);
        x[..values].copy_from_slice(&centre);
        let names = model.value_names();
        let mut coordinates = Vec::new();
        let mut at = 0;
        let mut scalar = |value: usize, at: usize, name: &str| {
            let Some((_, prior, follows)) = priors.iter().find(|(k, _, _)| *k == value) else {
                return;
            };
            let [mean, sd] = moments(prior, |v| {
                x[value] = v;
                chart.to_coordinates(&x, &mut z);
                z[at]
            });
            let sd = if *follows { (sd * sd + spread).sqrt() } else { sd };
            coordinates.push(PooledCoordinate { name: name.into(), at, mean, sd });
        };
        let mut fractions = Vec::new();
        for free in model.free() {
            match &free.kind {
                FreeKind::Axis => at += 2,
                FreeKind::Scalar { period: Some(_) } => at += 1,
                FreeKind::Fractions { concentration, .. } => {
                    for i in 0..free.len - 1 {
                        let a = concentration[i];
                        let b: f64 = concentration[i + 1..].iter().sum();
                        let offset = ((free.len - 1 - i) as f64).ln();
                        fractions.push(PooledCoordinate {
                            name: names[free.at + i].into(),
                            at: at + i,
                            mean: digamma(a) - digamma(b) + offset,
                            sd: (trigamma(a) + trigamma(b)).sqrt(),
                        });
                    }
                    at += free.len - 1;
                }
                _ => {
                    scalar(free.at, at, names[free.at]);
                    at += 1;
                }
            }
        }
        if free_sigma {
            scalar(values, at, "sigma");
        }
        coordinates.extend(fractions);
        coordinates.sort_by_key(|c| c.at);
        if coordinates.is_empty() {
            return Err(PooledError::Nothing);
        }
        let axes = model.free().iter().filter(|f| f.kind == FreeKind::Axis).count();
        Ok(Self { coordinates, angles, axes, supports, free_sigma, chart })
    }

    /// The pooled coordinates in the order of the chart.
    pub fn coordinates(&self) -> &[PooledCoordinate] {
        &self.coordinates
    }

    /// Coordinates of a voxel.
    pub fn dim(&self) -> usize {
        self.chart.dim()
    }

    /// Values of a voxel, a free σ last.
    pub fn values(&self) -> usize {
        self.chart.values()
    }

    /// The values at pooled coordinates; those of axes and angles mean nothing.
    ///
    /// # Shapes
    /// `pooled` `[pooled]`, `x` `[value]`.
    pub fn values_at(&self, pooled: &[f64], x: &mut [f64]) {
        let mut z = vec![0.0; self.chart.dim()];
        for (c, p) in self.coordinates.iter().zip(pooled) {
            z[c.at] = *p;
        }
        self.chart.to_values(&z, x);
    }
}

fn chart_about(model: &Model, centre: &[f64], supports: &[[f64; 2]], free_sigma: bool) -> Chart {
    let sigma = free_sigma.then(|| supports[model.values()]);
    Chart::new(model, centre, |at| supports[at], sigma)
}

/// Two compartments that can change places, if there are such.
fn exchangeable(model: &Model) -> Option<(String, String)> {
    let components = model.components();
    for (i, a) in components.iter().enumerate() {
        for b in &components[i + 1..] {
            if model.exchange(a, b).is_some() {
                return Some((a.name.clone(), b.name.clone()));
            }
        }
    }
    None
}

/// The data and the chart of one voxel.
#[derive(Debug, Clone)]
pub struct PooledVoxel {
    y: Vec<f64>,
    per_voxel: Vec<f64>,
    sigma: Option<f64>,
    likelihood: Constants,
    chart: Chart,
}

impl PooledVoxel {
    /// A voxel whose chart is centred on `centre`.
    ///
    /// # Shapes
    /// `signals` `[measurement]`, `per_voxel` one number for each of
    /// [`Model::per_voxel`], `centre` `[value]` (σ left out).
    pub fn new(
        space: &PooledSpace,
        lowered: &Lowered,
        signals: &[f64],
        per_voxel: &[f64],
        sigma: Option<f64>,
        centre: &[f64],
    ) -> Self {
        let (model, plan) = (&lowered.model, &lowered.plan);
        let mut y = vec![0.0; plan.slots()];
        plan.scatter(signals, &mut y);
        Self {
            y,
            per_voxel: per_voxel.to_vec(),
            sigma,
            likelihood: Constants::new(model.noise(), signals).of_means(plan.mask()),
            chart: chart_about(model, centre, &space.supports, space.free_sigma),
        }
    }

    /// The chart.
    pub fn chart(&self) -> &Chart {
        &self.chart
    }
}

/// Evaluates the part of the densities of voxels that they do not share.
#[derive(Debug)]
pub struct PooledDensity {
    evaluator: Evaluator,
    x: Vec<f64>,
    gx: Vec<f64>,
    score: Vec<f64>,
    information: LikelihoodCurvature,
}

impl PooledDensity {
    /// For the voxels of a model on an acquisition.
    pub fn new(space: &PooledSpace, lowered: &Lowered) -> Self {
        let (slots, values) = (lowered.plan.slots(), lowered.model.values());
        Self {
            evaluator: Evaluator::new(lowered),
            x: vec![0.0; space.values()],
            gx: vec![0.0; space.values()],
            score: vec![0.0; slots],
            information: LikelihoodCurvature::new(slots, values),
        }
    }

    /// $\ln p(y|z) + \ln p_\mathrm{own}(z_o)$ and its gradient.
    ///
    /// # Shapes
    /// `z`, `gz` `[dim]`.
    pub fn ln_density(
        &mut self,
        space: &PooledSpace,
        voxel: &PooledVoxel,
        z: &[f64],
        gz: &mut [f64],
    ) -> f64 {
        if self.evaluator.per_voxel() != voxel.per_voxel {
            self.evaluator.set_per_voxel(&voxel.per_voxel);
        }
        voxel.chart.to_values(z, &mut self.x);
        let lowered = self.evaluator.lowered();
        let (noise, values, plan) =
            (lowered.model.noise(), lowered.model.values(), lowered.plan.clone());
        let sigma = voxel.sigma.unwrap_or_else(|| self.x.last().copied().unwrap_or(f64::NAN));
        self.gx.fill(0.0);
        let signal = self.evaluator.signal(&self.x[..values]);
        let mut total = noise.score(&voxel.y, signal, plan.mask(), sigma, &mut self.score)
            + voxel.likelihood.at(sigma);
        if voxel.sigma.is_none() {
            self.gx[values] =
                noise.ln_sigma_slope(&voxel.y, signal, plan.mask(), sigma, &self.score) / sigma;
        }
        self.evaluator.pullback(&self.score, &mut self.gx[..values]);
        for (at, prior) in &space.angles {
            let (value, slope) = prior.ln_density(self.x[*at]);
            total += value;
            self.gx[*at] += slope;
        }
        voxel.chart.transposed(z, &self.x, &self.gx, gz);
        total += voxel.chart.centred_ln_jacobian(z, gz);
        total - space.axes as f64 * std::f64::consts::TAU.ln()
    }

    /// As [`PooledDensity::ln_density`], and a positive approximation of minus its
    /// Hessian.
    ///
    /// # Shapes
    /// `hessian` `[dim, dim]`.
    pub fn curvature(
        &mut self,
        space: &PooledSpace,
        voxel: &PooledVoxel,
        z: &[f64],
        gz: &mut [f64],
        hessian: &mut [f64],
    ) -> f64 {
        let ln_density = self.ln_density(space, voxel, z, gz);
        let sigma = voxel.sigma.unwrap_or_else(|| self.x.last().copied().unwrap_or(f64::NAN));
        let at = (z, self.x.as_slice());
        self.information.fill(&mut self.evaluator, &voxel.y, sigma, &voxel.chart, at, hessian);
        let dim = space.dim();
        let mut own = vec![0.0; dim];
        voxel.chart.ln_jacobian_curvature(z, &mut own);
        for c in &space.coordinates {
            own[c.at] = 0.0;
        }
        for (i, c) in own.iter().enumerate() {
            hessian[i * dim + i] += c;
        }
        ln_density
    }
}

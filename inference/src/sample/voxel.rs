//! The posterior of one voxel: fit, mode, chains, verdict.
//!
//! Each chain starts at a draw from the normal approximation at the mode and
//! runs in its white coordinates (see [`Laplace`]). A chain whose median log
//! density stays more than ten nats and one a degree of freedom below the best
//! chain's is flagged; R-hat and E-BFMI are judged with the summary.
//!
//! Validated by `tests/sample.rs` and `docs/validation.md`.

use super::laplace::Laplace;
use super::nuts::{LnDensity, NutsOptions, Trace, run_chain};
use crate::fit::{Fitter, Status, VoxelFit};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::{Model, Posterior, Sigma};
use rand_distr::{Distribution, StandardNormal};

/// How far below the best chain a chain may stay, beside one nat a degree of freedom.
const STUCK_NATS: f64 = 10.0;

/// Draws of one voxel.
#[derive(Debug, Clone)]
pub struct VoxelPosterior {
    /// The fit that the chains started from.
    pub fit: VoxelFit,
    /// Values of every draw, `[chain, draw, value]` (σ last when it is free).
    pub values: Vec<f64>,
    /// Statistics of every draw, one trace a chain (positions taken out).
    pub traces: Vec<Trace>,
    /// How it ended; convergence is judged by the summary.
    pub status: Status,
    /// Values of one draw: the free values and σ when it is free.
    pub width: usize,
}

/// Samples voxels one after another on one thread.
#[derive(Debug)]
pub struct Sampler {
    fitter: Fitter,
    options: NutsOptions,
}

/// The posterior in white coordinates.
struct White<'a, 'b> {
    posterior: &'a mut Posterior<'b>,
    laplace: &'a Laplace,
    z: Vec<f64>,
}

impl LnDensity for White<'_, '_> {
    fn dim(&self) -> usize {
        self.z.len()
    }

    fn ln_density(&mut self, xi: &[f64], gradient: &mut [f64]) -> f64 {
        self.laplace.coordinates(xi, &mut self.z);
        let value = self.posterior.ln_density(&self.z, gradient);
        self.laplace.whiten_gradient(gradient);
        value
    }
}

impl Sampler {
    /// A sampler that fits with `fitter`.
    pub fn new(fitter: Fitter, options: NutsOptions) -> Self {
        Self { fitter, options }
    }

    /// The fitter.
    pub fn fitter(&mut self) -> &mut Fitter {
        &mut self.fitter
    }

    /// Samples one voxel.
    ///
    /// # Shapes
    /// `y` `[measurement]`; `per_voxel` one number for each parameter fixed a voxel.
    ///
    /// `row` is the number of the voxel in the whole input: with the seed it
    /// names the random numbers.
    pub fn sample(
        &mut self,
        y: &[f64],
        per_voxel: &[f64],
        sigma: Option<f64>,
        seed: u64,
        row: u64,
    ) -> VoxelPosterior {
        let fit = self.fitter.fit(y, per_voxel, sigma);
        let empty = |fit: VoxelFit, status: Status| VoxelPosterior {
            width: fit.x.len() + usize::from(sigma.is_none()),
            fit,
            values: Vec::new(),
            traces: Vec::new(),
            status,
        };
        if fit.status == Status::InvalidSignal || fit.status == Status::Divergent {
            let status = fit.status;
            return empty(fit, status);
        }
        let evaluator = self.fitter.evaluator();
        let model = evaluator.lowered().model.clone();
        let noise = match sigma {
            Some(s) => Ok(Sigma::Known(s)),
            None => match model.sigma_prior() {
                Some(prior) => Ok(Sigma::Free(prior.clone())),
                None => Model::default_sigma_prior(fit.mean_b0).map(Sigma::Free),
            },
        };
        let mut centre = fit.x.clone();
        if sigma.is_none() {
            centre.push(fit.sigma);
        }
        let posterior = noise.and_then(|n| Posterior::new(evaluator, y, n, fit.mean_b0, &fit.x));
        let Ok(mut posterior) = posterior else {
            return empty(fit, Status::Divergent);
        };
        let mut start = vec![0.0; posterior.dim()];
        posterior.chart().to_coordinates(&centre, &mut start);
        let Some(laplace) = Laplace::at_mode(&mut posterior, &start) else {
            return empty(fit, Status::Divergent);
        };
        let width = posterior.chart().values();
        let mut out = VoxelPosterior {
            fit,
            values: Vec::with_capacity(self.options.chains * self.options.draws * width),
            traces: Vec::with_capacity(self.options.chains),
            status: Status::Converged,
            width,
        };
        for chain in 0..self.options.chains {
            let mut rng = PhiloxRng::new(seed, row, chain as u8);
            let xi: Vec<f64> =
                (0..laplace.mode.len()).map(|_| StandardNormal.sample(&mut rng)).collect();
            let mut white =
                White { z: vec![0.0; xi.len()], posterior: &mut posterior, laplace: &laplace };
            let mut trace = run_chain(&mut white, &xi, &self.options, &mut rng);
            let (mut z, mut x) = (vec![0.0; xi.len()], vec![0.0; width]);
            for draw in &mut trace.draws {
                laplace.coordinates(&draw.position, &mut z);
                posterior.chart().to_values(&z, &mut x);
                out.values.extend_from_slice(&x);
                draw.position = Box::default();
            }
            out.traces.push(trace);
        }
        if out.traces.iter().any(|t| t.failed) {
            out.values.clear();
            out.traces.clear();
            out.status = Status::Divergent;
        } else if is_stuck(&out.traces, laplace.mode.len()) {
            out.status = Status::NotMixed;
        }
        out
    }
}

/// Whether a chain's median log density stays far below the best chain's.
fn is_stuck(traces: &[Trace], dim: usize) -> bool {
    let medians: Vec<f64> = traces
        .iter()
        .map(|t| {
            let mut v: Vec<f64> = t.draws.iter().map(|d| d.ln_density).collect();
            v.sort_by(f64::total_cmp);
            v.get(v.len() / 2).copied().unwrap_or(f64::NEG_INFINITY)
        })
        .collect();
    let best = medians.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    medians.iter().any(|m| best - m > STUCK_NATS + dim as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Draw;

    /// A chain whose log densities scatter about `level` by a nat.
    fn chain(level: f64) -> Trace {
        let draws = (0..101)
            .map(|i| Draw {
                position: Box::default(),
                ln_density: level + f64::from(i % 11) / 5.0 - 1.0,
                energy: 0.0,
                tree_depth: 2,
                reached_max_depth: false,
                acceptance_rate: 0.9,
                diverging: false,
                n_steps: 3,
                step_size: 1.0,
            })
            .collect();
        Trace { draws, ..Trace::default() }
    }

    #[test]
    fn a_chain_far_below_the_best_is_stuck() {
        let dim = 6;
        let limit = STUCK_NATS + dim as f64;
        assert!(!is_stuck(&[chain(-50.0), chain(-51.0), chain(-49.5), chain(-50.2)], dim));
        assert!(!is_stuck(&[chain(-50.0), chain(-50.0 - limit + 0.5)], dim));
        assert!(is_stuck(&[chain(-50.0), chain(-50.0 - limit - 0.5)], dim));
        assert!(is_stuck(&[chain(-200.0), chain(-50.0), chain(-50.0), chain(-50.0)], dim));
        assert!(!is_stuck(&[chain(-200.0)], dim));
        assert!(is_stuck(&[chain(-50.0), Trace::default()], dim));
    }
}

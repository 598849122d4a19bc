//! One Markov step of one voxel given its population and neighbours.
//!
//! $$\ln\pi(z) = \ln p(y\,|\,z) + \ln p_\mathrm{own}(z_o) + \ln\mathcal N(z_p;\,c,\,\Sigma/w)$$
//!
//! Hamiltonian dynamics in the white coordinates of $H = H_y + w P$, where $H_y$ is the
//! curvature of the likelihood at a point that was fixed during warm-up: unit momenta,
//! leapfrog steps over a random time, then Metropolis. The metric depends on the population and not on $z$, so the step leaves π
//! invariant. Metric and step size ([`super::step_size`]) are tuned during warm-up only.
//!
//! Source: Neal 2011, doi:10.1201/b10905-6 (Hamiltonian dynamics).
//! Validated by `joint_distribution` in `tests.rs`.

use super::step_size::{DIVERGENT_NATS, StepSize};
use crate::dense::{backward, cholesky, forward};
use microtome_models::{PooledDensity, PooledSpace, PooledVoxel};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

/// The normal prior of the pooled coordinates of one voxel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conditional<'a> {
    /// c.
    pub(crate) centre: &'a [f64],
    /// w.
    pub(crate) weight: f64,
    /// P, `[d, d]`.
    pub(crate) precision: &'a [f64],
    /// ln|P|.
    pub(crate) ln_det: f64,
    /// Bounds of the time of a trajectory.
    pub(crate) time: [f64; 2],
}

/// What a step was like.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Step {
    /// $\ln\pi$ at the end.
    pub(crate) ln_density: f64,
    /// The Hamiltonian at the begin.
    pub(crate) energy: f64,
    pub(crate) n_steps: u32,
    pub(crate) step_size: f64,
    pub(crate) diverging: bool,
    /// Probability of acceptance.
    pub(crate) acceptance: f64,
}

/// Where a voxel of a chain is.
#[derive(Debug, Clone)]
pub(crate) struct Walker {
    pub(crate) z: Vec<f64>,
    /// $\ln p(y|z)+\ln p_\mathrm{own}$ and its gradient at z.
    pub(crate) ln_base: f64,
    pub(crate) gradient: Vec<f64>,
    /// $H_y$.
    pub(crate) curvature: Vec<f64>,
    /// Sum of positions since the curvature was last taken.
    sum: Vec<f64>,
    summed: f64,
    tuning: StepSize,
    pub(crate) trial: Trial,
    pub(crate) last: Step,
    pub(crate) gradients: u64,
}

/// A place that a voxel may be moved to with all others.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    pub(crate) z: Vec<f64>,
    pub(crate) ln_base: f64,
    pub(crate) gradient: Vec<f64>,
}

impl Walker {
    /// Moves to the trial.
    pub(crate) fn accept(&mut self) {
        self.z.copy_from_slice(&self.trial.z);
        self.gradient.copy_from_slice(&self.trial.gradient);
        self.ln_base = self.trial.ln_base;
    }
}

/// Makes steps of voxels on one thread.
#[derive(Debug)]
pub(crate) struct Stepper {
    density: PooledDensity,
    factor: Vec<f64>,
    momentum: Vec<f64>,
    z: Vec<f64>,
    gradient: Vec<f64>,
    white: Vec<f64>,
    pub(crate) centre: Vec<f64>,
}

impl Stepper {
    pub(crate) fn new(space: &PooledSpace, density: PooledDensity) -> Self {
        let dim = space.dim();
        Self {
            density,
            factor: vec![0.0; dim * dim],
            momentum: vec![0.0; dim],
            z: vec![0.0; dim],
            gradient: vec![0.0; dim],
            white: vec![0.0; dim],
            centre: vec![0.0; space.coordinates().len()],
        }
    }

    /// A walker at `z`, its metric taken at `mode`; `None` where the density fails.
    pub(crate) fn walker(
        &mut self,
        space: &PooledSpace,
        voxel: &PooledVoxel,
        z: &[f64],
        mode: &[f64],
    ) -> Option<Walker> {
        let dim = space.dim();
        let (mut curvature, mut gradient) = (vec![0.0; dim * dim], vec![0.0; dim]);
        self.density.curvature(space, voxel, mode, &mut gradient, &mut curvature);
        let mut z = z.to_vec();
        let mut ln_base = self.density.ln_density(space, voxel, &z, &mut gradient);
        if !(ln_base.is_finite() && gradient.iter().all(|g| g.is_finite())) {
            z.copy_from_slice(mode);
            ln_base = self.density.ln_density(space, voxel, &z, &mut gradient);
        }
        let finite =
            ln_base.is_finite() && gradient.iter().chain(&curvature).all(|v| v.is_finite());
        finite.then(|| Walker {
            z,
            ln_base,
            gradient,
            curvature,
            sum: vec![0.0; dim],
            summed: 0.0,
            tuning: StepSize::default(),
            trial: Trial { z: vec![0.0; dim], ln_base: f64::NAN, gradient: vec![0.0; dim] },
            last: Step::default(),
            gradients: 2,
        })
    }

    /// Takes the metric of a walker anew at its mean position.
    pub(crate) fn retake(&mut self, space: &PooledSpace, voxel: &PooledVoxel, w: &mut Walker) {
        if w.summed < 1.0 {
            return;
        }
        for (z, s) in self.z.iter_mut().zip(&mut w.sum) {
            *z = *s / w.summed;
            *s = 0.0;
        }
        w.summed = 0.0;
        let mut curvature = vec![0.0; w.curvature.len()];
        self.density.curvature(space, voxel, &self.z, &mut self.gradient, &mut curvature);
        w.gradients += 1;
        if curvature.iter().all(|c| c.is_finite()) {
            w.curvature = curvature;
        }
        w.tuning.restart();
    }

    /// Evaluates the density at the trial of a walker.
    pub(crate) fn try_out(&mut self, space: &PooledSpace, voxel: &PooledVoxel, w: &mut Walker) {
        let trial = &mut w.trial;
        trial.ln_base = self.density.ln_density(space, voxel, &trial.z, &mut trial.gradient);
        w.gradients += 1;
    }

    /// One step of a walker; tunes its step size while `warm_up`.
    pub(crate) fn step<R: Rng + ?Sized>(
        &mut self,
        space: &PooledSpace,
        voxel: &PooledVoxel,
        prior: Conditional<'_>,
        w: &mut Walker,
        warm_up: bool,
        rng: &mut R,
    ) {
        let dim = w.z.len();
        self.whiten(space, prior, &w.curvature);
        for p in &mut self.momentum {
            *p = StandardNormal.sample(rng);
        }
        let (n, step) = w.tuning.trajectory(prior.time, warm_up, rng);
        let u: f64 = rng.random();
        let kinetic = |p: &[f64]| 0.5 * p.iter().map(|p| p * p).sum::<f64>();

        self.z.copy_from_slice(&w.z);
        self.gradient.copy_from_slice(&w.gradient);
        let start = w.ln_base + pull(space, prior, &self.z, &mut self.gradient);
        let energy = kinetic(&self.momentum) - start;
        let (mut ln_base, mut end, mut failed) = (w.ln_base, start, false);
        let mut base_gradient = vec![0.0; dim];
        for _ in 0..n {
            self.kick(0.5 * step);
            self.white.copy_from_slice(&self.momentum);
            backward(&self.factor, dim, &mut self.white);
            for (z, v) in self.z.iter_mut().zip(&self.white) {
                *z += step * v;
            }
            ln_base = self.density.ln_density(space, voxel, &self.z, &mut base_gradient);
            w.gradients += 1;
            self.gradient.copy_from_slice(&base_gradient);
            end = ln_base + pull(space, prior, &self.z, &mut self.gradient);
            if !(end.is_finite() && self.gradient.iter().all(|g| g.is_finite())) {
                failed = true;
                break;
            }
            self.kick(0.5 * step);
        }
        let error = kinetic(&self.momentum) - end - energy;
        failed |= !(error < DIVERGENT_NATS);
        let acceptance = if failed { 0.0 } else { (-error).exp().min(1.0) };
        let accepted = u < acceptance;
        if accepted {
            w.z.copy_from_slice(&self.z);
            w.gradient.copy_from_slice(&base_gradient);
            w.ln_base = ln_base;
        }
        if warm_up {
            w.tuning.update(acceptance);
            w.summed += 1.0;
            for (s, z) in w.sum.iter_mut().zip(&w.z) {
                *s += z;
            }
        }
        w.last = Step {
            ln_density: if accepted { end } else { start },
            energy,
            n_steps: n,
            step_size: step,
            diverging: failed,
            acceptance,
        };
    }

    fn kick(&mut self, step: f64) {
        self.white.copy_from_slice(&self.gradient);
        forward(&self.factor, self.white.len(), &mut self.white);
        for (p, g) in self.momentum.iter_mut().zip(&self.white) {
            *p += step * g;
        }
    }

    /// The Cholesky factor of $H_y + wP$.
    fn whiten(&mut self, space: &PooledSpace, prior: Conditional<'_>, curvature: &[f64]) {
        let dim = space.dim();
        let d = prior.centre.len();
        self.factor.copy_from_slice(curvature);
        for (a, row) in space.coordinates().iter().zip(prior.precision.chunks_exact(d)) {
            for (b, p) in space.coordinates().iter().zip(row) {
                self.factor[a.at * dim + b.at] += prior.weight * p;
            }
        }
        let diagonal: Vec<f64> =
            (0..dim).map(|i| self.factor[i * dim + i].max(1e-8).sqrt()).collect();
        if !cholesky(&mut self.factor, dim, 1e-13) {
            self.factor.fill(0.0);
            for (i, s) in diagonal.into_iter().enumerate() {
                self.factor[i * dim + i] = s;
            }
        }
    }
}

/// Adds the slopes of the normal prior to the gradient; returns its logarithm.
fn pull(space: &PooledSpace, prior: Conditional<'_>, z: &[f64], gradient: &mut [f64]) -> f64 {
    let d = prior.centre.len();
    let mut square = 0.0;
    for ((a, c), row) in
        space.coordinates().iter().zip(prior.centre).zip(prior.precision.chunks_exact(d))
    {
        let mut slope = 0.0;
        for ((b, c), p) in space.coordinates().iter().zip(prior.centre).zip(row) {
            slope += p * (z[b.at] - c);
        }
        gradient[a.at] -= prior.weight * slope;
        square += (z[a.at] - c) * slope;
    }
    let d = d as f64;
    0.5 * (d * (prior.weight.ln() - std::f64::consts::TAU.ln()) + prior.ln_det
        - prior.weight * square)
}

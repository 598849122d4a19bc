//! Hamiltonian trajectories of several images abreast.
//!
//! In white coordinates $z$, $x = x_0 + a\odot C^T s\odot z$ with the DCT $C$, the density is
//! near a standard normal one. A step turns $(z, p)$ by an angle between two kicks by what the
//! force differs from $-z$; after some steps the point is taken with the probability
//! $\min(1, e^{H-H'})$.
//!
//! | symbol | |
//! |---|---|
//! | $s_k^{-2} = d_k + \lambda\kappa q_k + m$ | at first; $d$ the diagonal of $A^TWA$ in the DCT, $q$ that of the Laplacian |
//! | $\kappa$ | [`SHARE`] of the mean curvature of the root in the draws of the warm-up |
//! | $a_j^4 = \mathrm{Var}(x_j)/\mathrm{E}\,(\partial_j\ln p)^2$ | widths of voxels, of geometric mean 1: edges are wide, flat places narrow |
//! | $s_k \leftarrow s_k\,(\mathrm{Var}(z_k)/\mathrm{E}\,(\partial_k\ln p)^2)^{1/4}$ | afterwards |
//! | $x_0$ | the mean of the draws of the warm-up |
//! | $T$ | the length of a trajectory, 0.6 to 1.4 times [`LENGTH`], so that no period is met |
//!
//! The root of variance over squared slope is the width of a normal density both ways round,
//! and the best diagonal one where there is none.
//! The step, $x_0$, $a$ and $s$ are found in the warm-up and fixed then. Chains of a group
//! share them and the random lengths, and have random numbers of their own. Positions are of
//! 32 bits; the error of $\ln p$ is below 0.01 where draws lie within some standard
//! deviations of $x_0$.
//!
//! Source: Neal 2011, *MCMC using Hamiltonian dynamics*, sections 3 and 5.5 (arXiv:1206.1901);
//! Shahbaba, Lan, Johnson & Neal 2014, doi:10.1007/s11222-012-9373-1 (split flows); Seyboldt,
//! Carlson & Carpenter 2026, arXiv:2603.18845 (scales from draws and slopes). Validated by
//! `chains_agree_with_nuts` and `ranks_are_uniform` in `inference/tests/suite/edge_posterior.rs`.

use super::super::ReconstructError;
use super::conjugate::solve;
use super::edges::{EdgePosterior, ImageNoise};
use super::gaussian::GaussianImage;
use super::scales::Moments;
use super::spectrum::Spectrum;
use microtome_kernels::abreast::{
    ABREAST as W, CosineLanes, CountTerm, Images, NormalTerm, Variation, Wide, half_square, kick,
    pull, scale, take, turn, variation,
};
use microtome_kernels::philox::PhiloxRng;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

/// Part of the mean curvature that the metric takes: edges have less than flat places.
const SHARE: f64 = 0.6;
/// Mean length of a trajectory, rad.
const LENGTH: f64 = 2.8;
/// Most steps of a trajectory.
const MOST_STEPS: f64 = 256.0;
/// Acceptance that the step is chosen for.
const ACCEPTANCE: f64 = 0.7;
/// An error of the energy beyond this is a divergence.
const DIVERGENT: f64 = 1000.0;
/// Streams of random numbers: of a group, and of a chain.
const STREAMS: [u8; 2] = [94, 95];
/// Least draws of the warm-up.
const LEAST_TUNE: usize = 12;

/// How long chains are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChainSettings {
    /// Number of chains.
    pub chains: usize,
    /// Draws of the warm-up of each chain.
    pub tune: usize,
    /// Draws of each chain after it.
    pub draws: usize,
    /// One of so many draws is kept.
    pub thin: usize,
    /// Seed of the random numbers.
    pub seed: u64,
}

impl Default for ChainSettings {
    fn default() -> Self {
        Self { chains: 4, tune: 500, draws: 1000, thin: 1, seed: 0 }
    }
}

/// Draws of a posterior of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageChains {
    /// Number of chains.
    pub chains: usize,
    /// Kept draws of a chain.
    pub draws: usize,
    /// `[chain, draw, voxel]`.
    pub values: Vec<f32>,
    /// $H$ at the draws, `[chain, draw]`.
    pub energy: Vec<f64>,
    /// $\ln p$ at the draws, up to a constant of each group of chains.
    pub ln_density: Vec<f64>,
    /// Draws after the warm-up whose trajectory ran away.
    pub divergences: usize,
    /// Mean acceptance after the warm-up.
    pub acceptance: f64,
    /// Angle of a step, mean over groups.
    pub step: f64,
    /// Gradients of each chain a draw, warm-up not counted.
    pub steps_per_draw: f64,
}

impl EdgePosterior<'_> {
    /// Samples the posterior.
    ///
    /// # Errors
    /// Settings without sense, a start that can't be solved, a warm-up in which no
    /// trajectory is accepted.
    pub fn sample(&self, settings: &ChainSettings) -> Result<ImageChains, ReconstructError> {
        let ChainSettings { chains, tune, draws, thin, .. } = *settings;
        let least = |name: &'static str, value: usize, least: usize| match value >= least {
            true => Ok(()),
            false => {
                let problem = format!("{value}; at least {least} are needed");
                Err(ReconstructError::setting(name, problem))
            }
        };
        least("chains", chains, 1)?;
        least("tune", tune, LEAST_TUNE)?;
        least("thin", thin, 1)?;
        least("draws", draws, thin)?;
        let start = Setting::new(self)?;
        let groups: Vec<usize> = (0..chains.div_ceil(W)).collect();
        let parts: Result<Vec<Part>, ReconstructError> = groups
            .into_par_iter()
            .map(|group| Group::new(self, &start, settings, group).run(settings))
            .collect();
        let parts = parts?;
        let (kept, voxels, n) = (draws / thin, self.n_voxels(), parts.len() as f64);
        let mut out = ImageChains {
            chains,
            draws: kept,
            values: Vec::with_capacity(chains * kept * voxels),
            energy: Vec::new(),
            ln_density: Vec::new(),
            divergences: 0,
            acceptance: parts.iter().map(|p| p.acceptance).sum::<f64>() / n,
            step: parts.iter().map(|p| p.step).sum::<f64>() / n,
            steps_per_draw: parts.iter().map(|p| p.steps).sum::<f64>() / n,
        };
        for trace in parts.into_iter().flat_map(|p| p.traces).take(chains) {
            out.values.extend(trace.values);
            out.energy.extend(trace.energy);
            out.ln_density.extend(trace.ln_density);
            out.divergences += trace.divergences;
        }
        Ok(out)
    }
}

/// What all chains start from.
struct Setting {
    centre: Vec<f64>,
    spectrum: Spectrum,
    curvature: f64,
}

impl Setting {
    /// The mean of a Gaussian posterior whose differences are as precise as those of the
    /// prior alone, $\kappa = \mathrm E\,\tfrac12 r^{-1} = \tfrac\lambda2$, at most $1/\epsilon$.
    fn new(of: &EdgePosterior<'_>) -> Result<Self, ReconstructError> {
        let prior = of.prior();
        let curvature = (0.5 * prior.weight).min(1.0 / prior.rounding);
        let (y, w) = of.as_normal();
        let image = GaussianImage::new(of.operator(), &y, w, of.field(curvature)?)?;
        let spectrum = Spectrum::new(&image)?;
        let multiply = |x: &[f64], out: &mut [f64]| image.precision(x, out);
        let precondition = |r: &[f64], z: &mut [f64]| spectrum.divide(r, z);
        let mut centre = vec![0.0; of.n_voxels()];
        solve(&multiply, &precondition, &image.right_side()?, &mut centre, 1e-3, 200)?;
        Ok(Self { centre, spectrum, curvature })
    }

    fn scales(&self, of: &EdgePosterior<'_>, curvature: f64) -> Result<Vec<f32>, ReconstructError> {
        let inverse = self.spectrum.inverse_with(&of.field(curvature)?.eigenvalues());
        Ok(inverse.iter().map(|v| v.sqrt() as f32).collect())
    }
}

/// Draws of a chain.
#[derive(Default)]
struct Trace {
    values: Vec<f32>,
    energy: Vec<f64>,
    ln_density: Vec<f64>,
    divergences: usize,
}

/// Draws of a group.
struct Part {
    traces: Vec<Trace>,
    acceptance: f64,
    step: f64,
    steps: f64,
}

/// The data about a centre.
struct Centred {
    centre: Vec<f32>,
    /// $Ax_0 - y$ and weights, or counts and expected counts.
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Centred {
    fn new(of: &EdgePosterior<'_>, centre: &[f64]) -> Self {
        let centre: Vec<f32> = centre.iter().map(|v| *v as f32).collect();
        let exact: Vec<f64> = centre.iter().map(|v| f64::from(*v)).collect();
        let lines = of.project(&exact).into_iter();
        let (first, second) = match of.noise() {
            ImageNoise::Normal { projections, weights } => {
                let both = lines.zip(projections).zip(weights);
                both.map(|((t, y), w)| ((t - y) as f32, *w as f32)).unzip()
            }
            ImageNoise::Poisson { counts, i0 } => {
                lines.zip(counts).map(|(t, c)| (*c as f32, (i0 * (-t).exp()) as f32)).unzip()
            }
        };
        Self { centre, first, second }
    }
}

/// Chains abreast.
struct Group<'a> {
    of: &'a EdgePosterior<'a>,
    setting: &'a Setting,
    prior: Variation,
    cosine: CosineLanes,
    scales: Vec<f32>,
    widths: Vec<f32>,
    data: Centred,
    /// Position, gradient and energy at the last draw.
    z: Images<W>,
    g: Images<W>,
    potential: [f64; W],
    /// Memory: an image, slopes of the rays, and the trajectory.
    x: Images<W>,
    slopes: Images<W>,
    moving: [Images<W>; 3],
    common: PhiloxRng,
    own: Vec<PhiloxRng>,
}

/// What a trajectory tells.
struct Told {
    acceptance: [f64; W],
    energy: [f64; W],
    diverged: [bool; W],
    steps: usize,
}

impl<'a> Group<'a> {
    fn new(
        of: &'a EdgePosterior<'a>,
        setting: &'a Setting,
        settings: &ChainSettings,
        group: usize,
    ) -> Self {
        let n = of.n_voxels();
        let zeros = || Images::<W>::zeros(n);
        let own = |l: usize| PhiloxRng::new(settings.seed, (group * W + l) as u64, STREAMS[1]);
        Self {
            of,
            setting,
            prior: of.variation(),
            cosine: CosineLanes::new(of.shape()),
            scales: Vec::new(),
            widths: vec![1.0; n],
            data: Centred::new(of, &setting.centre),
            z: zeros(),
            g: zeros(),
            potential: [0.0; W],
            x: zeros(),
            slopes: Images::zeros(of.matrix().rows().len()),
            moving: [zeros(), zeros(), zeros()],
            common: PhiloxRng::new(settings.seed, group as u64, STREAMS[0]),
            own: (0..W).map(own).collect(),
        }
    }

    /// The images of white coordinates, less the centre, into `x`.
    fn make_images(&mut self, z: &[Wide<W>]) {
        self.x.copy_from_slice(z);
        scale(&mut self.x, &self.scales);
        self.cosine.inverse(&mut self.x);
        scale(&mut self.x, &self.widths);
    }

    /// $-\ln p$ at `z`, and its gradient by `z`.
    fn potential(&mut self, z: &[Wide<W>], g: &mut [Wide<W>]) -> [f64; W] {
        self.make_images(z);
        g.fill([0.0; W]);
        let (matrix, first, second) = (self.of.matrix(), &self.data.first, &self.data.second);
        let data = match self.of.noise() {
            ImageNoise::Normal { .. } => {
                let term = NormalTerm { offset: first, weight: second };
                pull(matrix, &term, &self.x, &mut self.slopes, g)
            }
            ImageNoise::Poisson { .. } => {
                let term = CountTerm { count: first, expected: second };
                pull(matrix, &term, &self.x, &mut self.slopes, g)
            }
        };
        let prior = variation(&self.prior, &self.data.centre, &self.x, g, None);
        scale(g, &self.widths);
        self.cosine.forward(g);
        scale(g, &self.scales);
        std::array::from_fn(|l| data[l] + prior[l])
    }

    fn normals(&mut self, out: &mut [Wide<W>]) {
        for v in out.iter_mut() {
            for (v, rng) in v.iter_mut().zip(&mut self.own) {
                let normal: f32 = StandardNormal.sample(rng);
                *v = normal;
            }
        }
    }

    /// One draw of every chain.
    fn draw(&mut self, step: f64) -> Told {
        let length = LENGTH * (0.6 + 0.8 * self.common.random::<f64>());
        let steps = (length / step).round().clamp(1.0, MOST_STEPS) as usize;
        let angle = step * (0.9 + 0.2 * self.common.random::<f64>());
        let mut moving =
            std::mem::replace(&mut self.moving, std::array::from_fn(|_| Images::<W>::zeros(0)));
        let [q, p, g] = &mut moving;
        self.normals(p);
        q.copy_from_slice(&self.z);
        g.copy_from_slice(&self.g);
        let before = half_square(p);
        let mut potential = self.potential;
        kick(p, g, q, (0.5 * angle) as f32, 1.0);
        for k in 0..steps {
            turn(q, p, angle);
            potential = self.potential(q, g);
            let whole = if k + 1 == steps { 0.5 } else { 1.0 };
            kick(p, g, q, (whole * angle) as f32, 1.0);
        }
        let after = half_square(p);
        let mut told = Told {
            acceptance: [0.0; W],
            energy: std::array::from_fn(|l| self.potential[l] + before[l]),
            diverged: [false; W],
            steps,
        };
        let mut taken = [false; W];
        for l in 0..W {
            let error = potential[l] + after[l] - told.energy[l];
            told.diverged[l] = error.is_nan() || error >= DIVERGENT;
            told.acceptance[l] = if error.is_nan() { 0.0 } else { (-error).min(0.0).exp() };
            taken[l] = self.own[l].random::<f64>() < told.acceptance[l];
            if taken[l] {
                self.potential[l] = potential[l];
                told.energy[l] = potential[l] + after[l];
            }
        }
        take(&mut self.z, q, taken);
        take(&mut self.g, g, taken);
        self.moving = moving;
        told
    }

    /// Images of the positions, less the centre, into `x`.
    fn show(&mut self) {
        let z = std::mem::replace(&mut self.z, Images::zeros(0));
        self.make_images(&z);
        self.z = z;
    }

    /// Takes another centre, other scales and widths; the images stay.
    fn settle(&mut self, centre: &[f64], scales: Vec<f32>, widths: Vec<f32>) {
        self.show();
        let old = std::mem::replace(&mut self.data, Centred::new(self.of, centre));
        (self.scales, self.widths) = (scales, widths);
        let mut z = std::mem::replace(&mut self.z, Images::zeros(0));
        z.copy_from_slice(&self.x);
        for (z, (old, new)) in z.iter_mut().zip(old.centre.iter().zip(&self.data.centre)) {
            z.iter_mut().for_each(|z| *z += old - new);
        }
        let over = |v: &[f32]| -> Vec<f32> { v.iter().map(|v| 1.0 / v).collect() };
        scale(&mut z, &over(&self.widths));
        self.cosine.forward(&mut z);
        scale(&mut z, &over(&self.scales));
        self.refresh(z);
    }

    /// $\nabla(-\ln p)$ by the image at the positions.
    fn slopes_of_images(&self) -> Images<W> {
        let mut out = self.g.clone();
        let over = |v: &[f32]| -> Vec<f32> { v.iter().map(|v| 1.0 / v).collect() };
        scale(&mut out, &over(&self.scales));
        self.cosine.inverse(&mut out);
        scale(&mut out, &over(&self.widths));
        out
    }

    /// Goes to a position.
    fn refresh(&mut self, z: Images<W>) {
        let mut g = std::mem::replace(&mut self.g, Images::zeros(0));
        self.potential = self.potential(&z, &mut g);
        (self.z, self.g) = (z, g);
    }

    fn run(mut self, settings: &ChainSettings) -> Result<Part, ReconstructError> {
        let n = self.of.n_voxels();
        self.scales = self.setting.scales(self.of, SHARE * self.setting.curvature)?;
        let mut z = Images::<W>::zeros(n);
        self.normals(&mut z);
        self.refresh(z);
        let step = self.warm_up(settings.tune)?;
        let mut traces: Vec<Trace> = (0..W).map(|_| Trace::default()).collect();
        let (mut acceptance, mut steps) = (0.0, 0);
        for draw in 0..settings.draws {
            let told = self.draw(step);
            acceptance += told.acceptance.iter().sum::<f64>() / W as f64;
            steps += told.steps;
            for (trace, diverged) in traces.iter_mut().zip(told.diverged) {
                trace.divergences += usize::from(diverged);
            }
            if (draw + 1) % settings.thin != 0 {
                continue;
            }
            self.show();
            for (l, trace) in traces.iter_mut().enumerate() {
                trace.energy.push(told.energy[l]);
                trace.ln_density.push(-self.potential[l]);
                let both = self.x.iter().zip(&self.data.centre);
                trace.values.extend(both.map(|(x, c)| x[l] + c));
            }
        }
        let draws = settings.draws as f64;
        Ok(Part { traces, acceptance: acceptance / draws, step, steps: steps as f64 / draws })
    }

    /// Finds centre, scales and step: three thirds, after the first two of which the centre
    /// is the mean of the images in their later half. The first one gives curvature and widths
    /// of voxels, the second one scales. Returns the step.
    fn warm_up(&mut self, tune: usize) -> Result<f64, ReconstructError> {
        let third = tune / 3;
        let mut ln_step = 0.1_f64.ln();
        for part in 0..3 {
            let draws = if part < 2 { third } else { tune - 2 * third };
            let mut images = Moments::new(self.of.n_voxels());
            let mut white = Moments::new(self.of.n_voxels());
            let (mut mean_step, mut count, mut accepted) = (0.0, 0.0, 0.0);
            for draw in 0..draws {
                let told = self.draw(ln_step.exp());
                let acceptance = told.acceptance.iter().sum::<f64>() / W as f64;
                accepted += acceptance;
                ln_step += (acceptance - ACCEPTANCE) * 2.0 / (1.0 + draw as f64).powf(0.6);
                ln_step = ln_step.clamp(-9.0, 0.4);
                if draw < draws / 2 {
                    continue;
                }
                mean_step += ln_step;
                count += 1.0;
                if part == 0 {
                    self.show();
                    images.add(&self.x, Some(&self.slopes_of_images()));
                } else if part == 1 {
                    self.show();
                    images.add(&self.x, None);
                    white.add(&self.z, Some(&self.g));
                }
            }
            if accepted == 0.0 {
                return Err(ReconstructError::setting(
                    "tune",
                    format!(
                        "no trajectory of {draws} was accepted at a step of {:.1e}: numbers of \
                         the noise or the prior are far from the scale of the data",
                        ln_step.exp()
                    ),
                ));
            }
            if part == 2 {
                return Ok((mean_step / count).exp());
            }
            let means = images.means().into_iter();
            let centre: Vec<f64> =
                means.zip(&self.data.centre).map(|(m, c)| m + f64::from(*c)).collect();
            if part == 0 {
                self.show();
                let mut curvature = 0.0;
                let [_, _, spare] = &mut self.moving;
                variation(&self.prior, &self.data.centre, &self.x, spare, Some(&mut curvature));
                let scales = self.setting.scales(self.of, SHARE * curvature)?;
                self.settle(&centre, scales, images.widths(self.of.shape(), true));
            } else {
                let factors = white.widths(self.of.shape(), false);
                let scales = self.scales.iter().zip(&factors).map(|(s, f)| s * f).collect();
                self.settle(&centre, scales, self.widths.clone());
            }
        }
        Ok(ln_step.exp())
    }
}

//! The tables of a region: those of its blocks, and the population itself.
//!
//! `contraction` in the summary of a voxel is the sd of the population over that of the
//! posterior (of the voxel given its neighbours, where there are places): near 1 the
//! voxel has learned nothing that the others did not say.

use super::gibbs::PopulationDraws;
use super::normal_wishart::Population;
use super::region::{Block, Coupled, Member, Region};
use crate::InferenceError;
use crate::dense::cholesky;
use crate::diagnostics::Workspace;
use crate::fit::Status;
use crate::run::{Counts, Tables};
use crate::sample::{Draw, Trace, VoxelPosterior};
use crate::table;
use arrow_array::RecordBatch;
use microtome_kernels::philox::PhiloxRng;
use microtome_models::{FreeKind, SampleMethod, SigmaSpec};
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

/// Draws of the population by which its standard deviation in a voxel is found.
const PREDICTED: usize = 400;

impl Coupled {
    /// The tables of a block from what it kept of its draws.
    ///
    /// # Errors
    /// Arrow refused an array; numbers of another run.
    pub fn tables(
        &self,
        region: &Region,
        population: &PopulationDraws,
        block: usize,
        numbers: &[f64],
    ) -> Result<Tables, InferenceError> {
        let gradients = population.gradients.get(block).copied().unwrap_or(0);
        let Some(block) = region.blocks.get(block) else {
            return Err(std::io::Error::other("a block beyond the last").into());
        };
        let search = self.spec().search;
        let each = block.members.len() * region.record();
        if numbers.len() != each * search.chains * search.draws {
            return Err(std::io::Error::other("the draws of a block are incomplete").into());
        }
        let shared = region.field.colours() == 1;
        let of_region = shared.then(|| predicted_sd(region, population, 1.0, |p, k| p.mean[k]));
        let results: Vec<_> = (0..block.fits.len())
            .into_par_iter()
            .map_init(Workspace::new, |workspace, at| {
                let fixed: Vec<f64> = block.batch.fixed.iter().map(|f| f[at]).collect();
                let member = block.members.iter().position(|m| m.at == at);
                let mut posterior = match member {
                    Some(m) => self.voxel(region, block, m, numbers),
                    None => VoxelPosterior {
                        fit: block.fits[at].clone(),
                        values: Vec::new(),
                        traces: Vec::new(),
                        status: block.status[at],
                        width: region.space.values(),
                        method: SampleMethod::Nuts,
                        modes: 0,
                        weights: None,
                        lengthened: 1,
                    },
                };
                let mut prior_sd = self.composed.prior_sd_of(posterior.fit.mean_b0);
                if let Some(m) = member {
                    let own = match &of_region {
                        Some(sd) => sd.clone(),
                        None => self.sd_given_neighbours(region, population, block, m, numbers),
                    };
                    self.replace_pooled(&own, &mut prior_sd);
                }
                let model = self.composed.model();
                let rows =
                    table::summary::voxel(model, &mut posterior, &fixed, &prior_sd, workspace);
                let quality = table::summary::quality(&posterior, &rows);
                (posterior, rows, quality)
            })
            .collect();
        let (mut posteriors, mut rows, mut quality) = (Vec::new(), Vec::new(), Vec::new());
        for (p, r, q) in results {
            posteriors.push(p);
            rows.push(r);
            quality.push(q);
        }
        let status: Vec<Status> = quality.iter().map(|q| q.status).collect();
        let mut counts = Counts::of(&status);
        counts.gradients = gradients;
        let draws = posteriors.iter().flat_map(|p| &p.traces).flat_map(|t| &t.draws);
        counts.divergences = draws.filter(|d| d.diverging).count() as u64;
        let free_sigma = self.spec().sigma == SigmaSpec::Free;
        let (model, batch) = (self.composed.model(), &block.batch);
        let summary = table::summary::table(batch, &rows, &quality)?;
        Ok(Tables {
            main: table::posterior::table(model, batch, &posteriors, &status, free_sigma)?,
            summary: Some(table::population::with_method(&summary, search.prior.name())?),
            fit: Some(table::fit::table(model, batch, &block.fits)?),
            fod: None,
            criteria: None,
            counts,
        })
    }

    /// The draws of the population and their summary.
    ///
    /// # Errors
    /// Arrow refused an array.
    pub fn population_tables(
        &self,
        region: &Region,
        population: &PopulationDraws,
    ) -> Result<[RecordBatch; 2], InferenceError> {
        table::population::tables(self.model(), &region.space, population)
    }

    /// The draws of one member.
    fn voxel(&self, region: &Region, block: &Block, m: usize, numbers: &[f64]) -> VoxelPosterior {
        let member = &block.members[m];
        let search = self.spec().search;
        let (dim, record) = (region.space.dim(), region.record());
        let width = region.space.values();
        let mut out = VoxelPosterior {
            fit: block.fits[member.at].clone(),
            values: Vec::with_capacity(search.chains * search.draws * width),
            traces: Vec::with_capacity(search.chains),
            status: Status::Converged,
            width,
            method: SampleMethod::Nuts,
            modes: 1,
            weights: None,
            lengthened: 1,
        };
        let mut x = vec![0.0; width];
        let mut all = records(block, m, record, numbers);
        for _ in 0..search.chains {
            let mut trace = Trace { draws: Vec::with_capacity(search.draws), ..Trace::default() };
            for r in all.by_ref().take(search.draws) {
                member.voxel.chart().to_values(&r[..dim], &mut x);
                out.values.extend_from_slice(&x);
                trace.draws.push(Draw {
                    position: Box::default(),
                    ln_density: r[dim],
                    energy: r[dim + 1],
                    tree_depth: 0,
                    reached_max_depth: false,
                    acceptance_rate: r[dim + 5],
                    diverging: r[dim + 4] != 0.0,
                    n_steps: r[dim + 2] as u64,
                    step_size: r[dim + 3],
                });
            }
            out.traces.push(trace);
        }
        out
    }

    /// Puts the sd of pooled values in the place of those of the independent priors.
    fn replace_pooled(&self, own: &[f64], prior_sd: &mut [f64]) {
        for free in self.composed.model().free() {
            match free.kind {
                FreeKind::Axis | FreeKind::Scalar { period: Some(_) } => {}
                _ => prior_sd[free.at..free.at + free.len]
                    .copy_from_slice(&own[free.at..free.at + free.len]),
            }
        }
        let values = self.composed.model().values();
        if let (Some(to), Some(from)) = (prior_sd.get_mut(values), own.get(values)) {
            *to = *from;
        }
    }

    /// The sd of a voxel's values given its neighbours, about its mean coordinates.
    fn sd_given_neighbours(
        &self,
        region: &Region,
        population: &PopulationDraws,
        block: &Block,
        m: usize,
        numbers: &[f64],
    ) -> Vec<f64> {
        let coordinates = region.space.coordinates();
        let mut mean = vec![0.0; coordinates.len()];
        let mut n = 0.0;
        for r in records(block, m, region.record(), numbers) {
            n += 1.0;
            for (mean, c) in mean.iter_mut().zip(coordinates) {
                *mean += r[c.at];
            }
        }
        let neighbours = region.field.count(block.first + m);
        let weight = neighbours as f64 + region.field.proper();
        predicted_sd(region, population, weight, |_, k| mean[k] / f64::max(n, 1.0))
    }
}

/// What one member kept, chain after chain.
fn records<'a>(
    block: &'a Block,
    m: usize,
    record: usize,
    numbers: &'a [f64],
) -> impl Iterator<Item = &'a [f64]> {
    let each = block.members.len() * record;
    numbers.chunks_exact(each.max(1)).map(move |draw| &draw[m * record..(m + 1) * record])
}

/// Standard deviations of the values of voxels drawn from the population with
/// covariance Σ over `weight` about a centre.
fn predicted_sd(
    region: &Region,
    population: &PopulationDraws,
    weight: f64,
    centre: impl Fn(&Population, usize) -> f64,
) -> Vec<f64> {
    let all: Vec<&Population> = population.chains.iter().flatten().collect();
    let values = region.space.values();
    let (mut x, mut sums) = (vec![0.0; values], vec![[0.0; 2]; values]);
    let mut rng = PhiloxRng::new(0, 0, 255);
    let mut n = 0.0;
    for i in 0..PREDICTED {
        let Some(p) = all.get(i * all.len() / PREDICTED) else { continue };
        let d = p.mean.len();
        let mut factor = p.covariance.clone();
        if !cholesky(&mut factor, d, 1e-15) {
            continue;
        }
        let e: Vec<f64> = (0..d).map(|_| StandardNormal.sample(&mut rng)).collect();
        let z: Vec<f64> = (0..d)
            .map(|k| {
                let row = &factor[k * d..=k * d + k];
                let step: f64 = row.iter().zip(&e).map(|(l, e)| l * e).sum();
                centre(p, k) + step / weight.sqrt()
            })
            .collect();
        region.space.values_at(&z, &mut x);
        n += 1.0;
        for (s, x) in sums.iter_mut().zip(&x) {
            s[0] += x;
            s[1] += x * x;
        }
    }
    sums.iter().map(|[a, b]| (b / n - (a / n) * (a / n)).max(0.0).sqrt()).collect()
}

impl Member {
    /// Whether its density is finite at its mode.
    pub(crate) fn is_usable(
        &self,
        density: &mut microtome_models::PooledDensity,
        space: &microtome_models::PooledSpace,
    ) -> bool {
        let mut gradient = vec![0.0; space.dim()];
        density.ln_density(space, &self.voxel, &self.laplace.mode, &mut gradient).is_finite()
            && gradient.iter().all(|g| g.is_finite())
    }
}

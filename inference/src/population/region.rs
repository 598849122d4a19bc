//! The voxels of a region before the first scan: fits, modes of the independent
//! posteriors, charts about them.
//!
//! A voxel whose signals are none, or whose density can't be evaluated, is not part of
//! the population; it stays in the tables with its status.

use super::markov_field::Field;
use super::normal_wishart::Hyperprior;
use crate::InferenceError;
use crate::fit::{Status, VoxelFit};
use crate::run::Composed;
use crate::sample::Laplace;
use microtome_models::{
    Coupling, Model, PooledDensity, PooledSpace, PooledVoxel, Posterior, RunSpec, Sigma, VoxelBatch,
};
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// A compiled specification whose prior couples voxels.
#[derive(Debug)]
pub struct Coupled {
    pub(crate) composed: Composed,
}

/// The voxels of a region.
#[derive(Debug)]
pub struct Region {
    pub(crate) space: PooledSpace,
    pub(crate) field: Field,
    pub(crate) hyperprior: Hyperprior,
    pub(crate) blocks: Vec<Block>,
}

/// The voxels of a block.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) batch: VoxelBatch,
    pub(crate) fits: Vec<VoxelFit>,
    pub(crate) status: Vec<Status>,
    /// The number of the first member in the region.
    pub(crate) first: usize,
    pub(crate) members: Vec<Member>,
}

/// A voxel that is part of the population.
#[derive(Debug)]
pub(crate) struct Member {
    /// Row in the block.
    pub(crate) at: usize,
    /// Row in the whole input.
    pub(crate) row: u64,
    pub(crate) voxel: PooledVoxel,
    /// Of its posterior under the independent priors.
    pub(crate) laplace: Laplace,
}

impl Coupled {
    /// Compiles a specification.
    ///
    /// # Errors
    /// Those of [`crate::Runner::new`]; a prior that couples nothing.
    pub fn new(spec: &RunSpec) -> Result<Self, InferenceError> {
        if spec.search.prior.is_independent() {
            let problem = "couples no voxels; take the voxelwise run".into();
            return Err(InferenceError::Region { prior: spec.search.prior.name(), problem });
        }
        Ok(Self { composed: Composed::new(spec)? })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.composed.lowered.model
    }

    pub(crate) fn spec(&self) -> &RunSpec {
        &self.composed.spec
    }

    fn wrong(&self, problem: &str) -> InferenceError {
        InferenceError::Region { prior: self.spec().search.prior.name(), problem: problem.into() }
    }

    /// Fits the voxels of all blocks and brings them together, on rayon's current pool.
    /// `advance` is told of voxels that are done.
    ///
    /// # Errors
    /// Batches that do not fit the specification; a model without a pooled prior; no
    /// voxel that can be sampled; a spatial prior without image indices.
    pub fn region(
        &self,
        batches: Vec<VoxelBatch>,
        stop: &AtomicBool,
        advance: &(dyn Fn(u64) + Sync),
    ) -> Result<Region, InferenceError> {
        let expected = self.spec().acquisition.len();
        let spatial = self.spec().search.prior == Coupling::Spatial;
        let mut prepared = Vec::with_capacity(batches.len());
        for batch in batches {
            if batch.measurements != expected {
                let got = batch.measurements;
                return Err(InferenceError::Measurements { expected, got });
            }
            if batch.grad_dev.is_some() {
                return Err(self.wrong("has no correction of gradient nonlinearity yet; leave --grad-dev out, or take --prior independent"));
            }
            if spatial && batch.ijk.is_none() {
                return Err(self.wrong("needs to know which voxels are neighbours; give the signals as an image (.nii.gz), or take --prior hierarchical"));
            }
            prepared.push(self.composed.prepare(batch)?);
        }
        let mut blocks = Vec::with_capacity(prepared.len());
        let mut mean_b0 = Vec::new();
        let mut found = Vec::with_capacity(prepared.len());
        for batch in prepared {
            let fits = self.modes(&batch, stop)?;
            advance(batch.row.len() as u64);
            mean_b0.extend(fits.iter().filter(|f| f.1.is_some()).map(|f| f.0.mean_b0));
            found.push((batch, fits));
        }
        if mean_b0.is_empty() {
            return Err(self.wrong(
                "no voxel of the region has signals that a model can be fitted to; check the image, the mask and the scheme",
            ));
        }
        let free_sigma = self.spec().sigma == microtome_models::SigmaSpec::Free;
        let space = PooledSpace::new(self.model(), free_sigma, &mean_b0)?;
        let hyperprior = Hyperprior {
            mean: space.coordinates().iter().map(|c| c.mean).collect(),
            sd: space.coordinates().iter().map(|c| c.sd).collect(),
        };
        let mut density = PooledDensity::new(&space, &self.composed.lowered);
        let mut ijk = Vec::new();
        let mut first = 0;
        for (batch, found) in found {
            let n = batch.measurements;
            let (mut fits, mut status, mut members) = (Vec::new(), Vec::new(), Vec::new());
            for (at, (fit, laplace)) in found.into_iter().enumerate() {
                let mut ended = match (&laplace, fit.status) {
                    (Some(_), _) => Status::Converged,
                    (None, Status::InvalidSignal) => Status::InvalidSignal,
                    (None, _) => Status::Divergent,
                };
                if let Some(laplace) = laplace {
                    let fixed: Vec<f64> = batch.fixed.iter().map(|f| f[at]).collect();
                    let voxel = PooledVoxel::new(
                        &space,
                        &self.composed.lowered,
                        &batch.signals[at * n..(at + 1) * n],
                        &fixed,
                        self.composed.sigma(&batch, at),
                        &fit.x,
                    );
                    let member = Member { at, row: batch.row[at], voxel, laplace };
                    if member.is_usable(&mut density, &space) {
                        members.push(member);
                        ijk.extend(batch.ijk.as_ref().map(|ijk| ijk[at]));
                    } else {
                        ended = Status::Divergent;
                    }
                }
                fits.push(fit);
                status.push(ended);
            }
            let count = members.len();
            blocks.push(Block { batch, fits, status, first, members });
            first += count;
        }
        let field = if spatial { Field::of(&ijk) } else { Field::without_places() };
        Ok(Region { space, field, hyperprior, blocks })
    }

    /// The fits of a batch and the modes of the independent posteriors.
    fn modes(
        &self,
        batch: &VoxelBatch,
        stop: &AtomicBool,
    ) -> Result<Vec<(VoxelFit, Option<Laplace>)>, InferenceError> {
        let n = batch.measurements;
        (0..batch.row.len())
            .into_par_iter()
            .with_min_len(8)
            .map_init(
                || self.composed.fitter(),
                |fitter, v| {
                    if stop.load(Ordering::Relaxed) {
                        return Err(InferenceError::Interrupted);
                    }
                    let fixed: Vec<f64> = batch.fixed.iter().map(|f| f[v]).collect();
                    let y = &batch.signals[v * n..(v + 1) * n];
                    let sigma = self.composed.sigma(batch, v);
                    let fit = fitter.fit(y, &fixed, sigma);
                    if matches!(fit.status, Status::InvalidSignal | Status::Divergent) {
                        return Ok((fit, None));
                    }
                    let evaluator = fitter.evaluator();
                    let model = evaluator.lowered().model.clone();
                    let noise = Sigma::of(sigma, &model, fit.mean_b0);
                    let posterior =
                        noise.and_then(|n| Posterior::new(evaluator, y, n, fit.mean_b0, &fit.x));
                    let laplace = posterior.ok().and_then(|mut posterior| {
                        let mut centre = fit.x.clone();
                        if sigma.is_none() {
                            centre.push(fit.sigma);
                        }
                        let mut start = vec![0.0; posterior.dim()];
                        posterior.chart().to_coordinates(&centre, &mut start);
                        Laplace::at_mode(&mut posterior, &start)
                    });
                    Ok((fit, laplace))
                },
            )
            .collect()
    }
}

impl Region {
    /// The number of blocks.
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The voxels that are part of the population.
    pub fn members(&self) -> usize {
        self.blocks.iter().map(|b| b.members.len()).sum()
    }

    /// The pooled coordinates.
    pub fn space(&self) -> &PooledSpace {
        &self.space
    }

    /// Numbers that a member keeps of one draw: its coordinates and six statistics.
    pub(crate) fn record(&self) -> usize {
        self.space.dim() + 6
    }
}

//! The criteria of the voxels of a run.

use super::{Composed, Deviation};
use crate::comparison::{Criteria, CriteriaWorkspace, Voxel, criteria};
use crate::sample::VoxelPosterior;
use microtome_models::{Evaluator, Lowered, VoxelBatch};

/// What one thread needs.
pub(super) struct Judge {
    evaluator: Evaluator,
    shells: Vec<Vec<usize>>,
    workspace: CriteriaWorkspace,
}

impl Composed {
    /// The measurements of each shell, means counted as measurements.
    pub(super) fn shells(&self) -> Vec<Vec<usize>> {
        let acquisition =
            self.means.as_ref().map_or(&self.spec.acquisition, |means| means.acquisition());
        let mut shells = vec![Vec::new(); acquisition.shells().len()];
        for (i, s) in acquisition.shell_of().iter().enumerate() {
            shells[*s].push(i);
        }
        shells
    }

    /// The memory of a thread, where criteria are asked for.
    pub(super) fn judge(&self) -> Option<Judge> {
        self.spec.search.criteria.then(|| Judge {
            evaluator: Evaluator::new(&self.lowered),
            shells: self.shells(),
            workspace: CriteriaWorkspace::default(),
        })
    }

    /// The criteria of a voxel that was sampled.
    pub(super) fn judged(
        &self,
        judge: Option<&mut Judge>,
        voxels: &VoxelBatch,
        v: usize,
        draws: &VoxelPosterior,
    ) -> Option<Criteria> {
        let judge = judge?;
        let n = voxels.measurements;
        let voxel = Voxel {
            signals: &voxels.signals[v * n..(v + 1) * n],
            sigma: self.sigma(voxels, v),
            shells: &judge.shells,
            seed: self.spec.seed,
            row: voxels.row[v],
        };
        let mut own = match self.seen_by(voxels, v) {
            Deviation::None => None,
            Deviation::Invalid => return None,
            Deviation::Own(acquisition) => {
                let lowered = Lowered::new(self.lowered.model.clone(), &acquisition).ok()?;
                Some(Evaluator::new(&lowered))
            }
        };
        let evaluator = own.as_mut().unwrap_or(&mut judge.evaluator);
        let fixed: Vec<f64> = voxels.fixed.iter().map(|f| f[v]).collect();
        evaluator.set_per_voxel(&fixed);
        criteria(evaluator, voxel, draws, &mut judge.workspace)
    }
}

//! All the ends of the starts of a voxel, for those who ask for more than the best one.
//!
//! Validated by `voxels_of_several_modes_are_seen` in `tests/cheap.rs`.

use super::{Fitter, Run, VoxelFit};

/// Ends that lie so far below the best one, in nats, are forgotten.
const FAR_BELOW: f64 = 30.0;

impl Fitter {
    /// As [`Fitter::fit`], and the values at the end of every start, the best first.
    ///
    /// Every start is followed to its end, where [`Fitter::fit`] gives up all but the best
    /// after a few iterations, so the fit can only be better. Ends further than 30 nats
    /// below the best of their search are left out; equal ends are all listed.
    pub fn fit_modes(
        &mut self,
        y: &[f64],
        per_voxel: &[f64],
        sigma: Option<f64>,
    ) -> (VoxelFit, Vec<Vec<f64>>) {
        self.ends = Some(Vec::new());
        let fit = self.run(y, per_voxel, sigma, None);
        let mut ends = self.ends.take().unwrap_or_default();
        ends.sort_by(|a, b| a.cost.total_cmp(&b.cost));
        let mut modes = vec![fit.x.clone()];
        for mut end in ends {
            self.model().canonicalise(&mut end.x);
            modes.push(end.x);
        }
        (fit, modes)
    }

    /// Keeps the ends of one search.
    pub(super) fn keep_ends(&mut self, runs: Vec<Run>) {
        if let Some(ends) = &mut self.ends {
            let best = runs.iter().map(|r| r.cost).fold(f64::INFINITY, f64::min);
            ends.extend(runs.into_iter().filter(|r| r.cost - best < FAR_BELOW));
        }
    }
}

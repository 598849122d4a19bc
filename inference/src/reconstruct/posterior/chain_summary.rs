//! What is said of chains of images: a row a voxel or region, exceedance.
//!
//! Columns are those of [`crate::diagnostics`]: mean, standard deviation, quantiles, R-hat,
//! effective sample sizes and Monte Carlo errors, each of the draws that were kept.
//!
//! Validated by `threads_change_no_bit_and_rows_are_of_the_draws` in `inference/tests/suite/edge_posterior.rs`.

use super::super::ReconstructError;
use super::trajectory::ImageChains;
use crate::diagnostics::{Chains, Summary, Workspace, ebfmi, summarize};
use crate::table::Columns;
use arrow_array::RecordBatch;
use rayon::prelude::*;

/// A scalar of the image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VoxelRow {
    /// The voxel in the order of the array, or the label of a region.
    pub voxel: u64,
    /// Its columns.
    pub summary: Summary,
}

impl ImageChains {
    fn n_voxels(&self) -> usize {
        self.values.len() / (self.chains * self.draws).max(1)
    }

    fn row(&self, voxel: u64, values: &[f64], workspace: &mut Workspace) -> Option<VoxelRow> {
        let chains = Chains::new(values, self.chains, self.draws).ok()?;
        Some(VoxelRow { voxel, summary: summarize(chains, workspace) })
    }

    /// A row a voxel.
    pub fn rows(&self) -> Vec<VoxelRow> {
        let n = self.n_voxels();
        // Voxels by blocks, so that every image is read in runs.
        const BLOCK: usize = 16;
        let blocks: Vec<usize> = (0..n).step_by(BLOCK).collect();
        let block = |workspace: &mut Workspace, first: usize| {
            let past = n.min(first + BLOCK);
            let mut columns = vec![Vec::with_capacity(self.chains * self.draws); past - first];
            for image in self.values.chunks_exact(n.max(1)) {
                for (column, v) in columns.iter_mut().zip(&image[first..past]) {
                    column.push(f64::from(*v));
                }
            }
            let rows = columns.iter().enumerate();
            rows.filter_map(|(k, c)| self.row((first + k) as u64, c, workspace)).collect()
        };
        let parts: Vec<Vec<VoxelRow>> = blocks
            .into_par_iter()
            .map_init(Workspace::new, |workspace, first| block(workspace, first))
            .collect();
        parts.concat()
    }

    /// A row a label above 0: the mean over its voxels.
    ///
    /// # Shapes
    /// `labels` has a value a voxel: whole numbers.
    pub fn regions(&self, labels: &[f64]) -> Vec<VoxelRow> {
        let mut members = std::collections::BTreeMap::<u64, Vec<usize>>::new();
        for (i, l) in labels.iter().enumerate().filter(|(_, l)| **l > 0.0) {
            members.entry(*l as u64).or_default().push(i);
        }
        let row = |(label, voxels): (u64, Vec<usize>)| {
            self.scalar(label, |x| {
                voxels.iter().map(|i| f64::from(x[*i])).sum::<f64>() / voxels.len() as f64
            })
        };
        members.into_iter().filter_map(row).collect()
    }

    /// A function of the image.
    pub(super) fn scalar(&self, number: u64, of: impl Fn(&[f32]) -> f64) -> Option<VoxelRow> {
        let values: Vec<f64> = self.values.chunks_exact(self.n_voxels().max(1)).map(of).collect();
        self.row(number, &values, &mut Workspace::new())
    }

    /// Share of the draws in which a voxel is above `limit`.
    pub fn exceedance(&self, limit: f64) -> Vec<f64> {
        let n = self.n_voxels();
        let mut count = vec![0.0; n];
        for image in self.values.chunks_exact(n.max(1)) {
            let above = |v: &f32| f64::from(u8::from(f64::from(*v) > limit));
            count.iter_mut().zip(image).for_each(|(c, v)| *c += above(v));
        }
        let all = (self.chains * self.draws) as f64;
        count.iter_mut().for_each(|c| *c /= all);
        count
    }

    /// The least energy fraction of missing information of the chains.
    pub fn ebfmi(&self) -> f64 {
        let each = self.energy.chunks_exact(self.draws.max(1)).map(ebfmi);
        each.fold(f64::INFINITY, f64::min)
    }
}

/// `voxel` (or another name of the first column)`, mean, sd, q05, q50, q95, rhat, ess_bulk,
/// ess_tail, mcse_mean, mcse_sd`.
///
/// # Errors
/// Columns of unequal lengths.
pub fn chain_table(first: &str, rows: &[VoxelRow]) -> Result<RecordBatch, ReconstructError> {
    let mut out = Columns::default();
    out.counts(first, rows.iter().map(|r| r.voxel));
    columns_of(&mut out, rows);
    out.finish().map_err(|e| ReconstructError::setting("the table", e.to_string()))
}

/// All columns but the first.
pub(super) fn columns_of(out: &mut Columns, rows: &[VoxelRow]) {
    type Column = (&'static str, &'static str, fn(&Summary) -> f64);
    let columns: [Column; 10] = [
        ("mean", "1/mm", |s| s.mean),
        ("sd", "1/mm", |s| s.sd),
        ("q05", "1/mm", |s| s.q05),
        ("q50", "1/mm", |s| s.q50),
        ("q95", "1/mm", |s| s.q95),
        ("rhat", "1", |s| s.rhat),
        ("ess_bulk", "1", |s| s.ess_bulk),
        ("ess_tail", "1", |s| s.ess_tail),
        ("mcse_mean", "1/mm", |s| s.mcse_mean),
        ("mcse_sd", "1/mm", |s| s.mcse_sd),
    ];
    for (name, unit, of) in columns {
        out.numbers(name, unit, rows.iter().map(|r| of(&r.summary)).collect());
    }
}

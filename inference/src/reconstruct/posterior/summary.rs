//! What is said of a Gaussian posterior: a row a voxel, a row a region, exceedance.
//!
//! The marginals are normal, so quantiles are $\mu \pm 1.645\,\mathrm{sd}$ and
//! $P(x_i > t) = \Phi((\mu_i - t)/\mathrm{sd}_i)$, whether the standard deviation is exact
//! or from draws. The mean of a region is a linear function of the image: exact from the
//! covariance, else from the draws.
//!
//! Validated by `regions_and_exceedance_are_of_the_normal` in
//! `inference/tests/suite/image_posterior.rs`.

use super::super::ReconstructError;
use super::{DensePosterior, SampledPosterior};
use crate::table::Columns;
use arrow_array::RecordBatch;
use statrs::distribution::{ContinuousCDF, Normal};

/// The 95 % point of the standard normal.
const Z95: f64 = 1.644_853_626_951_472_7;

/// Marginals of all voxels.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageSummary {
    /// Means.
    pub mean: Vec<f64>,
    /// Standard deviations.
    pub sd: Vec<f64>,
    /// Standard errors of `sd`; 0 where it is exact.
    pub sd_mcse: Vec<f64>,
}

/// The mean over the voxels of one label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RegionRow {
    /// The label.
    pub label: u64,
    /// Number of its voxels.
    pub voxels: u64,
    /// Mean of their mean.
    pub mean: f64,
    /// Standard deviation of their mean.
    pub sd: f64,
    /// Standard error of `sd`; 0 where it is exact.
    pub sd_mcse: f64,
}

impl ImageSummary {
    /// Probability of every voxel to be above `limit`.
    pub fn exceedance(&self, limit: f64) -> Vec<f64> {
        let normal = Normal::standard();
        let both = self.mean.iter().zip(&self.sd);
        both.map(|(m, s)| normal.cdf((m - limit) / s)).collect()
    }
}

/// The labels above 0, each with its voxels.
fn members(labels: &[f64]) -> Vec<(u64, Vec<usize>)> {
    let mut out = std::collections::BTreeMap::<u64, Vec<usize>>::new();
    for (i, l) in labels.iter().enumerate().filter(|(_, l)| **l > 0.0) {
        out.entry(*l as u64).or_default().push(i);
    }
    out.into_iter().collect()
}

impl DensePosterior {
    /// Marginals, exact.
    pub fn summary(&self) -> ImageSummary {
        let sd = self.sd();
        ImageSummary { mean: self.mean().to_vec(), sd_mcse: vec![0.0; sd.len()], sd }
    }

    /// Means of the voxels of every label above 0, exact.
    ///
    /// # Shapes
    /// `labels` has a value a voxel: whole numbers.
    pub fn regions(&self, labels: &[f64]) -> Vec<RegionRow> {
        let row = |(label, voxels): (u64, Vec<usize>)| {
            let mut c = vec![0.0; labels.len()];
            voxels.iter().for_each(|i| c[*i] = 1.0 / voxels.len() as f64);
            let [mean, sd] = self.functional(&c);
            RegionRow { label, voxels: voxels.len() as u64, mean, sd, sd_mcse: 0.0 }
        };
        members(labels).into_iter().map(row).collect()
    }
}

impl SampledPosterior {
    /// Marginals, the standard deviations from the draws.
    pub fn summary(&self) -> ImageSummary {
        ImageSummary { mean: self.mean.clone(), sd: self.sd.clone(), sd_mcse: self.sd_mcse.clone() }
    }

    /// Means of the voxels of every label above 0: solved means, standard deviations from
    /// the draws.
    ///
    /// # Shapes
    /// `labels` has a value a voxel: whole numbers.
    pub fn regions(&self, labels: &[f64]) -> Vec<RegionRow> {
        let row = |(label, voxels): (u64, Vec<usize>)| {
            let size = voxels.len() as f64;
            self.scalar(label, voxels.len() as u64, |x| {
                voxels.iter().map(|i| x[*i]).sum::<f64>() / size
            })
        };
        members(labels).into_iter().map(row).collect()
    }

    /// A linear function of the image: solved mean, standard deviation from the draws.
    pub(super) fn scalar(&self, label: u64, voxels: u64, of: impl Fn(&[f64]) -> f64) -> RegionRow {
        let n = self.draws.len() as f64;
        let mean = of(&self.mean);
        let squares: f64 = self.draws.iter().map(|d| (of(d) - mean).powi(2)).sum();
        let sd = (squares / n).sqrt();
        RegionRow { label, voxels, mean, sd, sd_mcse: sd / (2.0 * n).sqrt() }
    }
}

pub(super) fn marginals(out: &mut Columns, mean: Vec<f64>, sd: Vec<f64>, sd_mcse: Vec<f64>) {
    let at = |z: f64| mean.iter().zip(&sd).map(|(m, s)| m + z * s).collect::<Vec<f64>>();
    let (q05, q95) = (at(-Z95), at(Z95));
    out.numbers("sd", "1/mm", sd);
    out.numbers("sd_mcse", "1/mm", sd_mcse);
    out.numbers("q05", "1/mm", q05);
    out.numbers("q50", "1/mm", mean.clone());
    out.numbers("q95", "1/mm", q95);
}

fn wrong(e: arrow_schema::ArrowError) -> ReconstructError {
    ReconstructError::setting("the table", e.to_string())
}

/// A row a voxel in the order of the array: `voxel, mean, sd, sd_mcse, q05, q50, q95`.
///
/// # Errors
/// Columns of unequal lengths.
pub fn summary_table(summary: &ImageSummary) -> Result<RecordBatch, ReconstructError> {
    let mut out = Columns::default();
    out.counts("voxel", 0..summary.mean.len() as u64);
    out.numbers("mean", "1/mm", summary.mean.clone());
    let (sd, sd_mcse) = (summary.sd.clone(), summary.sd_mcse.clone());
    marginals(&mut out, summary.mean.clone(), sd, sd_mcse);
    out.finish().map_err(wrong)
}

/// A row a region: `label, voxels, mean, sd, sd_mcse, q05, q50, q95`.
///
/// # Errors
/// Columns of unequal lengths.
pub fn region_table(regions: &[RegionRow]) -> Result<RecordBatch, ReconstructError> {
    let number = |f: fn(&RegionRow) -> f64| regions.iter().map(f).collect::<Vec<f64>>();
    let mut out = Columns::default();
    out.counts("label", regions.iter().map(|r| r.label));
    out.counts("voxels", regions.iter().map(|r| r.voxels));
    out.numbers("mean", "1/mm", number(|r| r.mean));
    marginals(&mut out, number(|r| r.mean), number(|r| r.sd), number(|r| r.sd_mcse));
    out.finish().map_err(wrong)
}

//! SART over ordered subsets of views: fewer, larger updates.
//!
//! `block_pass.rs` has the equation and `subsets.rs` the order. Without a number of subsets
//! there are about $\sqrt{n}$ of $n$ views: as many subsets as views in each.
//!
//! Source: Wang & Jiang 2004, doi:10.1109/TIP.2004.834664. Validated by
//! `every_method_reconstructs` in `inference/tests/suite/reconstruct/`.

use super::sart::Sart;
use super::{Problem, ReconstructError, Settings};
use microtome_kernels::ray::Real;

/// Subsets of so many views where the user says nothing.
pub(super) fn default_subsets(views: usize) -> usize {
    (views as f64).sqrt().round().max(1.0) as usize
}

pub(super) fn new<T: Real>(
    problem: &Problem<'_, T>,
    settings: &Settings,
) -> Result<Sart<T>, ReconstructError> {
    let subsets = settings.subsets.unwrap_or_else(|| default_subsets(problem.all_views.len()));
    Sart::new("os_sart", problem, settings, subsets)
}

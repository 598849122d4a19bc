//! ASD-POCS with a total variation that spares edges.
//!
//! $$\mathrm{AwTV}(x) = \sum_j\Big(\sum_k w_{k,j}(\nabla x)_{k,j}^2\Big)^{1/2},\qquad
//!   w_{k,j} = e^{-((\nabla x)_{k,j}/\delta)^2}$$
//!
//! with the weights of the present image: differences well above $\delta$ are not lowered. The
//! rest is `asd_pocs.rs`. Without a value $\delta$ is the 90th percentile of the differences
//! of the image after the first pass, the rule of Perona & Malik.
//!
//! Source: Liu, Ma, Fan & Liang 2012, doi:10.1088/0031-9155/57/23/7923 (equations 4 to 8);
//! Perona & Malik 1990, doi:10.1109/34.56205 (section V). Validated by
//! `pocs_methods_lower_the_variation` in `inference/tests/suite/reconstruct/`.

use super::asd_pocs::AsdPocs;
use super::{Problem, ReconstructError, Settings};
use microtome_kernels::ray::Real;

pub(super) fn new<T: Real>(
    problem: &Problem<'_, T>,
    settings: &Settings,
) -> Result<AsdPocs<T>, ReconstructError> {
    AsdPocs::new("awtv_pocs", problem, settings, true)
}

//! How the draws of a voxel are made, and when importance sampling will not do.
//!
//! | method | draws |
//! |---|---|
//! | `nuts` | no-U-turn chains, started at the modes |
//! | `psis` | importance sampling from the mixture at the modes, whatever its k-hat |
//! | `laplace` | the normal density at the best mode, unchecked |
//! | `auto` | `psis`, along its [`ridge`](super::ridge) where a scalar is open, along that of the widest scalar where k-hat is too large, but `nuts` where one of the limits below is passed |
//!
//! | limit | |
//! |---|---|
//! | k-hat | $\min(1 - 1/\log_{10}S,\ 0.7)$ |
//! | modes within six nats of evidence | 1 |
//! | 5 % quantile of a free fraction | 0.02 |
//! | half-angle of the cone that holds 90 % of an axis | 40° |
//! | share of the proposals along ridges that is effective | 0.2 (at least) |
//!
//! Near a fraction of zero and for an axis that the data leave open, the posterior has
//! corners and far regions that no density at the mode reaches. The same is true of a scalar
//! that is open: its standard deviation is more than a quarter of that of its prior. k-hat sees
//! only what was proposed; simulation-based calibration (`docs/calibration.md`) is what
//! showed these limits to be needed.
//!
//! Source: Vehtari et al. 2024, JMLR 25(72), sec. 3.2.4 (the limit of k-hat). Validated by
//! `tests/suite/cheap.rs`.

use super::nuts::NutsOptions;
use crate::axial::principal_axis;
use microtome_models::{Free, FreeKind, Model, SampleMethod, SearchSpec};

/// A 5 % quantile of a fraction below this has vanished.
const VANISHING: f64 = 0.02;
/// A wider cone is an open axis.
const WIDEST_CONE_DEG: f64 = 40.0;
/// A scalar is open where its standard deviation is a larger share of the prior's.
const OPEN_SHARE: f64 = 0.25;
/// Times that the chains of the few voxels that importance sampling will not do for are made
/// twice as long.
const DOUBLINGS_OF_FEW: usize = 2;
/// Fewest proposals of importance sampling.
const LEAST_PROPOSALS: usize = 400;
/// Fewest proposals along ridges.
pub(super) const RIDGE_PROPOSALS: usize = 1000;
/// Proposals along ridges of which fewer are effective will not do.
pub(super) const RIDGE_EFFICIENCY: f64 = 0.2;

/// Settings of a sampler.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleOptions {
    /// How draws are made.
    pub method: SampleMethod,
    /// The chains of NUTS; importance sampling makes as many draws as would be kept.
    pub nuts: NutsOptions,
    /// Of the draws of a NUTS chain one in so many is kept, after the summary.
    pub thin: usize,
    /// Proposals of importance sampling.
    pub proposals: usize,
}

impl SampleOptions {
    /// NUTS in every voxel, all draws kept.
    pub fn nuts(nuts: NutsOptions) -> Self {
        let method = SampleMethod::Nuts;
        Self { method, nuts, thin: 1, proposals: proposals(nuts.chains * nuts.draws) }
    }

    /// The settings of a specification.
    pub fn of(search: &SearchSpec) -> Self {
        let thin = search.thin.max(1);
        let doublings = match search.sampler {
            SampleMethod::Nuts => NutsOptions::default().doublings,
            _ => DOUBLINGS_OF_FEW,
        };
        let nuts = NutsOptions {
            chains: search.chains,
            doublings,
            tune: search.tune,
            draws: search.draws * thin,
            target_accept: search.target_accept,
            ..NutsOptions::default()
        };
        let stored = search.chains * search.draws;
        Self { method: search.sampler, nuts, thin, proposals: proposals(stored) }
    }

    /// Kept draws of a chain.
    pub fn stored(&self) -> usize {
        self.nuts.draws / self.thin
    }
}

/// Proposals for so many draws.
fn proposals(stored: usize) -> usize {
    stored.max(LEAST_PROPOSALS)
}

/// The free scalars of a model, and the standard deviation at which each is open.
pub(super) fn open_scalars(model: &Model) -> Vec<(usize, f64)> {
    // Errors of a simulation are known by their prior alone, and their posterior is normal.
    let moves = |f: &&Free| f.kind == FreeKind::Scalar { period: None } && !f.nuisance;
    let scalars = model.free().iter().filter(moves);
    scalars.filter_map(|f| Some((f.at, OPEN_SHARE * f.prior.as_ref()?.sd()))).collect()
}

/// Whether a fraction vanishes or an axis is open among draws.
///
/// # Shapes
/// `values` `[draw, width]`.
pub(super) fn has_corners(model: &Model, values: &[f64], width: usize) -> bool {
    let count = values.len() / width.max(1);
    if count == 0 {
        return true;
    }
    let mut column = vec![0.0; count];
    let mut low = |get: &dyn Fn(&[f64]) -> f64, share: f64| {
        for (c, x) in column.iter_mut().zip(values.chunks_exact(width)) {
            *c = get(x);
        }
        let at = (share * count as f64) as usize;
        *column.select_nth_unstable_by(at, f64::total_cmp).1
    };
    let widest = WIDEST_CONE_DEG.to_radians().cos();
    model.free().iter().any(|f| match f.kind {
        FreeKind::Fractions { .. } => {
            (f.at..f.at + f.len).any(|k| low(&|x| x[k], 0.05) < VANISHING)
        }
        FreeKind::Axis => {
            let axes = values.chunks_exact(width).map(|x| [x[f.at], x[f.at + 1], x[f.at + 2]]);
            let m = principal_axis(axes);
            let cosine = |x: &[f64]| (0..3).map(|i| x[f.at + i] * m[i]).sum::<f64>().abs();
            low(&cosine, 0.1) < widest
        }
        _ => false,
    })
}

//! Proposals along a scalar that the data leave open.
//!
//! Where a scalar is hardly known, the posterior is a ridge along its coordinate $z_k$:
//! skewed, with tails to the ends of the support and now and then a second summit that no
//! density at the mode reaches. From the mode the ridge is walked both ways in steps of $s$;
//! at every node the other coordinates climb to the largest density that $z_k$ leaves them,
//! $\hat z(z_k)$, and a component of the mixture stands there,
//!
//! $$H' = H + e_ke_k^T\left(\frac1{s^2} - \frac1{(H^{-1})_{kk}}\right)$$
//!
//! which has the curvature $H$ of the posterior at the node for the other coordinates given
//! $z_k$, and a standard deviation of $s$ along the ridge. Walks end [`DEPTH`] nats below
//! the highest node.
//!
//! Source: the nodes of the integrated nested Laplace approximation, Rue, Martino & Chopin
//! 2009, doi:10.1111/j.1467-9868.2008.00700.x, section 3.1, as proposals. Validated by
//! `open_scalars_are_proposed_along_their_ridge` in `tests/suite/cheap.rs` and by the calibration of
//! `auto` in `docs/validation.md`.

use super::laplace::{Laplace, Summit, climb};
use crate::dense::{cholesky, cholesky_inverse};
use microtome_models::Posterior;

/// Nodes lower than the highest by this many nats end the walk.
const DEPTH: f64 = 9.0;
/// Most nodes on either side.
const MOST: usize = 14;
/// Steps are one standard deviation of the normal approximation, within these limits.
const STEP: [f64; 2] = [0.4, 1.3];

/// The components along coordinate `k` from the mode.
///
/// The chart of `posterior` must be that of `mode`.
pub(super) fn components_along(
    posterior: &mut Posterior<'_>,
    mode: &Laplace,
    k: usize,
) -> Vec<Laplace> {
    let n = mode.mode.len();
    let variance = cholesky_inverse(&mode.factor, n)[k * n + k];
    let step = variance.sqrt().clamp(STEP[0], STEP[1]);
    let Some(summit) = climb(posterior, &mode.mode, Some(k)) else { return Vec::new() };
    let mut highest = summit.ln_density;
    let mut out: Vec<Laplace> = node(&summit, k, step).into_iter().collect();
    for direction in [1.0, -1.0] {
        let mut start = summit.z.clone();
        for _ in 0..MOST {
            start[k] += direction * step;
            let Some(next) = climb(posterior, &start, Some(k)) else { break };
            highest = highest.max(next.ln_density);
            if next.ln_density < highest - DEPTH {
                break;
            }
            out.extend(node(&next, k, step));
            start = next.z;
        }
    }
    out
}

/// The component at a node; `None` where the curvature has no inverse.
fn node(summit: &Summit, k: usize, step: f64) -> Option<Laplace> {
    let n = summit.z.len();
    let mut factor = summit.hessian.clone();
    if !cholesky(&mut factor, n, 1e-12) {
        return None;
    }
    let own = 1.0 / cholesky_inverse(&factor, n)[k * n + k];
    factor.copy_from_slice(&summit.hessian);
    factor[k * n + k] += 1.0 / (step * step) - own;
    cholesky(&mut factor, n, 1e-12).then_some(Laplace {
        mode: summit.z.clone(),
        factor,
        ln_density: summit.ln_density,
    })
}

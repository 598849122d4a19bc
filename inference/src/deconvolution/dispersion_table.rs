//! The orientation dispersion index of a distribution by a table, for many voxels.
//!
//! Cubic Hermite interpolation of [`dispersion_index`] over τ, the largest eigenvalue of
//! the orientation tensor, with exact slopes.
//!
//! Source: de Boor 1978, *A Practical Guide to Splines*, ch. IV.
//! Validated by `a_table_equals_the_search` below.

use microtome_models::dispersion::{dispersion_index, dispersion_index_slope};

/// [`dispersion_index`] by cubic interpolation with exact slopes, to $10^{-10}$.
#[derive(Debug, Clone)]
pub(super) struct DispersionTable {
    /// odi and its change over one interval, at the nodes.
    nodes: Vec<[f64; 2]>,
}

/// Intervals of the table between τ = 1/3 and 1.
const INTERVALS: usize = 1024;

impl DispersionTable {
    pub(super) fn new() -> Self {
        let step = 2.0 / 3.0 / INTERVALS as f64;
        let node = |i: usize| {
            let tau = if i == INTERVALS { 1.0 } else { 1.0 / 3.0 + step * i as f64 };
            [dispersion_index(tau), dispersion_index_slope(tau) * step]
        };
        Self { nodes: (0..=INTERVALS).map(node).collect() }
    }

    pub(super) fn of(&self, tau: f64) -> f64 {
        let at = (tau - 1.0 / 3.0) * (1.5 * INTERVALS as f64);
        if at.is_nan() || at <= 0.0 {
            return 1.0;
        }
        if at >= INTERVALS as f64 {
            return 0.0;
        }
        let i = at as usize;
        let t = at - i as f64;
        let ([a, da], [b, db]) = (self.nodes[i], self.nodes[i + 1]);
        // Hermite's cubic.
        let d = b - a;
        a + t * (da + t * ((3.0 * d - 2.0 * da - db) + t * (da + db - 2.0 * d)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_equals_the_search() {
        let table = DispersionTable::new();
        for i in 0..5000 {
            let tau = 1.0 / 3.0 + 2.0 / 3.0 * f64::from(i) / 4999.0;
            let (found, expected) = (table.of(tau), dispersion_index(tau));
            assert!((found - expected).abs() < 1e-10, "{tau} {found} {expected}");
        }
        assert_eq!((table.of(0.2), table.of(1.0), table.of(1.0 + 1e-15)), (1.0, 0.0, 0.0));
    }
}

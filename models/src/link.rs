//! Links: parameters that are not free but fixed, equal to another, a fraction
//! of another, or tortuous.
//!
//! $$\text{tortuosity:}\quad \lambda_\perp = \lambda_\parallel\,\frac{f_\mathrm{extra}}{f_\mathrm{intra}+f_\mathrm{extra}}$$
//!
//! (and $\lambda_\parallel$ where the denominator is 0).
//!
//! Source: Szafer, Zhong & Gore 1995, doi:10.1002/mrm.1910330516; in the form of
//! Zhang et al. 2012, doi:10.1016/j.neuroimage.2012.03.072, eq. 8.
//! Validated by `jacobian_equals_dual_numbers` (all links) and `tortuosity_by_hand`.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A link as the user writes it in the `[link]` table of a model file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LinkSpec {
    /// A constant: a number, three numbers for `mu`, or a file with one value a voxel.
    Fixed(FixedValue),
    /// Equal to another parameter.
    Equal(String),
    /// `ratio * of`, the ratio free in [0, 1] under the name `factor_name`.
    Fractional {
        /// The parameter that is multiplied.
        of: String,
        /// Name of the free ratio.
        factor_name: String,
    },
    /// The tortuosity of the extra-axonal space.
    Tortuosity {
        /// Parallel diffusivity.
        lambda_par: String,
        /// Fraction inside the axons.
        intra: String,
        /// Fraction between the axons.
        extra: String,
    },
}

/// What a parameter can be fixed to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FixedValue {
    /// One number for all voxels.
    Number(f64),
    /// A direction for all voxels.
    Direction([f64; 3]),
    /// A file with one value a voxel.
    File(PathBuf),
}

/// $\lambda_\perp$ and its derivatives with respect to
/// ($\lambda_\parallel$, intra, extra).
pub(crate) fn tortuosity(lambda_par: f64, intra: f64, extra: f64) -> (f64, [f64; 3]) {
    let total = intra + extra;
    if total <= 0.0 {
        return (lambda_par, [1.0, 0.0, 0.0]);
    }
    let share = extra / total;
    (lambda_par * share, [share, -lambda_par * share / total, lambda_par * intra / (total * total)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tortuosity_by_hand() {
        assert_eq!(tortuosity(1.7, 0.3, 0.1).0, 1.7 * 0.1 / 0.4);
        assert_eq!(tortuosity(1.7, 0.0, 0.0).0, 1.7);
    }
}

//! The cumulant expansion of the logarithm of the signal, linear in its coefficients.
//!
//! $$\ln S = \ln S_0 - b_{ij}D_{ij} + \tfrac16\,b_{ij}b_{kl}V_{ijkl},\qquad
//!   V = \bar D^2 W,\quad \bar D = \tfrac13\mathrm{tr} D$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $b_{ij} = b\,g_ig_j$ | ms/µm² | the weighting of a measurement |
//! | $D$ | µm²/ms | diffusion tensor: (xx, yy, zz, xy, xz, yz) |
//! | $V$ | µm⁴/ms² | symmetric tensor of order four, its 15 elements in [`KURTOSIS_ELEMENTS`] |
//! | $W$ | | kurtosis tensor |
//!
//! The expansion of second order (`dti`) ends before $V$; that of fourth order (`dki`)
//! has it. The coefficients are stored as (D, V where there is one, ln S0).
//!
//! Source: Basser, Mattiello & Le Bihan 1994, doi:10.1006/jmrb.1994.1037;
//! Jensen et al. 2005, doi:10.1002/mrm.20508; Tabesh et al. 2011,
//! doi:10.1002/mrm.22655 (with $V$ for $\bar D^2 W$).
//! Validated by `rows_are_the_expansion` below.

mod kurtosis;
mod measure;

pub use kurtosis::{KURTOSIS_ELEMENTS, KurtosisMeasures};
pub(crate) use measure::of_model as measures;
pub use measure::{Measure, TensorMeasure};

use serde::{Deserialize, Serialize};

/// Where the expansion of ln S ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Expansion {
    /// After the second cumulant: Gaussian diffusion, a sum of compartments.
    #[default]
    Gaussian,
    /// After the fourth: a tensor and its kurtosis, known through the expansion alone.
    Kurtosis,
}

impl Expansion {
    /// Number of coefficients: 7 or 22.
    pub fn coefficients(self) -> usize {
        match self {
            Expansion::Gaussian => 7,
            Expansion::Kurtosis => 22,
        }
    }

    /// Whether this is the default, which specifications leave out.
    pub fn is_gaussian(&self) -> bool {
        *self == Expansion::Gaussian
    }

    /// The derivatives of ln S of one measurement with respect to the coefficients.
    ///
    /// # Shapes
    /// `weighting` (xx, yy, zz, 2xy, 2xz, 2yz) as `Plan::weighting` has it, `out`
    /// `[coefficient]`.
    ///
    /// # Units
    /// `weighting` in ms/µm².
    pub fn row(self, weighting: [f64; 6], out: &mut [f64]) {
        for (out, w) in out.iter_mut().zip(weighting) {
            *out = -w;
        }
        if self == Expansion::Kurtosis {
            let [xx, yy, zz, xy, xz, yz] = weighting;
            let b = [[xx, 0.5 * xy, 0.5 * xz], [0.5 * xy, yy, 0.5 * yz], [0.5 * xz, 0.5 * yz, zz]];
            for (out, e) in out[6..].iter_mut().zip(&KURTOSIS_ELEMENTS) {
                let [i, j, k, l] = e.indices;
                let pairs = b[i][j] * b[k][l] + b[i][k] * b[j][l] + b[i][l] * b[j][k];
                *out = e.multiplicity * pairs / 18.0;
            }
        }
        if let Some(last) = out.last_mut() {
            *last = 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sum over all 81 index tuples against the 22 coefficients.
    #[test]
    fn rows_are_the_expansion() {
        let g = [0.48, -0.6, 0.64];
        let b = 1.7;
        let d = [[1.7, 0.1, -0.2], [0.1, 0.9, 0.15], [-0.2, 0.15, 0.5]];
        // A symmetric tensor of order four: a sum of u u u u.
        let us = [[0.9, 0.2, -0.3], [0.1, -0.8, 0.4], [0.3, 0.5, 0.7]];
        let v = |i: usize, j: usize, k: usize, l: usize| -> f64 {
            us.iter().map(|u| u[i] * u[j] * u[k] * u[l]).sum()
        };
        let mut truth = 6.5_f64.ln();
        for i in 0..3 {
            for j in 0..3 {
                truth -= b * g[i] * g[j] * d[i][j];
                for k in 0..3 {
                    for l in 0..3 {
                        truth += b * b / 6.0 * g[i] * g[j] * g[k] * g[l] * v(i, j, k, l);
                    }
                }
            }
        }
        let weighting = [
            b * g[0] * g[0],
            b * g[1] * g[1],
            b * g[2] * g[2],
            2.0 * b * g[0] * g[1],
            2.0 * b * g[0] * g[2],
            2.0 * b * g[1] * g[2],
        ];
        let mut row = [0.0; 22];
        Expansion::Kurtosis.row(weighting, &mut row);
        let mut x = vec![d[0][0], d[1][1], d[2][2], d[0][1], d[0][2], d[1][2]];
        x.extend(KURTOSIS_ELEMENTS.iter().map(|e| {
            let [i, j, k, l] = e.indices;
            v(i, j, k, l)
        }));
        x.push(6.5_f64.ln());
        let sum: f64 = row.iter().zip(&x).map(|(r, x)| r * x).sum();
        assert!((sum - truth).abs() < 1e-14, "{sum} {truth}");
        let mut short = [0.0; 7];
        Expansion::Gaussian.row(weighting, &mut short);
        assert_eq!(short[..6], row[..6]);
        assert_eq!((short[6], row[21]), (1.0, 1.0));
    }
}

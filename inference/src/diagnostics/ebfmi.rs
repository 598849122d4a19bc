//! Energy fraction of missing information of Hamiltonian Monte Carlo.
//!
//! $$\text{E-BFMI} = \frac{\frac1{D-1}\sum_{d}(E_{d+1}-E_d)^2}{\frac1{D-1}\sum_d(E_d-\bar E)^2}$$
//!
//! with $E_d$ the energy of draw $d$ of one chain. Values below 0.3 say that the
//! momentum resampling explores the energies slowly. The normalisation is that of
//! ArviZ: the mean of the $D-1$ squared differences over the variance with
//! divisor $D-1$.
//!
//! Source: Betancourt 2016, arXiv:1604.00695, eq. 4.
//! Validated by `tests/suite/arviz.rs`.

use super::moments::{sum_of_squares, variance};

/// E-BFMI of one chain; NaN for fewer than two draws, constant energies or NaN.
///
/// # Example
/// ```
/// // Differences 1, 1, 1: mean square 1; variance 5/3.
/// let e = microtome_inference::diagnostics::ebfmi(&[1.0, 2.0, 3.0, 4.0]);
/// assert!((e - 0.6).abs() < 1e-15);
/// ```
pub fn ebfmi(energy: &[f64]) -> f64 {
    let steps: f64 = energy.windows(2).map(|e| sum_of_squares(&e[1..], e[0])).sum();
    steps / (energy.len().max(1) - 1) as f64 / variance(energy)
}

//! The log-linear tensor fit of ordinary least squares, prepared once for all voxels.
//!
//! $$\ln S_i = \ln S_0 - \langle B_i, D\rangle,\qquad
//! (D_{xx}, D_{yy}, D_{zz}, D_{xy}, D_{xz}, D_{yz}, \ln S_0) = P\ln S$$
//!
//! with the b-tensors $B_i$ in ms/µm², D in µm²/ms and P the pseudo-inverse of the
//! design.
//!
//! Source: Basser, Mattiello & Le Bihan 1994, doi:10.1006/jmrb.1994.1037.
//! Validated by `a_tensor_returns` below.

use crate::dense::{cholesky, cholesky_solve};
use microtome_models::Acquisition;

/// Pivots below this share of their diagonal say that the directions do not determine
/// a tensor.
const TOLERANCE: f64 = 1e-9;

/// P of some measurements, `[7, measurement]`; `None` where they do not determine a tensor.
pub(crate) fn log_tensor(acquisition: &Acquisition, measurements: &[usize]) -> Option<Vec<f64>> {
    let rows: Vec<[f64; 7]> = measurements
        .iter()
        .map(|&i| {
            let [xx, yy, zz, xy, xz, yz] = acquisition.b_tensor(i);
            [-xx, -yy, -zz, -2.0 * xy, -2.0 * xz, -2.0 * yz, 1.0]
        })
        .collect();
    let mut normal = vec![0.0; 49];
    for row in &rows {
        for i in 0..7 {
            for j in 0..7 {
                normal[i * 7 + j] += row[i] * row[j];
            }
        }
    }
    if !cholesky(&mut normal, 7, TOLERANCE) {
        return None;
    }
    let n = rows.len();
    let mut out = vec![0.0; 7 * n];
    for (m, row) in rows.iter().enumerate() {
        let mut column = row.to_vec();
        cholesky_solve(&normal, 7, &mut column);
        for (k, v) in column.iter().enumerate() {
            out[k * n + m] = *v;
        }
    }
    Some(out)
}

/// Tensors are fitted up to this b, ms/µm², where there are enough directions.
const LARGEST_B: f64 = 1.5;

/// The tensor of a voxel from the logarithms of its signals.
#[derive(Debug, Clone)]
pub struct LogTensor {
    /// Measurements of the fit: those of low b if six of them are weighted, else all.
    fitted: Vec<usize>,
    /// Tensor and ln S0 from log signals `[7, fitted]`.
    inverse: Vec<f64>,
}

impl LogTensor {
    /// Prepares the fit; `None` where the directions do not determine a tensor.
    pub fn new(acquisition: &Acquisition) -> Option<Self> {
        let b = acquisition.b_ms_per_um2();
        let low: Vec<usize> = (0..b.len()).filter(|i| b[*i] <= LARGEST_B).collect();
        let lowest = b.iter().copied().filter(|b| *b > 0.05).fold(f64::INFINITY, f64::min);
        let weighted = low.iter().filter(|i| b[**i] > 0.5 * lowest).count();
        let fitted = if weighted >= 6 { low } else { (0..b.len()).collect() };
        let inverse = log_tensor(acquisition, &fitted)?;
        Some(Self { fitted, inverse })
    }

    /// xx, yy, zz, xy, xz, yz in µm²/ms; `None` where a signal is not positive.
    pub fn fit(&self, signals: &[f64]) -> Option<[f64; 6]> {
        if !self.fitted.iter().all(|i| signals[*i] > 0.0 && signals[*i].is_finite()) {
            return None;
        }
        let logs: Vec<f64> = self.fitted.iter().map(|i| signals[*i].ln()).collect();
        let mut rows = self.inverse.chunks_exact(logs.len());
        Some(std::array::from_fn(|_| {
            let row = rows.next().unwrap_or_default();
            row.iter().zip(&logs).map(|(a, b)| a * b).sum()
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_tensor_returns() {
        let g: Vec<[f64; 3]> = (0..12)
            .map(|k| {
                let z = 1.0 - (f64::from(k) + 0.5) / 12.0;
                let (r, phi) = ((1.0 - z * z).sqrt(), 2.4 * f64::from(k));
                [r * phi.cos(), r * phi.sin(), z]
            })
            .collect();
        let b: Vec<f64> = (0..12).map(|k| if k == 0 { 0.0 } else { 1.0 }).collect();
        let acquisition = Acquisition::from_b(&b, &g, None, None).unwrap();
        let (d, ln_s0) = ([1.7, 0.4, 0.3, 0.1, -0.2, 0.05], 3.0);
        let logs: Vec<f64> = g
            .iter()
            .zip(&b)
            .map(|([x, y, z], b)| {
                let quadratic = d[0] * x * x + d[1] * y * y + d[2] * z * z;
                ln_s0 - b * (quadratic + 2.0 * (d[3] * x * y + d[4] * x * z + d[5] * y * z))
            })
            .collect();
        let all: Vec<usize> = (0..12).collect();
        let p = log_tensor(&acquisition, &all).unwrap();
        for (row, wanted) in p.chunks_exact(12).zip(d.iter().chain([&ln_s0])) {
            let got: f64 = row.iter().zip(&logs).map(|(a, b)| a * b).sum();
            assert!((got - wanted).abs() < 1e-12, "{got} {wanted}");
        }
        // Five directions and b = 0 are too few.
        assert!(log_tensor(&acquisition, &all[..6]).is_none());
    }
}

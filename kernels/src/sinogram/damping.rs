//! Rings by wavelets and Fourier damping.
//!
//! The sinogram is split into wavelets; a stripe stands in the coefficients that are fine
//! across it and coarse along it, $c_V$, and there in the lowest frequencies along the views:
//!
//! $$\hat c_V(k, u) \to \left(1 - e^{-k^2/2\sigma^2}\right)\hat c_V(k, u)$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $k$ | cycles along the views of one level | |
//! | $\sigma$ | cycles | width of what is damped |
//!
//! Source: Münch, Trtik, Marone & Stampanoni 2009, doi:10.1364/OE.17.008567, eqs. 2 to 4; the
//! wavelet is db5 with mirrored ends. Validated by `stripes_go_and_the_object_stays` in
//! `inference/tests/suite/prepare.rs` and the tests below.

use super::wavelet;
use crate::ray::Real;
use rustfft::{FftPlanner, num_complex::Complex};

/// A table `[row, column]`.
struct Table {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

impl Table {
    fn new(rows: usize, columns: usize) -> Self {
        Self { rows, columns, values: vec![0.0; rows * columns] }
    }

    fn row(&self, k: usize) -> &[f64] {
        &self.values[k * self.columns..(k + 1) * self.columns]
    }

    fn turned(&self) -> Table {
        let mut out = Table::new(self.columns, self.rows);
        for r in 0..self.rows {
            for c in 0..self.columns {
                out.values[c * self.rows + r] = self.values[r * self.columns + c];
            }
        }
        out
    }

    /// Coarse and fine parts of every row.
    fn split(&self) -> [Table; 2] {
        let n = wavelet::coefficients(self.columns);
        let mut out = [Table::new(self.rows, n), Table::new(self.rows, n)];
        let (mut a, mut d) = (vec![], vec![]);
        for r in 0..self.rows {
            wavelet::split(self.row(r), &mut a, &mut d);
            out[0].values[r * n..(r + 1) * n].copy_from_slice(&a);
            out[1].values[r * n..(r + 1) * n].copy_from_slice(&d);
        }
        out
    }

    /// Rows of `n` from their coarse and fine parts.
    fn join(coarse: &Table, fine: &Table, n: usize) -> Table {
        let mut out = Table::new(coarse.rows, n);
        let mut row = vec![];
        for r in 0..coarse.rows {
            wavelet::join(coarse.row(r), fine.row(r), n, &mut row);
            out.values[r * n..(r + 1) * n].copy_from_slice(&row);
        }
        out
    }
}

/// The fine parts of one level, stored with columns as rows where that is handier.
struct Level {
    rows: usize,
    columns: usize,
    /// Coarse across, fine along the views; turned.
    across: Table,
    /// Fine across, coarse along the views; turned.
    stripes: Table,
    /// Fine both ways; turned.
    both: Table,
}

/// Removes stripes of a sinogram `[view, u]` on `levels` levels.
pub fn remove_stripes<T: Real>(sinogram: &mut [T], nu: usize, levels: usize, sigma: f64) {
    let n = sinogram.len() / nu.max(1);
    if n < 2 || nu < 2 || levels == 0 {
        return;
    }
    let values = sinogram.iter().map(|v| v.wide()).collect();
    let mut image = Table { rows: n, columns: nu, values };
    let mut stack = Vec::with_capacity(levels);
    let mut planner = FftPlanner::new();
    for _ in 0..levels {
        let (rows, columns) = (image.rows, image.columns);
        let [low, high] = image.split();
        let [low_low, across] = low.turned().split();
        let [mut stripes, both] = high.turned().split();
        damp(&mut stripes, sigma, &mut planner);
        image = low_low.turned();
        stack.push(Level { rows, columns, across, stripes, both });
    }
    while let Some(level) = stack.pop() {
        let low = Table::join(&image.turned(), &level.across, level.rows).turned();
        let high = Table::join(&level.stripes, &level.both, level.rows).turned();
        image = Table::join(&low, &high, level.columns);
    }
    sinogram.iter_mut().zip(&image.values).for_each(|(s, v)| *s = T::narrow(*v));
}

/// Damps the lowest frequencies of every row.
fn damp(table: &mut Table, sigma: f64, planner: &mut FftPlanner<f64>) {
    let n = table.columns;
    let (forward, back) = (planner.plan_fft_forward(n), planner.plan_fft_inverse(n));
    let mut buffer = vec![Complex::default(); n];
    let factor: Vec<f64> = (0..n)
        .map(|k| {
            let k = k.min(n - k) as f64;
            -(-k * k / (2.0 * sigma * sigma)).exp_m1() / n as f64
        })
        .collect();
    for row in table.values.chunks_exact_mut(n) {
        buffer.iter_mut().zip(row.iter()).for_each(|(b, v)| *b = Complex::new(*v, 0.0));
        forward.process(&mut buffer);
        buffer.iter_mut().zip(&factor).for_each(|(b, f)| *b *= *f);
        back.process(&mut buffer);
        row.iter_mut().zip(&buffer).for_each(|(v, b)| *v = b.re);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_happens_without_damping() {
        let (n, nu) = (21, 34);
        let clean: Vec<f64> = (0..n * nu).map(|k| ((k * k + 5 * k) % 31) as f64).collect();
        let mut s = clean.clone();
        // exp(-k²/2σ²) is 0 but for k = 0.
        remove_stripes(&mut s, nu, 3, 1e-3);
        let moved = s.iter().zip(&clean).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(moved > 1e-3);
        // A table that has no stripe part at all: it varies along the views only.
        let clean: Vec<f64> = (0..n * nu).map(|k| ((k / nu * 7) % 11) as f64).collect();
        let mut s = clean.clone();
        remove_stripes(&mut s, nu, 3, 2.0);
        for (a, b) in s.iter().zip(&clean) {
            assert!((a - b).abs() < 1e-11);
        }
    }

    #[test]
    fn narrow_stripes_go() {
        let (n, nu) = (60, 64);
        let stripe = |u: usize| if u % 13 == 5 { 1.0 } else { 0.0 };
        let mut s: Vec<f64> = (0..n * nu).map(|k| stripe(k % nu)).collect();
        let before: f64 = s.iter().map(|v| v * v).sum();
        remove_stripes(&mut s, nu, 4, 2.0);
        // With PyWavelets, 0.01336 of the square is left about the mean: what is coarser
        // than the fourth level.
        let mean = s.iter().sum::<f64>() / s.len() as f64;
        let after: f64 = s.iter().map(|v| (v - mean) * (v - mean)).sum();
        assert!((after / before - 0.013_355_502_330).abs() < 1e-9, "{}", after / before);
    }

    #[test]
    fn equals_numpy() {
        // The same steps with PyWavelets and NumPy (tests/golden/make_stripes.py).
        let mut s: Vec<f64> = (0..12 * 15).map(|k| ((k * k + 5 * k) % 31) as f64).collect();
        remove_stripes(&mut s, 15, 2, 1.5);
        for (found, expected) in s[45..60].iter().zip(ROW) {
            assert!((found - expected).abs() < 1e-10, "{found} {expected}");
        }
    }

    const ROW: [f64; 15] = [
        17.019723730648536,
        20.553674894875233,
        28.2564509754186,
        3.9922587428233456,
        10.462532704770757,
        20.742659757086564,
        3.897288407016484,
        18.979701350775347,
        3.7768412181742828,
        23.393711053572783,
        14.70056777023431,
        8.46603544975612,
        0.04915819930362986,
        25.958254242085893,
        24.06711938711994,
    ];
}

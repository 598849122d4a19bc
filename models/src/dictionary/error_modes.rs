//! The parts of the errors of a simulation that a model counts.
//!
//! Batches $y_b$ of walkers, $b = 1\ldots B$, of mean $\bar y$ give the covariance of the mean
//!
//! $$C = X^TX,\qquad X_b = \frac{y_b - \bar y}{\sqrt{B(B-1)}},$$
//!
//! over all points and entries together. Any orthonormal vectors $v_j$ of batches that span
//! the rows of $X$ write it as a sum of $c^{(j)}(c^{(j)})^T$ with $c^{(j)} = X^Tv_j$. The first are chosen by what
//! they do to the parameters, not by their size: with the slopes $J$ of the entries of a
//! point along the parameters and the scale, a batch moves the least-squares estimate by
//!
//! $$\delta_b = (J^TJ)^{-1}J^TX_b,$$
//!
//! and $v_1, v_2, \ldots$ are the principal directions of all $\delta$, each in units of its own
//! size. They are few, as the points have common random numbers. The others are the principal directions
//! of $X$ across these, by their size.
//!
//! Validated by `errors_of_walks_are_known` of `models/tests/suite/dictionary.rs` and
//! `errors_of_walkers_are_in_standard_errors` of `inference/tests/suite/dictionary.rs`.

use super::ERROR_MODES;
use super::table::{DictionaryError, DictionaryTable};
use microtome_kernels::dense::invert;
use microtome_kernels::eigen::eigen_symmetric;
use microtome_kernels::spline::{GridSpline, SplineAxis};

/// Share of the variance of the moved estimates that is held before size counts.
const MOVED: f64 = 0.995;
/// Share of the variance of the errors that is held.
const HELD: f64 = 0.99;

/// The parts of the errors, `[mode][grid, entry]`, and the share of the variance that they hold.
pub(super) fn error_modes(
    table: &DictionaryTable,
    most: Option<usize>,
) -> Result<(Vec<Vec<f64>>, f64), DictionaryError> {
    let b = table.batches.len();
    if let Some(n) = most.filter(|n| *n > b.saturating_sub(1)) {
        return Err(DictionaryError {
            what: format!(
                "error_modes = {n}; {b} batches of walkers tell of {} at most",
                b.saturating_sub(1)
            ),
        });
    }
    if b < 2 || most == Some(0) {
        return Ok((Vec::new(), 1.0));
    }
    let rows = deviations(table);
    let gram = products(&rows);
    let total: f64 = (0..b).map(|i| gram[i * b + i]).sum();
    if total <= 0.0 {
        return Ok((Vec::new(), 1.0));
    }
    let limit = most.unwrap_or(ERROR_MODES).min(b - 1);
    let mut chosen = principal(&estimates(table, &rows), b, MOVED, limit);
    // What is left of X across these directions, by its size.
    let mut left = gram.clone();
    for v in &chosen {
        across(&mut left, v, b);
    }
    let size = |v: &[f64]| -> f64 {
        (0..b).map(|i| (0..b).map(|j| v[i] * gram[i * b + j] * v[j]).sum::<f64>()).sum()
    };
    let mut held: f64 = chosen.iter().map(|v| size(v)).sum();
    let (values, vectors) = eigen_symmetric(&left, b);
    for (value, v) in values.iter().zip(vectors.chunks(b)) {
        let enough = most.is_none() && held >= HELD * total;
        if chosen.len() >= limit || enough || *value <= 1e-12 * total {
            break;
        }
        held += value;
        chosen.push(v.to_vec());
    }
    let part = |v: &Vec<f64>| {
        let mut part = vec![0.0; table.signal.len()];
        for (row, v) in rows.iter().zip(v) {
            for (p, x) in part.iter_mut().zip(row) {
                *p += v * x;
            }
        }
        part
    };
    Ok((chosen.iter().map(part).collect(), (held / total).min(1.0)))
}

/// X, `[batch][grid, entry]`.
fn deviations(table: &DictionaryTable) -> Vec<Vec<f64>> {
    let b = table.batches.len();
    let scale = 1.0 / ((b * (b - 1)) as f64).sqrt();
    let mut mean = vec![0.0; table.signal.len()];
    for batch in &table.batches {
        for (m, v) in mean.iter_mut().zip(batch) {
            *m += v / b as f64;
        }
    }
    let deviate = |batch: &Vec<f64>| {
        batch.iter().zip(&mean).map(|(v, m)| scale * (v - m)).collect::<Vec<f64>>()
    };
    table.batches.iter().map(deviate).collect()
}

/// $XX^T$ of rows.
fn products(rows: &[Vec<f64>]) -> Vec<f64> {
    let b = rows.len();
    let mut out = vec![0.0; b * b];
    for i in 0..b {
        for j in 0..=i {
            let sum: f64 = rows[i].iter().zip(&rows[j]).map(|(x, y)| x * y).sum();
            out[i * b + j] = sum;
            out[j * b + i] = sum;
        }
    }
    out
}

/// How every batch moves the estimates of the parameters at every point, summed up as
/// $\delta^T\delta$ `[batch, batch]`.
fn estimates(table: &DictionaryTable, rows: &[Vec<f64>]) -> Vec<f64> {
    let (b, d, entries) = (rows.len(), table.axes.len(), table.entries());
    let mut out = vec![0.0; b * b];
    let axes: Option<Vec<SplineAxis>> =
        table.axes.iter().map(|a| SplineAxis::new(&a.nodes)).collect();
    let spline = axes.and_then(|a| GridSpline::through(a, entries, table.signal.clone()));
    let Some(spline) = spline else { return out };
    let (mut value, mut slope) = (vec![0.0; entries], vec![0.0; d * entries]);
    for point in 0..table.points() {
        spline.evaluate(&table.parameters(point), &[], &mut value, &mut slope);
        // The slopes along the parameters and the scale.
        slope.extend_from_slice(&value);
        let n = d + 1;
        let columns: Vec<&[f64]> = slope.chunks(entries).collect();
        let mut normal = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..n {
                normal[i * n + j] = columns[i].iter().zip(columns[j]).map(|(x, y)| x * y).sum();
            }
        }
        if let Some(inverse) = invert(&normal, n) {
            let moved: Vec<Vec<f64>> = rows
                .iter()
                .map(|row| {
                    let here = &row[point * entries..(point + 1) * entries];
                    let right: Vec<f64> = columns
                        .iter()
                        .map(|c| c.iter().zip(here).map(|(c, x)| c * x).sum())
                        .collect();
                    let of = |i: usize| (0..n).map(|j| inverse[i * n + j] * right[j]).sum();
                    (0..d).map(of).collect()
                })
                .collect();
            for p in 0..d {
                let square: f64 = moved.iter().map(|m| m[p] * m[p]).sum();
                if square > 0.0 && square.is_finite() {
                    for i in 0..b {
                        for j in 0..b {
                            out[i * b + j] += moved[i][p] * moved[j][p] / square;
                        }
                    }
                }
            }
        }
        slope.truncate(d * entries);
    }
    out
}

/// The first eigenvectors, at most `limit`, that hold a share of the trace.
fn principal(matrix: &[f64], b: usize, share: f64, limit: usize) -> Vec<Vec<f64>> {
    let (values, vectors) = eigen_symmetric(matrix, b);
    let total: f64 = values.iter().map(|v| v.max(0.0)).sum();
    let (mut out, mut held) = (Vec::new(), 0.0);
    for (value, v) in values.iter().zip(vectors.chunks(b)) {
        if out.len() >= limit || held >= share * total || *value <= 1e-12 * total {
            break;
        }
        held += value;
        out.push(v.to_vec());
    }
    out
}

/// Takes the direction of a unit vector out of both sides of a symmetric matrix.
fn across(matrix: &mut [f64], v: &[f64], b: usize) {
    let along: Vec<f64> = (0..b).map(|i| (0..b).map(|j| matrix[i * b + j] * v[j]).sum()).collect();
    let twice: f64 = along.iter().zip(v).map(|(a, v)| a * v).sum();
    for i in 0..b {
        for j in 0..b {
            matrix[i * b + j] += v[i] * v[j] * twice - along[i] * v[j] - v[i] * along[j];
        }
    }
}

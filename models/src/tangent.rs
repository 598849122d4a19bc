//! Tangent steps: the bounded local coordinates in which a fit moves.
//!
//! | block | step $s$ | bounds |
//! |---|---|---|
//! | scalar, scale | $x + s$ | the range of the parameter |
//! | angle | $x + s$ | none |
//! | axis | $(\mu + s_1 e_1 + s_2 e_2)$ normalised | none |
//! | fractions | $v_i + s_i$ with $f_i = v_i\prod_{j<i}(1-v_j)$ | $0 \le v_i \le 1$ |
//!
//! Unlike a [`crate::Chart`] it reaches the bounds, where maximum-likelihood
//! estimates of small fractions are.
//!
//! Validated by `basis_equals_difference` below.

use crate::chart::frame_about;
use crate::model::{FreeKind, Model};

/// Tangent coordinates of a model.
#[derive(Debug, Clone)]
pub struct Tangent {
    blocks: Vec<Block>,
    dim: usize,
    values: usize,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    at: usize,
    s: usize,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Bounded { low: f64, high: f64 },
    Angle,
    Axis,
    Simplex { n: usize, total: f64 },
}

/// The nested shares v of n fractions f.
fn shares(f: &[f64], total: f64, v: &mut [f64]) {
    let mut rest = 1.0;
    for (v, f) in v.iter_mut().zip(f) {
        *v = if rest > 1e-12 { (f / total / rest).clamp(0.0, 1.0) } else { 0.5 };
        rest *= 1.0 - *v;
    }
}

impl Tangent {
    /// The tangent coordinates of a model.
    pub fn new(model: &Model) -> Self {
        let mut blocks = Vec::new();
        let mut dim = 0;
        for free in model.free() {
            let (kind, n) = match &free.kind {
                FreeKind::Scalar { period: Some(_) } => (Kind::Angle, 1),
                FreeKind::Scalar { .. } | FreeKind::Scale => {
                    (Kind::Bounded { low: free.range[0], high: free.range[1] }, 1)
                }
                FreeKind::Axis => (Kind::Axis, 2),
                FreeKind::Fractions { total, .. } => {
                    (Kind::Simplex { n: free.len, total: *total }, free.len - 1)
                }
            };
            blocks.push(Block { at: free.at, s: dim, kind });
            dim += n;
        }
        Self { blocks, dim, values: model.values() }
    }

    /// Number of coordinates.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The entries of $\partial x/\partial s$ at $s = 0$ that are not zero:
    /// (value, coordinate, derivative).
    pub fn basis(&self, x: &[f64], out: &mut Vec<(usize, usize, f64)>) {
        out.clear();
        for block in &self.blocks {
            let (at, s) = (block.at, block.s);
            match block.kind {
                Kind::Bounded { .. } | Kind::Angle => out.push((at, s, 1.0)),
                Kind::Axis => {
                    let [e1, e2, _] = frame_about([x[at], x[at + 1], x[at + 2]]);
                    for i in 0..3 {
                        out.push((at + i, s, e1[i]));
                        out.push((at + i, s + 1, e2[i]));
                    }
                }
                Kind::Simplex { n, total } => {
                    let mut v = [0.0; MAX_FRACTIONS];
                    shares(&x[at..at + n - 1], total, &mut v[..n - 1]);
                    for i in 0..n {
                        for k in 0..(i + 1).min(n - 1) {
                            let mut d = total * if i == k { 1.0 } else { -1.0 };
                            for (j, v) in v.iter().enumerate().take(i) {
                                d *= if j == k { 1.0 } else { 1.0 - v };
                            }
                            if i < n - 1 && i != k {
                                d *= v[i];
                            }
                            out.push((at + i, s + k, d));
                        }
                    }
                }
            }
        }
    }

    /// Moves `x` by `step`, stopping at the bounds; `step` becomes the step taken.
    pub fn retract(&self, x: &[f64], step: &mut [f64], out: &mut [f64]) {
        for block in &self.blocks {
            let (at, s) = (block.at, block.s);
            match block.kind {
                Kind::Bounded { low, high } => {
                    out[at] = (x[at] + step[s]).clamp(low, high);
                    step[s] = out[at] - x[at];
                }
                Kind::Angle => out[at] = x[at] + step[s],
                Kind::Axis => {
                    let [e1, e2, m] = frame_about([x[at], x[at + 1], x[at + 2]]);
                    let v: [f64; 3] =
                        std::array::from_fn(|i| m[i] + step[s] * e1[i] + step[s + 1] * e2[i]);
                    let norm = (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt();
                    for i in 0..3 {
                        out[at + i] = v[i] / norm;
                    }
                }
                Kind::Simplex { n, total } => {
                    let mut v = [0.0; MAX_FRACTIONS];
                    shares(&x[at..at + n - 1], total, &mut v[..n - 1]);
                    let mut rest = 1.0;
                    for i in 0..n - 1 {
                        let moved = (v[i] + step[s + i]).clamp(0.0, 1.0);
                        step[s + i] = moved - v[i];
                        out[at + i] = total * rest * moved;
                        rest *= 1.0 - moved;
                    }
                    out[at + n - 1] = total * rest;
                }
            }
        }
    }

    /// Which coordinates are at a bound that the descent direction `-gradient`
    /// would cross.
    pub fn blocked(&self, x: &[f64], gradient: &[f64], out: &mut [bool]) {
        out.fill(false);
        for block in &self.blocks {
            let (at, s) = (block.at, block.s);
            match block.kind {
                Kind::Bounded { low, high } => {
                    out[s] =
                        (x[at] <= low && gradient[s] > 0.0) || (x[at] >= high && gradient[s] < 0.0);
                }
                Kind::Simplex { n, total } => {
                    let mut v = [0.0; MAX_FRACTIONS];
                    shares(&x[at..at + n - 1], total, &mut v[..n - 1]);
                    for i in 0..n - 1 {
                        out[s + i] = (v[i] <= 0.0 && gradient[s + i] > 0.0)
                            || (v[i] >= 1.0 && gradient[s + i] < 0.0);
                    }
                }
                Kind::Angle | Kind::Axis => {}
            }
        }
    }

    /// Number of values.
    pub fn values(&self) -> usize {
        self.values
    }
}

/// Most free fractions of one model; composition refuses more.
pub(crate) const MAX_FRACTIONS: usize = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::compose_models;

    #[test]
    fn basis_equals_difference() {
        let model = compose_models(["stick", "zeppelin", "ball", "dot"]).unwrap();
        let tangent = Tangent::new(&model);
        let mut x = vec![0.7; model.values()];
        for free in model.free() {
            match free.kind {
                FreeKind::Axis => x[free.at..free.at + 3].copy_from_slice(&[0.6, 0.64, -0.48]),
                FreeKind::Fractions { .. } => {
                    x[free.at..free.at + 4].copy_from_slice(&[0.4, 0.3, 0.2, 0.1])
                }
                _ => {}
            }
        }
        let dim = tangent.dim();
        let mut entries = Vec::new();
        tangent.basis(&x, &mut entries);
        let mut basis = vec![0.0; model.values() * dim];
        for (i, k, d) in entries {
            basis[i * dim + k] = d;
        }
        for k in 0..dim {
            let h = 1e-6;
            let moved = |sign: f64| {
                let mut step = vec![0.0; dim];
                step[k] = sign * h;
                let mut out = vec![0.0; x.len()];
                tangent.retract(&x, &mut step, &mut out);
                out
            };
            for (i, (p, m)) in moved(1.0).iter().zip(&moved(-1.0)).enumerate() {
                assert!(
                    ((p - m) / (2.0 * h) - basis[i * dim + k]).abs() < 1e-9,
                    "value {i}, coordinate {k}"
                );
            }
        }
    }
}

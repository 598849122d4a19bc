//! The quadratic program of a non-negative expansion, for many right sides:
//!
//! $$\hat x = \arg\min_x \tfrac12 x^T H x - q^T x\quad\text{subject to}\quad A x \ge 0,$$
//!
//! solved through its dual. With $G = A H^{-1} A^T$ and the values
//! $w_0 = A H^{-1} q$ of the unconstrained solution,
//!
//! $$\hat\lambda = \arg\min_{\lambda\ge0} \tfrac12\lambda^T G\lambda + w_0^T\lambda,\qquad
//! A\hat x = w_0 + G\hat\lambda,\qquad \hat x = H^{-1}(q + A^T\hat\lambda).$$
//!
//! $H$ and $A$ are equal for all voxels, so $G$ and $C = H^{-1}A^T$ are tables, and a
//! voxel costs sums of their rows and the inverse of the active part of $G$.
//! The search is the active-set method of Lawson and Hanson for $\lambda$, with two
//! changes: all local minima of the constrained values join the active set at
//! once, and the step is that of Newton from the current point, so rounding does
//! not add up. Each outer step lowers the dual strictly, so none repeats and the search
//! ends.
//!
//! Source: Lawson & Hanson 1974, *Solving Least Squares Problems*, ch. 23 (the
//! search); Bro & De Jong 1997, doi:10.1002/(SICI)1099-128X(199709/10)11:5<393::AID-CEM483>3.0.CO;2-L
//! (in terms of the normal matrix). Validated by `solutions_satisfy_kkt` below and
//! `quadratic_programs_equal_scipy` in `tests/deconvolution.rs`.

use crate::dense::{cholesky, cholesky_solve};
use microtome_kernels::inverse::GrowingInverse;
use microtome_kernels::rows::add_rows;

/// Neighbours of a constraint among which it must be the least to join.
pub const NEIGHBOURS: usize = 8;
/// Most outer steps.
const MAX_STEPS: usize = 200;
/// Violation that is none, in units of the largest unconstrained value.
const TOLERANCE: f64 = 1e-10;
/// Marks a multiplier that leaves the active set.
const LEAVING: f64 = -1.0;
/// A constraint that depends on the active ones to this is not added.
const DEPENDENT: f64 = 1e-9;

/// The tables of a quadratic program.
#[derive(Debug, Clone)]
pub struct Cone {
    constraints: usize,
    unknowns: usize,
    /// Constraints, padded to blocks of eight.
    width: usize,
    /// Row i: G_i, padding, C_i, padding.
    rows: Vec<f64>,
    stride: usize,
    neighbours: Vec<[u32; NEIGHBOURS]>,
    /// Lower triangle of H.
    factor: Vec<f64>,
}

/// What one solution needs, kept between voxels.
#[derive(Debug, Clone)]
pub struct ConeState {
    inverse: GrowingInverse,
    active: Vec<u32>,
    is_active: Vec<bool>,
    lambda: Vec<f64>,
    /// `[constraint, padding, unknown, padding]`: values and solution.
    point: Vec<f64>,
    slack: Vec<f64>,
    step: Vec<f64>,
    row: Vec<f64>,
    joining: Vec<u32>,
}

/// How a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConeOutcome {
    /// Whether the conditions of optimality hold.
    pub converged: bool,
    /// Outer steps.
    pub steps: usize,
}

impl Cone {
    /// Prepares the tables; `None` when `hessian` is not positive definite.
    ///
    /// # Shapes
    /// `hessian` `[unknown, unknown]`, `constraints` `[constraint, unknown]`;
    /// `neighbours` of the first constraints (directions), the others stand alone.
    pub fn new(
        hessian: &[f64],
        unknowns: usize,
        constraints: &[f64],
        neighbours: &[[u32; NEIGHBOURS]],
    ) -> Option<Self> {
        let mut factor = hessian.to_vec();
        if !cholesky(&mut factor, unknowns, 1e-14) {
            return None;
        }
        let count = constraints.len() / unknowns;
        let width = count.next_multiple_of(8);
        let stride = width + unknowns.next_multiple_of(8);
        let mut rows = vec![0.0; count * stride];
        let mut column = vec![0.0; unknowns];
        for (i, row) in rows.chunks_exact_mut(stride).enumerate() {
            column.copy_from_slice(&constraints[i * unknowns..(i + 1) * unknowns]);
            cholesky_solve(&factor, unknowns, &mut column);
            row[width..width + unknowns].copy_from_slice(&column);
            for (g, a) in row.iter_mut().zip(constraints.chunks_exact(unknowns)) {
                *g = a.iter().zip(&column).map(|(a, c)| a * c).sum();
            }
        }
        let alone = (neighbours.len()..count).map(|i| [i as u32; NEIGHBOURS]);
        let neighbours = neighbours.iter().copied().chain(alone).collect();
        Some(Self { constraints: count, unknowns, width, rows, stride, neighbours, factor })
    }

    /// Number of constraints.
    pub fn constraints(&self) -> usize {
        self.constraints
    }

    /// Length of the table row of a right side; see [`Cone::response`].
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Where the solution begins in a point.
    pub fn offset(&self) -> usize {
        self.width
    }

    /// The unconstrained values and solution of a right side, `[constraint,
    /// padding, unknown, padding]`: linear in `q`, so a table for its parts.
    pub fn response(&self, q: &[f64], constraints: &[f64]) -> Vec<f64> {
        let mut x = q.to_vec();
        cholesky_solve(&self.factor, self.unknowns, &mut x);
        let mut out = vec![0.0; self.stride];
        for (w, a) in out.iter_mut().zip(constraints.chunks_exact(self.unknowns)) {
            *w = a.iter().zip(&x).map(|(a, x)| a * x).sum();
        }
        out[self.width..self.width + self.unknowns].copy_from_slice(&x);
        out
    }

    /// Room for the solutions of this program.
    pub fn state(&self) -> ConeState {
        let inverse = GrowingInverse::new(self.unknowns);
        let room = inverse.padded();
        ConeState {
            active: Vec::with_capacity(room),
            is_active: vec![false; self.constraints],
            lambda: Vec::with_capacity(room),
            point: vec![0.0; self.stride],
            slack: vec![0.0; room],
            step: vec![0.0; room],
            row: vec![0.0; room],
            joining: Vec::new(),
            inverse,
        }
    }

    /// The constraints that are violated and the least among their neighbours.
    fn violated(&self, state: &mut ConeState, tolerance: f64) {
        let values = &state.point[..self.constraints];
        state.joining.clear();
        for (i, (w, near)) in values.iter().zip(&self.neighbours).enumerate() {
            if *w >= -tolerance || state.is_active[i] {
                continue;
            }
            let least = near.iter().all(|j| {
                let other = values[*j as usize];
                other > *w || (other == *w && *j as usize >= i)
            });
            if least {
                state.joining.push(i as u32);
            }
        }
    }

    /// Adds the constraints in `joining` to the active set; returns how many were
    /// independent of the others.
    fn join(&self, state: &mut ConeState) -> usize {
        let mut added = 0;
        for k in 0..state.joining.len() {
            let i = state.joining[k];
            let gram = &self.rows[i as usize * self.stride..][..self.width];
            state.row.fill(0.0);
            for (r, j) in state.row.iter_mut().zip(&state.active) {
                *r = gram[*j as usize];
            }
            if state.inverse.push(&state.row, gram[i as usize], DEPENDENT) {
                state.active.push(i);
                state.lambda.push(0.0);
                state.is_active[i as usize] = true;
                added += 1;
            }
        }
        added
    }

    /// Solves for the unconstrained point `start`; see [`Cone::response`].
    ///
    /// # Shapes
    /// `start` `[`[`Cone::stride`]`]`.
    pub fn solve(&self, start: &[f64], state: &mut ConeState) -> ConeOutcome {
        state.inverse.clear();
        state.active.clear();
        state.lambda.clear();
        state.is_active.fill(false);
        state.point[..self.width].copy_from_slice(&start[..self.width]);
        let scale = start[..self.constraints].iter().fold(0.0_f64, |s, w| s.max(w.abs()));
        let tolerance = TOLERANCE * scale;
        let mut converged = false;
        let mut steps = 0;
        while steps < MAX_STEPS && scale.is_finite() {
            self.violated(state, tolerance);
            if state.joining.is_empty() {
                converged = true;
                break;
            }
            if self.join(state) == 0 {
                break;
            }
            steps += 1;
            self.descend(state);
            state.point[..self.width].copy_from_slice(&start[..self.width]);
            add_rows(
                &self.rows,
                self.stride,
                &state.active,
                &state.lambda,
                &mut state.point[..self.width],
            );
        }
        state.point[self.width..].copy_from_slice(&start[self.width..]);
        let tables = &self.rows[self.width..];
        add_rows(tables, self.stride, &state.active, &state.lambda, &mut state.point[self.width..]);
        ConeOutcome { converged, steps }
    }

    /// Moves the multipliers to the minimum over the active set, which loses those
    /// that would become negative.
    fn descend(&self, state: &mut ConeState) {
        let ConeState { inverse, active, is_active, lambda, point, slack, step, .. } = state;
        slack.fill(0.0);
        for (s, i) in slack.iter_mut().zip(&*active) {
            *s = -point[*i as usize];
        }
        loop {
            let before = active.len();
            inverse.multiply(slack, step);
            // The longest way that leaves no multiplier negative.
            let ends = |l: f64, d: f64| (l + d <= 0.0).then(|| if l > 0.0 { l / -d } else { 0.0 });
            let both = lambda.iter().zip(&*step);
            let length = both.filter_map(|(l, d)| ends(*l, *d)).fold(1.0, f64::min);
            let mut k = active.len();
            while k > 0 {
                k -= 1;
                let leaves = ends(lambda[k], step[k]).is_some_and(|end| end <= length);
                lambda[k] = if leaves { LEAVING } else { lambda[k] + length * step[k] };
                slack[k] *= 1.0 - length;
            }
            let mut k = active.len();
            while k > 0 {
                k -= 1;
                if lambda[k] == LEAVING {
                    is_active[active[k] as usize] = false;
                    inverse.remove(k);
                    active.remove(k);
                    lambda.remove(k);
                    slack.copy_within(k + 1.., k);
                }
            }
            if active.len() == before {
                return;
            }
        }
    }
}

impl ConeState {
    /// The constrained values $Ax$ of the last solution.
    pub fn values(&self, cone: &Cone) -> &[f64] {
        &self.point[..cone.constraints]
    }

    /// The last solution.
    pub fn solution(&self, cone: &Cone) -> &[f64] {
        &self.point[cone.width..cone.width + cone.unknowns]
    }

    /// Active constraints and their multipliers.
    pub fn multipliers(&self) -> (&[u32], &[f64]) {
        (&self.active, &self.lambda)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn value(i: usize) -> f64 {
        ((i * 7919 + 1013) % 2003) as f64 / 1001.5 - 1.0
    }

    /// Stationarity, feasibility of both and complementarity, by plain sums.
    #[test]
    fn solutions_satisfy_kkt() {
        let (n, p) = (9, 40);
        for case in 0..60 {
            let root: Vec<f64> = (0..n * n).map(|i| value(i + 91 * case)).collect();
            let mut h = vec![0.0; n * n];
            for i in 0..n {
                for j in 0..n {
                    let dot: f64 = (0..n).map(|k| root[i * n + k] * root[j * n + k]).sum();
                    h[i * n + j] = dot + if i == j { 0.05 } else { 0.0 };
                }
            }
            let a: Vec<f64> = (0..p * n).map(|i| value(3 * i + 17 * case + 5)).collect();
            let q: Vec<f64> = (0..n).map(|i| value(11 * i + 29 * case + 2)).collect();
            let cone = Cone::new(&h, n, &a, &[]).unwrap();
            let mut state = cone.state();
            let outcome = cone.solve(&cone.response(&q, &a), &mut state);
            assert!(outcome.converged, "{case} {outcome:?}");
            let x = state.solution(&cone).to_vec();
            let (active, lambda) = state.multipliers();
            assert!(lambda.iter().all(|l| *l >= 0.0));
            let start = cone.response(&q, &a);
            let scale = start[..p].iter().fold(0.0_f64, |s, w| s.max(w.abs()));
            for (i, row) in a.chunks_exact(n).enumerate() {
                let value: f64 = row.iter().zip(&x).map(|(a, x)| a * x).sum();
                assert!(value > -1.01 * TOLERANCE * scale, "{case} {i} {value}");
                if active.contains(&(i as u32)) {
                    assert!(value.abs() < TOLERANCE * scale, "{case} {i} {value}");
                }
                assert!((value - state.values(&cone)[i]).abs() < 1e-12 * scale);
            }
            for i in 0..n {
                let hx: f64 = (0..n).map(|j| h[i * n + j] * x[j]).sum();
                let push: f64 =
                    active.iter().zip(lambda).map(|(k, l)| l * a[*k as usize * n + i]).sum();
                assert!((hx - q[i] - push).abs() < 1e-12 * scale, "{case} {i}");
            }
        }
    }

    #[test]
    fn a_feasible_start_is_the_solution() {
        let cone = Cone::new(&[2.0, 0.0, 0.0, 4.0], 2, &[1.0, 0.0, 0.0, 1.0], &[]).unwrap();
        let mut state = cone.state();
        let outcome = cone.solve(&cone.response(&[2.0, 4.0], &[1.0, 0.0, 0.0, 1.0]), &mut state);
        assert_eq!((outcome.converged, outcome.steps), (true, 0));
        assert!(state.solution(&cone).iter().all(|x| (x - 1.0).abs() < 1e-15));
        assert!(Cone::new(&[1.0, 1.0, 1.0, 1.0], 2, &[1.0, 0.0], &[]).is_none());
    }
}

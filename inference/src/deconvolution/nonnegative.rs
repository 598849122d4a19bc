//! Non-negative least squares for many right sides that share their matrix:
//!
//! $$\hat c = \arg\min_{c\ge0} \tfrac12 c^T G c + w^T c$$
//!
//! ($G = M^T M$, $w = -M^T y$ for $\min_{c\ge0}|Mc - y|^2$). $G$ is a table, so a voxel
//! costs sums of its rows and the inverse of its active part, a few rows and
//! columns. The search is the active-set method of Lawson and Hanson with two
//! changes: local minima of the slope join the active set at once, and the step is
//! that of Newton from the current point, so rounding does not add up. Every outer
//! step lowers the value strictly, so no active set repeats and the search ends.
//!
//! The conditions of optimality (Karush, Kuhn, Tucker) are $c\ge0$, $Gc + w\ge0$ and
//! $c^T(Gc + w) = 0$.
//!
//! Source: Lawson & Hanson 1974, *Solving Least Squares Problems*, ch. 23, doi:10.1137/1.9781611971217
//! (the search); Bro & De Jong 1997, J. Chemometrics 11:393 (in terms of $G$).
//! Validated by `solutions_satisfy_kkt` below and `deconvolutions_equal_scipy` in
//! `tests/suite/deconvolution.rs`.

use microtome_kernels::inverse::GrowingInverse;
use microtome_kernels::rows::add_rows;

/// Neighbours of an unknown, among which its slope must be the least to join.
pub const NEIGHBOURS: usize = 8;
/// Most outer steps.
const MAX_STEPS: usize = 300;
/// A slope that is none, in units of the largest at zero.
const TOLERANCE: f64 = 1e-10;
/// An unknown that depends on the active ones to this share of its diagonal does not join.
const DEPENDENT: f64 = 1e-13;
/// A slope joins from this share of the steepest on: others may turn out flat
/// once the steep ones are active.
const SHARE: f64 = 0.5;
/// Marks an unknown that leaves the active set.
const LEAVING: f64 = -1.0;

/// The tables of a problem.
#[derive(Debug, Clone)]
pub struct NonNegative {
    count: usize,
    width: usize,
    /// Row i: G_i, padding, table_i, padding.
    rows: Vec<f64>,
    stride: usize,
    most: usize,
    neighbours: Vec<[u32; NEIGHBOURS]>,
}

/// A solution, and the room that finding it needs.
#[derive(Debug, Clone)]
pub struct NonNegativeState {
    inverse: GrowingInverse,
    active: Vec<u32>,
    is_active: Vec<bool>,
    value: Vec<f64>,
    /// $Gc + w$ `[unknown, padding]`.
    slope: Vec<f64>,
    /// The least slope of every block of eight.
    blocks: Vec<f64>,
    down: Vec<f64>,
    step: Vec<f64>,
    row: Vec<f64>,
    joining: Vec<u32>,
}

/// How a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the conditions of optimality hold.
    pub converged: bool,
    /// Outer steps.
    pub steps: usize,
}

impl NonNegative {
    /// Prepares the tables.
    ///
    /// # Shapes
    /// `gram` `[unknown, unknown]`; `table` `[unknown, k]` is what
    /// [`NonNegative::expand`] sums; `rank` bounds the size of an active set;
    /// `neighbours` of the first unknowns (directions), the others stand alone.
    pub fn new(
        gram: &[f64],
        count: usize,
        table: &[f64],
        rank: usize,
        neighbours: &[[u32; NEIGHBOURS]],
    ) -> Self {
        let width = count.next_multiple_of(8);
        let columns = table.len() / count;
        let stride = width + columns.next_multiple_of(8);
        let mut rows = vec![0.0; count * stride];
        for (i, row) in rows.chunks_exact_mut(stride).enumerate() {
            row[..count].copy_from_slice(&gram[i * count..(i + 1) * count]);
            row[width..width + columns].copy_from_slice(&table[i * columns..(i + 1) * columns]);
        }
        let alone = (neighbours.len()..count).map(|i| [i as u32; NEIGHBOURS]);
        let neighbours = neighbours.iter().copied().chain(alone).collect();
        Self { count, width, rows, stride, most: rank.min(count), neighbours }
    }

    /// Length of the slopes: the unknowns, padded to blocks of eight.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Room for the solutions of this problem.
    pub fn state(&self) -> NonNegativeState {
        let inverse = GrowingInverse::new(self.most);
        let room = inverse.padded();
        NonNegativeState {
            active: Vec::with_capacity(room),
            is_active: vec![false; self.width],
            value: Vec::with_capacity(room),
            slope: vec![0.0; self.width],
            blocks: vec![0.0; self.width / 8],
            down: vec![0.0; room],
            step: vec![0.0; room],
            row: vec![0.0; room],
            joining: Vec::with_capacity(self.count),
            inverse,
        }
    }

    /// Solves for the slope at zero.
    ///
    /// # Shapes
    /// `w` of [`NonNegative::width`].
    pub fn solve(&self, w: &[f64], state: &mut NonNegativeState) -> Outcome {
        state.inverse.clear();
        state.active.clear();
        state.value.clear();
        state.is_active.fill(false);
        state.slope.copy_from_slice(w);
        let scale = largest(w);
        let mut outcome = Outcome { converged: false, steps: 0 };
        while outcome.steps < MAX_STEPS && scale.is_finite() {
            self.descending(state, TOLERANCE * scale);
            if state.joining.is_empty() {
                outcome.converged = true;
                break;
            }
            if self.join(state) == 0 {
                break;
            }
            outcome.steps += 1;
            descend(state);
            state.slope.copy_from_slice(w);
            add_rows(&self.rows, self.stride, &state.active, &state.value, &mut state.slope);
        }
        outcome
    }

    /// Unknowns along which the value falls, the steepest among their neighbours.
    fn descending(&self, state: &mut NonNegativeState, tolerance: f64) {
        state.joining.clear();
        // The least of every block of eight, so that only blocks with a steep slope
        // are looked into; padding is zero and never steep.
        let blocks = state.slope.as_chunks::<8>().0;
        let mut least = 0.0_f64;
        for (l, block) in state.blocks.iter_mut().zip(blocks) {
            *l = least_of(block);
            least = smaller(least, *l);
        }
        let limit = (SHARE * least).min(-tolerance);
        for (k, _) in state.blocks.iter().enumerate().filter(|(_, l)| **l < limit) {
            // One candidate a block: the steepest that is not active, the first of equals.
            // Which one it is can't be guessed, so there are no branches.
            let active = &state.is_active[8 * k..8 * k + 8];
            let mut open = [0.0; 8];
            for ((o, slope), active) in open.iter_mut().zip(&blocks[k]).zip(active) {
                *o = if *active { 0.0 } else { *slope };
            }
            let s = least_of(&open);
            let mut equal = 0_u32;
            for (j, o) in open.iter().enumerate() {
                equal |= u32::from(*o == s) << j;
            }
            if s >= limit || equal == 0 {
                continue;
            }
            let i = 8 * k + equal.trailing_zeros() as usize;
            let mut around = f64::INFINITY;
            for j in &self.neighbours[i] {
                around = smaller(state.slope[*j as usize], around);
            }
            let tied = |j: &u32| (*j as usize) < i && state.slope[*j as usize] == s;
            if around > s || (around == s && !self.neighbours[i].iter().any(tied)) {
                state.joining.push(i as u32);
            }
        }
    }

    /// Adds the unknowns in `joining` to the active set; returns how many were
    /// independent of the others.
    fn join(&self, state: &mut NonNegativeState) -> usize {
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
                state.value.push(0.0);
                state.is_active[i as usize] = true;
                added += 1;
            }
        }
        added
    }

    /// The sum of the rows of the table, weighted by the solution.
    ///
    /// # Shapes
    /// `out` as the columns of the table, padded to a multiple of eight.
    pub fn expand(&self, state: &NonNegativeState, out: &mut [f64]) {
        out.fill(0.0);
        add_rows(&self.rows[self.width..], self.stride, &state.active, &state.value, out);
    }
}

/// The largest magnitude; padding is zero.
fn largest(w: &[f64]) -> f64 {
    let mut out = [0.0; 8];
    for block in w.as_chunks::<8>().0 {
        for (o, w) in out.iter_mut().zip(block) {
            let a = w.abs();
            *o = if a > *o { a } else { *o };
        }
    }
    out.iter().fold(0.0, |s, o| if *o > s { *o } else { s })
}

/// The least number of a block.
#[inline(always)]
fn least_of(block: &[f64; 8]) -> f64 {
    let mut half = [0.0; 4];
    for i in 0..4 {
        half[i] = smaller(block[i], block[i + 4]);
    }
    smaller(smaller(half[0], half[2]), smaller(half[1], half[3]))
}

/// The smaller of two numbers, as one instruction.
#[inline(always)]
fn smaller(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

/// Moves the active unknowns to their minimum; those that would become negative
/// stop at zero and leave.
fn descend(state: &mut NonNegativeState) {
    let NonNegativeState { inverse, active, is_active, value, slope, down, step, .. } = state;
    down.fill(0.0);
    for (s, i) in down.iter_mut().zip(&*active) {
        *s = -slope[*i as usize];
    }
    loop {
        let before = active.len();
        inverse.multiply(down, step);
        // The share of the step at which an unknown reaches zero.
        let ends = |c: f64, d: f64| (c + d <= 0.0).then(|| if c > 0.0 { c / -d } else { 0.0 });
        let both = value.iter().zip(&*step);
        let length = both.filter_map(|(c, d)| ends(*c, *d)).fold(1.0, f64::min);
        for ((c, d), s) in value.iter_mut().zip(&*step).zip(&mut *down) {
            let leaves = ends(*c, *d).is_some_and(|end| end <= length);
            *c = if leaves { LEAVING } else { *c + length * d };
            *s *= 1.0 - length;
        }
        for k in (0..before).rev() {
            if value[k] == LEAVING {
                is_active[active[k] as usize] = false;
                inverse.remove(k);
                active.remove(k);
                value.remove(k);
                down.copy_within(k + 1.., k);
            }
        }
        if active.len() == before {
            return;
        }
    }
}

impl NonNegativeState {
    /// The unknowns that are not zero, in the order in which they joined, and
    /// their values.
    pub fn solution(&self) -> (&[u32], &[f64]) {
        (&self.active, &self.value)
    }

    /// The slopes $Gc + w$ at the solution.
    pub fn slope(&self) -> &[f64] {
        &self.slope
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(i: usize) -> f64 {
        ((i * 7919 + 1013) % 2003) as f64 / 1001.5 - 1.0
    }

    /// The conditions of optimality, by plain sums.
    #[test]
    fn solutions_satisfy_kkt() {
        let (rank, n) = (9, 30);
        for case in 0..80 {
            let m: Vec<f64> = (0..rank * n).map(|i| value(i * i + 91 * case)).collect();
            let mut gram = vec![0.0; n * n];
            for i in 0..n {
                for j in 0..n {
                    let dot: f64 = (0..rank).map(|k| m[k * n + i] * m[k * n + j]).sum();
                    gram[i * n + j] = dot + if i == j { 1e-6 } else { 0.0 };
                }
            }
            let y: Vec<f64> = (0..rank).map(|i| value(11 * i + 29 * case + 2)).collect();
            let problem = NonNegative::new(&gram, n, &gram, n, &[]);
            let mut w = vec![0.0; problem.width()];
            for (j, w) in w.iter_mut().enumerate().take(n) {
                *w = -(0..rank).map(|k| m[k * n + j] * y[k]).sum::<f64>();
            }
            let mut state = problem.state();
            let outcome = problem.solve(&w, &mut state);
            assert!(outcome.converged, "{case} {outcome:?}");
            let (active, c) = state.solution();
            assert!(c.iter().all(|c| *c > 0.0));
            let scale = w.iter().fold(0.0_f64, |s, w| s.max(w.abs()));
            let mut sums = vec![0.0; n.next_multiple_of(8)];
            problem.expand(&state, &mut sums);
            for i in 0..n {
                let terms = active.iter().zip(c);
                let gc: f64 = terms.map(|(j, c)| gram[i * n + *j as usize] * c).sum();
                // The inverse of the active part loses up to its condition, 1e7.
                assert!((gc + w[i] - state.slope()[i]).abs() < 1e-12 * scale);
                assert!((gc - sums[i]).abs() < 1e-12 * scale);
                if active.contains(&(i as u32)) {
                    assert!((gc + w[i]).abs() < 1e-9 * scale, "{case} {i} {}", gc + w[i]);
                } else {
                    assert!(gc + w[i] > -1.01 * TOLERANCE * scale, "{case} {i}");
                }
            }
        }
    }

    #[test]
    fn nothing_to_gain_is_zero() {
        let problem = NonNegative::new(&[2.0, 0.0, 0.0, 4.0], 2, &[1.0, 1.0], 2, &[]);
        let mut state = problem.state();
        let outcome = problem.solve(&[1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], &mut state);
        assert_eq!((outcome.converged, outcome.steps, state.solution().0.len()), (true, 0, 0));
        let outcome = problem.solve(&[1.0, -2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], &mut state);
        assert!(outcome.converged);
        assert_eq!(state.solution(), (&[1_u32][..], &[0.5][..]));
        let wrong = problem.solve(&[f64::NAN; 8], &mut state);
        assert!(wrong.converged || wrong.steps == 0);
    }
}

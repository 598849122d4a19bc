//! Preconditioned conjugate gradients for a symmetric positive definite system $Hx = b$.
//!
//! | symbol | |
//! |---|---|
//! | $r$ | residual $b - Hx$ |
//! | $z$ | $M^{-1}r$ with the preconditioner $M$ |
//! | $p$ | direction, $p \leftarrow z + (r^Tz / r_-^Tz_-)\,p$ |
//!
//! Source: Saad 2003, *Iterative Methods for Sparse Linear Systems*, algorithm 9.1.
//! Validated by `solves_a_small_system` below.

use super::super::ReconstructError;
use super::super::vector::{dot, norm};

/// What the steps need of a vector.
pub(in crate::reconstruct) trait Space: Clone {
    /// $a^Tb$.
    fn dot(&self, o: &Self) -> f64;
    /// $a \leftarrow a + fb$.
    fn add(&mut self, factor: f64, o: &Self);
    /// $a \leftarrow b + fa$.
    fn redirect(&mut self, factor: f64, o: &Self);
}

impl Space for Vec<f64> {
    fn dot(&self, o: &Self) -> f64 {
        dot(self, o)
    }

    fn add(&mut self, factor: f64, o: &Self) {
        self.iter_mut().zip(o).for_each(|(a, b)| *a += factor * b);
    }

    fn redirect(&mut self, factor: f64, o: &Self) {
        self.iter_mut().zip(o).for_each(|(a, b)| *a = b + factor * *a);
    }
}

/// Steps from `x` with the residual `r` on, at most so many, or until `ended` says so of the
/// residual and of $r^Tz$. Returns their number.
///
/// `multiply` writes $Hp$ over its second argument, `precondition` $M^{-1}r$.
pub(in crate::reconstruct) fn descend<V: Space, E>(
    mut multiply: impl FnMut(&V, &mut V) -> Result<(), E>,
    precondition: impl Fn(&V, &mut V),
    x: &mut V,
    r: &mut V,
    most: usize,
    mut ended: impl FnMut(&V, f64) -> bool,
) -> Result<usize, E> {
    let mut z = r.clone();
    precondition(r, &mut z);
    let (mut p, mut hp) = (z.clone(), z.clone());
    let mut rz = r.dot(&z);
    let mut iterations = 0;
    while iterations < most && !ended(r, rz) {
        multiply(&p, &mut hp)?;
        let curvature = p.dot(&hp);
        let positive = curvature > 0.0 && curvature.is_finite() && rz > 0.0;
        if !positive {
            break;
        }
        let step = rz / curvature;
        x.add(step, &p);
        r.add(-step, &hp);
        precondition(r, &mut z);
        let next = r.dot(&z);
        p.redirect(next / rz, &z);
        rz = next;
        iterations += 1;
    }
    Ok(iterations)
}

/// Writes a linear map of its first argument over the second.
type Map<'a> = dyn Fn(&[f64], &mut [f64]) -> Result<(), ReconstructError> + 'a;

/// How a solution ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Solved {
    pub(super) iterations: usize,
    /// $\|b - Hx\| / \|b\|$, computed anew.
    pub(super) residual: f64,
}

/// Solves $Hx = b$ from `x` on until the residual is below `tolerance` $\|b\|$.
///
/// `multiply` writes $Hp$ over its second argument, `precondition` $M^{-1}r$.
pub(super) fn solve(
    multiply: &Map<'_>,
    precondition: &dyn Fn(&[f64], &mut [f64]),
    b: &[f64],
    x: &mut [f64],
    tolerance: f64,
    most: usize,
) -> Result<Solved, ReconstructError> {
    let scale = norm(b);
    if scale == 0.0 {
        x.fill(0.0);
        return Ok(Solved { iterations: 0, residual: 0.0 });
    }
    let residual = |x: &[f64], r: &mut [f64]| {
        let mut hx = vec![0.0; b.len()];
        multiply(x, &mut hx)?;
        r.iter_mut().zip(b.iter().zip(&hx)).for_each(|(r, (b, h))| *r = b - h);
        Ok::<f64, ReconstructError>(norm(r) / scale)
    };
    let mut r = b.to_vec();
    if x.iter().any(|v| *v != 0.0) {
        residual(x, &mut r)?;
    }
    let mut at = x.to_vec();
    let iterations = descend(
        |p: &Vec<f64>, out: &mut Vec<f64>| multiply(p, out),
        |r, z| precondition(r, z),
        &mut at,
        &mut r,
        most,
        |r, _| norm(r) <= tolerance * scale,
    )?;
    x.copy_from_slice(&at);
    let residual = residual(x, &mut r)?;
    Ok(Solved { iterations, residual })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn solves_a_small_system() {
        // Second differences plus a diagonal that grows: condition some 1e3.
        let n = 60;
        let diagonal = |i: usize| 0.01 + i as f64;
        let multiply = |x: &[f64], out: &mut [f64]| {
            for i in 0..n {
                let left = if i > 0 { x[i - 1] } else { 0.0 };
                let right = x.get(i + 1).copied().unwrap_or(0.0);
                out[i] = (2.0 + diagonal(i)) * x[i] - left - right;
            }
            Ok(())
        };
        let exact: Vec<f64> = (0..n).map(|i| (i as f64 * 0.7).sin()).collect();
        let mut b = vec![0.0; n];
        multiply(&exact, &mut b).unwrap();
        let jacobi = |r: &[f64], z: &mut [f64]| {
            for i in 0..n {
                z[i] = r[i] / (2.0 + diagonal(i));
            }
        };
        let mut x = vec![0.0; n];
        let solved = solve(&multiply, &jacobi, &b, &mut x, 1e-12, 500).unwrap();
        assert!(solved.residual <= 2e-12 && solved.iterations < n, "{solved:?}");
        for (a, e) in x.iter().zip(&exact) {
            assert!((a - e).abs() < 1e-11);
        }
        let plain = |r: &[f64], z: &mut [f64]| z.copy_from_slice(r);
        let mut y = vec![0.0; n];
        let slower = solve(&multiply, &plain, &b, &mut y, 1e-12, 500).unwrap();
        assert!(slower.iterations > solved.iterations);
        // A start at the solution needs no step, and nothing to solve gives zero.
        assert_eq!(solve(&multiply, &plain, &b, &mut x, 1e-11, 500).unwrap().iterations, 0);
        solve(&multiply, &plain, &vec![0.0; n], &mut x, 1e-11, 500).unwrap();
        assert!(x.iter().all(|v| *v == 0.0));
    }
}

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
    let n = b.len();
    let scale = norm(b);
    if scale == 0.0 {
        x.fill(0.0);
        return Ok(Solved { iterations: 0, residual: 0.0 });
    }
    let (mut r, mut z, mut hp) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
    let residual = |x: &[f64], r: &mut [f64], hx: &mut [f64]| {
        multiply(x, hx)?;
        r.iter_mut().zip(b.iter().zip(hx.iter())).for_each(|(r, (b, h))| *r = b - h);
        Ok::<f64, ReconstructError>(norm(r) / scale)
    };
    if x.iter().all(|v| *v == 0.0) {
        r.copy_from_slice(b);
    } else {
        residual(x, &mut r, &mut hp)?;
    }
    precondition(&r, &mut z);
    let mut p = z.clone();
    let mut rz = dot(&r, &z);
    let mut iterations = 0;
    while iterations < most && norm(&r) > tolerance * scale {
        multiply(&p, &mut hp)?;
        let curvature = dot(&p, &hp);
        let positive = curvature > 0.0 && rz > 0.0;
        if !positive {
            break;
        }
        let step = rz / curvature;
        for ((x, p), (r, h)) in x.iter_mut().zip(&p).zip(r.iter_mut().zip(&hp)) {
            *x += step * p;
            *r -= step * h;
        }
        precondition(&r, &mut z);
        let next = dot(&r, &z);
        let beta = next / rz;
        rz = next;
        p.iter_mut().zip(&z).for_each(|(p, z)| *p = z + beta * *p);
        iterations += 1;
    }
    let residual = residual(x, &mut r, &mut hp)?;
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

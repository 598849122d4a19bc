//! B-tensors: size, shape and direction of a diffusion encoding.
//!
//! $$B = \int_0^T q\,q^T\,dt,\qquad
//!   B = \frac b3\left[I + b_\Delta(3gg^T - I)\right],\qquad
//!   b_\Delta = \frac{b_\parallel - b_\perp}{b}$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $b$ | ms/µm² | trace of $B$ |
//! | $b_\Delta$ | | 1 linear, 0 spherical, -1/2 planar |
//! | $g$ | | axis of symmetry; for planar encoding the normal of the plane |
//! | $b_\parallel, b_\perp$ | ms/µm² | eigenvalues along $g$ and across it |
//!
//! An axisymmetric Gaussian compartment $D = \lambda_\perp I +
//! (\lambda_\parallel - \lambda_\perp)\mu\mu^T$ has, with $t = g\cdot\mu$,
//!
//! $$B:D = b\lambda_\perp + (\lambda_\parallel - \lambda_\perp)\,\mu^T B\mu,\qquad
//!   \mu^T B\mu = \tfrac b3(1 - b_\Delta) + b\,b_\Delta t^2$$
//!
//! so its exponent stays quadratic in $t$.
//!
//! Source: Eriksson et al. 2015, doi:10.1063/1.4913502, eqs. 2 to 5; Westin et al.
//! 2016, doi:10.1016/j.neuroimage.2016.02.039. Validated by `tests/suite/encoding.rs`.

use microtome_kernels::eigen::eigen_3x3;

/// How far eigenvalues may be from axial symmetry, relative to b.
const AXISYMMETRY: f64 = 1e-3;
/// Shapes nearer than this to linear, spherical or planar are taken for them, and
/// b-values and shapes nearer than this to each other for equal: the rounding of
/// single precision.
pub(super) const ROUNDING: f64 = 1e-6;

/// A symmetric matrix as (xx, yy, zz, xy, xz, yz).
pub(super) type Symmetric = [f64; 6];

/// $\tfrac b3[I + b_\Delta(3gg^T - I)]$.
pub(super) fn axisymmetric(b: f64, g: [f64; 3], b_delta: f64) -> Symmetric {
    let (round, axial) = (b * (1.0 - b_delta) / 3.0, b * b_delta);
    [
        round + axial * g[0] * g[0],
        round + axial * g[1] * g[1],
        round + axial * g[2] * g[2],
        axial * g[0] * g[1],
        axial * g[0] * g[2],
        axial * g[1] * g[2],
    ]
}

/// Size, shape and direction of a b-tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shape {
    /// The trace.
    pub(super) b: f64,
    /// `None` without an axis of symmetry.
    pub(super) b_delta: Option<f64>,
    /// The axis of symmetry, else the axis of the largest eigenvalue.
    pub(super) direction: [f64; 3],
}

impl Shape {
    /// Takes a b-tensor apart; the reason when it is none.
    pub(super) fn of(tensor: &Symmetric) -> Result<Self, String> {
        if let Some(v) = tensor.iter().find(|v| !v.is_finite()) {
            return Err(format!("has an element of {v}"));
        }
        let (values, vectors) = eigen(tensor);
        let b = tensor[0] + tensor[1] + tensor[2];
        if values[2] < -1e-6 * values[0].abs().max(values[2].abs()) {
            return Err(format!("has the eigenvalue {} ms/um2", values[2]));
        }
        if b == 0.0 {
            return Ok(Self { b, b_delta: Some(1.0), direction: [0.0; 3] });
        }
        // The axis is that of the eigenvalue which is farther from the middle one.
        let along = if values[0] - values[1] >= values[1] - values[2] { 0 } else { 2 };
        let across = [values[2 - along], values[1]];
        let b_delta = (values[along] - 0.5 * (across[0] + across[1])) / b;
        if (across[0] - across[1]).abs() > AXISYMMETRY * b {
            return Ok(Self { b, b_delta: None, direction: vectors[0] });
        }
        let named = [1.0, 0.0, -0.5].into_iter().find(|s: &f64| (s - b_delta).abs() < ROUNDING);
        let b_delta = named.unwrap_or(b_delta).clamp(-0.5, 1.0);
        let direction = if b_delta == 0.0 { [0.0; 3] } else { vectors[along] };
        Ok(Self { b, b_delta: Some(b_delta), direction })
    }
}

/// Makes numbers equal that differ by rounding: `tolerance` is relative to the
/// number, or absolute where `absolute` is given.
pub(super) fn coalesce(values: &mut [f64], absolute: bool) {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut first: Option<f64> = None;
    for i in order {
        let scale = if absolute { 1.0 } else { values[i].abs() };
        match first {
            Some(f) if values[i] - f <= ROUNDING * scale => values[i] = f,
            _ => first = Some(values[i]),
        }
    }
}

/// Falling eigenvalues and their unit vectors.
pub(super) fn eigen(m: &Symmetric) -> ([f64; 3], [[f64; 3]; 3]) {
    let (values, vectors) = eigen_3x3([[m[0], m[3], m[4]], [m[3], m[1], m[5]], [m[4], m[5], m[2]]]);
    let unit = |u: [f64; 3]| {
        let norm = (u[0] * u[0] + u[1] * u[1] + u[2] * u[2]).sqrt();
        u.map(|c| c / norm)
    };
    (values, vectors.map(unit))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn size_shape_and_direction_come_back() {
        let g = [0.48, -0.6, 0.64];
        for b_delta in [1.0, 0.6, 0.2, -0.1, -0.5] {
            let shape = Shape::of(&axisymmetric(2.5, g, b_delta)).unwrap();
            assert!((shape.b - 2.5).abs() < 1e-15);
            assert!((shape.b_delta.unwrap() - b_delta).abs() < 1e-15, "{shape:?}");
            let dot: f64 = (0..3).map(|i| g[i] * shape.direction[i]).sum();
            assert!((dot.abs() - 1.0).abs() < 1e-14);
        }
        assert_eq!(Shape::of(&[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]).unwrap().b_delta, Some(0.0));
        assert_eq!(Shape::of(&[3.0, 2.0, 1.0, 0.0, 0.0, 0.0]).unwrap().b_delta, None);
        assert!(Shape::of(&[1.0, 1.0, 1.0, 2.0, 0.0, 0.0]).is_err());
        assert!(Shape::of(&[f64::NAN, 1.0, 1.0, 0.0, 0.0, 0.0]).is_err());
    }

    #[test]
    fn rounding_makes_one_shell() {
        let mut b = [2.0, 1.0, 1.0 + 2e-16, 2.0 + 1e-8, 1.001];
        coalesce(&mut b, false);
        assert_eq!(b, [2.0, 1.0, 1.0, 2.0, 1.001]);
    }
}

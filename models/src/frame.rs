//! The frame of a compartment that turns about its axis.
//!
//! $$m_1 = \mu,\qquad m_2 = R\,(0,\cos\psi,\sin\psi)^T,\qquad m_3 = R\,(0,-\sin\psi,\cos\psi)^T$$
//!
//! with $R$ the minimal rotation that takes the x axis to $\mu$.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\mu$ | | unit axis |
//! | $\psi$ | rad | rotation of $m_2$ about $\mu$, period π |
//!
//! $R$ is not defined at $\mu = -x$. A frame and the one with $-\mu$, $m_2$ are the
//! same to a signal; they have another $\psi$ ([`flip`]). Starts and charts use
//! $\mu_x \ge 0$.
//!
//! Validated by `jacobian_equals_dual_numbers` (tensor) and `slopes_equal_differences`
//! below.

use crate::parameter::{ParameterSpec, Unit};

/// The declaration of the rotation about the axis.
pub(crate) const PSI: ParameterSpec = ParameterSpec {
    name: "psi",
    unit: Unit::Radian,
    range: [0.0, std::f64::consts::PI],
    scale: 1.0,
    domain: [-std::f64::consts::TAU, std::f64::consts::TAU],
    default: None,
    period: Some(std::f64::consts::PI),
    meaning: "rotation of the second axis about mu",
};

/// Three orthonormal axes and how they move.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Frame {
    /// $m_1, m_2, m_3$.
    pub axes: [[f64; 3]; 3],
    /// The derivatives of the three axes by $\mu_x, \mu_y, \mu_z$ and $\psi$; finite
    /// everywhere, those of a rotation along moves on the sphere.
    pub slopes: [[[f64; 3]; 3]; 4],
}

pub(crate) fn combine(a: f64, u: [f64; 3], b: f64, v: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|i| a * u[i] + b * v[i])
}

/// R y and R z of the minimal rotation of x to `m`, and their
/// derivatives with respect to the components of `m`; finite everywhere, a
/// rotation for m_x > -1 + 1e-9.
fn minimal_rotation(m: [f64; 3]) -> ([[f64; 3]; 2], [[[f64; 3]; 2]; 3]) {
    let [x, y, z] = m;
    let w = 1.0 / (1.0 + x).max(1e-9);
    let frame = [[-y, 1.0 - y * y * w, -y * z * w], [-z, -y * z * w, 1.0 - z * z * w]];
    let w2 = w * w;
    let derivative = [
        [[0.0, y * y * w2, y * z * w2], [0.0, y * z * w2, z * z * w2]],
        [[-1.0, -2.0 * y * w, -z * w], [0.0, -z * w, 0.0]],
        [[0.0, 0.0, -y * w], [-1.0, -y * w, -2.0 * z * w]],
    ];
    (frame, derivative)
}

impl Frame {
    /// The frame of an axis and an angle.
    pub fn new(mu: [f64; 3], psi: f64) -> Self {
        let (sin, cos) = psi.sin_cos();
        let (frame, derivative) = minimal_rotation(mu);
        let turned = |[y, z]: [[f64; 3]; 2]| [combine(cos, y, sin, z), combine(-sin, y, cos, z)];
        let [second, third] = turned(frame);
        let mut slopes = [[[0.0; 3]; 3]; 4];
        for (i, slope) in slopes.iter_mut().take(3).enumerate() {
            slope[0][i] = 1.0;
            [slope[1], slope[2]] = turned(derivative[i]);
        }
        slopes[3] = [[0.0; 3], third, second.map(|c| -c)];
        Self { axes: [mu, second, third], slopes }
    }
}

/// The $\psi$ in [0, π) of the second axis that is nearest to `direction` about `mu`.
pub(crate) fn angle(mu: [f64; 3], direction: [f64; 3]) -> f64 {
    let ([y, z], _) = minimal_rotation(mu);
    let dot = |v: [f64; 3]| direction[0] * v[0] + direction[1] * v[1] + direction[2] * v[2];
    dot(z).atan2(dot(y)).rem_euclid(std::f64::consts::PI)
}

/// Reverses $\mu$ and keeps the second axis.
pub(crate) fn flip(psi: &mut f64, mu: &mut [f64; 3]) {
    let second = Frame::new(*mu, *psi).axes[1];
    *mu = mu.map(|c| -c);
    *psi = angle(*mu, second);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
        a.iter().zip(b).map(|(p, q)| p * q).sum()
    }

    #[test]
    fn slopes_equal_differences() {
        // Along a great circle and in psi: the axes stay a rotation there.
        let (mu, across) = ([0.36, 0.48, 0.8], [0.8, -0.6, 0.0]);
        assert!(dot(mu, across).abs() < 1e-15);
        let at = |a: f64, psi: f64| Frame::new(combine(a.cos(), mu, a.sin(), across), psi).axes;
        let here = Frame::new(mu, 0.7);
        for (i, axis) in here.axes.iter().enumerate() {
            for (j, other) in here.axes.iter().enumerate() {
                assert!((dot(*axis, *other) - f64::from(u8::from(i == j))).abs() < 1e-15);
            }
        }
        let h = 1e-5;
        for a in 0..3 {
            for c in 0..3 {
                let moved = (at(h, 0.7)[a][c] - at(-h, 0.7)[a][c]) / (2.0 * h);
                let slope: f64 = (0..3).map(|i| across[i] * here.slopes[i][a][c]).sum();
                assert!((moved - slope).abs() < 1e-9, "axis {a} {c}: {slope}, not {moved}");
                let turned = (at(0.0, 0.7 + h)[a][c] - at(0.0, 0.7 - h)[a][c]) / (2.0 * h);
                let slope = here.slopes[3][a][c];
                assert!((turned - slope).abs() < 1e-9, "axis {a} {c}: {slope}, not {turned}");
            }
        }
    }

    #[test]
    fn flipping_keeps_the_second_axis() {
        for (psi, mu) in [(0.7, [0.36, 0.48, 0.8]), (2.9, [-0.6, 0.64, -0.48])] {
            let before = Frame::new(mu, psi).axes;
            let (mut psi, mut mu) = (psi, mu);
            flip(&mut psi, &mut mu);
            let after = Frame::new(mu, psi).axes;
            assert!((dot(before[0], after[0]) + 1.0).abs() < 1e-15);
            assert!((dot(before[1], after[1]).abs() - 1.0).abs() < 1e-15);
        }
    }
}

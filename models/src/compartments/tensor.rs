//! Tensor: a full diffusion tensor with principal axis $\mu$.
//!
//! $$E = e^{-b\,g^T D g},\qquad D = \lambda_1\mu\mu^T + \lambda_2 e_2e_2^T + \lambda_3 e_3e_3^T$$
//!
//! $$e_2 = R\,(0,\cos\psi,\sin\psi)^T,\quad e_3 = R\,(0,-\sin\psi,\cos\psi)^T$$
//!
//! with $R$ the minimal rotation that takes the x axis to $\mu$.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\lambda_1,\lambda_2,\lambda_3$ | µm²/ms | diffusivities along $\mu, e_2, e_3$, in any order; a fit returns them falling |
//! | $\mu$ | | unit axis |
//! | $\psi$ | rad | rotation of $e_2$ about $\mu$, period π |
//!
//! $R$ is not defined at $\mu = -x$. The tensor is the same for $\mu$ and
//! $-\mu$ with another $\psi$ (`flip_axis`); starts and charts use $\mu_x \ge 0$.
//!
//! Source: Basser, Mattiello & Le Bihan 1994, doi:10.1016/S0006-3495(94)80775-1.
//! Validated by `jacobian_equals_dual_numbers` and `tensor_has_its_eigenvalues`.

use crate::acquisition::Shell;
use crate::compartment::{Coefficients, Compartment, Family};
use crate::parameter::{ParameterSpec, Unit, diffusivity};
use crate::spherical_mean::of_tensor;

/// A full diffusion tensor.
#[derive(Debug)]
pub struct DiffusionTensor;

const PARAMETERS: [ParameterSpec; 4] = [
    ParameterSpec {
        name: "psi",
        unit: Unit::Radian,
        range: [0.0, std::f64::consts::PI],
        scale: 1.0,
        domain: [f64::NEG_INFINITY, f64::INFINITY],
        default: None,
        period: Some(std::f64::consts::PI),
        meaning: "rotation of the second axis about mu",
    },
    diffusivity("lambda_1", "diffusivity along mu"),
    diffusivity("lambda_2", "diffusivity along the second axis"),
    diffusivity("lambda_3", "diffusivity along the third axis"),
];

/// u vᵀ + v uᵀ halved, as (xx, yy, zz, xy, xz, yz).
fn symmetric(u: [f64; 3], v: [f64; 3]) -> [f64; 6] {
    let cross = |i: usize, j: usize| 0.5 * (u[i] * v[j] + u[j] * v[i]);
    [u[0] * v[0], u[1] * v[1], u[2] * v[2], cross(0, 1), cross(0, 2), cross(1, 2)]
}

fn sum(terms: &[(f64, [f64; 6])]) -> [f64; 6] {
    std::array::from_fn(|k| terms.iter().map(|(w, t)| w * t[k]).sum())
}

fn combine(a: f64, u: [f64; 3], b: f64, v: [f64; 3]) -> [f64; 3] {
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

/// The eigenvectors as parameters, and back.
impl DiffusionTensor {
    /// $\mu$ (with $\mu_x \ge 0$) and $\psi$ of a tensor with the first two
    /// eigenvectors given.
    pub fn angles(first: [f64; 3], second: [f64; 3]) -> ([f64; 3], f64) {
        let mu = if first[0] < 0.0 { first.map(|c| -c) } else { first };
        let (frame, _) = minimal_rotation(mu);
        let dot = |v: [f64; 3]| second[0] * v[0] + second[1] * v[1] + second[2] * v[2];
        (mu, dot(frame[1]).atan2(dot(frame[0])).rem_euclid(std::f64::consts::PI))
    }

    /// The eigenvectors $(\mu, e_2, e_3)$, a right-handed frame.
    pub fn axes(mu: [f64; 3], psi: f64) -> [[f64; 3]; 3] {
        let (sin, cos) = psi.sin_cos();
        let (frame, _) = minimal_rotation(mu);
        [mu, combine(cos, frame[0], sin, frame[1]), combine(-sin, frame[0], cos, frame[1])]
    }

    /// Derivatives of $\mu_x, \mu_y, \mu_z, \psi$ with respect to small rotations about
    /// $\mu, e_2, e_3$.
    pub fn turns(mu: [f64; 3], psi: f64) -> [[f64; 3]; 4] {
        let (sin, cos) = psi.sin_cos();
        let (_, derivative) = minimal_rotation(mu);
        let [_, e2, e3] = Self::axes(mu, psi);
        let mut out = [[0.0; 3]; 4];
        for i in 0..3 {
            out[i] = [0.0, -e3[i], e2[i]];
        }
        // e2 turns by psi, and with the frame when mu moves.
        out[3] = [1.0, 0.0, 0.0];
        for i in 0..3 {
            let moved = combine(cos, derivative[i][0], sin, derivative[i][1]);
            let slope = moved[0] * e3[0] + moved[1] * e3[1] + moved[2] * e3[2];
            let step = out[i];
            for (o, s) in out[3].iter_mut().zip(step) {
                *o -= slope * s;
            }
        }
        out
    }
}

impl Compartment for DiffusionTensor {
    fn kind(&self) -> &str {
        "tensor"
    }

    fn parameters(&self) -> &[ParameterSpec] {
        &PARAMETERS
    }

    fn oriented(&self) -> bool {
        true
    }

    fn family(&self) -> Family {
        Family::Tensor
    }

    fn lower(&self, _shells: &[Shell], scalars: &[f64], mu: [f64; 3], out: &mut Coefficients) {
        if let Coefficients::Tensor { d, d_scalar, d_axis } = out {
            let m = mu;
            let (sin, cos) = scalars[0].sin_cos();
            let [l1, l2, l3] = [scalars[1], scalars[2], scalars[3]];
            let (frame, derivative) = minimal_rotation(m);
            let e2 = combine(cos, frame[0], sin, frame[1]);
            let e3 = combine(-sin, frame[0], cos, frame[1]);
            *d = sum(&[(l1, symmetric(m, m)), (l2, symmetric(e2, e2)), (l3, symmetric(e3, e3))]);
            // de2/dpsi = e3, de3/dpsi = -e2.
            d_scalar[0] = sum(&[(2.0 * (l2 - l3), symmetric(e2, e3))]);
            d_scalar[1] = symmetric(m, m);
            d_scalar[2] = symmetric(e2, e2);
            d_scalar[3] = symmetric(e3, e3);
            for (i, row) in d_axis.iter_mut().enumerate() {
                let mut dm = [0.0; 3];
                dm[i] = 1.0;
                let de2 = combine(cos, derivative[i][0], sin, derivative[i][1]);
                let de3 = combine(-sin, derivative[i][0], cos, derivative[i][1]);
                *row = sum(&[
                    (2.0 * l1, symmetric(m, dm)),
                    (2.0 * l2, symmetric(e2, de2)),
                    (2.0 * l3, symmetric(e3, de3)),
                ]);
            }
        }
    }

    fn spherical_mean(
        &self,
        shells: &[Shell],
        scalars: &[f64],
        _lowered: &Coefficients,
        value: &mut [f64],
        d_value: &mut [f64],
    ) {
        let n = shells.len();
        d_value[..n].fill(0.0);
        for (s, shell) in shells.iter().enumerate() {
            let (mean, slope) = of_tensor(shell.b, [scalars[1], scalars[2], scalars[3]]);
            value[s] = mean;
            for (k, d) in slope.iter().enumerate() {
                d_value[(k + 1) * n + s] = *d;
            }
        }
    }

    fn flip_axis(&self, scalars: &mut [f64], mu: &mut [f64; 3]) {
        let (sin, cos) = scalars[0].sin_cos();
        let (frame, _) = minimal_rotation(*mu);
        let e2 = combine(cos, frame[0], sin, frame[1]);
        *mu = mu.map(|c| -c);
        let (frame, _) = minimal_rotation(*mu);
        let dot = |v: [f64; 3]| e2[0] * v[0] + e2[1] * v[1] + e2[2] * v[2];
        scalars[0] = dot(frame[1]).atan2(dot(frame[0])).rem_euclid(std::f64::consts::PI);
    }

    fn canonicalise(&self, scalars: &mut [f64], mu: &mut [f64; 3]) {
        let (sin, cos) = scalars[0].sin_cos();
        let (frame, _) = minimal_rotation(*mu);
        let mut axes = [
            (scalars[1], *mu),
            (scalars[2], combine(cos, frame[0], sin, frame[1])),
            (scalars[3], combine(-sin, frame[0], cos, frame[1])),
        ];
        axes.sort_by(|a, b| b.0.total_cmp(&a.0));
        (*mu, scalars[0]) = Self::angles(axes[0].1, axes[1].1);
        for (scalar, axis) in scalars[1..].iter_mut().zip(axes) {
            *scalar = axis.0;
        }
    }

    fn reference(&self) -> &str {
        "Basser, Mattiello & Le Bihan 1994, doi:10.1016/S0006-3495(94)80775-1"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    #[test]
    fn turns_equal_differences() {
        let (mu, psi) = ([0.6, -0.64, 0.48], 0.9);
        let axes = DiffusionTensor::axes(mu, psi);
        let turns = DiffusionTensor::turns(mu, psi);
        for about in 0..3 {
            let h = 1e-5;
            let turned = |angle: f64| -> [f64; 4] {
                let (s, c) = f64::sin_cos(angle);
                let (p, q) = ((about + 1) % 3, (about + 2) % 3);
                let mut out = axes;
                out[p] = combine(c, axes[p], s, axes[q]);
                out[q] = combine(-s, axes[p], c, axes[q]);
                let (m, psi) = DiffusionTensor::angles(out[0], out[1]);
                [m[0], m[1], m[2], psi]
            };
            let (up, down) = (turned(h), turned(-h));
            for ((turn, up), down) in turns.iter().zip(up).zip(down) {
                let difference = (up - down) / (2.0 * h);
                assert!((turn[about] - difference).abs() < 1e-9, "{about}: {turn:?}");
            }
        }
    }

    #[test]
    fn tensor_has_its_eigenvalues() {
        for mu in [[0.6, 0.0, 0.8], [-0.6, 0.64, 0.48], [0.0, 1.0, 0.0]] {
            let mut out = Coefficients::new(Family::Tensor, &[], 4);
            DiffusionTensor.lower(&[], &[0.7, 2.0, 1.0, 0.5], mu, &mut out);
            let Coefficients::Tensor { d, .. } = out else { panic!("wrong family") };
            let trace = d[0] + d[1] + d[2];
            let along = [
                d[0] * mu[0] + d[3] * mu[1] + d[4] * mu[2],
                d[3] * mu[0] + d[1] * mu[1] + d[5] * mu[2],
                d[4] * mu[0] + d[5] * mu[1] + d[2] * mu[2],
            ];
            assert!((trace - 3.5).abs() < 1e-14);
            for i in 0..3 {
                assert!((along[i] - 2.0 * mu[i]).abs() < 1e-14, "mu is not an eigenvector");
            }
            let determinant = d[0] * (d[1] * d[2] - d[5] * d[5])
                - d[3] * (d[3] * d[2] - d[5] * d[4])
                + d[4] * (d[3] * d[5] - d[1] * d[4]);
            assert!((determinant - 1.0).abs() < 1e-13);
            let (mut scalars, mut flipped) = ([0.7, 2.0, 1.0, 0.5], mu);
            DiffusionTensor.flip_axis(&mut scalars, &mut flipped);
            let mut other = Coefficients::new(Family::Tensor, &[], 4);
            DiffusionTensor.lower(&[], &scalars, flipped, &mut other);
            let Coefficients::Tensor { d: same, .. } = other else { panic!("wrong family") };
            for (p, q) in d.iter().zip(same) {
                assert!((p - q).abs() < 1e-14, "flipping the axis changed the tensor");
            }
            let (mut scalars, mut sorted) = ([0.7, 0.5, 2.0, 1.0], mu);
            DiffusionTensor.lower(&[], &scalars, sorted, &mut out);
            DiffusionTensor.canonicalise(&mut scalars, &mut sorted);
            assert_eq!(scalars[1..], [2.0, 1.0, 0.5]);
            let mut other = Coefficients::new(Family::Tensor, &[], 4);
            DiffusionTensor.lower(&[], &scalars, sorted, &mut other);
            let Coefficients::Tensor { d: before, .. } = out else { panic!("wrong family") };
            let Coefficients::Tensor { d: after, .. } = other else { panic!("wrong family") };
            for (p, q) in before.iter().zip(after) {
                assert!((p - q).abs() < 1e-14, "sorting the diffusivities changed the tensor");
            }
        }
    }
}

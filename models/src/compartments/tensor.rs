//! Tensor: a full diffusion tensor with principal axis $\mu$.
//!
//! $$E = e^{-B:D}\ (= e^{-b\,g^T D g}\ \text{for pulses}),\qquad D = \lambda_1\mu\mu^T + \lambda_2 e_2e_2^T + \lambda_3 e_3e_3^T$$
//!
//! with $\mu, e_2, e_3$ the frame of $\mu$ and $\psi$ (`frame.rs`).
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\lambda_1,\lambda_2,\lambda_3$ | µm²/ms | diffusivities along $\mu, e_2, e_3$, in any order; a fit returns them falling |
//! | $\mu$ | | unit axis |
//! | $\psi$ | rad | rotation of $e_2$ about $\mu$, period π |
//!
//! Source: Basser, Mattiello & Le Bihan 1994, doi:10.1016/S0006-3495(94)80775-1.
//! Validated by `jacobian_equals_dual_numbers` and `tensor_has_its_eigenvalues`.

use crate::acquisition::Shell;
use crate::compartment::{Coefficients, Compartment, Family};
use crate::frame::{Frame, PSI, angle, flip};
use crate::parameter::{ParameterSpec, diffusivity};
use crate::spherical_mean::of_tensor;

/// A full diffusion tensor.
#[derive(Debug)]
pub struct DiffusionTensor;

const PARAMETERS: [ParameterSpec; 4] = [
    PSI,
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

/// The eigenvectors as parameters, and back.
impl DiffusionTensor {
    /// $\mu$ (with $\mu_x \ge 0$) and $\psi$ of a tensor with the first two
    /// eigenvectors given.
    pub fn angles(first: [f64; 3], second: [f64; 3]) -> ([f64; 3], f64) {
        let mu = if first[0] < 0.0 { first.map(|c| -c) } else { first };
        (mu, angle(mu, second))
    }

    /// The eigenvectors $(\mu, e_2, e_3)$, a right-handed frame.
    pub fn axes(mu: [f64; 3], psi: f64) -> [[f64; 3]; 3] {
        Frame::new(mu, psi).axes
    }

    /// Derivatives of $\mu_x, \mu_y, \mu_z, \psi$ with respect to small rotations about
    /// $\mu, e_2, e_3$.
    pub fn turns(mu: [f64; 3], psi: f64) -> [[f64; 3]; 4] {
        let Frame { axes: [_, e2, e3], slopes } = Frame::new(mu, psi);
        let mut out = [[0.0; 3]; 4];
        for i in 0..3 {
            out[i] = [0.0, -e3[i], e2[i]];
        }
        // e2 turns by psi, and with the frame when mu moves.
        out[3] = [1.0, 0.0, 0.0];
        for i in 0..3 {
            let moved = slopes[i][1];
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
            let [psi, l1, l2, l3] = [scalars[0], scalars[1], scalars[2], scalars[3]];
            let Frame { axes: [m, e2, e3], slopes } = Frame::new(mu, psi);
            *d = sum(&[(l1, symmetric(m, m)), (l2, symmetric(e2, e2)), (l3, symmetric(e3, e3))]);
            // de2/dpsi = e3, de3/dpsi = -e2.
            d_scalar[0] = sum(&[(2.0 * (l2 - l3), symmetric(e2, e3))]);
            d_scalar[1] = symmetric(m, m);
            d_scalar[2] = symmetric(e2, e2);
            d_scalar[3] = symmetric(e3, e3);
            for (row, [dm, de2, de3]) in d_axis.iter_mut().zip(slopes) {
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
            let lambda = [scalars[1], scalars[2], scalars[3]];
            let round = shell.b_isotropic();
            let factor = (-round * (lambda[0] + lambda[1] + lambda[2])).exp();
            let (mean, slope) = of_tensor(shell.b_axial(), lambda);
            value[s] = factor * mean;
            for (k, d) in slope.iter().enumerate() {
                d_value[(k + 1) * n + s] = factor * d - round * value[s];
            }
        }
    }

    fn flip_axis(&self, scalars: &mut [f64], mu: &mut [f64; 3]) {
        flip(&mut scalars[0], mu);
    }

    fn canonicalise(&self, scalars: &mut [f64], mu: &mut [f64; 3]) {
        let [first, second, third] = Frame::new(*mu, scalars[0]).axes;
        let mut axes = [(scalars[1], first), (scalars[2], second), (scalars[3], third)];
        axes.sort_by(|a, b| b.0.total_cmp(&a.0));
        (*mu, scalars[0]) = Self::angles(axes[0].1, axes[1].1);
        for (scalar, axis) in scalars[1..].iter_mut().zip(axes) {
            *scalar = axis.0;
        }
    }

    fn refuses(&self, _shell: &Shell) -> Option<&'static str> {
        None
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
                out[p] = crate::frame::combine(c, axes[p], s, axes[q]);
                out[q] = crate::frame::combine(-s, axes[p], c, axes[q]);
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

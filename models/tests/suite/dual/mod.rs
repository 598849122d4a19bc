//! Forward dual numbers and the signal formulas in them: the independent oracle.
//!
//! $$\langle u, u'\rangle\langle v, v'\rangle = \langle uv,\ u'v + uv'\rangle$$
//!
//! Nothing of the library is called here: the formulas are those of the papers,
//! and the tensor's rotation is Rodrigues' formula from an axis and an angle,
//! not the closed form of `tensor.rs`.

#![allow(unreachable_pub, clippy::suspicious_arithmetic_impl)]

use std::ops::{Add, Div, Mul, Neg, Sub};

/// Most independent variables.
pub const WIDTH: usize = 16;

/// A number and its derivatives with respect to up to [`WIDTH`] variables.
#[derive(Debug, Clone, Copy)]
pub struct Dual {
    pub value: f64,
    pub slope: [f64; WIDTH],
}

impl Dual {
    pub fn constant(value: f64) -> Self {
        Self { value, slope: [0.0; WIDTH] }
    }

    /// The variable of index `k`.
    pub fn variable(value: f64, k: usize) -> Self {
        let mut out = Self::constant(value);
        out.slope[k] = 1.0;
        out
    }

    /// A function of this number with value `value` and derivative `d`.
    fn chain(self, value: f64, d: f64) -> Self {
        Self { value, slope: self.slope.map(|s| d * s) }
    }

    pub fn exp(self) -> Self {
        self.chain(self.value.exp(), self.value.exp())
    }

    pub fn sin(self) -> Self {
        self.chain(self.value.sin(), self.value.cos())
    }

    pub fn cos(self) -> Self {
        self.chain(self.value.cos(), -self.value.sin())
    }

    pub fn sqrt(self) -> Self {
        self.chain(self.value.sqrt(), 0.5 / self.value.sqrt())
    }

    /// The angle of the point (`x`, `self`).
    pub fn atan2(self, x: Dual) -> Self {
        let square = self.value * self.value + x.value * x.value;
        let slope =
            std::array::from_fn(|i| (x.value * self.slope[i] - self.value * x.slope[i]) / square);
        Self { value: self.value.atan2(x.value), slope }
    }
}

impl Add for Dual {
    type Output = Dual;
    fn add(self, o: Dual) -> Dual {
        Dual {
            value: self.value + o.value,
            slope: std::array::from_fn(|i| self.slope[i] + o.slope[i]),
        }
    }
}

impl Sub for Dual {
    type Output = Dual;
    fn sub(self, o: Dual) -> Dual {
        self + -o
    }
}

impl Neg for Dual {
    type Output = Dual;
    fn neg(self) -> Dual {
        Dual { value: -self.value, slope: self.slope.map(|s| -s) }
    }
}

impl Mul for Dual {
    type Output = Dual;
    fn mul(self, o: Dual) -> Dual {
        let slope = std::array::from_fn(|i| self.slope[i] * o.value + self.value * o.slope[i]);
        Dual { value: self.value * o.value, slope }
    }
}

impl Mul<f64> for Dual {
    type Output = Dual;
    fn mul(self, o: f64) -> Dual {
        self.chain(self.value * o, o)
    }
}

impl Div for Dual {
    type Output = Dual;
    fn div(self, o: Dual) -> Dual {
        let value = self.value / o.value;
        Dual {
            value,
            slope: std::array::from_fn(|i| (self.slope[i] - value * o.slope[i]) / o.value),
        }
    }
}

/// A vector of dual numbers.
pub type Vector = [Dual; 3];

fn along(g: [f64; 3], v: Vector) -> Dual {
    v[0] * g[0] + v[1] * g[1] + v[2] * g[2]
}

/// Free, isotropic diffusion.
pub fn ball(b: f64, lambda_iso: Dual) -> Dual {
    (lambda_iso * -b).exp()
}

/// Water that does not move.
pub fn dot() -> Dual {
    Dual::constant(1.0)
}

/// Diffusion along one axis.
pub fn stick(b: f64, g: [f64; 3], mu: Vector, lambda_par: Dual) -> Dual {
    let cosine = along(g, mu);
    (lambda_par * cosine * cosine * -b).exp()
}

/// An axisymmetric tensor.
pub fn zeppelin(b: f64, g: [f64; 3], mu: Vector, lambda_par: Dual, lambda_perp: Dual) -> Dual {
    let cosine = along(g, mu);
    let square = cosine * cosine;
    ((lambda_par * square + lambda_perp * (Dual::constant(1.0) - square)) * -b).exp()
}

/// A full tensor; the axes are $R\,\hat x$ (= mu), $R(0, \cos\psi, \sin\psi)$ and
/// $R(0, -\sin\psi, \cos\psi)$.
pub fn tensor(b: f64, g: [f64; 3], mu: Vector, psi: Dual, lambda: [Dual; 3]) -> Dual {
    let (zero, one) = (Dual::constant(0.0), Dual::constant(1.0));
    let axes = [[one, zero, zero], [zero, psi.cos(), psi.sin()], [zero, -psi.sin(), psi.cos()]];
    let mut exponent = zero;
    for (axis, l) in axes.into_iter().zip(lambda) {
        let component = along(g, rotated_as_x_to(mu, axis));
        exponent = exponent + l * component * component;
    }
    (exponent * -b).exp()
}

/// Rodrigues: `v` turned about $k = \hat x\times\mu/|\hat x\times\mu|$ by the angle
/// between $\hat x$ and $\mu$.
fn rotated_as_x_to(mu: Vector, v: Vector) -> Vector {
    let sine = (mu[1] * mu[1] + mu[2] * mu[2]).sqrt();
    let angle = sine.atan2(mu[0]);
    let k = [Dual::constant(0.0), -mu[2] / sine, mu[1] / sine];
    let cross = [k[1] * v[2] - k[2] * v[1], k[2] * v[0] - k[0] * v[2], k[0] * v[1] - k[1] * v[0]];
    let dot = k[0] * v[0] + k[1] * v[1] + k[2] * v[2];
    let rest = Dual::constant(1.0) - angle.cos();
    std::array::from_fn(|i| v[i] * angle.cos() + cross[i] * angle.sin() + k[i] * dot * rest)
}

/// The diffusivity across the axons from the volume between them.
pub fn tortuosity(lambda_par: Dual, intra: Dual, extra: Dual) -> Dual {
    lambda_par * (Dual::constant(1.0) - intra / (intra + extra))
}

/// The average of `kernel(g.n)` over axes n of a Watson density about `mu`.
pub fn watson(g: [f64; 3], mu: Vector, odi: Dual, kernel: impl Fn(f64) -> Dual) -> Dual {
    let kappa = concentration(odi);
    let exponent = |n: [f64; 3]| {
        let cosine = along(n, mu);
        kappa * (cosine * cosine - Dual::constant(1.0))
    };
    over_the_sphere(g, exponent, kernel)
}

/// The average of `kernel(g.n)` over axes n of a Bingham density about `mu`, with the
/// second axis R (0, cos psi, sin psi).
pub fn bingham(
    g: [f64; 3],
    mu: Vector,
    [odi, psi, beta_fraction]: [Dual; 3],
    kernel: impl Fn(f64) -> Dual,
) -> Dual {
    let kappa = concentration(odi);
    let second = rotated_as_x_to(mu, [Dual::constant(0.0), psi.cos(), psi.sin()]);
    let exponent = |n: [f64; 3]| {
        let (first, second) = (along(n, mu), along(n, second));
        kappa * (first * first + beta_fraction * second * second - Dual::constant(1.0))
    };
    over_the_sphere(g, exponent, kernel)
}

/// cot(pi odi/2).
fn concentration(odi: Dual) -> Dual {
    let half_turn = odi * std::f64::consts::FRAC_PI_2;
    half_turn.cos() / half_turn.sin()
}

/// The average of `kernel(g.n)` over axes n of density exp(exponent), by a product
/// rule on the sphere with its pole at g: Gauss-Legendre in g.n (the Golub nodes by
/// Newton), the trapezoidal rule around. Exact to rounding for odi >= 0.1.
fn over_the_sphere(
    g: [f64; 3],
    exponent: impl Fn([f64; 3]) -> Dual,
    kernel: impl Fn(f64) -> Dual,
) -> Dual {
    const AROUND: usize = 40;
    // Without weighting the direction does not matter. Two directions across g:
    let g = if g == [0.0; 3] { [1.0, 0.0, 0.0] } else { g };
    let least = (0..3).min_by(|&i, &j| g[i].abs().total_cmp(&g[j].abs())).unwrap_or(0);
    let mut e = [0.0; 3];
    e[least] = 1.0;
    let cross = |a: [f64; 3], b: [f64; 3]| {
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    };
    let u = cross(g, e);
    let norm = (u[0] * u[0] + u[1] * u[1] + u[2] * u[2]).sqrt();
    let u = u.map(|c| c / norm);
    let v = cross(g, u);
    let (mut total, mut weight) = (Dual::constant(0.0), Dual::constant(0.0));
    for (z, w) in gauss_legendre() {
        let r = (1.0 - z * z).sqrt();
        let mut ring = Dual::constant(0.0);
        for k in 0..AROUND {
            let (s, c) = (std::f64::consts::TAU * k as f64 / AROUND as f64).sin_cos();
            let n = std::array::from_fn(|i| z * g[i] + r * (c * u[i] + s * v[i]));
            ring = ring + exponent(n).exp();
        }
        weight = weight + ring * w;
        total = total + ring * kernel(z) * w;
    }
    total / weight
}

/// 24 nodes and weights on (0, 1).
fn gauss_legendre() -> Vec<(f64, f64)> {
    let n = 24;
    (0..n)
        .map(|i| {
            let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (n as f64 + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..20 {
                let (mut before, mut p) = (0.0, 1.0);
                for l in 0..n {
                    let l = l as f64;
                    (before, p) = (p, ((2.0 * l + 1.0) * x * p - l * before) / (l + 1.0));
                }
                slope = n as f64 * (x * p - before) / (x * x - 1.0);
                x -= p / slope;
            }
            (0.5 * (x + 1.0), 1.0 / ((1.0 - x * x) * slope * slope))
        })
        .collect()
}

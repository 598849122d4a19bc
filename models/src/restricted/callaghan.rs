//! Short pulses and any diffusion time: the sum over the modes of a reflecting pore.
//!
//! Plates ($y = \gamma G\delta L$, $\theta = D\tau/L^2$):
//! $$E = \frac{2(1-\cos y)}{y^2} + 4y^2\sum_{m\ge1}e^{-m^2\pi^2\theta}
//!   \frac{1-(-1)^m\cos y}{(y^2-m^2\pi^2)^2}$$
//!
//! Cylinder ($x = \gamma G\delta R$, $\theta = D\tau/R^2$, $J_n'(\beta_{nk})=0$, $K_0 = 1$, else 2):
//! $$E = \left[\frac{2J_1(x)}x\right]^2 + 4\sum_{n,k}\frac{K_n\beta^2}{\beta^2-n^2}
//!   e^{-\beta^2\theta}g^2,\qquad g = \frac{xJ_n'(x)}{x^2-\beta^2}$$
//!
//! Sphere ($j_n'(\alpha_{nk})=0$):
//! $$E = \left[\frac{3j_1(x)}x\right]^2 + 6\sum_{n,k}\frac{(2n+1)\alpha^2}{\alpha^2-n(n+1)}
//!   e^{-\alpha^2\theta}g^2,\qquad g = \frac{xj_n'(x)}{x^2-\alpha^2}$$
//!
//! Each $g$ is regular at its mode: with $F = xJ_n'$ and $h = x - \beta$,
//! $g = \frac{F/h}{x+\beta}$, and near $h = 0$ the quotient is the Taylor series
//! $\sum_{k\ge1}f_k(-h)^{k-1}$ of F about x, whose coefficients follow from Bessel's
//! equation. Modes whose part of the signal is below $10^{-14}$ are left out; all
//! modes with $\beta\le100$ are there, so θ from about 0.003 on is complete.
//!
//! Source: Callaghan 1995, doi:10.1006/jmra.1995.1055.
//! Validated by `slopes_equal_differences` and `regular_at_the_modes` below,
//! `signals_equal_golden` and `signals_equal_reference`.

use super::long_time::Shape;
use microtome_kernels::exp::{exp, exp_in_place};
use microtome_kernels::special::bessel::{
    bessel_orders, bessel_slope, spherical_j0_j1, spherical_orders, spherical_slope,
};
use microtome_kernels::special::roots::{Roots, cylinder_roots, sphere_roots};
use std::f64::consts::PI;

/// Modes of a smaller part of the signal are left out.
const NEGLIGIBLE: f64 = 1e-14;
/// Within this distance of a mode the quotient is a series.
const NEAR: f64 = 0.06;
/// Most modes between plates.
const PLATE_MODES: usize = 400;

/// E and its derivatives by the dephasing (x or y) and by θ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Echo {
    /// $E$.
    pub(crate) value: f64,
    /// $\partial E/\partial x$.
    pub(crate) d_dephasing: f64,
    /// $\partial E/\partial\theta$.
    pub(crate) d_theta: f64,
}

/// Sizes below this, in µm, diffuse as this one does: no mode is left.
const SMALLEST_SIZE: f64 = 1e-6;
/// Sizes above this, in µm, are taken for it: the list of modes ends long before (θ of
/// 0.003 is a radius of 130 µm for water in 30 ms), and Bessel functions take a time
/// that grows with their argument.
const LARGEST_SIZE: f64 = 1e3;

/// A pore of one size and its water.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pore {
    /// R or L, µm.
    pub(crate) size: f64,
    /// $\theta = D\tau/\mathrm{size}^2$.
    pub(crate) theta: f64,
    d_theta: [f64; 2],
    /// Whether the size was too large.
    cut: bool,
}

impl Pore {
    /// Size in µm, diffusivity in µm²/ms, τ in ms.
    pub(crate) fn new(size: f64, diffusivity: f64, tau: f64) -> Self {
        let cut = size > LARGEST_SIZE;
        let size = if cut { LARGEST_SIZE } else { size };
        let safe = size.max(SMALLEST_SIZE);
        let by_diffusivity = tau / (safe * safe);
        let theta = diffusivity * by_diffusivity;
        Self { size, theta, d_theta: [-2.0 * theta / safe, by_diffusivity], cut }
    }

    /// E, ∂E/∂size and ∂E/∂D from the echo at `q` (rad/µm) times the size.
    pub(crate) fn slopes(&self, q: f64, echo: Echo) -> (f64, f64, f64) {
        let [by_size, by_diffusivity] = self.d_theta;
        let d_size = if self.cut { 0.0 } else { q * echo.d_dephasing + echo.d_theta * by_size };
        (echo.value, d_size, echo.d_theta * by_diffusivity)
    }
}

/// $\sin z/z$ and its derivative.
fn sinc(z: f64) -> (f64, f64) {
    let [j0, j1] = spherical_j0_j1(z);
    (j0, -j1)
}

/// The echo between plates at y ≥ 0.
pub(crate) fn plates(y: f64, theta: f64) -> Echo {
    let (s, d) = sinc(0.5 * y);
    let mut out = Echo { value: s * s, d_dephasing: s * d, d_theta: 0.0 };
    for m in 1..=PLATE_MODES {
        let root = PI * m as f64;
        let rate = root * root;
        let weight = exp(-rate * theta);
        // Beyond y the part is at most 8y²/(π²m² - y²)².
        let far = rate - y * y;
        let bound = if far > 0.0 { 8.0 * y * y / (far * far) } else { 1.0 };
        if weight * bound.min(1.0) < NEGLIGIBLE {
            break;
        }
        // 1 - (-1)^m cos y = 2 sin²(h/2), h = y - mπ.
        let (s, d) = sinc(0.5 * (y - root));
        let inverse = 1.0 / (y + root);
        let g = y * s * inverse;
        let slope = (s + 0.5 * y * d - g) * inverse;
        out.value += 2.0 * weight * g * g;
        out.d_dephasing += 4.0 * weight * g * slope;
        out.d_theta -= 2.0 * rate * weight * g * g;
    }
    out
}

/// One mode of a round pore.
#[derive(Debug, Clone, Copy)]
struct Mode {
    order: usize,
    root: f64,
    /// The factor of g², the exponential included.
    weight: f64,
}

/// The modes of a round pore that matter at one θ and up to one dephasing.
#[derive(Debug)]
pub(crate) struct Round {
    shape: Shape,
    modes: Vec<Mode>,
    /// Room for the Bessel functions.
    orders: Vec<f64>,
}

fn roots_of(shape: Shape) -> &'static Roots {
    match shape {
        Shape::Sphere => sphere_roots(),
        _ => cylinder_roots(),
    }
}

impl Round {
    /// `largest` is the largest x that [`Round::echo`] will be asked for.
    pub(crate) fn new(shape: Shape, theta: f64, largest: f64) -> Self {
        let roots = roots_of(shape);
        let mut out = Self { shape, modes: Vec::new(), orders: Vec::new() };
        // The lowest mode of all is the first of order 1.
        let lowest = roots.of_order(1).first().copied().unwrap_or(1.0);
        if exp(-lowest * lowest * theta) < NEGLIGIBLE {
            return out;
        }
        // Zeros of order n are above n: beyond this order all exponentials vanish.
        let highest = (-NEGLIGIBLE.ln() / theta).sqrt();
        let orders = roots.orders().min((highest as usize).saturating_add(2));
        out.orders.resize(orders + 2, 0.0);
        let mut slopes = vec![0.0; orders];
        out.fill_orders(largest);
        for (n, slope) in slopes.iter_mut().enumerate() {
            *slope = out.slope(n);
        }
        for (n, slope) in slopes.iter().enumerate() {
            // |x J_n'| is at most x at every x, and rises with x below n.
            let rising = n as f64 >= largest;
            let most = largest * if rising { slope.abs() } else { 1.0 };
            let before = out.modes.len();
            for &root in roots.of_order(n) {
                let square = root * root;
                let factor = out.factor(n, square);
                let far = square - largest * largest;
                let bound = if far > 0.0 { factor * most * most / (far * far) } else { 1.0 };
                // Factor times g² is at most 1: the parts sum to 1 at θ = 0.
                if exp(-square * theta) * bound.min(1.0) < NEGLIGIBLE {
                    break;
                }
                out.modes.push(Mode { order: n, root, weight: factor });
            }
            if rising && n > 1 && out.modes.len() == before {
                break;
            }
        }
        let last = out.modes.last().map_or(0, |m| m.order);
        out.orders.truncate(last + 2);
        let mut decay: Vec<f64> = out.modes.iter().map(|m| -m.root * m.root * theta).collect();
        exp_in_place(&mut decay);
        for (mode, decay) in out.modes.iter_mut().zip(decay) {
            mode.weight *= decay;
        }
        out
    }

    /// n² or n(n+1).
    fn constant(&self, n: usize) -> f64 {
        let n = n as f64;
        if self.shape == Shape::Sphere { n * (n + 1.0) } else { n * n }
    }

    /// The factor of g² without the exponential.
    fn factor(&self, n: usize, square: f64) -> f64 {
        let multiplicity = match (self.shape, n) {
            (Shape::Sphere, _) => 6.0 * (2.0 * n as f64 + 1.0),
            (_, 0) => 4.0,
            _ => 8.0,
        };
        multiplicity * square / (square - self.constant(n))
    }

    fn fill_orders(&mut self, x: f64) {
        match self.shape {
            Shape::Sphere => spherical_orders(x, &mut self.orders),
            _ => bessel_orders(x, &mut self.orders),
        }
    }

    fn slope(&self, n: usize) -> f64 {
        match self.shape {
            Shape::Sphere => spherical_slope(&self.orders, n),
            _ => bessel_slope(&self.orders, n),
        }
    }

    /// The echo at x ≥ 0, no larger than what the modes were chosen for.
    pub(crate) fn echo(&mut self, x: f64) -> Echo {
        let [value, d_square] = self.shape.form(x * x);
        let mut out = Echo { value, d_dephasing: 2.0 * x * d_square, d_theta: 0.0 };
        if self.modes.is_empty() || x <= 0.0 {
            return out;
        }
        self.fill_orders(x);
        let friction = if self.shape == Shape::Sphere { 1.0 } else { 0.0 };
        let (mut order, mut y, mut f, mut rise) = (usize::MAX, 0.0, 0.0, 0.0);
        for mode in &self.modes {
            if mode.order != order {
                order = mode.order;
                y = self.orders[order];
                let slope = self.slope(order);
                f = x * slope;
                // F' = (n²/x - x) J for the cylinder; for the sphere less F/x = j'.
                rise = (self.constant(order) / x - x) * y - friction * slope;
            }
            let h = x - mode.root;
            let (g, slope) = if h.abs() < NEAR {
                self.near(order, x, mode.root, y, f)
            } else {
                let inverse = 1.0 / (h * (x + mode.root));
                let g = f * inverse;
                (g, (rise - 2.0 * x * g) * inverse)
            };
            let part = mode.weight * g * g;
            out.value += part;
            out.d_dephasing += 2.0 * mode.weight * g * slope;
            out.d_theta -= mode.root * mode.root * part;
        }
        out
    }

    /// g and its derivative near the mode, by the Taylor series of F about x.
    fn near(&self, n: usize, x: f64, root: f64, y: f64, f: f64) -> (f64, f64) {
        let constant = self.constant(n);
        let friction = if self.shape == Shape::Sphere { 1.0 } else { 0.0 };
        let h = x - root;
        // J = sum y_k s^k and F = sum f_k s^k at x + s, from (x+s) J' = F and
        // (x+s) F' = (n² - (x+s)²) J - friction F.
        let (mut f_k, mut y_k) = (f, [y, 0.0, 0.0]);
        let (mut quotient, mut slope, mut power, mut before) = (0.0, 0.0, 1.0, 0.0);
        for k in 0..9 {
            let m = f64::from(k);
            let [y0, y1, y2] = y_k;
            let next_f = ((constant - x * x) * y0 - 2.0 * x * y1 - y2 - (m + friction) * f_k)
                / ((m + 1.0) * x);
            let next_y = (f_k - m * y0) / ((m + 1.0) * x);
            // F/h = sum f_k (-h)^(k-1); its derivative is sum f_k (-h)^(k-2), k >= 2.
            quotient += next_f * power;
            if k > 0 {
                slope += next_f * before;
            }
            before = power;
            power *= -h;
            (f_k, y_k) = (next_f, [next_y, y0, y1]);
        }
        let inverse = 1.0 / (x + root);
        let g = quotient * inverse;
        (g, (slope - g) * inverse)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Sixth-order central differences.
    fn difference(f: &dyn Fn(f64) -> f64, h: f64) -> f64 {
        let d = |k: f64| f(k * h) - f(-k * h);
        (45.0 * d(1.0) - 9.0 * d(2.0) + d(3.0)) / (60.0 * h)
    }

    fn echo(shape: Shape, x: f64, theta: f64) -> Echo {
        match shape {
            Shape::Plates => plates(x, theta),
            // The modes are those of a whole shell, not of this x only.
            _ => Round::new(shape, theta, x.max(12.0)).echo(x),
        }
    }

    #[test]
    fn slopes_equal_differences() {
        for shape in [Shape::Plates, Shape::Cylinder, Shape::Sphere] {
            for theta in [0.02, 0.07, 0.3, 1.0, 5.0] {
                for i in 0..240 {
                    let x = 0.013 + 0.05 * f64::from(i);
                    let here = echo(shape, x, theta);
                    let by_x = difference(&|h| echo(shape, x + h, theta).value, 0.004);
                    let error = (here.d_dephasing - by_x).abs();
                    assert!(error < 2e-11, "{shape:?} {x} {theta}: {error:e}");
                    let by_theta = difference(&|h| echo(shape, x, theta + h).value, 0.02 * theta);
                    let error = theta * (here.d_theta - by_theta).abs();
                    assert!(error < 2e-9, "{shape:?} {x} {theta}: theta {error:e}");
                }
            }
        }
    }

    /// At a mode, and across the edge of the series about it, value and slope run on:
    /// the second difference is that of a smooth function.
    #[test]
    fn regular_at_the_modes() {
        for shape in [Shape::Plates, Shape::Cylinder, Shape::Sphere] {
            for n in 0..6 {
                let root = match shape {
                    Shape::Plates => PI * f64::from(n + 1),
                    _ => roots_of(shape).of_order(n as usize)[0],
                };
                for edge in [0.0, NEAR, -NEAR] {
                    let at = |h: f64| echo(shape, root + edge + h, 0.05);
                    let (h, here) = (1e-9, at(0.0));
                    for side in [h, -h] {
                        let there = at(side);
                        let predicted = here.value + side * here.d_dephasing;
                        // A part is weight (up to 8) times g² (up to 1/4), and F is exact
                        // to 2e-16 before the division by 2 NEAR.
                        let error = (there.value - predicted).abs();
                        assert!(error < 2e-14, "{shape:?} {n} {edge}: {error:e}");
                        let jump = (there.d_dephasing - here.d_dephasing).abs();
                        assert!(jump < 3e-9, "{shape:?} {n} {edge}: {jump:e}");
                    }
                    assert!(here.value.is_finite() && here.value > 0.0 && here.value < 1.0);
                }
            }
        }
    }

    /// Without diffusion the spins refocus: the parts of all modes sum to 1. What the
    /// list of modes lacks is the tail of 1/β⁴.
    #[test]
    fn modes_are_complete() {
        for shape in [Shape::Plates, Shape::Cylinder, Shape::Sphere] {
            for x in [0.5, 3.0, 8.0] {
                let e = echo(shape, x, 0.0).value;
                assert!(e < 1.0 && 1.0 - e < 1e-3, "{shape:?} {x}: {e}");
            }
        }
    }
}

//! Short pulses and a long diffusion time: the squared form factor of a pore.
//!
//! $$E = F_d(x)^2,\qquad F_1 = \frac{\sin x}{x},\qquad F_2 = \frac{2J_1(x)}{x},\qquad
//!   F_3 = \frac{3j_1(x)}{x}$$
//!
//! in $d$ = 1, 2, 3 dimensions, with $x = \gamma G\delta R$; for plates a distance L
//! apart R is L/2. With $w = x^2$, $F_d = {}_0F_1(;d/2+1;-w/4)$ and
//! $\frac{dF_d}{dw} = -\frac d{2w}\left(F_d - {}_0F_1(;d/2;-w/4)\right)$, the second being
//! $\cos x$, $J_0$ and $j_0$.
//!
//! Source: Söderman & Jönsson 1995, doi:10.1006/jmra.1995.0014 (cylinder); Tanner &
//! Stejskal 1968, doi:10.1063/1.1670306 (plates); Balinov et al. 1993,
//! doi:10.1006/jmra.1993.1184 (sphere). Validated by `slopes_equal_differences` below,
//! `signals_equal_golden` and `signals_equal_reference`.

use microtome_kernels::special::bessel::{bessel_j0, bessel_j1, spherical_j0_j1};

/// The number of dimensions in which a pore restricts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Between two plates.
    Plates,
    /// Across a cylinder.
    Cylinder,
    /// Within a sphere.
    Sphere,
}

/// ${}_0F_1(;\nu;-w/4)$ for w below 1.
fn series(nu: f64, w: f64) -> f64 {
    let mut sum = 1.0;
    for k in (0..9).rev() {
        let k = f64::from(k);
        sum = 1.0 - sum * 0.25 * w / ((k + 1.0) * (nu + k));
    }
    sum
}

impl Shape {
    /// $F^2$ and its derivative with respect to $w = x^2$.
    pub(crate) fn form(self, w: f64) -> [f64; 2] {
        let half = match self {
            Shape::Plates => 0.5,
            Shape::Cylinder => 1.0,
            Shape::Sphere => 1.5,
        };
        let (f, slope) = if w < 1.0 {
            let f = series(half + 1.0, w);
            (f, -0.25 / (half + 1.0) * series(half + 2.0, w))
        } else {
            let x = w.sqrt();
            // F and F - 0F1(; d/2; -w/4).
            let (f, difference) = match self {
                Shape::Plates => {
                    let [j0, j1] = spherical_j0_j1(x);
                    (j0, x * j1)
                }
                Shape::Cylinder => {
                    let f = 2.0 * bessel_j1(x) / x;
                    (f, f - bessel_j0(x))
                }
                Shape::Sphere => {
                    let [j0, j1] = spherical_j0_j1(x);
                    let f = 3.0 * j1 / x;
                    (f, f - j0)
                }
            };
            (f, -half * difference / w)
        };
        [f * f, 2.0 * f * slope]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sixth-order central differences on both sides of w = 1 and across it.
    #[test]
    fn slopes_equal_differences() {
        for shape in [Shape::Plates, Shape::Cylinder, Shape::Sphere] {
            assert_eq!(shape.form(0.0)[0], 1.0);
            for i in 1..600 {
                let (w, h) = (0.07 * f64::from(i), 0.01);
                let f = |k: f64| shape.form(w + k * h)[0] - shape.form(w - k * h)[0];
                let difference = (45.0 * f(1.0) - 9.0 * f(2.0) + f(3.0)) / (60.0 * h);
                let [_, slope] = shape.form(w);
                assert!((slope - difference).abs() < 1e-12, "{shape:?} {w}: {slope} {difference}");
            }
        }
    }
}

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

/// Below this w the power series serve.
const SERIES: f64 = 4.0;

/// Coefficients of ${}_0F_1(;\nu;-w/4)$ in powers of w, for ν half of `twice`; below
/// w = 4 the next one is less than 1e-17.
const fn series(twice: usize) -> [f64; 13] {
    let mut out = [1.0; 13];
    let mut k = 1;
    while k < 13 {
        let n = k as f64;
        out[k] = -out[k - 1] * 0.25 / (n * (0.5 * twice as f64 + n - 1.0));
        k += 1;
    }
    out
}

fn polynomial(c: &[f64; 13], w: f64) -> f64 {
    let mut sum = c[12];
    for c in c[..12].iter().rev() {
        sum = sum * w + c;
    }
    sum
}

/// ν = 3/2, 2, 5/2, 3, 7/2: a form factor, and two further its slope.
const F: [[f64; 13]; 5] = [series(3), series(4), series(5), series(6), series(7)];

impl Shape {
    /// $F^2$ and its derivative with respect to $w = x^2$.
    pub(crate) fn form(self, w: f64) -> [f64; 2] {
        let index = match self {
            Shape::Plates => 0,
            Shape::Cylinder => 1,
            Shape::Sphere => 2,
        };
        let half = 0.5 * (index as f64 + 1.0);
        let (f, slope) = if w < SERIES {
            let slope = -0.25 / (half + 1.0) * polynomial(&F[index + 2], w);
            (polynomial(&F[index], w), slope)
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

    /// Sixth-order central differences on both sides of [`SERIES`] and across it.
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

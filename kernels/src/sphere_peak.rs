//! The peak of a function on the sphere that Newton's method finds from a direction.
//!
//! $$\delta = -H_T^{-1}\,P\nabla f,\qquad H_T = P\,\nabla^2 f\,P - (u\cdot\nabla f)\,P,\qquad P = I - uu^\top$$
//!
//! Functions are polynomials in the components of u ([`crate::sphere_series`]), whose derivatives
//! in space are exact.
//!
//! Source: Absil, Mahony & Sepulchre 2008, Optimization Algorithms on Matrix Manifolds, eq. 5.15
//! (Hessian on the sphere) and section 6.4.1 (Newton's method); Jeurissen et al. 2013,
//! doi:10.1002/hbm.22099 (peaks of fibre orientation distributions). Validated by
//! `the_closest_peak_is_taken` in `kernels/tests/suite/streamlines.rs` and
//! `crossings_are_found_to_a_degree` in `inference/tests/suite/deconvolution.rs`.

use crate::sphere_series::{Jet, jet_of};
use crate::vector::{Vec3, along, dot, normals, unit};

/// Longest step, rad.
const LONGEST: f64 = 0.3;
const STEPS: usize = 50;

/// The tangent Hessian at a direction and the gradient, in two normals.
#[derive(Clone, Copy, Debug)]
pub struct Bend {
    /// Unit vectors across the direction.
    pub normals: [Vec3; 2],
    /// Components of the gradient.
    pub slope: [f64; 2],
    /// 11, 12, 22.
    pub hessian: [f64; 3],
}

/// Slope and tangent Hessian of derivatives in space.
#[inline(always)]
pub fn bend(jet: &Jet, u: Vec3) -> Bend {
    let e = normals(u);
    let h = &jet.hessian;
    let times = |v: Vec3| {
        [
            h[0] * v[0] + h[3] * v[1] + h[4] * v[2],
            h[3] * v[0] + h[1] * v[1] + h[5] * v[2],
            h[4] * v[0] + h[5] * v[1] + h[2] * v[2],
        ]
    };
    let radial = dot(u, jet.gradient);
    let (a, b) = (times(e[0]), times(e[1]));
    Bend {
        normals: e,
        slope: [dot(e[0], jet.gradient), dot(e[1], jet.gradient)],
        hessian: [dot(e[0], a) - radial, dot(e[0], b), dot(e[1], b) - radial],
    }
}

impl Bend {
    /// $-H_T^{-1}$ times a tangent vector given by its components; `None` where the function
    /// does not fall in every direction.
    #[inline(always)]
    pub fn newton(&self, s: [f64; 2]) -> Option<[f64; 2]> {
        let [a, b, c] = self.hessian;
        let determinant = a * c - b * b;
        (a < 0.0 && determinant > 0.0)
            .then(|| [(b * s[1] - c * s[0]) / determinant, (b * s[0] - a * s[1]) / determinant])
    }
}

/// Climbs to the peak from a direction; the peak and the value there, or `None` where there is
/// none. A step shorter than `tolerance` (rad) is the last: the next would be its square.
#[inline(always)]
pub fn climb<const FMA: bool>(
    order: usize,
    terms: &[f64],
    from: Vec3,
    tolerance: f64,
) -> Option<(Vec3, f64)> {
    let mut u = from;
    for _ in 0..STEPS {
        let jet = jet_of::<FMA>(order, terms, u);
        let bend = bend(&jet, u);
        let g = bend.slope;
        let size = (g[0] * g[0] + g[1] * g[1]).sqrt();
        let mut step = match bend.newton(g) {
            Some(step) => step,
            // Uphill, as far as the longest step.
            None if size > 0.0 => [LONGEST * g[0] / size, LONGEST * g[1] / size],
            None => return None,
        };
        let length = (step[0] * step[0] + step[1] * step[1]).sqrt();
        if !length.is_finite() {
            return None;
        }
        if length > LONGEST {
            step = [step[0] * LONGEST / length, step[1] * LONGEST / length];
        }
        u = unit(along(along(u, step[0], bend.normals[0]), step[1], bend.normals[1]));
        if length < tolerance {
            // The value at the end of the step, to its third power.
            return Some((u, jet.value + 0.5 * (g[0] * step[0] + g[1] * step[1])));
        }
    }
    None
}

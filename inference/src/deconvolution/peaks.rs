//! Peaks of a function on the sphere.
//!
//! The local maxima among 300 directions are refined by Newton's method on the
//! sphere: with the gradient $g$ and the second derivatives $K$ of the polynomial
//! of the harmonics and the tangent basis $E$ of $n$,
//!
//! $$\delta = -\left(E^T K E - (n\cdot g)\,I\right)^{-1} E^T g,\qquad n \leftarrow \frac{n + E\delta}{|n + E\delta|}.$$
//!
//! Source: Absil, Mahony & Sepulchre 2008, *Optimization Algorithms on Matrix
//! Manifolds*, sec. 6.4.1 (Newton's method on the sphere); Jeurissen et al. 2013,
//! doi:10.1002/hbm.22099 (peaks of fibre orientation distributions by Newton's method).
//! Validated by `crossings_are_found_to_a_degree` in `tests/deconvolution.rs`.

use super::nonnegative::NEIGHBOURS;
use microtome_models::{Series, SphericalHarmonics};

/// Most peaks that are kept.
pub const PEAKS: usize = 3;
/// A peak below this share of the largest is none.
const RELATIVE: f64 = 0.1;
/// Two maxima whose axes have a larger cosine are one (15 degrees).
const SAME: f64 = 0.965_925_826_289_068_3;
/// Longest Newton step, rad.
const LONGEST: f64 = 0.2;
/// Step at which the search ends, rad.
const SHORTEST: f64 = 1e-7;

/// Peaks, the largest first.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Peaks {
    /// How many there are.
    pub count: usize,
    /// Unit vectors.
    pub axis: [[f64; 3]; PEAKS],
    /// The values there.
    pub value: [f64; PEAKS],
}

/// Finds peaks of functions given by harmonics and by values in directions.
#[derive(Debug, Clone)]
pub struct PeakFinder {
    sh: SphericalHarmonics,
    axes: Vec<[f64; 3]>,
    near: Vec<[u32; NEIGHBOURS]>,
    empty: Series,
}

impl PeakFinder {
    /// With the directions to begin from and the neighbours of each.
    pub fn new(sh: SphericalHarmonics, axes: Vec<[f64; 3]>, near: Vec<[u32; NEIGHBOURS]>) -> Self {
        let empty = sh.series(&vec![0.0; sh.count()]);
        Self { sh, axes, near, empty }
    }

    /// The peaks of a function with the given coefficients and its values in the
    /// directions.
    pub fn find(&self, coefficients: &[f64], values: &[f64], out: &mut Peaks) {
        let largest = values.iter().fold(0.0_f64, |a, v| a.max(*v));
        if largest <= 0.0 {
            *out = Peaks::default();
            return;
        }
        let mut starts: [(f64, usize); 2 * PEAKS] = [(0.0, 0); 2 * PEAKS];
        let mut found = 0;
        for (i, (v, near)) in values.iter().zip(&self.near).enumerate() {
            let is_peak =
                *v > 0.8 * RELATIVE * largest && near.iter().all(|j| values[*j as usize] <= *v);
            if !is_peak {
                continue;
            }
            // Insertion by falling value; the first of equals stays first.
            let at = starts[..found].iter().position(|s| *v > s.0).unwrap_or(found);
            if at < starts.len() {
                found = (found + 1).min(starts.len());
                starts[at..found].rotate_right(1);
                starts[at] = (*v, i);
            }
        }
        self.refine(coefficients, starts[..found].iter().map(|s| s.1), out);
    }

    /// The peaks that are reached from some of the directions. A direction within
    /// 15 degrees of a peak that is found already is not tried.
    pub fn refine(
        &self,
        coefficients: &[f64],
        starts: impl Iterator<Item = usize>,
        out: &mut Peaks,
    ) {
        *out = Peaks::default();
        let mut series = self.empty.clone();
        self.sh.collect(coefficients, &mut series);
        let cosine = |a: &[f64; 3], b: &[f64; 3]| (a[0] * b[0] + a[1] * b[1] + a[2] * b[2]).abs();
        for i in starts {
            let start = self.axes[i];
            if out.axis[..out.count].iter().any(|a| cosine(a, &start) > SAME) {
                continue;
            }
            let (axis, value) = climb(&series, start);
            let mut at = out.count;
            for k in (0..out.count).rev() {
                if cosine(&axis, &out.axis[k]) > SAME {
                    at = PEAKS;
                } else if at < PEAKS && value > out.value[k] {
                    at = k;
                }
            }
            if at < PEAKS {
                out.count = (out.count + 1).min(PEAKS);
                out.axis[at..out.count].rotate_right(1);
                out.value[at..out.count].rotate_right(1);
                (out.axis[at], out.value[at]) = (axis, value);
            }
        }
        let least = RELATIVE * out.value[0];
        out.count = out.value[..out.count].iter().filter(|v| **v >= least).count();
    }
}

/// The maximum near a direction and the value there.
fn climb(series: &Series, start: [f64; 3]) -> ([f64; 3], f64) {
    let mut n = start;
    for _ in 0..12 {
        let jet = series.jet(n);
        let (e, f) = tangents(n);
        let dot = |a: [f64; 3], b: [f64; 3]| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
        let [xx, yy, zz, xy, xz, yz] = jet.hessian;
        let times = |v: [f64; 3]| {
            [
                xx * v[0] + xy * v[1] + xz * v[2],
                xy * v[0] + yy * v[1] + yz * v[2],
                xz * v[0] + yz * v[1] + zz * v[2],
            ]
        };
        let radial = dot(n, jet.gradient);
        let (ge, gf) = (dot(e, jet.gradient), dot(f, jet.gradient));
        let (ke, kf) = (times(e), times(f));
        let (a, b, c) = (dot(e, ke) - radial, dot(e, kf), dot(f, kf) - radial);
        let determinant = a * c - b * b;
        let (mut de, mut df) = if determinant > 0.0 && a < 0.0 {
            ((b * gf - c * ge) / determinant, (b * ge - a * gf) / determinant)
        } else {
            // Not concave here: uphill.
            (ge, gf)
        };
        let length = (de * de + df * df).sqrt();
        if determinant <= 0.0 || a >= 0.0 || length > LONGEST {
            let scale = if length > 0.0 { LONGEST.min(0.05_f64.max(length)) / length } else { 0.0 };
            (de, df) = (de * scale, df * scale);
        }
        let moved = [0, 1, 2].map(|i| n[i] + e[i] * de + f[i] * df);
        let norm = dot(moved, moved).sqrt();
        n = moved.map(|v| v / norm);
        if length < SHORTEST {
            break;
        }
        // Quadratic convergence: after a step this short the next is below rounding.
        if length < 1e-4 && determinant > 0.0 && a < 0.0 {
            break;
        }
    }
    (n, series.value(n))
}

/// Two unit vectors across a direction and each other.
fn tangents(n: [f64; 3]) -> ([f64; 3], [f64; 3]) {
    // Duff et al. 2017, Building an orthonormal basis, revisited.
    let sign = 1.0_f64.copysign(n[2]);
    let a = -1.0 / (sign + n[2]);
    let b = n[0] * n[1] * a;
    ([1.0 + sign * n[0] * n[0] * a, sign * b, -sign * n[0]], [b, sign + n[1] * n[1] * a, -n[1]])
}

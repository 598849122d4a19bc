//! Peaks of a function on the sphere.
//!
//! The local maxima among 300 directions are refined by Newton's method on the sphere
//! (`microtome_kernels::sphere_peak`).
//!
//! Source: Jeurissen et al. 2013, doi:10.1002/hbm.22099 (peaks of fibre orientation
//! distributions by Newton's method). Validated by `crossings_are_found_to_a_degree` in
//! `tests/suite/deconvolution.rs`.

use super::nonnegative::NEIGHBOURS;
use microtome_models::{Series, SphericalHarmonics};

/// Most peaks that are kept.
pub const PEAKS: usize = 3;
/// A peak below this share of the largest is none.
const RELATIVE: f64 = 0.1;
/// Two maxima whose axes have a larger cosine are one (15 degrees).
const SAME: f64 = 0.965_925_826_289_068_3;
/// A step shorter than this is the last, rad: the next would be its square.
const SHORTEST: f64 = 1e-4;

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
            let Some((axis, value)) = series.peak(start, SHORTEST) else { continue };
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

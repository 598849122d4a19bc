//! Fewer points for the same curve, within a tolerance.
//!
//! Points between two that are kept lie within `tolerance` of the segment between these:
//!
//! $$\min_{t\in[0,1]} \lVert x_m - (1-t)\,x_i - t\,x_j\rVert \le \epsilon,\qquad i < m < j,$$
//!
//! and the segment is not longer than `max_segment` (mm). From each point that is kept the
//! next is the last one before the first that breaks the rule.
//!
//! Source: Presseau et al. 2015, doi:10.1016/j.neuroimage.2014.12.060, section "linearization".
//! Validated by `linearised_streamlines_stay_within_the_tolerance` in `tests/files/tract_paths.rs`.

use super::distance;

/// The indices of the points to keep: the first, the last, and those that the tolerance
/// needs. Neighbours farther apart than `max_segment_mm` are both kept.
///
/// # Example
/// ```
/// use microtome_datasets::linearise;
/// let line: Vec<[f32; 3]> = (0..9).map(|i| [i as f32, 0.0, 0.0]).collect();
/// assert_eq!(linearise(&line, 0.1, 10.0), [0, 8]);
/// assert_eq!(linearise(&line, 0.1, 5.0), [0, 5, 8]);
/// ```
pub fn linearise(points: &[[f32; 3]], tolerance_mm: f64, max_segment_mm: f64) -> Vec<usize> {
    if points.len() < 3 {
        return (0..points.len()).collect();
    }
    let fits = |i: usize, j: usize| {
        distance(points[i], points[j]) <= max_segment_mm
            && (i + 1..j).all(|m| off(points[m], points[i], points[j]) <= tolerance_mm)
    };
    let mut kept = vec![0];
    let mut from = 0;
    while from + 1 < points.len() {
        let mut to = from + 1;
        while to + 1 < points.len() && fits(from, to + 1) {
            to += 1;
        }
        kept.push(to);
        from = to;
    }
    kept
}

/// The distance of a point from the segment between two others.
fn off(p: [f32; 3], a: [f32; 3], b: [f32; 3]) -> f64 {
    let minus = |x: [f32; 3], y: [f32; 3]| [0, 1, 2].map(|k| f64::from(x[k]) - f64::from(y[k]));
    let dot = |x: [f64; 3], y: [f64; 3]| x[0] * y[0] + x[1] * y[1] + x[2] * y[2];
    let (v, w) = (minus(b, a), minus(p, a));
    let length = dot(v, v);
    let t = if length > 0.0 { (dot(v, w) / length).clamp(0.0, 1.0) } else { 0.0 };
    let d = [0, 1, 2].map(|k| w[k] - t * v[k]);
    dot(d, d).sqrt()
}

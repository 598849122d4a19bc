//! The path of a scan, read off its views: axis, centre, angles and the share of each view.
//!
//! The axis is the direction across all rays of a parallel beam, the normal of the plane of
//! the sources of a fan or cone, and where these don't lie in a plane the mean direction of
//! the detectors' columns. In the plane across the axis the centre is that of the circle
//! of the sources; for a parallel beam it is the point that the middles of the detectors
//! keep their distance from. Around it view $k$ has the angle $\varphi_k$ (of the source, or
//! of the ray), and its share $\Delta\varphi_k$ reaches half way to its neighbours. A gap of
//! more than eight times the median and ten degrees is one without views: beside it a
//! share ends half a median away.
//!
//! So views may have any order, any spacing, and meet the same angle several times.
//!
//! Source: circle of least squares: Kåsa 1976, doi:10.1109/TIM.1976.6312298. Validated by
//! the tests below and by `spacing_does_not_matter` in `inference/tests/suite/analytic.rs`.

use super::super::ReconstructError;
use microtome_kernels::eigen::eigen_3x3;
use microtome_kernels::ray::{Beam, View};
use microtome_kernels::vector::{cross, dot, unit};
use microtome_models::ct::Geometry;
use std::f64::consts::{PI, TAU};

/// A gap wider than this many medians has no views...
const GAP_MEDIANS: f64 = 8.0;
/// ...when it is wider than this, too.
const GAP: f64 = 10.0 * PI / 180.0;
/// Relative rounding of a path: what is below counts as in a plane, or on a circle.
const SAME: f64 = 1e-6;
/// Most that distances to the centre may differ by, as a factor.
const OVAL: f64 = 3.0;

pub(super) type Plane = [f64; 2];

/// Twice the area between two vectors, positive when the second is to the left.
pub(super) fn turn(a: Plane, b: Plane) -> f64 {
    a[0] * b[1] - a[1] * b[0]
}

fn setting(problem: impl Into<String>) -> ReconstructError {
    ReconstructError::setting("geometry", problem)
}

/// The shares of angles on a circle of some period.
#[derive(Clone, Debug)]
pub(super) struct Shares {
    /// One an angle, in their order.
    pub(super) widths: Vec<f64>,
    /// The sum of the widths.
    pub(super) range: f64,
    /// Where the first share after the only gap begins; nothing without or with several.
    pub(super) start: Option<f64>,
    /// The gaps without views.
    gaps: Vec<[f64; 2]>,
    period: f64,
}

impl Shares {
    pub(super) fn new(angles: &[f64], period: f64) -> Self {
        let mut sorted: Vec<(f64, usize)> =
            angles.iter().enumerate().map(|(k, a)| (a.rem_euclid(period), k)).collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let n = sorted.len();
        let gap = |i: usize| {
            let (a, b) = (sorted[i].0, sorted[(i + 1) % n].0);
            if i + 1 == n { b + period - a } else { b - a }
        };
        let mut wide: Vec<f64> = (0..n).map(gap).filter(|g| *g > 1e-9 * period).collect();
        wide.sort_by(f64::total_cmp);
        let median = wide.get(wide.len() / 2).copied().unwrap_or(period);
        let open = |i: usize| gap(i) > GAP.max(GAP_MEDIANS * median);
        let half = |i: usize| if open(i) { median / 2.0 } else { gap(i) / 2.0 };
        let mut widths = vec![0.0; n];
        for (i, (_, k)) in sorted.iter().enumerate() {
            widths[*k] = half((i + n - 1) % n) + half(i);
        }
        let mut gaps = Vec::new();
        for i in (0..n).filter(|i| open(*i)) {
            gaps.push([sorted[i].0 + median / 2.0, sorted[(i + 1) % n].0 - median / 2.0]);
        }
        let start = if let [[_, start]] = gaps[..] { Some(start) } else { None };
        Self { range: widths.iter().sum(), widths, start, gaps, period }
    }

    pub(super) fn is_full(&self) -> bool {
        self.gaps.is_empty()
    }

    /// Whether an angle is in no gap.
    pub(super) fn has(&self, angle: f64) -> bool {
        self.gaps.iter().all(|[from, to]| {
            let width = (to - from).rem_euclid(self.period);
            (angle - from).rem_euclid(self.period) >= width
        })
    }
}

/// The path of a scan.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    pub(super) parallel: bool,
    pub(super) axis: [f64; 3],
    /// Two directions across the axis.
    basis: [[f64; 3]; 2],
    /// The centre in the plane across the axis.
    pub(super) centre: Plane,
    /// Of the source, or of the ray.
    pub(super) angles: Vec<f64>,
    /// Shares of a turn.
    pub(super) shares: Shares,
    /// The path's derivative by the angle; for a parallel beam nothing.
    pub(super) tangents: Vec<Plane>,
    /// Source, or centre of the detector, along the axis.
    pub(super) heights: Vec<f64>,
    pub(super) path: Path,
}

/// The form of a path.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Path {
    /// In a plane across the axis, at one distance from the centre.
    Circle,
    /// In a plane, at several distances.
    Closed,
    /// A screw: the angles without jumps, and the advance a radian.
    Screw { unwound: Vec<f64>, advance: f64 },
    /// Any other path out of a plane.
    Wavy,
}

/// Solves three equations by elimination with pivots.
fn solve(mut a: [[f64; 4]; 3]) -> Option<[f64; 3]> {
    let size = a.iter().flatten().fold(0.0, |m: f64, v| m.max(v.abs()));
    for k in 0..3 {
        let pivot = (k..3).max_by(|i, j| a[*i][k].abs().total_cmp(&a[*j][k].abs()))?;
        a.swap(k, pivot);
        let row = a[k];
        if row[k].abs() <= 1e-12 * size {
            return None;
        }
        for (i, other) in a.iter_mut().enumerate() {
            if i != k {
                let share = other[k] / row[k];
                for (x, y) in other.iter_mut().zip(row) {
                    *x -= share * y;
                }
            }
        }
    }
    Some(std::array::from_fn(|k| a[k][3] / a[k][k]))
}

/// Least squares of `x . row = value` over three unknowns.
fn least_squares(rows: impl Iterator<Item = ([f64; 3], f64)>) -> Option<[f64; 3]> {
    let mut a = [[0.0; 4]; 3];
    for (row, value) in rows {
        for i in 0..3 {
            for j in 0..3 {
                a[i][j] += row[i] * row[j];
            }
            a[i][3] += row[i] * value;
        }
    }
    solve(a)
}

fn point(view: &View) -> [f64; 3] {
    let (Beam::Parallel(p) | Beam::Source(p)) = view.beam;
    p
}

/// The axis: see the head of the module.
fn axis(geometry: &Geometry) -> Result<[f64; 3], ReconstructError> {
    if geometry.kind().dimensions() == 2 {
        return Ok([0.0, 0.0, 1.0]);
    }
    let views = geometry.views();
    let parallel = geometry.kind().is_parallel();
    let n = views.len() as f64;
    let columns: [f64; 3] =
        std::array::from_fn(|k| views.iter().map(|v| unit(v.v)[k]).sum::<f64>() / n);
    let mean: [f64; 3] =
        std::array::from_fn(|k| views.iter().map(|v| point(v)[k]).sum::<f64>() / n);
    let mut moments = [[0.0; 3]; 3];
    for view in views {
        let p = point(view);
        let d = if parallel { unit(p) } else { std::array::from_fn(|k| p[k] - mean[k]) };
        for i in 0..3 {
            for j in 0..3 {
                moments[i][j] += d[i] * d[j];
            }
        }
    }
    let (values, vectors) = eigen_3x3(moments);
    if values[1] <= SAME * SAME * values[0] {
        return Err(setting(if parallel {
            "all rays have one direction; filtered backprojection needs a turn"
        } else {
            "all sources are in one place or on a line; filtered backprojection needs a turn"
        }));
    }
    let normal = if values[2] <= SAME * SAME * values[0] {
        vectors[2]
    } else if parallel {
        return Err(setting(
            "the rays are not across one axis (a tilted beam); use an iterative method",
        ));
    } else if dot(columns, columns) > 0.99 * 0.99 {
        unit(columns)
    } else {
        return Err(setting(
            "the path has no axis: its sources are in no plane and the columns of its detectors not parallel; use an iterative method",
        ));
    };
    Ok(if dot(normal, columns) < 0.0 { normal.map(|x| -x) } else { normal })
}

impl Scan {
    pub(super) fn new(geometry: &Geometry) -> Result<Self, ReconstructError> {
        let axis = axis(geometry)?;
        let least = (0..3).min_by(|a, b| axis[*a].abs().total_cmp(&axis[*b].abs())).unwrap_or(0);
        let mut e = [0.0; 3];
        e[least] = 1.0;
        let first = if axis == [0.0, 0.0, 1.0] { [1.0, 0.0, 0.0] } else { unit(cross(e, axis)) };
        let basis = [first, cross(axis, first)];
        let views = geometry.views();
        let flat = |p: [f64; 3]| basis.map(|b| dot(b, p));
        let parallel = geometry.kind().is_parallel();
        let heights: Vec<f64> =
            views.iter().map(|v| dot(axis, if parallel { v.detector } else { point(v) })).collect();
        let places: Vec<Plane> = views.iter().map(|v| flat(point(v))).collect();
        if parallel {
            let angles: Vec<f64> = places.iter().map(|d| d[1].atan2(d[0])).collect();
            // The signed distance of a detector's middle is that of the centre, plus one
            // that all detectors share.
            let rows = views.iter().zip(&places).map(|(view, d)| {
                let size = d[0].hypot(d[1]);
                let across = [-d[1] / size, d[0] / size];
                let side = turn(*d, flat(view.u)).signum();
                let middle = flat(view.detector);
                ([across[0], across[1], side], across[0] * middle[0] + across[1] * middle[1])
            });
            let centre = least_squares(rows).map_or([0.0; 2], |x| [x[0], x[1]]);
            let shares = Shares::new(&angles, TAU);
            let (tangents, path) = (Vec::new(), Path::Circle);
            return Ok(Self {
                parallel,
                axis,
                basis,
                centre,
                angles,
                shares,
                tangents,
                heights,
                path,
            });
        }
        if views.len() < 3 {
            let what = format!("{} views; filtered backprojection needs three", views.len());
            return Err(setting(what));
        }
        let n = places.len() as f64;
        let mean: Plane = std::array::from_fn(|k| places.iter().map(|p| p[k]).sum::<f64>() / n);
        let line = || setting("the sources are on a line; use an iterative method");
        let rows = places.iter().map(|p| {
            let (x, y) = (p[0] - mean[0], p[1] - mean[1]);
            ([2.0 * x, 2.0 * y, 1.0], x * x + y * y)
        });
        let circle = least_squares(rows).ok_or_else(line)?;
        let centre = [mean[0] + circle[0], mean[1] + circle[1]];
        let arms: Vec<Plane> =
            places.iter().map(|p| [p[0] - centre[0], p[1] - centre[1]]).collect();
        let radii: Vec<f64> = arms.iter().map(|a| a[0].hypot(a[1])).collect();
        let angles: Vec<f64> = arms.iter().map(|a| a[1].atan2(a[0])).collect();
        let (least, most) =
            radii.iter().fold((f64::INFINITY, 0.0_f64), |(l, m), r| (l.min(*r), m.max(*r)));
        // Also false for NaN.
        let around = most <= OVAL * least;
        if !around {
            return Err(setting(
                "the sources do not go around one centre; use an iterative method",
            ));
        }
        let round = most - least <= SAME * most;
        let shares = Shares::new(&angles, TAU);
        let slopes = if round { vec![0.0; radii.len()] } else { slopes(&angles, &radii) };
        let tangents = arms
            .iter()
            .zip(radii.iter().zip(&slopes))
            .map(|(a, (r, d))| [-a[1] + d * a[0] / r, a[0] + d * a[1] / r])
            .collect();
        let lift = heights
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, m), h| (l.min(*h), m.max(*h)));
        let path = if lift.1 - lift.0 > SAME * most {
            screw(&angles, &heights, SAME * most).unwrap_or(Path::Wavy)
        } else if round {
            Path::Circle
        } else {
            Path::Closed
        };
        Ok(Self { parallel, axis, basis, centre, angles, shares, tangents, heights, path })
    }

    /// Coordinates in the plane across the axis.
    pub(super) fn flat(&self, p: [f64; 3]) -> Plane {
        self.basis.map(|b| dot(b, p))
    }
}

/// The derivative of the radius by the angle, from the neighbours in angle.
fn slopes(angles: &[f64], radii: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..angles.len()).collect();
    order.sort_by(|a, b| angles[*a].total_cmp(&angles[*b]));
    let n = order.len();
    let mut out = vec![0.0; n];
    for (i, k) in order.iter().enumerate() {
        let other = |step: usize| {
            let j = order[(i + step) % n];
            ((angles[j] - angles[*k] + PI).rem_euclid(TAU) - PI, radii[j] - radii[*k])
        };
        let ((a, ra), (b, rb)) = (other(n - 1), other(1));
        // The parabola through three points, or the line where a side has none.
        out[*k] = if a < -1e-9 && b > 1e-9 && b - a < PI {
            (ra / a * b - rb / b * a) / (b - a)
        } else {
            0.0
        };
    }
    out
}

/// A screw when the height is linear in the angle, which grows or falls from view to view.
fn screw(angles: &[f64], heights: &[f64], rounding: f64) -> Option<Path> {
    let mut unwound = vec![angles[0]];
    for pair in angles.windows(2) {
        let step = (pair[1] - pair[0] + PI).rem_euclid(TAU) - PI;
        unwound.push(unwound.last()? + step);
    }
    let (first, last) = (unwound[0], *unwound.last()?);
    let advance = (heights.last()? - heights[0]) / (last - first);
    let fits = unwound
        .iter()
        .zip(heights)
        .all(|(a, h)| (h - heights[0] - advance * (a - first)).abs() <= 10.0 * rounding);
    (fits && advance.is_finite()).then_some(Path::Screw { unwound, advance })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use microtome_models::ct::{GeometryKind, TrajectoryKind, TrajectorySpec};

    #[test]
    fn shares_fill_what_was_seen() {
        let degrees = |list: &[f64]| list.iter().map(|a| a.to_radians()).collect::<Vec<_>>();
        let sum = |s: &Shares| s.range.to_degrees();
        // Uneven angles in any order cover the turn.
        let all = Shares::new(&degrees(&[0.0, 200.0, 90.0, 100.0, 300.0, 250.0]), TAU);
        assert!(all.is_full() && (sum(&all) - 360.0).abs() < 1e-9);
        assert!((all.widths[2].to_degrees() - 50.0).abs() < 1e-9);
        // The same angle twice shares it.
        let twice: Vec<f64> = (0..360).map(|k| f64::from(k % 180)).collect();
        let twice = Shares::new(&degrees(&twice), PI);
        assert!((sum(&twice) - 180.0).abs() < 1e-9);
        // A limited range is its own.
        let part: Vec<f64> = (0..120).map(|k| 300.0 + f64::from(k)).collect();
        let part = Shares::new(&degrees(&part), TAU);
        assert!(!part.is_full() && (sum(&part) - 120.0).abs() < 1e-9);
        assert!((part.start.unwrap().rem_euclid(TAU).to_degrees() - 299.5).abs() < 1e-9);
        assert!(part.has(0.0) && part.has(310.0_f64.to_radians() + TAU));
        assert!(!part.has(PI) && !part.has(299.0_f64.to_radians()));
    }

    #[test]
    fn paths_are_known() {
        let spec = TrajectorySpec {
            source_to_axis_mm: Some(200.0),
            axis_to_detector_mm: Some(100.0),
            ..TrajectorySpec::circular(90, &[1.0, 1.0])
        };
        let scan = |spec: &TrajectorySpec| {
            Scan::new(&spec.geometry(GeometryKind::Cone3d, [5, 7]).unwrap())
        };
        let circle = scan(&spec).unwrap();
        assert_eq!(circle.path, Path::Circle);
        assert!((circle.axis[2] - 1.0).abs() < 1e-12);
        assert!(circle.centre[0].hypot(circle.centre[1]) < 1e-9);
        for t in &circle.tangents {
            assert!((t[0].hypot(t[1]) - 200.0).abs() < 1e-9);
        }
        let helix = TrajectorySpec {
            kind: TrajectoryKind::Helical,
            pitch_mm: Some(30.0),
            range_deg: Some(900.0),
            ..spec.clone()
        };
        let Path::Screw { unwound, advance } = scan(&helix).unwrap().path else {
            unreachable!("a helix is a screw")
        };
        assert!((advance.abs() * TAU - 30.0).abs() < 1e-9);
        assert!(((unwound[89] - unwound[0]).abs().to_degrees() - 890.0).abs() < 1e-9);
        let saddle = TrajectorySpec {
            kind: TrajectoryKind::Saddle,
            amplitude_mm: Some(9.0),
            ..spec.clone()
        };
        assert_eq!(scan(&saddle).unwrap().path, Path::Wavy);
        // An ellipse: the derivative of a = (3 cos t, 2 sin t) has length known by its angle.
        let mut rows = Vec::new();
        let turns = 720;
        for k in 0..turns {
            let (s, c) = (TAU * f64::from(k) / f64::from(turns)).sin_cos();
            let source = [300.0 * c, 200.0 * s];
            rows.extend([source[0], source[1], -c * 90.0, -s * 90.0, -s, c]);
        }
        let ellipse = Scan::new(&Geometry::new(GeometryKind::Fan2d, [1, 9], &rows).unwrap());
        let ellipse = ellipse.unwrap();
        assert_eq!(ellipse.path, Path::Closed);
        let t = ellipse.tangents[90];
        // dt/dphi = r^2/(ab); da/dphi = (-300 sin t, 200 cos t) dt/dphi at t = 45 degrees.
        let r2 = (300.0_f64.powi(2) + 200.0_f64.powi(2)) / 2.0;
        let scale = 0.5_f64.sqrt() * r2 / 60000.0;
        assert!(
            (t[0] + 300.0 * scale).abs() < 0.02 && (t[1] - 200.0 * scale).abs() < 0.02,
            "{t:?}"
        );
    }

    #[test]
    fn impossible_paths_are_refused() {
        let says = |kind, rows: &[f64], text: &str| {
            let nv = if matches!(kind, GeometryKind::Fan2d) { 1 } else { 4 };
            let found = Scan::new(&Geometry::new(kind, [nv, 9], rows).unwrap());
            let found = found.unwrap_err().to_string();
            assert!(found.contains(text), "{found}");
        };
        let line: Vec<f64> =
            (0..5).flat_map(|k| [f64::from(k) * 9.0, -90.0, 0.0, 90.0, 1.0, 0.0]).collect();
        says(GeometryKind::Fan2d, &line, "on a line");
        says(GeometryKind::Fan2d, &line[..12], "needs three");
        let tilted =
            TrajectorySpec { tilt_deg: Some(30.0), ..TrajectorySpec::circular(20, &[1.0, 1.0]) };
        let rows = tilted.geometry(GeometryKind::Parallel3d, [4, 9]).unwrap().rows();
        says(GeometryKind::Parallel3d, &rows, "iterative");
    }
}

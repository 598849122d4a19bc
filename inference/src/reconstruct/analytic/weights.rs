//! Weights of views, rays and slices, chosen from the geometry.
//!
//! The formulas are those of `mod.rs` and `redundancy.rs`. Validated by
//! `inference/tests/suite/analytic.rs`.

use super::super::ReconstructError;
use super::Number;
use super::redundancy::{Redundancy, Sharing};
use super::scan::{Path, Plane, Scan, Shares, turn};
use microtome_kernels::ray::{Beam, Panel, Surface, View};
use microtome_kernels::vector::{dot, minus, unit};
use microtome_models::ct::{Geometry, VolumeGrid};
use rayon::prelude::*;
use std::f64::consts::{PI, TAU};
use std::ops::Range;

/// Least cosine between axis and columns of a detector: ten degrees.
const UPRIGHT: f64 = 0.984_8;
/// How exactly a curved detector is about its source, relative to the distance.
const ABOUT: f64 = 1e-6;
/// Shorter over longer side of a detector that is to one side.
const ONE_SIDED: f64 = 0.9;
/// Length of the soft ends of the turn of a slice of a helix.
const FEATHER: f64 = PI / 6.0;

fn setting(problem: impl Into<String>) -> ReconstructError {
    ReconstructError::setting("geometry", problem)
}

fn panel(geometry: &Geometry) -> Panel {
    let [nv, nu] = geometry.detector();
    Panel { nu, nv, surface: geometry.surface() }
}

fn source(view: &View) -> Option<[f64; 3]> {
    match view.beam {
        Beam::Source(s) => Some(s),
        Beam::Parallel(_) => None,
    }
}

/// From the source across to the detector.
fn distance(view: &View, source: [f64; 3]) -> f64 {
    let (u, v) = (view.u, view.v);
    let normal = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    dot(minus(view.detector, source), unit(normal)).abs()
}

/// Radians of a pixel of a curved detector, nothing for a flat one.
pub(super) fn check_detectors(
    geometry: &Geometry,
    scan: &Scan,
) -> Result<Option<f64>, ReconstructError> {
    for (k, view) in geometry.views().iter().enumerate() {
        if dot(unit(view.v), scan.axis).abs() < UPRIGHT {
            return Err(setting(format!(
                "the columns of the detector of view {k} (counted from 0) lean from the axis by more than ten degrees; use an iterative method"
            )));
        }
    }
    let Surface::Cylinder { radius } = geometry.surface() else { return Ok(None) };
    let mut arc = None;
    for (k, view) in geometry.views().iter().enumerate() {
        let Some(s) = source(view) else { return Ok(None) };
        let far = distance(view, s);
        let beside = dot(minus(view.detector, s), unit(view.u));
        let radius = radius.unwrap_or(far);
        if (radius - far).abs().max(beside.abs()) > ABOUT * far {
            return Err(setting(format!(
                "the arc of the detector of view {k} (counted from 0) is not about its source: radius {radius} mm, source {far} mm across and {beside} mm beside; use an iterative method"
            )));
        }
        let turn = dot(view.u, view.u).sqrt() / radius;
        if arc.is_some_and(|a: f64| (a - turn).abs() > ABOUT * turn) {
            return Err(setting("the arcs of the views differ; use an iterative method"));
        }
        arc = Some(turn);
    }
    Ok(arc)
}

/// What the ramp in pixels is divided by, with the squared depth of the detector.
pub(super) fn factors(geometry: &Geometry, scan: &Scan) -> Vec<f64> {
    let of = |view: &View| match view.beam {
        Beam::Source(s) => 1.0 / (dot(view.u, view.u).sqrt() * distance(view, s)),
        Beam::Parallel(ray) => {
            let d = scan.flat(ray);
            d[0].hypot(d[1]) / turn(d, scan.flat(view.u)).abs()
        }
    };
    geometry.views().iter().map(of).collect()
}

/// Angle from the centre, or signed distance from it, of the ray through a pixel.
fn lateral(scan: &Scan, view: &View, pixel: [f64; 3]) -> f64 {
    match view.beam {
        Beam::Source(s) => {
            let at = scan.flat(s);
            let inward = [scan.centre[0] - at[0], scan.centre[1] - at[1]];
            let ray = scan.flat(minus(pixel, s));
            turn(inward, ray).atan2(inward[0] * ray[0] + inward[1] * ray[1])
        }
        Beam::Parallel(ray) => {
            let (d, p) = (scan.flat(ray), scan.flat(pixel));
            turn(d, [p[0] - scan.centre[0], p[1] - scan.centre[1]]) / d[0].hypot(d[1])
        }
    }
}

/// How far both ends of the detector reach from the centre: the least of all views.
fn reach(geometry: &Geometry, scan: &Scan) -> [f64; 2] {
    let panel = panel(geometry);
    let middle = (panel.nv as f64 - 1.0) / 2.0;
    let mut out = [f64::INFINITY; 2];
    for view in geometry.views() {
        let ends = [0.0, panel.nu as f64 - 1.0]
            .map(|iu| lateral(scan, view, view.pixel(panel, iu, middle)));
        out[0] = out[0].min(-ends[0].min(ends[1]));
        out[1] = out[1].min(ends[0].max(ends[1]));
    }
    out
}

/// Pixels that are added to the short side of a detector, before the first or after the
/// last, so that it reaches as far as the long one: what the ramp leaves there counts.
pub(super) fn extension(geometry: &Geometry, scan: &Scan) -> [usize; 2] {
    let panel = panel(geometry);
    let (view, nu) = (&geometry.views()[0], panel.nu as f64);
    let middle = (panel.nv as f64 - 1.0) / 2.0;
    let size = |iu: f64| lateral(scan, view, view.pixel(panel, iu, middle)).abs();
    let (first, last) = (size(0.0), size(nu - 1.0));
    let far = first.max(last);
    let count = |place: &dyn Fn(f64) -> f64| {
        (0..2 * panel.nu).find(|k| size(place(*k as f64)) >= far).unwrap_or(2 * panel.nu)
    };
    if first < last { [count(&|k| -k), 0] } else { [0, count(&|k| nu - 1.0 + k)] }
}

/// The same detectors with more pixels.
pub(super) fn extended(
    geometry: &Geometry,
    [before, after]: [usize; 2],
) -> Result<Geometry, ReconstructError> {
    let (kind, [nv, nu]) = (geometry.kind(), geometry.detector());
    let (d, mut rows) = (kind.dimensions(), geometry.rows());
    let shift = (after as f64 - before as f64) / 2.0;
    for row in rows.chunks_exact_mut(kind.width()) {
        for i in 0..d {
            row[d + i] += shift * row[2 * d + i];
        }
    }
    Ok(Geometry::new(kind, [nv, nu + before + after], &rows)?)
}

/// The farthest corner of the volume from the axis, in mm.
fn extent(volume: &VolumeGrid, scan: &Scan) -> f64 {
    let reversed = |list: Vec<f64>, fill: f64| -> [f64; 3] {
        std::array::from_fn(|k| list.iter().rev().nth(k).copied().unwrap_or(fill))
    };
    let sizes = reversed(volume.voxel_mm(), 1.0);
    let counts = reversed(volume.shape().iter().map(|n| *n as f64).collect(), 0.0);
    let (centre, axes) = (reversed(volume.centre_mm(), 0.0), volume.axes());
    let mut most: f64 = 0.0;
    for corner in 0..8 {
        let side = |k: usize| if corner >> k & 1 == 1 { 0.5 } else { -0.5 };
        let p: [f64; 3] = std::array::from_fn(|i| {
            centre[i] + (0..3).map(|k| side(k) * counts[k] * sizes[k] * axes[k][i]).sum::<f64>()
        });
        let at: Plane = scan.flat(p);
        most = most.max((at[0] - scan.centre[0]).hypot(at[1] - scan.centre[1]));
    }
    most
}

/// What is chosen from the geometry.
pub(super) struct Plan {
    pub(super) redundancy: Redundancy,
    pub(super) shares: Vec<f64>,
    pub(super) slices: Option<Vec<f64>>,
    pub(super) notes: Vec<String>,
}

impl Plan {
    pub(super) fn new(
        geometry: &Geometry,
        volume: &VolumeGrid,
        scan: &Scan,
        sharing: Sharing,
    ) -> Result<Self, ReconstructError> {
        if let Path::Screw { unwound, advance } = &scan.path {
            return Self::helix(volume, scan, unwound, *advance);
        }
        let mut notes = Vec::new();
        let sides = reach(geometry, scan);
        let (short, long) = (sides[0].min(sides[1]), sides[0].max(sides[1]));
        let size = extent(volume, scan);
        let radius = scan.tangents.iter().map(|t| t[0].hypot(t[1])).fold(f64::INFINITY, f64::min);
        // Where the volume ends, as an angle or a distance from the centre.
        let edge = if scan.parallel { size } else { (size / radius).min(1.0).asin() };
        let full = scan.shares.is_full();
        let one_sided = full && short < ONE_SIDED * long;
        let range = scan.shares.range.to_degrees();
        let sharing = match sharing {
            Sharing::Auto if one_sided => Sharing::Offset,
            Sharing::Auto if full || scan.parallel => Sharing::Full,
            Sharing::Auto => Sharing::Short,
            other => other,
        };
        let unit = if scan.parallel { "mm" } else { "degrees" };
        let shown = |x: f64| if scan.parallel { x } else { x.to_degrees() };
        let mut shares = scan.shares.widths.clone();
        let redundancy = match sharing {
            Sharing::Offset => {
                if !full {
                    return Err(setting(format!(
                        "a detector to one side needs a full turn, not {range:.1} degrees"
                    )));
                }
                if short <= 0.0 {
                    return Err(setting(
                        "the detector does not reach the axis; use an iterative method",
                    ));
                }
                notes.push(format!(
                    "detector to one side ({:.2} and {:.2} {unit}): weights of Wang",
                    shown(short),
                    shown(long)
                ));
                let side = if sides[0] > sides[1] { -1.0 } else { 1.0 };
                Redundancy::Offset { reach: short, side }
            }
            // Views of a line share its direction, whatever their sense.
            _ if scan.parallel => {
                let half = Shares::new(&scan.angles, PI);
                shares = half.widths.clone();
                let range = half.range.to_degrees();
                if half.is_full() {
                    notes.push("directions of a half turn: equal weights".into());
                } else {
                    notes.push(format!(
                        "limited angle: {range:.1} of 180 degrees; what lies in the others is missing"
                    ));
                }
                Redundancy::Equal(1.0)
            }
            Sharing::Short => match scan.shares.start {
                Some(start) => {
                    let delta = (scan.shares.range - PI) / 2.0;
                    let needed = edge.min(long);
                    if delta < needed {
                        notes.push(format!(
                            "limited angle: {range:.1} degrees, fewer than the {:.1} of a short scan; what lies in the others is missing",
                            (PI + 2.0 * needed).to_degrees()
                        ));
                        Redundancy::Partial
                    } else {
                        notes.push(format!("short scan of {range:.1} degrees: weights of Parker"));
                        Redundancy::Short { start, delta }
                    }
                }
                None if full => {
                    return Err(setting("the scan is a full turn; leave out short"));
                }
                None => {
                    notes.push(format!(
                        "arcs of {range:.1} degrees in all: lines measured twice count half"
                    ));
                    Redundancy::Partial
                }
            },
            _ => {
                if !full {
                    notes.push(format!("{range:.1} degrees count as those of a full turn"));
                } else {
                    notes.push("full turn: equal weights".into());
                }
                Redundancy::Equal(0.5)
            }
        };
        match scan.path {
            Path::Wavy => notes.push(
                "the path leaves its plane: approximate, as if every view were of a circle".into(),
            ),
            Path::Closed => notes.push("the path is a closed curve, no circle".into()),
            _ => {}
        }
        Ok(Self { redundancy, shares, slices: None, notes })
    }

    /// For each slice the turn about the angle where the source passes it.
    fn helix(
        volume: &VolumeGrid,
        scan: &Scan,
        unwound: &[f64],
        advance: f64,
    ) -> Result<Self, ReconstructError> {
        let axis = volume.axes()[2];
        if dot(axis, scan.axis).abs() < 1.0 - 1e-9 {
            return Err(setting(
                "the slices of the volume must be across the axis of the helix; use an iterative method for others",
            ));
        }
        let (first, last) = (unwound[0], unwound[unwound.len() - 1]);
        let (low, high) = (first.min(last), first.max(last));
        let turns = (high - low) / TAU;
        if high - low < TAU + FEATHER {
            return Err(setting(format!(
                "the helix has {turns:.2} turns, but each slice needs 1.1; use an iterative method"
            )));
        }
        // The share of a view reaches half way to its neighbours.
        let n = unwound.len();
        let shares = (0..n)
            .map(|k| {
                let step = |a: usize, b: usize| (unwound[b] - unwound[a]).abs();
                match k {
                    0 => step(0, 1),
                    k if k + 1 == n => step(n - 2, n - 1),
                    k => 0.5 * step(k - 1, k + 1),
                }
            })
            .collect();
        let nz = volume.shape()[0];
        let (centre, size) = (volume.centre_mm(), volume.voxel_mm()[0]);
        let middle = dot([centre[2], centre[1], centre[0]], scan.axis);
        let half = PI + FEATHER / 2.0;
        let mut slices = vec![0.0; n * nz];
        let mut beyond = 0;
        for z in 0..nz {
            let along = (z as f64 - (nz as f64 - 1.0) / 2.0) * size * dot(axis, scan.axis);
            let passed = first + (middle + along - scan.heights[0]) / advance;
            let angle = passed.clamp(low + half, high - half);
            beyond += usize::from((angle - passed).abs() > FEATHER);
            for (k, a) in unwound.iter().enumerate() {
                slices[k * nz + z] = ((half - (a - angle).abs()) / FEATHER).clamp(0.0, 1.0);
            }
        }
        let mut notes = vec![format!(
            "helix of {turns:.2} turns: approximate, each slice from the turn about it"
        )];
        if beyond > 0 {
            notes.push(format!(
                "{beyond} of {nz} slices are not in the middle of a turn; they take the first or last"
            ));
        }
        Ok(Self { redundancy: Redundancy::Equal(0.5), shares, slices: Some(slices), notes })
    }
}

/// Multiplies the projections of some views by share, redundancy and weight of the ray.
pub(super) fn weigh<T: Number>(
    geometry: &Geometry,
    scan: &Scan,
    redundancy: &Redundancy,
    shares: &[f64],
    views: Range<usize>,
    projections: &mut [T],
) {
    let panel = panel(geometry);
    let (nu, nv) = (panel.nu, panel.nv);
    projections.par_chunks_mut(nu * nv).zip(views).for_each(|(projection, k)| {
        let view = &geometry.views()[k];
        let angle = scan.angles[k];
        // Where columns run along the axis, the part of a ray across it is one for all.
        let upright = scan.parallel || dot(unit(view.v), scan.axis).abs() > 1.0 - 1e-12;
        let mut rays = vec![Ray::default(); nu];
        for (iv, row) in projection.chunks_exact_mut(nu).enumerate() {
            if iv == 0 || !upright {
                for (iu, ray) in rays.iter_mut().enumerate() {
                    let pixel = view.pixel(panel, iu as f64, iv as f64);
                    let share = shares[k]
                        * redundancy.weight(&scan.shares, angle, lateral(scan, view, pixel));
                    *ray = Ray::new(scan, view, k, pixel, share);
                }
            }
            let rise = if upright { iv as f64 * dot(view.v, scan.axis) } else { 0.0 };
            if scan.parallel {
                for (value, ray) in row.iter_mut().zip(&rays) {
                    *value = T::narrow(value.wide() * ray.weight);
                }
            } else {
                for (value, ray) in row.iter_mut().zip(&rays) {
                    let rise = ray.rise + rise;
                    let length = (ray.across + rise * rise).sqrt();
                    *value = T::narrow(value.wide() * ray.weight / length);
                }
            }
        }
    });
}

/// The weight of a ray, but for its length.
#[derive(Clone, Copy, Default)]
struct Ray {
    /// Times the length of its part across the axis.
    weight: f64,
    /// Squared length of the part across the axis.
    across: f64,
    /// Length along the axis.
    rise: f64,
}

impl Ray {
    fn new(scan: &Scan, view: &View, k: usize, pixel: [f64; 3], share: f64) -> Self {
        let Some(s) = source(view) else {
            return Self { weight: share, across: 1.0, rise: 0.0 };
        };
        let ray = minus(pixel, s);
        let flat = scan.flat(ray);
        let across = flat[0] * flat[0] + flat[1] * flat[1];
        Self {
            weight: share * turn(scan.tangents[k], flat).abs(),
            across,
            rise: dot(ray, scan.axis),
        }
    }
}

//! diffct's worked examples off the circle: a detector that wobbles, a fan on an ellipse, cones
//! on a spiral, a saddle and a figure of eight.
//! `cargo run --release --example ct_paths [FOLDER]` prints how far every image is from the
//! truth and writes its middle slice as a PNG.
#![allow(clippy::print_stdout)]

mod scenes;

use microtome::inference::reconstruct::*;
use microtome::kernels::ray::Projector;
use microtome::models::ct::{
    Geometry, GeometryKind, RayTransform, TrajectoryKind, TrajectorySpec, VolumeGrid,
};
use scenes::{Result, balls, head, show};
use std::f64::consts::TAU;
use std::ops::ControlFlow;

/// Parallel beams whose detector wobbles: what it costs not to know, and that it costs
/// nothing to know.
fn wobble() -> Result<()> {
    let volume = VolumeGrid::new(&[128, 128], &[1.0, 1.0], &[0.0, 0.0])?;
    let steady = TrajectorySpec::circular(180, &[1.0]);
    // The detector goes 4 mm to and fro along u, three times in half a turn.
    let mut wobble = steady.clone();
    wobble.kind = TrajectoryKind::Sinusoidal;
    wobble.offset_amplitude_mm = Some(4.0);
    wobble.periods = Some(6.0);

    let truth = head(&volume)?;
    let measured = wobble.geometry(GeometryKind::Parallel2d, [1, 192])?;
    let a = RayTransform::new(measured, volume.clone(), Projector::Joseph)?;
    let projections = a.apply(&truth)?;
    for (name, path) in [("wobble_ignored", &steady), ("wobble_known", &wobble)] {
        let geometry = path.geometry(GeometryKind::Parallel2d, [1, 192])?;
        let fbp = FilteredBackprojection::new(&geometry, &volume, Filter::Hann, Sharing::Auto)?;
        show(name, &[128, 128], &fbp.reconstruct(&projections)?, &truth)?;
    }
    Ok(())
}

/// A fan whose source runs along an ellipse: filtered backprojection along the path, and least
/// squares with total variation from a third of the views.
fn ellipse() -> Result<()> {
    let volume = VolumeGrid::new(&[128, 128], &[1.0, 1.0], &[0.0, 0.0])?;
    let truth = head(&volume)?;
    // Any list of sources is a path; the detector stands across, 400 mm from its source.
    let path = |views: u32| {
        let sources = (0..views).map(|k| {
            let (s, c) = (TAU * f64::from(k) / f64::from(views)).sin_cos();
            [300.0 * s, -220.0 * c, 0.0]
        });
        Geometry::of_sources(GeometryKind::Fan2d, [1, 256], &[1.4], 400.0, sources)
    };

    let geometry = path(360)?;
    let a = RayTransform::new(geometry.clone(), volume.clone(), Projector::Joseph)?;
    let projections = a.apply(&truth)?;
    let fbp = FilteredBackprojection::new(&geometry, &volume, Filter::Hann, Sharing::Auto)?;
    show("ellipse_fbp", &[128, 128], &fbp.reconstruct(&projections)?, &truth)?;

    let few = RayTransform::new(path(120)?, volume, Projector::Joseph)?;
    let projections = few.apply(&truth)?;
    let problem = Problem::new(&few, &projections)?.with_bounds(0.0, f64::INFINITY)?;
    let settings = Settings { tv_weight: Some(0.5), ..Settings::default() };
    let mut tv = Reconstruction::new(Algorithm::PdhgTv, &problem, &settings)?;
    tv.run(&StoppingRule::iterations(150), &mut |_| ControlFlow::Continue(()))?;
    show("ellipse_tv", &[128, 128], tv.image(), &truth)?;
    Ok(())
}

/// Cones on a spiral, a saddle and a figure of eight, by least squares.
fn cones() -> Result<()> {
    const KIND: GeometryKind = GeometryKind::Cone3d;
    const VIEWS: usize = 90;
    const DETECTOR: [usize; 2] = [80, 72];
    let n = 48;
    let volume = VolumeGrid::new(&[n, n, n], &[1.0; 3], &[0.0; 3])?;
    let truth = balls(n);
    let mut path = TrajectorySpec::circular(VIEWS, &[1.5, 1.5]);
    path.source_to_axis_mm = Some(150.0);
    path.axis_to_detector_mm = Some(75.0);
    // Two turns that climb 15 mm each.
    let mut spiral = path.clone();
    spiral.kind = TrajectoryKind::Helical;
    spiral.range_deg = Some(720.0);
    spiral.pitch_mm = Some(15.0);
    // 20 mm up and down, twice a turn.
    let mut saddle = path;
    saddle.kind = TrajectoryKind::Saddle;
    saddle.amplitude_mm = Some(20.0);
    // An eight on the sphere of 150 mm: once around its two lobes.
    let eight = (0..VIEWS).map(|k| {
        let t = TAU * (k as f64 + 0.5) / VIEWS as f64;
        let (along, across) = (1.2 * t.sin(), 0.6 * (2.0 * t).sin());
        [along.sin() * across.cos(), -along.cos() * across.cos(), across.sin()].map(|v| 150.0 * v)
    });
    for (name, geometry) in [
        ("path_spiral", spiral.geometry(KIND, DETECTOR)?),
        ("path_saddle", saddle.geometry(KIND, DETECTOR)?),
        ("path_eight", Geometry::of_sources(KIND, DETECTOR, &[1.5, 1.5], 225.0, eight)?),
    ] {
        let a = RayTransform::new(geometry, volume.clone(), Projector::Joseph)?;
        let projections = a.apply(&truth)?;
        let problem = Problem::new(&a, &projections)?;
        let mut cgls = Reconstruction::new(Algorithm::Cgls, &problem, &Settings::default())?;
        cgls.run(&StoppingRule::iterations(20), &mut |_| ControlFlow::Continue(()))?;
        show(name, &[n, n, n], cgls.image(), &truth)?;
    }
    Ok(())
}

fn main() -> Result<()> {
    wobble()?;
    ellipse()?;
    cones()
}

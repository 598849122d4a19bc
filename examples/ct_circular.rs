//! diffct's worked examples on a circle: parallel beams, a fan, a cone.
//! `cargo run --release --example ct_circular [FOLDER]` prints how far every image is from the
//! truth and writes its middle slice as a PNG.
#![allow(clippy::print_stdout)]

mod scenes;

use microtome::inference::reconstruct::*;
use microtome::kernels::ray::Projector;
use microtome::models::ct::{GeometryKind, RayTransform, TrajectorySpec, VolumeGrid};
use scenes::{Result, balls, head, show};
use std::ops::ControlFlow;

/// Parallel beams: filtered backprojection and SIRT.
fn parallel() -> Result<()> {
    // 128 x 128 voxels of 1 mm about the axis; 180 views over half a turn, 192 pixels.
    let volume = VolumeGrid::new(&[128, 128], &[1.0, 1.0], &[0.0, 0.0])?;
    let path = TrajectorySpec::circular(180, &[1.0]);
    let geometry = path.geometry(GeometryKind::Parallel2d, [1, 192])?;

    let truth = head(&volume)?;
    let a = RayTransform::new(geometry.clone(), volume.clone(), Projector::Joseph)?;
    let projections = a.apply(&truth)?;

    let fbp = FilteredBackprojection::new(&geometry, &volume, Filter::Hann, Sharing::Auto)?;
    show("parallel_fbp", &[128, 128], &fbp.reconstruct(&projections)?, &truth)?;

    let problem = Problem::new(&a, &projections)?.with_bounds(0.0, f64::INFINITY)?;
    let mut sirt = Reconstruction::new(Algorithm::Sirt, &problem, &Settings::default())?;
    sirt.run(&StoppingRule::iterations(100), &mut |_| ControlFlow::Continue(()))?;
    show("parallel_sirt", &[128, 128], sirt.image(), &truth)?;
    Ok(())
}

/// A fan: a full turn, and a short scan with Parker's weights.
fn fan() -> Result<()> {
    let volume = VolumeGrid::new(&[128, 128], &[1.0, 1.0], &[0.0, 0.0])?;
    let truth = head(&volume)?;
    // The source is 250 mm from the axis, the detector 125 mm: magnified 1.5 times.
    let mut path = TrajectorySpec::circular(360, &[1.5]);
    path.source_to_axis_mm = Some(250.0);
    path.axis_to_detector_mm = Some(125.0);
    for (name, range) in [("fan_full", 360.0), ("fan_short", 215.0)] {
        path.range_deg = Some(range);
        let geometry = path.geometry(GeometryKind::Fan2d, [1, 192])?;
        let a = RayTransform::new(geometry.clone(), volume.clone(), Projector::Joseph)?;
        let projections = a.apply(&truth)?;
        let fbp = FilteredBackprojection::new(&geometry, &volume, Filter::Hann, Sharing::Auto)?;
        for note in fbp.notes() {
            println!("{name}: {note}");
        }
        show(name, &[128, 128], &fbp.reconstruct(&projections)?, &truth)?;
    }
    Ok(())
}

/// A cone: Feldkamp's method and conjugate gradients.
fn cone() -> Result<()> {
    let n = 64;
    let volume = VolumeGrid::new(&[n, n, n], &[1.0; 3], &[0.0; 3])?;
    let mut path = TrajectorySpec::circular(120, &[1.5, 1.5]);
    path.source_to_axis_mm = Some(200.0);
    path.axis_to_detector_mm = Some(100.0);
    let geometry = path.geometry(GeometryKind::Cone3d, [80, 80])?;

    let truth = balls(n);
    let a = RayTransform::new(geometry.clone(), volume.clone(), Projector::Joseph)?;
    let projections = a.apply(&truth)?;

    let fdk = FilteredBackprojection::new(&geometry, &volume, Filter::Hann, Sharing::Auto)?;
    show("cone_fdk", &[n, n, n], &fdk.reconstruct(&projections)?, &truth)?;

    let problem = Problem::new(&a, &projections)?;
    let mut cgls = Reconstruction::new(Algorithm::Cgls, &problem, &Settings::default())?;
    cgls.run(&StoppingRule::iterations(15), &mut |_| ControlFlow::Continue(()))?;
    show("cone_cgls", &[n, n, n], cgls.image(), &truth)?;
    Ok(())
}

fn main() -> Result<()> {
    parallel()?;
    fan()?;
    cone()
}

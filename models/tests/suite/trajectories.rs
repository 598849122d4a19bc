//! Paths against those of diffct, whose rows were made by diffct itself.
#![allow(clippy::unwrap_used, clippy::panic)]

use microtome_kernels::ray::Beam;
use microtome_models::ct::{Geometry, GeometryKind, TrajectoryKind, TrajectorySpec};
use std::f64::consts::{PI, TAU};

/// Rows of a path in `tests/golden/trajectories.csv`.
fn golden(name: &str) -> Vec<f64> {
    let text = include_str!("../../../tests/golden/trajectories.csv");
    let rows = text.lines().filter_map(|l| l.strip_prefix(name)?.strip_prefix(','));
    rows.flat_map(|l| l.split(',').map(|c| c.parse().unwrap()).collect::<Vec<f64>>()).collect()
}

/// Its circles and named paths have u against ours (they look from the other side) and
/// rays are given without a sign; its custom paths have u as ours.
fn same(found: &Geometry, name: &str, mirrored: bool) {
    let (mut rows, expected) = (found.rows(), golden(name));
    assert_eq!(rows.len(), expected.len(), "{name}");
    let kind = found.kind();
    let d = kind.dimensions();
    for row in rows.chunks_mut(kind.width()) {
        if mirrored {
            row[2 * d..3 * d].iter_mut().for_each(|x| *x = -*x);
        }
    }
    for (at, (f, e)) in rows.iter().zip(&expected).enumerate() {
        assert!((f - e).abs() < 2e-5, "{name} {at}: {f} {e}");
    }
}

#[test]
fn paths_of_diffct() {
    use GeometryKind::{Cone3d, Fan2d, Parallel2d};
    use TrajectoryKind::{Circular, Helical, Saddle, Sinusoidal};
    let path = |kind: TrajectoryKind, views: usize, of: GeometryKind| {
        let parallel = of.is_parallel();
        TrajectorySpec {
            kind,
            source_to_axis_mm: (!parallel).then_some(20.0),
            axis_to_detector_mm: (!parallel).then_some(11.0),
            // Its angle 0 is ours at 180 degrees, for parallel beams at 90.
            start_deg: Some(if parallel { 90.0 } else { 180.0 }),
            ..TrajectorySpec::circular(views, &[1.0, 1.0][..of.dimensions() - 1])
        }
    };
    let build = |spec: &TrajectorySpec, of: GeometryKind| {
        spec.geometry(of, [if of.dimensions() == 2 { 1 } else { 4 }, 5]).unwrap()
    };
    same(&build(&path(Circular, 5, Parallel2d), Parallel2d), "circular_parallel2d", false);
    same(&build(&path(Circular, 5, Fan2d), Fan2d), "circular_fan2d", true);
    let mut part = path(Circular, 5, Cone3d);
    part.start_deg = Some(180.0 + 0.4_f64.to_degrees());
    part.range_deg = Some(2.6_f64.to_degrees());
    same(&build(&part, Cone3d), "circular_cone3d", true);
    // The same angles as a list.
    part.angles_deg =
        Some((0..5).map(|k| 180.0 + (0.4 + 0.52 * f64::from(k)).to_degrees()).collect());
    (part.start_deg, part.range_deg) = (None, None);
    same(&build(&part, Cone3d), "circular_cone3d", true);
    // z_range is between the first and the last view.
    let mut spiral = path(Helical, 7, Cone3d);
    (spiral.range_deg, spiral.pitch_mm) = (Some(720.0), Some(12.0 / 2.0 * 7.0 / 6.0));
    same(&build(&spiral, Cone3d), "spiral_cone3d", true);
    let wave = |of: GeometryKind| {
        let mut spec = path(Sinusoidal, 7, of);
        spec.periods = Some(2.0);
        let amplitude = Some(3.0);
        if of.is_parallel() {
            spec.offset_amplitude_mm = amplitude;
        } else {
            spec.radial_amplitude_mm = amplitude;
        }
        build(&spec, of)
    };
    same(&wave(Parallel2d), "sinusoidal_parallel2d", false);
    same(&wave(Fan2d), "sinusoidal_fan2d", true);
    same(&wave(Cone3d), "sinusoidal_cone3d", true);
    let mut saddle = path(Saddle, 7, Cone3d);
    (saddle.amplitude_mm, saddle.radial_amplitude_mm) = (Some(5.0), Some(3.0));
    same(&build(&saddle, Cone3d), "saddle_cone3d", true);

    let angle = |k: i32, range: f64| range * f64::from(k) / 5.0;
    let rays = (0..5).map(|k| {
        let a = angle(k, PI);
        ([(1.1 * a).cos(), (1.1 * a).sin(), 0.0], [0.1 * a, -0.3 * a, 0.0])
    });
    let custom = Geometry::of_rays(Parallel2d, [1, 5], &[1.0], rays).unwrap();
    same(&custom, "custom_parallel2d", false);
    let ellipse = (0..5).map(|k| {
        let (s, c) = angle(k, TAU).sin_cos();
        [-20.0 * s, 14.0 * c, 0.0]
    });
    let custom = Geometry::of_sources(Fan2d, [1, 5], &[1.0], 31.0, ellipse).unwrap();
    same(&custom, "custom_fan2d", false);
    let wobble = (0..5).map(|k| {
        let (a, (s, c)) = (angle(k, TAU), angle(k, TAU).sin_cos());
        let r = 20.0 + 2.0 * (3.0 * a).cos();
        [-r * s, r * c, 4.0 * s]
    });
    let custom = Geometry::of_sources(Cone3d, [4, 5], &[1.0, 1.0], 31.0, wobble).unwrap();
    same(&custom, "custom_cone3d", false);
}

/// Circles as lists of sources and of rays are the circles of the trajectory.
#[test]
fn lists_and_circles_agree() {
    for kind in GeometryKind::ALL {
        let d = kind.dimensions();
        let parallel = kind.is_parallel();
        let pixel = &[1.5, 0.7][3 - d..];
        let spec = TrajectorySpec {
            source_to_axis_mm: (!parallel).then_some(20.0),
            axis_to_detector_mm: (!parallel).then_some(11.0),
            range_deg: Some(360.0),
            ..TrajectorySpec::circular(6, pixel)
        };
        let detector = [if d == 2 { 1 } else { 4 }, 5];
        let circle = spec.geometry(kind, detector).unwrap();
        let at = |k: i32| {
            let (s, c) = (TAU * f64::from(k) / 6.0).sin_cos();
            [20.0 * s, -20.0 * c, 0.0]
        };
        let list = if parallel {
            Geometry::of_rays(kind, detector, pixel, (0..6).map(|k| (at(k), [0.0; 3])))
        } else {
            Geometry::of_sources(kind, detector, pixel, 31.0, (0..6).map(at))
        };
        for (k, (a, b)) in circle.views().iter().zip(list.unwrap().views()).enumerate() {
            let (Beam::Parallel(p) | Beam::Source(p)) = a.beam;
            let (Beam::Parallel(q) | Beam::Source(q)) = b.beam;
            let scale = if parallel { 20.0 } else { 1.0 };
            for i in 0..3 {
                let gaps = [
                    p[i] * scale - q[i],
                    a.detector[i] - b.detector[i],
                    a.u[i] - b.u[i],
                    a.v[i] - b.v[i],
                ];
                assert!(gaps.iter().all(|g| g.abs() < 1e-12), "{kind:?} {k}: {a:?} {b:?}");
            }
        }
    }
    let none = Geometry::of_sources(GeometryKind::Fan2d, [1, 5], &[1.0], 31.0, [[0.0; 3]]);
    assert!(none.unwrap_err().to_string().contains("no direction"));
    let lifted = Geometry::of_sources(GeometryKind::Fan2d, [1, 5], &[1.0], 31.0, [[9.0, 0.0, 1.0]]);
    assert!(lifted.unwrap_err().to_string().contains("leaves the plane"));
    // Along z, as over a table.
    let above =
        Geometry::of_sources(GeometryKind::Cone3d, [4, 5], &[1.0, 1.0], 31.0, [[0.0, 0.0, 9.0]]);
    assert_eq!(above.unwrap().rows()[6..], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
}

/// Standard deviations of the errors of 4000 views, which have a standard error of 1.1 %.
#[test]
fn perturbed_circles_have_their_errors() {
    let clean = TrajectorySpec {
        source_to_axis_mm: Some(200.0),
        axis_to_detector_mm: Some(100.0),
        ..TrajectorySpec::circular(4000, &[1.0, 1.0])
    };
    let circle = clean.geometry(GeometryKind::Cone3d, [4, 5]).unwrap();
    let sd = |distance: Option<f64>,
              position: Option<f64>,
              angle: Option<f64>,
              of: &dyn Fn(usize, &Geometry) -> f64| {
        let spec = TrajectorySpec {
            kind: TrajectoryKind::Perturbed,
            distance_sd_mm: distance,
            position_sd_mm: position,
            angle_sd_deg: angle,
            seed: Some(5),
            ..clean.clone()
        };
        let g = spec.geometry(GeometryKind::Cone3d, [4, 5]).unwrap();
        assert_eq!(g, spec.geometry(GeometryKind::Cone3d, [4, 5]).unwrap());
        ((0..4000).map(|k| of(k, &g).powi(2)).sum::<f64>() / 4000.0).sqrt()
    };
    let source = |g: &Geometry, k: usize| {
        let (Beam::Parallel(p) | Beam::Source(p)) = g.views()[k].beam;
        p
    };
    let radius = sd(Some(3.0), None, None, &|k, g| {
        let s = source(g, k);
        let d = g.views()[k].detector;
        // The detector keeps its distance from the source.
        let apart = (0..3).map(|i| (s[i] - d[i]).powi(2)).sum::<f64>().sqrt();
        assert!((apart - 300.0).abs() < 1e-9);
        s[0].hypot(s[1]) - 200.0
    });
    assert!((radius - 3.0).abs() < 0.12, "{radius}");
    for i in 0..3 {
        let at = sd(None, Some(2.0), None, &|k, g| source(g, k)[i] - source(&circle, k)[i]);
        assert!((at - 2.0).abs() < 0.08, "{at}");
        let at = sd(None, Some(2.0), None, &|k, g| {
            g.views()[k].detector[i] - circle.views()[k].detector[i]
        });
        assert!((at - 2.0).abs() < 0.08, "{at}");
    }
    let turn = sd(None, None, Some(1.0), &|k, g| {
        let (a, b) = (circle.views()[k].u, g.views()[k].u);
        (a[0] * b[1] - a[1] * b[0]).asin().to_degrees()
    });
    assert!((turn - 1.0).abs() < 0.04, "{turn}");
}

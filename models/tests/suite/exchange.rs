//! Geometries of other programs, against numbers that those programs made.
#![allow(clippy::unwrap_used, clippy::panic)]

use microtome_kernels::ray::{Beam, View};
use microtome_models::ct::{
    Each, ExchangeFormat, Geometry, GeometryKind, ImportSpec, RigidTransform, RtkGeometry,
    RtkProjection, TigreAngles, TigreGeometry, TrajectoryKind, TrajectorySpec,
};

fn golden(name: &str) -> Vec<Vec<f64>> {
    let text = include_str!("../../../tests/golden/exchange.csv");
    let rows = text.lines().filter_map(|l| l.strip_prefix(name)?.strip_prefix(','));
    rows.map(|l| l.split(',').map(|c| c.parse().unwrap()).collect()).collect()
}

fn near(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (at, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() < tolerance, "{at}: {f} {e}");
    }
}

/// The projections of `tests/golden/make_exchange.py`.
fn projections() -> Vec<RtkProjection> {
    [
        [200.0, 300.0, 30.0, 1.5, -2.5, 4.0, -3.0, 0.7, -0.9],
        [200.0, 300.0, 117.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [210.0, 310.0, 250.0, -4.0, 3.0, -8.0, 12.0, 0.0, 1.1],
        [200.0, 300.0, 340.0, 0.0, 2.0, 89.0, 5.0, -2.0, 0.0],
    ]
    .map(|p| RtkProjection {
        source_to_isocentre_mm: p[0],
        source_to_detector_mm: p[1],
        gantry_deg: p[2],
        projection_offset_mm: [p[3], p[4]],
        out_of_plane_deg: p[5],
        in_plane_deg: p[6],
        source_offset_mm: [p[7], p[8]],
    })
    .to_vec()
}

fn import(format: ExchangeFormat, pixel_mm: Option<Vec<f64>>) -> ImportSpec {
    ImportSpec {
        file: "x".into(),
        format,
        pixel_mm,
        origin_mm: None,
        half_pixel: None,
        source_to_axis_mm: None,
        axis_to_detector_mm: None,
    }
}

fn start(view: &View) -> [f64; 3] {
    let (Beam::Parallel(p) | Beam::Source(p)) = view.beam;
    p
}

/// Where RTK's matrix puts a point, mm on the projection image.
fn through(matrix: &[f64], p: [f64; 3]) -> [f64; 2] {
    let row = |k: usize| (0..3).map(|i| matrix[4 * k + i] * p[i]).sum::<f64>() + matrix[4 * k + 3];
    [row(0) / row(2), row(1) / row(2)]
}

#[test]
fn rtk_geometries_equal_their_matrices() {
    let kind = GeometryKind::Cone3d;
    let (detector, pixel) = ([5, 8], vec![1.2, 1.5]);
    let geometry = RtkGeometry { projections: projections(), radius_mm: 0.0 };
    let mut spec = import(ExchangeFormat::Rtk, Some(pixel));
    for origin in [None, Some(vec![-3.0, 1.0])] {
        spec.origin_mm = origin.clone();
        let first = origin.map_or([-3.5 * 1.5, -2.0 * 1.2], |o| [o[1], o[0]]);
        let rows = spec.rtk_rows(kind, detector, &geometry).unwrap();
        let g = Geometry::new(kind, detector, &rows).unwrap();
        for (k, view) in g.views().iter().enumerate() {
            near(&start(view), &golden("rtk_source")[k], 1e-10);
            let matrix = &golden("rtk_matrix")[k];
            near(&geometry.projections[k].matrix().unwrap().concat(), matrix, 1e-10);
            // Every point between source and pixel is seen at the pixel.
            for (iu, iv) in [(0, 0), (7, 0), (3, 4)] {
                let panel = microtome_kernels::ray::Panel::flat(8, 5);
                let (s, p) = (start(view), view.pixel(panel, f64::from(iu), f64::from(iv)));
                let expected = [first[0] + 1.5 * f64::from(iu), first[1] + 1.2 * f64::from(iv)];
                for share in [0.3, 0.9] {
                    let point = std::array::from_fn(|i| s[i] + share * (p[i] - s[i]));
                    near(&through(matrix, point), &expected, 1e-9);
                }
            }
        }
        if spec.origin_mm.is_none() {
            // And back: the same numbers, the gantry within a turn.
            let back = RtkGeometry::of_views(g.views(), 0.0).unwrap();
            for (found, p) in back.projections.iter().zip(&geometry.projections) {
                near(&found.matrix().unwrap().concat(), &p.matrix().unwrap().concat(), 1e-9);
                near(&[found.out_of_plane_deg], &[p.out_of_plane_deg], 1e-9);
            }
        }
    }
    let parallel = RtkProjection {
        source_to_isocentre_mm: 200.0,
        gantry_deg: 40.0,
        projection_offset_mm: [1.5, -2.5],
        out_of_plane_deg: 4.0,
        in_plane_deg: -3.0,
        ..RtkProjection::default()
    };
    near(&parallel.matrix().unwrap().concat(), &golden("rtk_parallel")[0], 1e-12);
    let geometry = RtkGeometry { projections: vec![parallel], radius_mm: 0.0 };
    let kind = GeometryKind::Parallel3d;
    spec.origin_mm = None;
    let rows = spec.rtk_rows(kind, detector, &geometry).unwrap();
    let g = Geometry::new(kind, detector, &rows).unwrap();
    let view = g.views()[0];
    let matrix = &golden("rtk_parallel")[0];
    let along = std::array::from_fn(|i| view.detector[i] + 7.0 * start(&view)[i]);
    near(&through(matrix, along), &[0.0, 0.0], 1e-12);
    let back = RtkGeometry::of_views(g.views(), 0.0).unwrap().projections[0];
    near(&back.matrix().unwrap().concat(), matrix, 1e-12);
    assert!(spec.rtk_rows(GeometryKind::Cone3d, detector, &geometry).is_err());
    assert!(spec.rtk_rows(GeometryKind::Fan2d, [1, 8], &geometry).is_err());
}

#[test]
fn astra_angles_are_its_vectors() {
    let angles = [0.0, 0.7, 2.1, 4.0];
    for kind in GeometryKind::ALL {
        let space = kind.dimensions() == 3;
        let detector = [if space { 6 } else { 1 }, 8];
        let pixel = if space { vec![1.2, 1.5] } else { vec![1.5] };
        let mut spec = import(ExchangeFormat::Astra, Some(pixel));
        if !kind.is_parallel() {
            (spec.source_to_axis_mm, spec.axis_to_detector_mm) = (Some(200.0), Some(100.0));
        }
        let expected = golden(&format!("astra_{}", kind.name())).concat();
        let found = spec.table_rows(kind, detector, &[4], &angles).unwrap();
        near(&found, &expected, 1e-12);
        let vectors = import(ExchangeFormat::Astra, None);
        let same = vectors.table_rows(kind, detector, &[4, kind.width()], &expected).unwrap();
        assert_eq!(same, expected);
        assert!(spec.table_rows(kind, detector, &[4, kind.width()], &expected).is_err());
        assert!(vectors.table_rows(kind, detector, &[4], &angles).is_err());
    }
}

#[test]
fn diffct_arrays_return_with_their_half_pixel() {
    for kind in GeometryKind::ALL {
        let space = kind.dimensions() == 3;
        let pixel = if space { vec![1.2, 1.5] } else { vec![1.5] };
        let path = TrajectorySpec {
            source_to_axis_mm: (!kind.is_parallel()).then_some(20.0),
            axis_to_detector_mm: (!kind.is_parallel()).then_some(10.0),
            ..TrajectorySpec::circular(5, &pixel)
        };
        let detector = [if space { 6 } else { 1 }, 8];
        let g = path.geometry(kind, detector).unwrap();
        for half in [false, true] {
            let out = g.diffct_rows(half).unwrap();
            near(&out.pixel_mm, &pixel, 1e-12);
            let mut spec = import(ExchangeFormat::Diffct, Some(pixel.clone()));
            spec.half_pixel = Some(half);
            let shape = [5, kind.width()];
            let back = spec.table_rows(kind, detector, &shape, &out.rows).unwrap();
            near(&back, &g.rows(), 1e-12);
            // Pixel 3 of 8 in their way of counting, from the exported row.
            let d = kind.dimensions();
            let row = &out.rows[kind.width()..2 * kind.width()];
            let (nu, nv) = (8.0, if space { 6.0 } else { 1.0 });
            let count = |i: f64, n: f64| if half { i - n / 2.0 } else { i - (n - 1.0) / 2.0 };
            let panel = microtome_kernels::ray::Panel::flat(8, detector[0]);
            let there = g.views()[1].pixel(panel, 3.0, 0.0);
            for i in 0..d {
                let lift = if space { count(0.0, nv) * 1.2 * row[3 * d + i] } else { 0.0 };
                let pixel = row[d + i] + count(3.0, nu) * 1.5 * row[2 * d + i] + lift;
                assert!((pixel - there[i]).abs() < 1e-12, "{kind:?} {half}");
            }
        }
    }
}

/// A circle by TIGRE's angle alone, and general views through its numbers and back.
#[test]
fn tigre_geometries() {
    let kind = GeometryKind::Cone3d;
    let angles = vec![0.0, 0.7, 2.1, 4.0];
    let plain = TigreGeometry {
        mode: "cone".into(),
        angles: TigreAngles::Plane(angles.clone()),
        dso: Each::One(200.0),
        dsd: Each::One(300.0),
        n_detector: [6, 8],
        d_detector: [1.2, 1.5],
        off_origin: None,
        off_detector: Some(Each::One([2.0, 3.0])),
        rot_detector: None,
        cor: None,
    };
    let circle = TrajectorySpec {
        source_to_axis_mm: Some(200.0),
        axis_to_detector_mm: Some(100.0),
        angles_deg: Some(angles.iter().map(|a: &f64| a.to_degrees() + 90.0).collect()),
        detector_offset_mm: Some(vec![2.0, 3.0]),
        ..TrajectorySpec::circular(4, &[1.2, 1.5])
    };
    let expected = circle.geometry(kind, [6, 8]).unwrap();
    near(&plain.rows(kind, [6, 8]).unwrap(), &expected.rows(), 1e-10);
    // The image moved by +o is everything else moved by -o; the axis moved by C beside the ray.
    let moved = TigreGeometry {
        off_origin: Some(Each::One([5.0, -4.0, 3.0])),
        cor: Some(Each::Many(vec![0.0, 0.0, 0.0, 2.0])),
        ..plain.clone()
    };
    let rows = moved.rows(kind, [6, 8]).unwrap();
    let shifted = expected.moved(&RigidTransform::translation([-3.0, 4.0, -5.0])).unwrap().rows();
    near(&rows[..36], &shifted[..36], 1e-10);
    let (s, c) = 4.0_f64.sin_cos();
    near(&rows[36..39], &[shifted[36] - 2.0 * s, shifted[37] + 2.0 * c, shifted[38]], 1e-10);
    // Yaw of the detector turns v about its x axis, the normal.
    let yaw = TigreGeometry { rot_detector: Some(Each::One([0.0, 0.0, 0.1])), ..plain.clone() };
    let rows = yaw.rows(kind, [6, 8]).unwrap();
    near(
        &rows[6..12],
        &[
            0.0,
            1.5 * 0.1_f64.cos(),
            1.5 * 0.1_f64.sin(),
            0.0,
            -1.2 * 0.1_f64.sin(),
            1.2 * 0.1_f64.cos(),
        ],
        1e-12,
    );

    // Any views: the rows return.
    for kind in [GeometryKind::Cone3d, GeometryKind::Parallel3d] {
        let parallel = kind.is_parallel();
        let mut path = TrajectorySpec {
            source_to_axis_mm: (!parallel).then_some(20.0),
            axis_to_detector_mm: (!parallel).then_some(10.0),
            ..TrajectorySpec::circular(9, &[1.2, 1.5])
        };
        let circle = path.geometry(kind, [6, 8]).unwrap();
        path.kind = TrajectoryKind::Random;
        let mut views = path.geometry(kind, [6, 8]).unwrap();
        if !parallel {
            views = views.with_detector_tilt([0.1, -0.2, 0.3]).unwrap();
        }
        let motion = RigidTransform::translation([1.0, 2.0, 3.0])
            * RigidTransform::rotation([1.0, 1.0, 0.0], 1.0).unwrap();
        let upside = RigidTransform::rotation([1.0, 0.0, 0.0], std::f64::consts::PI).unwrap();
        for g in [circle.clone(), views.moved(&motion).unwrap(), circle.moved(&upside).unwrap()] {
            let tigre = TigreGeometry::of_views(g.views(), [6, 8], 50.0).unwrap();
            let rows = tigre.rows(kind, [6, 8]).unwrap();
            let back = Geometry::new(kind, [6, 8], &rows).unwrap();
            for (a, b) in g.views().iter().zip(back.views()) {
                near(&[a.u, a.v].concat(), &[b.u, b.v].concat(), 1e-12);
                if parallel {
                    let across =
                        |w: &View, e: [f64; 3]| (0..3).map(|i| w.detector[i] * e[i]).sum::<f64>();
                    near(
                        &[across(a, a.u), across(a, a.v)],
                        &[across(b, a.u), across(b, a.v)],
                        1e-10,
                    );
                    let (p, q) = (start(a), start(b));
                    let along = (0..3).map(|i| p[i] * q[i]).sum::<f64>();
                    assert!((along.abs() - 1.0).abs() < 1e-12);
                } else {
                    near(&start(a), &start(b), 1e-10);
                    near(&a.detector, &b.detector, 1e-10);
                }
            }
        }
    }
}

#[test]
fn what_a_format_cannot_say_is_refused() {
    let kind = GeometryKind::Cone3d;
    let row = |u: [f64; 3], v: [f64; 3]| [[0.0, -20.0, 0.0], [0.0, 10.0, 0.0], u, v].concat();
    let of = |u, v| Geometry::new(kind, [2, 3], &row(u, v)).unwrap();
    let says = |g: &Geometry, text: &str| {
        let found = RtkGeometry::of_views(g.views(), 0.0).unwrap_err().to_string();
        assert!(found.contains(text), "{found}");
        let found = TigreGeometry::of_views(g.views(), [2, 3], 9.0).unwrap_err().to_string();
        assert!(found.contains(text), "{found}");
    };
    says(&of([1.0, 0.0, 0.5], [0.0, 0.0, 1.0]), "right angles");
    says(&of([-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]), "away from the source");
    let two = [row([1.0, 0.0, 0.0], [0.0, 0.0, 1.0]), row([2.0, 0.0, 0.0], [0.0, 0.0, 1.0])];
    let g = Geometry::new(kind, [2, 3], &two.concat()).unwrap();
    assert!(g.diffct_rows(false).unwrap_err().to_string().contains("pitch"));
    assert!(TigreGeometry::of_views(g.views(), [2, 3], 9.0).is_err());
}

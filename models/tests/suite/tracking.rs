//! Orientation fields, seeds and runs over them.

#![allow(clippy::unwrap_used, clippy::needless_range_loop)]

use microtome_models::tract::{
    FieldError, Integrator, Interpolation, OrientationError, OrientationField,
    OrientationFunctions, OrientationModel, Placement, Regions, Rule, Seeding, Starts, Streamline,
    Tracking, TrackingError, TrackingSpec,
};
use microtome_models::{
    Acquisition, HarmonicBasis, SphericalHarmonics, half_sphere, harmonic_count,
};

const DIMS: [usize; 3] = [16, 16, 24];
/// 2 mm voxels, x and y centred, negative x.
const AFFINE: [[f64; 4]; 4] =
    [[-2.0, 0.0, 0.0, 15.0], [0.0, 2.0, 0.0, -15.0], [0.0, 0.0, 2.0, -20.0], [0.0, 0.0, 0.0, 1.0]];

fn spec() -> TrackingSpec {
    TrackingSpec {
        step_mm: 0.5,
        integrator: Integrator::RungeKutta,
        max_angle_deg: 60.0,
        max_length_mm: 30.0,
        min_length_mm: 5.0,
        threshold: 0.1,
        relative_peak: 0.25,
        min_separation_deg: 45.0,
        part: 0.05,
        angular_weight: 0.0,
        axes: 362,
        probe_mm: 1.5,
        samples: 4,
        candidates: 64,
        both: true,
        starts: Starts::All(10),
        seed: 1,
    }
}

fn harmonics(axis: [f64; 3]) -> Vec<f64> {
    let mut out = vec![0.0; harmonic_count(6)];
    SphericalHarmonics::new(6).unwrap().evaluate(axis, &mut out);
    out
}

/// The tangent of the helix about the z axis through a world point.
fn tangent(x: [f64; 3]) -> [f64; 3] {
    let (w, c) = (1.0 / 15.0, std::f64::consts::FRAC_1_PI);
    let v = [-w * x[1], w * x[0], c];
    let k = v.iter().map(|v| v * v).sum::<f64>().sqrt();
    v.map(|v| v / k)
}

/// A field of helices, its directions in the axes of `placement`.
fn helices(
    basis: HarmonicBasis,
    placement: Placement,
    interpolation: Interpolation,
) -> OrientationField {
    let mut values = Vec::new();
    for k in 0..DIMS[2] {
        for j in 0..DIMS[1] {
            for i in 0..DIMS[0] {
                let x = placement.world_of_voxel([i as f64, j as f64, k as f64]);
                let own = harmonics(placement.field_of_world(tangent(x)));
                let own = HarmonicBasis::Mrtrix3.convert(basis, &own);
                values.extend(own.iter().map(|v| *v as f32));
            }
        }
    }
    OrientationField::from_harmonics(DIMS, &values, basis, placement, interpolation).unwrap()
}

fn follow(
    field: &OrientationField,
    rule: Rule,
    spec: TrackingSpec,
    seeding: &Seeding,
) -> Vec<Streamline> {
    let run = Tracking::over_field(field, rule, spec).unwrap();
    let (mask, regions) = (Placement::world(AFFINE), Regions::default());
    let group = |n| run.group(n, seeding, &mask, &regions).streamlines;
    (0..run.groups(seeding).unwrap()).flat_map(group).collect()
}

fn ring() -> Seeding {
    Seeding::Points(
        (0..12)
            .map(|i| {
                let (s, c) = (0.5 * f64::from(i)).sin_cos();
                ([9.0 * c, 9.0 * s, 0.3 * f64::from(i)], None)
            })
            .collect(),
    )
}

#[test]
fn a_helix_in_either_frame_is_the_same() {
    let world = Placement::world(AFFINE);
    let voxel = Placement {
        world_from_field: [[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        ..world
    };
    let linear = Interpolation::Linear;
    let lines =
        follow(&helices(HarmonicBasis::Mrtrix3, world, linear), Rule::Peak, spec(), &ring());
    assert_eq!(lines.len(), 12);
    for line in &lines {
        let seed = line.points[line.seed_point as usize];
        assert!((f64::from(seed[0]).hypot(f64::from(seed[1])) - 9.0).abs() < 1e-5);
        // The radius stays, and the height rises as the angle turns.
        let k = {
            let w = 9.0 / 15.0;
            let c = std::f64::consts::FRAC_1_PI;
            f64::hypot(w, c)
        };
        let n = (line.points.len() - 1) as f64;
        let rise = f64::from(line.points.last().unwrap()[2] - line.points[0][2]).abs();
        let wanted = 0.5 * n * std::f64::consts::FRAC_1_PI / k;
        assert!((rise / wanted - 1.0).abs() < 0.02, "{rise} {wanted}");
        assert!(
            line.points.iter().all(|x| (f64::from(x[0]).hypot(f64::from(x[1])) - 9.0).abs() < 0.25)
        );
    }
    for basis in [HarmonicBasis::Descoteaux, HarmonicBasis::DescoteauxLegacy] {
        let other = follow(&helices(basis, voxel, linear), Rule::Peak, spec(), &ring());
        assert_eq!(other.len(), lines.len());
        for (a, b) in lines.iter().zip(&other) {
            // The peaks of a seed may come in another order or sign: as a set of points.
            let far = a.points.iter().map(|x| {
                let gap = |y: &[f32; 3]| (0..3).map(|i| (x[i] - y[i]).powi(2)).sum::<f32>().sqrt();
                b.points.iter().map(gap).fold(f32::INFINITY, f32::min)
            });
            assert!(far.fold(0.0, f32::max) < 2e-3);
        }
    }
    // Between voxels the spline is closer to the smooth field than the hat.
    let drift = |interpolation| {
        let field = helices(HarmonicBasis::Mrtrix3, world, interpolation);
        let lines = follow(&field, Rule::Peak, spec(), &ring());
        let radius = |x: &[f32; 3]| (f64::from(x[0]).hypot(f64::from(x[1])) - 9.0).abs();
        lines.iter().flat_map(|l| l.points.iter().map(radius)).fold(0.0, f64::max)
    };
    let (smooth, plain) = (drift(Interpolation::Cubic), drift(linear));
    assert!(smooth < 0.6 * plain && plain < 0.01, "{smooth} {plain}");
}

#[test]
fn tensors_are_followed_along_their_first_axis() {
    let world = Placement::world(AFFINE);
    let mut tensors = Vec::new();
    for k in 0..DIMS[2] {
        for j in 0..DIMS[1] {
            for i in 0..DIMS[0] {
                let t = tangent(world.world_of_voxel([i as f64, j as f64, k as f64]));
                let d = |a: usize, b: usize| {
                    (1.5 * t[a] * t[b] + if a == b { 0.2 } else { 0.0 }) as f32
                };
                tensors.push([d(0, 0), d(1, 1), d(2, 2), d(0, 1), d(0, 2), d(1, 2)]);
            }
        }
    }
    let field =
        OrientationField::from_tensors(DIMS, &tensors, world, Interpolation::Linear).unwrap();
    let lines = follow(&field, Rule::Peak, spec(), &ring());
    assert_eq!(lines.len(), 12);
    for line in &lines {
        assert!(
            line.points.iter().all(|x| (f64::from(x[0]).hypot(f64::from(x[1])) - 9.0).abs() < 0.25)
        );
        // The largest eigenvalue.
        assert!((line.amplitudes[line.seed_point as usize] - 1.7).abs() < 0.03);
    }
}

#[test]
fn seeds_are_uniform_in_the_mask() {
    let world = Placement::world(AFFINE);
    let voxels = vec![[1, 2, 3], [4, 5, 6], [0, 0, 0], [9, 9, 9]];
    let seeding = Seeding::Total { voxels: voxels.clone(), seeds: 8000 };
    let rows = world.voxel_from_field().unwrap();
    let mut counts = [0.0; 4];
    let mut sums = [[0.0; 2]; 3];
    for n in 0..seeding.len() {
        let x = seeding.seed(n, 7, &world, &world).x;
        let v = rows.map(|r| r[0] * x[0] + r[1] * x[1] + r[2] * x[2] + r[3]);
        let at =
            voxels.iter().position(|c| (0..3).all(|i| f64::from(c[i]) == v[i].round())).unwrap();
        counts[at] += 1.0;
        for i in 0..3 {
            let u = v[i] - v[i].round();
            sums[i][0] += u;
            sums[i][1] += u * u;
        }
    }
    // Within 4 standard deviations of 2000, of 0 and of 1/12.
    assert!(counts.iter().all(|c| (c - 2000.0_f64).abs() < 4.0 * 1500_f64.sqrt()), "{counts:?}");
    for [a, b] in sums {
        assert!((a / 8000.0_f64).abs() < 4.0 * (1.0 / 12.0 / 8000.0_f64).sqrt());
        assert!((b / 8000.0 - 1.0 / 12.0_f64).abs() < 4.0 * (1.0 / 180.0 / 8000.0_f64).sqrt());
    }
    let each = Seeding::PerVoxel { voxels, seeds: 3 };
    assert_eq!(each.len(), 12);
    let x = each.seed(5, 7, &world, &world).x;
    let v = rows.map(|r| (r[0] * x[0] + r[1] * x[1] + r[2] * x[2] + r[3]).round());
    assert_eq!(v, [4.0, 5.0, 6.0]);
}

/// 4 b = 0 and 60 directions at b = 3 ms/um2.
fn acquisition() -> Acquisition {
    let mut b = vec![0.0; 4];
    let mut g = vec![[0.0, 0.0, 0.0]; 4];
    for n in half_sphere(60) {
        b.push(3.0);
        g.push(n);
    }
    Acquisition::from_b(&b, &g, None, None).unwrap()
}

fn signals(acquisition: &Acquisition, axis: [f64; 3]) -> Vec<f64> {
    let t = |g: &[f64; 3]| (0..3).map(|i| g[i] * axis[i]).sum::<f64>();
    let b = acquisition.b_ms_per_um2();
    let g = acquisition.directions();
    b.iter().zip(g).map(|(b, g)| 1000.0 * (-b * (0.2 + 1.5 * t(g) * t(g))).exp()).collect()
}

#[test]
fn orientation_functions_peak_along_the_fibre() {
    let acquisition = acquisition();
    let axis = [0.48, -0.6, 0.64];
    for model in [OrientationModel::SolidAngle, OrientationModel::Probability] {
        let functions = OrientationFunctions::new(&acquisition, model, 6, 0.0, 1.0).unwrap();
        let mut terms = Vec::new();
        functions.terms(&signals(&acquisition, axis), &mut terms);
        let terms: Vec<f32> = terms.iter().map(|t| *t as f32).collect();
        let placement = Placement::world([
            [1.0, 0.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0],
            [0.0, 0.0, 1.0, 0.0],
            [0.0, 0.0, 0.0, 1.0],
        ]);
        let field = functions.field([1, 1, 1], terms.clone(), placement).unwrap();
        let seeding = Seeding::Points(vec![([0.0; 3], None)]);
        let spec = TrackingSpec {
            step_mm: 0.1,
            min_length_mm: 0.3,
            max_length_mm: 20.0,
            threshold: 0.0,
            ..spec()
        };
        let lines = follow(&field, Rule::Peak, spec, &seeding);
        // The main peak is the fibre; its line is straight.
        let ends = (lines[0].points[0], *lines[0].points.last().unwrap());
        let d: Vec<f64> = (0..3).map(|i| f64::from(ends.1[i] - ends.0[i])).collect();
        let r = d.iter().map(|v| v * v).sum::<f64>().sqrt();
        let cosine = (0..3).map(|i| d[i] * axis[i] / r).sum::<f64>().abs();
        assert!(cosine > 0.9995, "{model:?} {cosine}");
        if model == OrientationModel::SolidAngle {
            // The integral of the function over the sphere is 1: its mean is 1/(4 pi).
            let mean: f64 = half_sphere(2000)
                .iter()
                .map(|n| {
                    microtome_kernels::sphere_series::value(
                        6,
                        &terms.iter().map(|t| f64::from(*t)).collect::<Vec<_>>(),
                        *n,
                    )
                })
                .sum::<f64>()
                / 2000.0;
            assert!((mean * 4.0 * std::f64::consts::PI - 1.0).abs() < 1e-3, "{mean}");
        }
    }
}

#[test]
fn the_hat_matrix_projects() {
    let functions =
        OrientationFunctions::new(&acquisition(), OrientationModel::SolidAngle, 4, 0.006, 1.0)
            .unwrap();
    let r = functions.resampling();
    let (n, rows) = (60, 64);
    assert_eq!((r.measurements, r.hat.len()), (n, n * rows));
    let at = |i: usize, j: usize| r.hat[j * rows + i];
    let mut trace = 0.0;
    for i in 0..n {
        trace += at(i, i);
        for j in 0..n {
            let square: f64 = (0..n).map(|k| at(i, k) * at(k, j)).sum();
            assert!((square - at(i, j)).abs() < 1e-12 && (at(i, j) - at(j, i)).abs() < 1e-12);
        }
    }
    assert!((trace - 15.0).abs() < 1e-10);
    // Centred: residuals of any signals sum to zero.
    for j in 0..n {
        assert!(r.residual[j * rows..j * rows + n].iter().sum::<f64>().abs() < 1e-12);
    }
}

#[test]
fn wrong_fields_and_numbers_are_named() {
    let world = Placement::world(AFFINE);
    let bad = OrientationField::from_harmonics(
        [2, 1, 1],
        &[0.0; 14],
        HarmonicBasis::Mrtrix3,
        world,
        Interpolation::Linear,
    );
    assert_eq!(bad.unwrap_err(), FieldError::Coefficients { count: 7 });
    let flat = Placement::world([[0.0; 4]; 4]);
    let bad = OrientationField::from_harmonics(
        [1, 1, 1],
        &[1.0; 6],
        HarmonicBasis::Mrtrix3,
        flat,
        Interpolation::Linear,
    );
    assert_eq!(bad.unwrap_err(), FieldError::Affine);
    let mut values = vec![1.0_f32; 12];
    values[3] = f32::NAN;
    let field = OrientationField::from_harmonics(
        [2, 1, 1],
        &values,
        HarmonicBasis::Mrtrix3,
        world,
        Interpolation::Linear,
    )
    .unwrap();
    assert_eq!((field.invalid(), field.order(), field.coefficients()), (1, 2, 6));
    let wrong = TrackingSpec { step_mm: f64::NAN, ..spec() };
    assert!(matches!(
        Tracking::over_field(&field, Rule::Peak, wrong),
        Err(TrackingError::Range { .. })
    ));
    let run = Tracking::over_field(&field, Rule::Peak, spec()).unwrap();
    assert_eq!(run.groups(&Seeding::Points(vec![])), Err(TrackingError::NoSeeds));
    let few = acquisition().subset(&(0..20).collect::<Vec<_>>());
    let error =
        OrientationFunctions::new(&few, OrientationModel::Probability, 6, 0.006, 1.0).unwrap_err();
    assert_eq!(error, OrientationError::Directions { order: 6, coefficients: 28, directions: 16 });
    let weighted = acquisition().subset(&(4..64).collect::<Vec<_>>());
    assert_eq!(
        OrientationFunctions::new(&weighted, OrientationModel::Probability, 4, 0.006, 1.0)
            .unwrap_err(),
        OrientationError::NoB0
    );
}

//! The rules: what direction they give, and how often.

use super::{A, B, SHAPE, apart, constant, lattice, level, limits, lobes, norm, peaks};
use microtome_kernels::sphere_series::value;
use microtome_kernels::streamline::{
    ArcMean, ArcRule, AxisTable, BootstrapRule, Chance, ClosestRule, DiscreteRule, Functions,
    Integrator, Lattice, MassRule, PeakRule, Redraw, Regions, Resampling, Rule, Scratch, Seed,
    Starts, State, StickRule, Stop, track,
};

#[test]
fn the_closest_peak_is_taken() {
    let terms = lobes(8, &[(1.0, A), (0.7, B)]);
    let field = constant(&terms);
    let table = AxisTable::new(8, 362);
    let rule = ClosestRule {
        functions: Functions { field: &field, peaks: peaks(&table, 0.1, 0.25, 0.9) },
    };
    let mut scratch = Scratch::default();
    let mut chance = Chance::new(0, 0, 0, false);
    // Both maxima, by steepest ascent on a fine grid about them: here their gradient vanishes.
    let mut found = Vec::new();
    rule.starts::<false>([1.0, 0.5, 0.5], &mut scratch, &mut found);
    assert_eq!(found.len(), 2);
    for (peak, axis) in found.iter().zip([A, B]) {
        assert!(peak.direction.iter().zip(axis).map(|(a, b)| a * b).sum::<f64>().abs() > 0.99);
        assert!((peak.amplitude - value(8, &terms, peak.direction)).abs() < 1e-12);
    }
    for (from, wanted) in [([0.5, 0.2, 0.84], 0), ([-0.6, -0.75, 0.1], 1)] {
        let from = {
            let n = norm(from);
            from.map(|v| v / n)
        };
        let d = rule.heading::<false>([1.0, 0.5, 0.5], from, &mut chance, &mut scratch).unwrap();
        let cosine: f64 = d.direction.iter().zip(found[wanted].direction).map(|(a, b)| a * b).sum();
        let forward: f64 = d.direction.iter().zip(from).map(|(a, b)| a * b).sum();
        assert!((cosine.abs() - 1.0).abs() < 1e-12 && forward > 0.0);
    }
    let outside = rule.heading::<false>([1e3, 0.0, 0.0], A, &mut chance, &mut scratch);
    assert_eq!(outside.unwrap_err(), Stop::Outside);
}

#[test]
fn draws_follow_the_values_in_the_cone() {
    let terms = lobes(8, &[(1.0, A), (0.7, B)]);
    let field = constant(&terms);
    let table = AxisTable::new(8, 362);
    let list = table.axes();
    for angular_weight in [0.0, 0.8] {
        let cos_cone = 50_f64.to_radians().cos();
        let rule = MassRule {
            functions: Functions { field: &field, peaks: peaks(&table, 0.1, 0.25, 0.9) },
            part: 0.05,
            cos_cone,
            angular_weight,
        };
        let previous = {
            let v = [0.9, 0.3, 0.4];
            let n = norm(v);
            v.map(|v| v / n)
        };
        let values: Vec<f64> = list.iter().map(|n| value(8, &terms, *n)).collect();
        let largest = values.iter().fold(0.0_f64, |m, v| m.max(*v));
        let exact: Vec<f64> = list
            .iter()
            .zip(&values)
            .map(|(n, v)| {
                let c = n.iter().zip(previous).map(|(a, b)| a * b).sum::<f64>().abs();
                if *v >= 0.05 * largest && c >= cos_cone {
                    v * (1.0 - angular_weight + angular_weight * c)
                } else {
                    0.0
                }
            })
            .collect();
        let total: f64 = exact.iter().sum();
        let draws = 40_000;
        let mut counts = vec![0.0; list.len()];
        let mut scratch = Scratch::default();
        for i in 0..draws {
            let mut chance = Chance::new(3, 0, i, false);
            let d = rule
                .heading::<false>([1.0, 0.5, 0.5], previous, &mut chance, &mut scratch)
                .unwrap();
            let at = list
                .iter()
                .position(|n| {
                    n.iter().zip(d.direction).map(|(a, b)| a * b).sum::<f64>().abs() > 1.0 - 1e-12
                })
                .unwrap();
            counts[at] += 1.0;
        }
        let (mut chi, mut cells) = (0.0, 0.0);
        for (c, e) in counts.iter().zip(&exact) {
            let e = e / total * draws as f64;
            if e == 0.0 {
                assert_eq!(*c, 0.0);
            } else if e > 5.0 {
                chi += (c - e) * (c - e) / e;
                cells += 1.0;
            }
        }
        // Chi-square over its mean within 4 standard deviations.
        let z: f64 = (chi - cells) / (2.0_f64 * cells).sqrt();
        assert!(cells > 30.0 && z.abs() < 4.0, "{angular_weight}: {chi} of {cells}");
    }
}

#[test]
fn arcs_follow_a_straight_field_and_are_drawn_by_weight() {
    let terms = lobes(8, &[(1.0, A)]);
    let field = constant(&terms);
    let table = AxisTable::new(8, 362);
    for (mean, probe) in [(ArcMean::Geometric, 0.5), (ArcMean::Arithmetic, 1.5)] {
        let rule = ArcRule {
            functions: Functions { field: &field, peaks: peaks(&table, 0.05, 0.25, 0.9) },
            probe,
            samples: 4,
            mean,
            candidates: 64,
            curvature: 1.0,
        };
        let limits = limits(0.5, Integrator::Euler);
        let mut scratch = Scratch::default();
        let mut sums = [0.0; 3];
        let n = 4000;
        for i in 0..n {
            let mut chance = Chance::new(5, 0, i, false);
            let mut state = State { x: [2.0, 0.5, 0.5], direction: A, amplitude: 1.0 };
            rule.advance::<false>(&mut state, &limits, &mut chance, &mut scratch).unwrap();
            assert!((norm(state.direction) - 1.0).abs() < 1e-12);
            // A step of an arc: its chord is 2 sin(kappa h/2)/kappa long, kappa at most 1.
            let chord = apart(state.x, [2.0, 0.5, 0.5]);
            assert!(chord <= 0.5 && chord >= 2.0 * 0.25_f64.sin() - 1e-12, "{chord}");
            for k in 0..3 {
                sums[k] += state.direction[k];
            }
        }
        // Symmetric about the lobe: the mean points along it.
        let mean = {
            let r = norm(sums);
            sums.map(|v| v / r)
        };
        assert!(apart(mean, A) < 0.01, "{mean:?}");
        assert!(norm(sums) / (n as f64) < 0.9999);
    }
}

#[test]
fn discrete_peaks_are_interpolated() {
    // Along x: signs change from voxel to voxel, the axis turns in the plane; across it a weaker peak
    // along z; the last voxels have none.
    let turn = |i: usize| 0.2 * i as f64;
    let mut values = Vec::new();
    for voxel in 0..4 * 8 {
        let i = voxel % 8;
        let (s, c) = turn(i).sin_cos();
        let sign = if i % 2 == 0 { 1.0 } else { -1.0 };
        let amplitude = if i < 6 { [0.9, 0.4] } else { [0.0, 0.0] };
        values.extend([sign * c, sign * s, 0.0, amplitude[0], 0.0, 0.0, -1.0, amplitude[1]]);
    }
    let identity = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
    let field = Lattice::new([8, 2, 2], 8, values, identity).unwrap();
    let rule = DiscreteRule { field: &field, threshold: 0.1, cos_angle: 0.5, total_weight: 0.5 };
    let (mut scratch, mut chance) = (Scratch::default(), Chance::new(1, 0, 0, false));
    let mut at = |x, previous| rule.heading::<false>(x, previous, &mut chance, &mut scratch);
    // A quarter of the way: the weighted sum of the axes with the sign of the last direction.
    let [a, b] = [1, 2].map(|i| [turn(i).cos(), turn(i).sin(), 0.0]);
    let sum = [0, 1, 2].map(|i| 0.75 * a[i] + 0.25 * b[i]);
    let wanted = sum.map(|v| v / norm(sum));
    for sign in [1.0, -1.0] {
        let found = at([1.25, 0.4, 0.7], [sign, 0.0, 0.1]).unwrap();
        assert!(apart(found.direction, wanted.map(|v| sign * v)) < 1e-14);
        assert!((found.amplitude - 0.9).abs() < 1e-14);
    }
    let up = at([1.25, 0.4, 0.7], [0.1, 0.0, 1.0]).unwrap();
    assert!(apart(up.direction, [0.0, 0.0, 1.0]) < 1e-14 && (up.amplitude - 0.4).abs() < 1e-14);
    // Half of the weight must have a direction.
    assert!(at([5.45, 0.0, 0.0], [0.5, 0.8, 0.0]).is_ok());
    assert_eq!(at([5.55, 0.0, 0.0], [0.5, 0.8, 0.0]), Err(Stop::Threshold));
    assert_eq!(at([1.0, 0.0, 0.0], [0.2_f64.sin(), -0.2_f64.cos(), 0.0]), Err(Stop::Angle));
    assert_eq!(at([9.0, 0.0, 0.0], A), Err(Stop::Outside));
    let strict = DiscreteRule { threshold: 0.5, ..rule.clone() };
    let mut starts = Vec::new();
    rule.starts::<false>([1.3, 0.2, 0.2], &mut scratch, &mut starts);
    assert_eq!(starts.iter().map(|h| h.amplitude).collect::<Vec<_>>(), [0.9, 0.4]);
    strict.starts::<false>([1.3, 0.2, 0.2], &mut scratch, &mut starts);
    assert_eq!(starts.len(), 1);
}

#[test]
fn sticks_of_one_draw_stay_together() {
    // Draw 0 has sticks along x, draw 1 along y.
    let sticks: Vec<[f32; 4]> = (0..125)
        .flat_map(|_| {
            [
                [1.0, 0.0, 0.0, 0.6],
                [0.0, 0.0, 1.0, 0.01],
                [0.0, 1.0, 0.0, 0.5],
                [0.0, 0.0, 1.0, 0.01],
            ]
        })
        .collect();
    let row: Vec<u32> = (0..125).collect();
    let identity = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
    let rule = |redraw| StickRule {
        shape: [5; 3],
        voxel_from_field: identity,
        row: &row,
        sticks: &sticks,
        draws: 2,
        count: 2,
        threshold: 0.05,
        redraw,
    };
    let seeds = [Seed { x: [2.0; 3], number: 0, direction: None }];
    for (draw, axis) in [(0, 0), (1, 1)] {
        let tracks = track(
            level(),
            &rule(Redraw::Line(draw)),
            &limits(0.5, Integrator::Euler),
            &Regions::default(),
            &seeds,
            Starts::All(4),
            1,
            draw,
        );
        assert_eq!(tracks.lines.len(), 1);
        let points = &tracks.lines[0].points;
        assert!(points.iter().all(|x| (0..3).all(|i| i == axis || x[i] == 2.0)));
        // From face to face of the grid.
        assert_eq!(points.len(), 11);
    }
    // Another draw at every step: both axes turn up, and turns by 90 degrees stop.
    let mut bounded = limits(0.5, Integrator::Euler);
    bounded.cos_angle = 0.5;
    let list: Vec<Seed> =
        (0..64).map(|number| Seed { x: [2.0; 3], number, direction: None }).collect();
    let tracks = track(
        level(),
        &rule(Redraw::Step),
        &bounded,
        &Regions::default(),
        &list,
        Starts::All(4),
        1,
        0,
    );
    assert!(tracks.lines.iter().any(|l| l.stops.contains(&Stop::Angle)));
}

#[test]
fn bootstrap_of_exact_signals_is_the_peak() {
    // Signals that the fit describes exactly have no residuals: its matrices are the identity here,
    // and the function is linear in the signals.
    let terms = lobes(4, &[(1.0, A), (0.5, B)]);
    let n = terms.len();
    let mut voxel: Vec<f64> = terms.iter().map(|t| t + 20.0).collect();
    voxel.push(1.0);
    voxel.resize(16, 0.0);
    let values = (0..SHAPE.iter().product::<usize>()).flat_map(|_| voxel.clone()).collect();
    let field = lattice(values, false);
    let rows = n.next_multiple_of(8);
    let identity: Vec<f64> =
        (0..n * rows).map(|i| f64::from(u8::from(i / rows == i % rows))).collect();
    let mut below = vec![-20.0; n];
    below.resize(rows, 0.0);
    let resampling = Resampling {
        measurements: n,
        coefficients: identity.clone(),
        fitted: identity.clone(),
        scale: vec![1.0; n],
        outer: vec![0.0; n * rows],
        linear: identity,
        constant: below,
        solid_angle: false,
        lowest: 1e-3,
    };
    let table = AxisTable::new(4, 362);
    let rule = BootstrapRule {
        field: &field,
        resampling: &resampling,
        peaks: peaks(&table, 0.1, 0.25, 0.9),
        cos_angle: 0.5,
        attempts: 5,
    };
    let plain = constant(&terms);
    let peaks =
        PeakRule { functions: Functions { field: &plain, peaks: peaks(&table, 0.1, 0.25, 0.9) } };
    let (mut scratch, mut chance) = (Scratch::default(), Chance::new(1, 0, 0, false));
    let x = [1.0, 0.5, 0.5];
    let a = rule.heading::<false>(x, A, &mut chance, &mut scratch).unwrap();
    let b = peaks.heading::<false>(x, A, &mut chance, &mut scratch).unwrap();
    assert!(apart(a.direction, b.direction) < 1e-9 && (a.amplitude - b.amplitude).abs() < 1e-9);
    let mut starts = Vec::new();
    rule.starts::<false>(x, &mut scratch, &mut starts);
    assert!(
        apart(starts[0].direction, b.direction) < 1e-9
            || apart(starts[0].direction.map(|v| -v), b.direction) < 1e-9
    );
}

/// Resampled signals are the fitted ones and residuals of the same voxel, each equally often: the mean
/// of the function is that of its definition, and its variance that of the residuals.
#[test]
fn residuals_are_resampled_evenly() {
    // One coefficient: the mean of the signals. The function is linear, of one signal of three.
    let signals = [10.0, 13.0, 11.0, 14.5, 9.0, 12.0, 10.5, 15.0, 11.5, 8.5, 12.5];
    let n = signals.len();
    let mean = signals.iter().sum::<f64>() / n as f64;
    let scale = 1.0 / (1.0 - 1.0 / n as f64).sqrt();
    let mut voxel = signals.to_vec();
    voxel.push(1.0);
    voxel.resize(16, 0.0);
    let values = (0..SHAPE.iter().product::<usize>()).flat_map(|_| voxel.clone()).collect();
    let field = lattice(values, false);
    // The term of u'u = 1 of the third signal, and a lobe that keeps the peak where it is.
    let terms = lobes(2, &[(1.0, A)]);
    let mut linear = vec![0.0; n * 8];
    linear[2 * 8] = 0.01;
    let resampling = Resampling {
        measurements: n,
        coefficients: (0..n * 8).map(|i| if i % 8 == 0 { 1.0 / n as f64 } else { 0.0 }).collect(),
        fitted: vec![1.0; 16],
        scale: vec![scale; n],
        outer: vec![0.0; n * 8],
        linear,
        constant: terms.iter().copied().chain([0.0; 2]).collect(),
        solid_angle: false,
        lowest: 1e-3,
    };
    let table = AxisTable::new(2, 362);
    let peaks = peaks(&table, 0.01, 0.25, 0.9);
    let rule = BootstrapRule {
        field: &field,
        resampling: &resampling,
        peaks,
        cos_angle: 0.5,
        attempts: 1,
    };
    let mut scratch = Scratch::default();
    let x = [1.0, 0.5, 0.5];
    let draws: Vec<f64> = (0..20_000)
        .map(|line| {
            let mut chance = Chance::new(4, 0, line, false);
            let heading = rule.heading::<false>(x, A, &mut chance, &mut scratch).unwrap();
            heading.amplitude
        })
        .collect();
    // The amplitude at the peak of a function is linear in what is added to its constant term.
    let residuals: Vec<f64> = signals.iter().map(|m| scale * (m - mean)).collect();
    let variance = residuals.iter().map(|r| r * r).sum::<f64>() / n as f64;
    let found = draws.iter().sum::<f64>() / draws.len() as f64;
    let spread = draws.iter().map(|d| (d - found).powi(2)).sum::<f64>() / draws.len() as f64;
    assert!((spread / (1e-4 * variance) - 1.0).abs() < 0.05, "{spread} {variance}");
    let own = PeakRule { functions: Functions { field: &constant(&terms), peaks } };
    let plain = own.heading::<false>(x, A, &mut Chance::new(1, 0, 0, false), &mut scratch).unwrap();
    let error = (1e-4 * variance / draws.len() as f64).sqrt();
    assert!((found - plain.amplitude - 0.01 * mean).abs() < 4.0 * error, "{found}");
    // Only values of the residuals turn up.
    for d in draws.iter().take(200) {
        let r = (d - plain.amplitude) / 0.01 - mean;
        assert!(residuals.iter().any(|v| (v - r).abs() < 1e-4), "{r}");
    }
}

//! Many streamlines: masks, both halves, levels and threads.

use super::{A, Flow, curved, lattice, level, limits, lobes, peaks};
use microtome_kernels::simd::SimdLevel;
use microtome_kernels::streamline::{
    AxisTable, Chance, Flag, Functions, Heading, Integrator, Lattice, Limits, Line, MassRule,
    PeakRule, Region, Regions, Rule, Scratch, Seed, Starts, Stop, Vec3, track,
};

#[test]
fn regions_stop_and_exclude() {
    let terms = lobes(4, &[(1.0, [1.0, 0.0, 0.0])]);
    let row: Vec<f64> = {
        let mut t = terms;
        t.resize(16, 0.0);
        t
    };
    let values = (0..40).flat_map(|_| row.clone()).collect();
    let identity = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
    let field = Lattice::new([40, 1, 1], 16, values, identity).unwrap();
    let table = AxisTable::new(4, 362);
    let rule =
        PeakRule { functions: Functions { field: &field, peaks: peaks(&table, 0.1, 0.1, 0.9) } };
    let mask = |range: std::ops::Range<usize>, flag| Region {
        shape: [40, 1, 1],
        inside: (0..40).map(|i| range.contains(&i)).collect(),
        voxel_from_field: identity,
        flag,
    };
    let seeds = [Seed { x: [20.0, 0.0, 0.0], number: 7, direction: None }];
    let run = |list: Vec<Region>, limits: Limits| {
        track(level(), &rule, &limits, &Regions { list }, &seeds, Starts::All(4), 1, 0)
    };
    let mut plain = limits(1.0, Integrator::Euler);
    let all = run(vec![], plain);
    assert_eq!((all.lines.len(), all.tried, all.steps), (1, 1, 39));
    let line = &all.lines[0];
    assert_eq!(line.stops, [Stop::Outside; 2]);
    assert_eq!((line.points.len(), line.points[line.seed][0], line.number), (40, 20.0, 7));
    assert!((line.amplitudes[3] - 1.0).abs() < 1e-6);
    let domain = run(vec![mask(15..28, Flag::Domain)], plain);
    assert_eq!(domain.lines[0].points.len(), 13);
    assert_eq!(domain.lines[0].stops, [Stop::Mask; 2]);
    // The point inside a mask that stops is the last one.
    let stop = run(vec![mask(25..27, Flag::Stop)], plain);
    assert_eq!(stop.lines[0].points.len(), 26);
    let excluded = run(vec![mask(25..27, Flag::Exclude)], plain);
    assert_eq!((excluded.lines.len(), excluded.rejected), (0, 1));
    let through =
        |range| run(vec![mask(range, Flag::Include(0)), mask(10..12, Flag::Include(1))], plain);
    assert_eq!(through(30..32).lines.len(), 1);
    let missed = run(vec![mask(30..32, Flag::Include(0)), mask(15..30, Flag::Domain)], plain);
    assert_eq!((missed.lines.len(), missed.rejected), (0, 1));
    assert_eq!(run(vec![mask(0..5, Flag::Domain)], plain).tried, 0);
    plain.steps = 7;
    let short = run(vec![], plain);
    assert_eq!((short.lines[0].points.len(), short.lines[0].stops), (8, [Stop::Length; 2]));
    // The halves share the length; what one leaves is the other's.
    let ends = |line: &Line| [line.points[0][0], line.points[line.points.len() - 1][0]];
    let [low, high] = {
        let [a, b] = ends(&short.lines[0]);
        [a.min(b), a.max(b)]
    };
    assert!((low, high) == (16.0, 23.0) || (low, high) == (17.0, 24.0));
    let near = run(vec![mask(18..40, Flag::Domain)], plain);
    let [a, b] = ends(&near.lines[0]);
    assert_eq!((a.min(b), a.max(b)), (18.0, 25.0));
    plain.fewest = 8;
    assert_eq!((run(vec![], plain).lines.len(), run(vec![], plain).short), (0, 1));
}

/// Axes have no sign: where the longest length cuts streamlines, they reach as far one way as the other.
#[test]
fn streamlines_do_not_lean() {
    struct Straight;
    impl Rule for Straight {
        fn starts<const FMA: bool>(&self, _: Vec3, _: &mut Scratch, out: &mut Vec<Heading>) {
            *out = vec![Heading { direction: A, amplitude: 1.0 }];
        }
        fn heading<const FMA: bool>(
            &self,
            _: Vec3,
            previous: Vec3,
            _: &mut Chance,
            _: &mut Scratch,
        ) -> Result<Heading, Stop> {
            Ok(Heading { direction: previous, amplitude: 1.0 })
        }
    }
    const N: usize = 4000;
    let circle = Flow { w: 1.0, c: 0.0 };
    let start = [12.0, 16.0, 3.0];
    let seeds = |direction| -> Vec<Seed> {
        (0..N).map(|n| Seed { x: start, number: n as u64, direction }).collect()
    };
    let run = |turning: bool, limits: &Limits, direction| {
        let (regions, seeds) = (Regions::default(), seeds(direction));
        let all = Starts::All(4);
        if turning {
            track(level(), &circle, limits, &regions, &seeds, all, 3, 0)
        } else {
            track(level(), &Straight, limits, &regions, &seeds, all, 3, 0)
        }
    };
    for turning in [false, true] {
        let axis = if turning { circle.at(start) } else { A };
        // Where the middle of a line lies along the axis; the mean in standard errors.
        let leans = |limits: &Limits, direction| -> Vec<f64> {
            let tracks = run(turning, limits, direction);
            assert_eq!((tracks.lines.len(), tracks.steps), (N, N as u64 * 31));
            let along = |line: &Line| {
                assert_eq!((line.points.len(), line.stops), (32, [Stop::Length; 2]));
                let next = line.points[(line.seed + 1).min(31)];
                let before = line.points[line.seed.saturating_sub(1)];
                let ahead = (0..3).map(|i| (next[i] - before[i]) * axis[i]).sum::<f64>() > 0.0;
                let lean = 31.0 - 2.0 * line.seed as f64;
                if ahead { lean } else { -lean }
            };
            tracks.lines.iter().map(along).collect()
        };
        let mut limits = limits(0.1, Integrator::RungeKutta);
        limits.steps = 31;
        for both in [true, false] {
            limits.both = both;
            let far = if both { 1.0 } else { 31.0 };
            let found = leans(&limits, None);
            assert!(found.iter().all(|l| l.abs() == far));
            let error = far / (N as f64).sqrt();
            let mean = found.iter().sum::<f64>() / N as f64;
            assert!(mean.abs() < 4.0 * error && mean != 0.0, "{turning} {both}: {mean} +- {error}");
        }
        // A direction that is given is gone first.
        let back = axis.map(|v| -v);
        assert!(leans(&limits, Some(back)).iter().all(|l| *l == -31.0));
    }
}

#[test]
fn levels_and_threads_agree() {
    let table = AxisTable::new(8, 362);
    let values: Vec<f64> = curved(8);
    let field = lattice(values, false);
    let rule = MassRule {
        functions: Functions { field: &field, peaks: peaks(&table, 0.05, 0.25, 0.9) },
        part: 0.05,
        cos_cone: 0.7,
        angular_weight: 0.0,
    };
    let seeds: Vec<Seed> = (0..100)
        .map(|n| Seed { x: [1.0 + 0.03 * n as f64, 0.2, 0.3], number: n, direction: None })
        .collect();
    let run = |level| {
        let limits = Limits { cos_angle: 0.7, ..limits(0.4, Integrator::Midpoint) };
        track(level, &rule, &limits, &Regions::default(), &seeds, Starts::All(3), 9, 0)
    };
    let all = run(level());
    assert!(all.lines.len() > 50);
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(one.install(|| run(level())), all);
    // Levels with fused multiply-add do the same operations.
    for other in SimdLevel::available() {
        if other.name() != "scalar" {
            assert_eq!(run(other), all);
        }
    }
}

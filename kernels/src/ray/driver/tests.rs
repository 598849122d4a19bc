use super::*;
use crate::ray::footprint::Slab;
use crate::ray::line::Line;
use crate::ray::surface::Surface;
use std::f64::consts::PI;

const GRID: Grid = Grid { shape: [21, 37, 18], voxel: [1.0, 0.8, 1.2] };
const PANEL: Panel = Panel::flat(23, 19);

fn views() -> Vec<View> {
    (0..9)
        .map(|i| {
            let (s, c) = (0.7 * f64::from(i)).sin_cos();
            let (st, ct) = (0.9 * f64::from(i) - 1.0).sin_cos();
            let d = [c * ct, s * ct, st];
            let far = |k: f64| [d[0] * k, d[1] * k, d[2] * k];
            View {
                beam: if i % 3 == 0 {
                    Beam::Parallel(d)
                } else {
                    Beam::Source(far(if i % 3 == 1 { -60.0 } else { -4.0 }))
                },
                detector: far(30.0),
                u: [-1.4 * s, 1.4 * c, 0.0],
                v: [-1.3 * c * st, -1.3 * s * st, 1.3 * ct],
            }
        })
        .collect()
}

fn value(i: usize) -> f64 {
    ((i * 37 + 11) % 101) as f64 / 50.0 - 1.0
}

fn apply<T: Real>(projector: Projector) -> (Vec<T>, Vec<T>) {
    let x: Vec<T> = (0..GRID.len()).map(|i| T::narrow(value(i))).collect();
    let y: Vec<T> = (0..9 * 23 * 19).map(|i| T::narrow(value(7 * i + 3))).collect();
    let (mut ax, mut aty) = (vec![T::default(); y.len()], vec![T::default(); x.len()]);
    forward(projector, &GRID, PANEL, &views(), &x, &mut ax);
    adjoint(projector, &GRID, PANEL, &views(), &y, &mut aty);
    (ax, aty)
}

fn dot<T: Real>(a: &[T], b: impl Fn(usize) -> f64) -> f64 {
    a.iter().enumerate().map(|(i, v)| v.wide() * T::narrow(b(i)).wide()).sum()
}

fn gap<T: Real>(projector: Projector) -> f64 {
    let (ax, aty) = apply::<T>(projector);
    let (left, right) = (dot(&ax, |i| value(7 * i + 3)), dot(&aty, value));
    let norm = ax.iter().map(|v| v.wide().powi(2)).sum::<f64>().sqrt();
    let y = (0..ax.len()).map(|i| value(7 * i + 3).powi(2)).sum::<f64>().sqrt();
    (left - right).abs() / (norm * y)
}

/// A slice between empty ones: rays that leave its plane weigh what they weigh there.
#[test]
fn a_slice_is_a_volume() {
    let (slice, row) = (Grid { shape: [21, 37, 1], ..GRID }, Panel::flat(23, 1));
    let padded = Grid { shape: [21, 37, 3], ..GRID };
    let x: Vec<f64> = (0..slice.len()).map(value).collect();
    let mut whole = vec![0.0; padded.len()];
    whole[slice.len()..2 * slice.len()].copy_from_slice(&x);
    let mut in_plane = views();
    in_plane.iter_mut().for_each(|v| {
        (v.detector[2], v.u[2]) = (0.0, 0.0);
        v.beam = match v.beam {
            Beam::Parallel([a, b, _]) => Beam::Parallel([a, b, 0.0]),
            Beam::Source([a, b, _]) => Beam::Source([a, b, 0.0]),
        };
    });
    for views in [views(), in_plane] {
        for projector in Projector::SLICEWISE {
            let (mut a, mut b) = (vec![0.0; 9 * 23], vec![0.0; 9 * 23]);
            forward(projector, &slice, row, &views, &x, &mut a);
            forward(projector, &padded, row, &views, &whole, &mut b);
            assert!(a.iter().any(|v| *v != 0.0));
            for (a, b) in a.iter().zip(&b) {
                assert!((a - b).abs() < 1e-11, "{projector:?}: {a} {b}");
            }
        }
    }
}

/// Joseph's rule for single rays only.
struct Plain;

impl Footprint for Plain {
    const MARGIN: f64 = Joseph::MARGIN;
    const LINEAR: bool = false;

    fn walk<const FLAT: bool>(line: &Line, slab: &Slab, visit: impl FnMut(usize, usize, f64)) {
        Joseph::walk::<FLAT>(line, slab, visit);
    }
}

/// Numbers of no pattern.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64, lattice: bool) -> f64 {
        let v = low + (high - low) * self.next();
        if lattice { (2.0 * v).round() / 2.0 } else { v }
    }

    fn some(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.next() - 0.3).collect()
    }
}

/// A plane, or a panel with v along z: parallel beams and sources, far, near and inside,
/// fine and coarse pixels, and with `lattice` rays along axes, diagonals and faces.
fn random_scene<const FLAT: bool>(seed: u64) -> (Grid, Panel, Vec<View>) {
    let mut of = Numbers(seed);
    let lattice = seed.is_multiple_of(2);
    let mut size = |most: f64| of.between(1.0, most, false) as usize;
    let shape = [size(30.0), size(30.0), if FLAT { 1 } else { size(30.0) }];
    let panel = Panel::flat(size(60.0), if FLAT { 1 } else { size(40.0) });
    let h = if lattice { [1.0; 3] } else { std::array::from_fn(|_| of.between(0.5, 2.0, false)) };
    let views = (0..4).map(|_| {
        let mut plane = |r: f64| [of.between(-r, r, lattice), of.between(-r, r, lattice), 0.0];
        let far = [4.0, 20.0, 100.0][(seed / 2 % 3) as usize];
        let (p, detector, u) =
            (plane(far), plane(20.0), plane([0.6, 2.0, 5.0][(seed / 6 % 3) as usize]));
        let mut pixel = [0.0; 3];
        let mut along = [p, detector];
        if !FLAT {
            along.iter_mut().for_each(|a| a[2] = of.between(-9.0, 9.0, lattice));
            pixel[2] = of.between(-2.0, 2.0, lattice);
        }
        let beam = if of.next() < 0.4 { Beam::Parallel(along[0]) } else { Beam::Source(along[0]) };
        View { beam, detector: along[1], u, v: pixel }
    });
    let views: Vec<View> = views.collect();
    let regular = views.iter().filter(|v| {
        let (Beam::Parallel(d) | Beam::Source(d)) = v.beam;
        let seen = match v.beam {
            Beam::Parallel(_) => d,
            Beam::Source(s) => std::array::from_fn(|k| v.detector[k] - s[k]),
        };
        let cross = seen[0] * v.u[1] - seen[1] * v.u[0];
        cross.abs() > 1e-3 && (FLAT || v.v[2] != 0.0)
    });
    (Grid { shape, voxel: h }, panel, regular.copied().collect())
}

/// The greatest difference in units of the greatest value.
fn apart(a: &[f64], b: &[f64]) -> f64 {
    let most = a.iter().fold(1e-300_f64, |m, v| m.max(v.abs()));
    a.iter().zip(b).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs())) / most
}

fn compare<const FLAT: bool>() {
    for seed in 0..300 {
        let (grid, panel, views) = random_scene::<FLAT>(seed);
        let mut of = Numbers(seed + 1_000_000);
        let (x, y) = (of.some(grid.len()), of.some(views.len() * panel.nu * panel.nv));
        let plain = simd::level();
        let (mut ax, mut aty) = (vec![0.0; y.len()], vec![0.0; x.len()]);
        sums::<f64, Plain, FLAT>(plain, &grid, panel, &views, &x, &mut ax);
        spread::<f64, Plain, FLAT>(plain, &grid, panel, &views, &y, &mut aty);
        for level in SimdLevel::available() {
            let (mut bx, mut bty) = (vec![0.0; y.len()], vec![0.0; x.len()]);
            sums::<f64, Joseph, FLAT>(level, &grid, panel, &views, &x, &mut bx);
            spread::<f64, Joseph, FLAT>(level, &grid, panel, &views, &y, &mut bty);
            let gaps = [apart(&ax, &bx), apart(&aty, &bty)];
            assert!(gaps.iter().all(|g| *g < 1e-12), "{seed} {level:?} {gaps:?}");
        }
    }
}

#[test]
fn bundles_equal_single_rays() {
    compare::<true>();
    compare::<false>();
}

/// A plane of more voxels and rays, which neither run along axes nor lie far apart.
fn wide_scene(seed: u64) -> (Grid, Panel, Vec<View>) {
    let mut of = Numbers(seed + 77);
    let mut size = |low: f64, high: f64| of.between(low, high, false) as usize;
    let shape = [size(32.0, 150.0), size(32.0, 150.0), 1];
    let panel = Panel::flat(size(40.0, 300.0), 1);
    let grid = Grid { shape, voxel: [of.between(0.7, 1.4, false), 1.0, 1.0] };
    let far = [90.0, 130.0, 400.0][(seed % 3) as usize];
    let views = (0..6).map(|i| {
        let turn = if seed.is_multiple_of(4) { f64::from(i) * PI / 4.0 } else { 7.0 * of.next() };
        let ((s, c), tilt) = (turn.sin_cos(), 0.6 * of.next() - 0.3);
        let pitch = of.between(0.3, 2.5, false);
        let (st, ct) = (turn + tilt).sin_cos();
        let beam = match (seed + i as u64) % 4 {
            0 => Beam::Parallel([-s, c, 0.0]),
            _ => Beam::Source([far * s, -far * c, 0.0]),
        };
        View {
            beam,
            detector: [-60.0 * s, 60.0 * c, 0.0],
            u: [pitch * ct, pitch * st, 0.0],
            v: [0.0, 0.0, 1.0],
        }
    });
    (grid, panel, views.collect())
}

/// How many combs the rays of a scene make.
fn combs(grid: &Grid, panel: Panel, views: &[View]) -> usize {
    let scene = Scene::new::<Joseph, true>(simd::level(), grid, panel, views);
    let mut count = 0;
    for main in 0..2 {
        let whole = Brick::whole(grid, main, scene.lane_axis(main), LANES);
        for (_, part) in parts::<f32>(&scene, &scene.of_main(main), &[], &[]) {
            count += Strips::new(&part, &whole, &|_| 1.0).combs.len();
        }
    }
    count
}

#[test]
fn combs_equal_single_rays() {
    let (mut most, mut found) = (0.0_f64, 0);
    for seed in 0..120 {
        let (grid, panel, views) = wide_scene(seed);
        found += combs(&grid, panel, &views);
        let mut of = Numbers(seed + 5_000_000);
        // Some rays alone show which voxels they reach.
        let sparse = seed % 5 == 1;
        let y: Vec<f32> = (0..views.len() * panel.nu)
            .map(|_| (of.next() - 0.3, of.next()))
            .map(|(v, keep)| if sparse && keep < 0.95 { 0.0 } else { v as f32 })
            .collect();
        let wide: Vec<f64> = y.iter().map(|v| f64::from(*v)).collect();
        let mut exact = vec![0.0; grid.len()];
        spread::<f64, Plain, true>(simd::level(), &grid, panel, &views, &wide, &mut exact);
        let mut of_levels = Vec::new();
        for level in SimdLevel::available() {
            let mut aty = vec![0.0_f32; grid.len()];
            spread::<f32, Joseph, true>(level, &grid, panel, &views, &y, &mut aty);
            let aty: Vec<f64> = aty.into_iter().map(f64::from).collect();
            let gap = apart(&exact, &aty);
            assert!(gap < 4e-6, "{seed} {level:?} {gap}");
            // Voxels that no ray reaches have nothing at all.
            let nothing = exact.iter().zip(&aty).all(|(e, a)| *e != 0.0 || a.abs() < 4e-6);
            assert!(nothing, "{seed} {level:?}");
            most = most.max(gap);
            if level != SimdLevel(crate::simd::Isa::Scalar) {
                of_levels.push(aty);
            }
        }
        assert!(of_levels.windows(2).all(|w| w[0] == w[1]), "{seed}");
    }
    assert!(found > 300, "{found}");
    assert!(most > 1e-8, "{most}");
}

/// Views of a panel whose v, or with `swapped` u, runs along z: parallel beams and sources,
/// flat and curved detectors, fine and coarse pixels.
fn tall_scene(seed: u64) -> (Grid, Panel, Vec<View>) {
    let mut of = Numbers(seed + 991);
    let mut size = |low: f64, high: f64| of.between(low, high, false) as usize;
    let shape = [size(10.0, 50.0), size(10.0, 50.0), size(30.0, 150.0)];
    let (across, along) = (size(8.0, 40.0), size(33.0, 140.0));
    let swapped = seed % 5 == 3;
    let surface = match seed % 3 {
        0 if !swapped => Surface::Cylinder { radius: None },
        _ => Surface::Flat,
    };
    let (nu, nv) = if swapped { (along, across) } else { (across, along) };
    let panel = Panel { nu, nv, surface };
    let voxel = [of.between(0.7, 1.4, false), 1.0, of.between(0.7, 1.4, false)];
    let far = [90.0, 200.0, 500.0][(seed % 3) as usize];
    let views = (0..5).map(|i| {
        let turn = if seed % 4 == 1 { f64::from(i) * PI / 4.0 } else { 7.0 * of.next() };
        let (s, c) = turn.sin_cos();
        let (st, ct) = (turn + 0.5 * of.next() - 0.25).sin_cos();
        let [wide, high] = [of.between(0.5, 2.0, false), of.between(0.4, 1.6, false)];
        let lift = of.between(-20.0, 20.0, false);
        let beam = match (seed + i as u64) % 4 {
            0 => Beam::Parallel([-s, c, 0.3 * of.next()]),
            _ => Beam::Source([far * s, -far * c, lift]),
        };
        let (u, v) = ([wide * ct, wide * st, 0.0], [0.0, 0.0, high]);
        let (u, v) = if swapped { (v, u) } else { (u, v) };
        View { beam, detector: [-60.0 * s, 60.0 * c, -0.5 * lift], u, v }
    });
    (Grid { shape, voxel }, panel, views.collect())
}

/// The share of rays that are in sheets, in the sum and in the transpose.
fn in_sheets(grid: &Grid, panel: Panel, views: &[View]) -> [f64; 2] {
    let scene = Scene::new::<Joseph, false>(simd::level(), grid, panel, views);
    let mut single = [0; 2];
    for main in 0..3 {
        let chosen = scene.of_main(main);
        let lines = scene.lines(main, &chosen);
        let axes = [main, scene.lane_axis(main)];
        let (mut x, mut y) = (vec![0.0_f32; grid.len()], vec![0.0_f32; 5 * panel.nu * panel.nv]);
        let forward = sheet::forward(scene.level, grid, axes, &lines, &x, &mut y);
        let adjoint = sheet::adjoint(scene.level, grid, axes, &lines, &y, &mut x);
        for (k, others) in [forward, adjoint].iter().enumerate() {
            let mut rest = vec![true; views.len()];
            for (lines, others) in lines.iter().zip(others) {
                rest[lines.view] = false;
                for line in others {
                    single[k] += lines
                        .pixels(*line)
                        .filter(|(iu, iv)| scene.rays[lines.view].main(*iu, *iv) == main)
                        .count();
                }
            }
            for (view, _) in rest.iter().enumerate().filter(|(view, rest)| **rest && chosen[*view])
            {
                let all = (0..panel.nu * panel.nv).map(|k| (k % panel.nu, k / panel.nu));
                single[k] += all.filter(|(iu, iv)| scene.rays[view].main(*iu, *iv) == main).count();
            }
        }
    }
    single.map(|n| 1.0 - n as f64 / (5 * panel.nu * panel.nv) as f64)
}

/// Numbers of both signs, some of them alone where `sparse`.
fn signs(seed: u64, n: usize, sparse: bool) -> Vec<f32> {
    let mut of = Numbers(seed);
    let all = (0..n).map(|_| (of.next() - 0.3, of.next()));
    all.map(|(v, keep)| if sparse && keep < 0.95 { 0.0 } else { v as f32 }).collect()
}

fn wide(of: &[f32]) -> Vec<f64> {
    of.iter().map(|v| f64::from(*v)).collect()
}

#[test]
fn sheets_equal_single_rays() {
    let (mut most, mut share) = (0.0_f64, [0.0; 2]);
    for seed in 0..60 {
        let (grid, panel, views) = tall_scene(seed);
        let of = in_sheets(&grid, panel, &views);
        share = [share[0] + of[0] / 60.0, share[1] + of[1] / 60.0];
        let pixels = views.len() * panel.nu * panel.nv;
        let (x, y) = (signs(seed, grid.len(), false), signs(seed + 500, pixels, seed % 7 == 1));
        let (mut ax, mut aty) = (vec![0.0; pixels], vec![0.0; grid.len()]);
        let level = simd::level();
        sums::<f64, Plain, false>(level, &grid, panel, &views, &wide(&x), &mut ax);
        spread::<f64, Plain, false>(level, &grid, panel, &views, &wide(&y), &mut aty);
        let mut of_levels = Vec::new();
        for level in SimdLevel::available() {
            let (mut bx, mut bty) = (vec![0.0; pixels], vec![0.0; grid.len()]);
            sums::<f32, Joseph, false>(level, &grid, panel, &views, &x, &mut bx);
            spread::<f32, Joseph, false>(level, &grid, panel, &views, &y, &mut bty);
            let gaps = [apart(&ax, &wide(&bx)), apart(&aty, &wide(&bty))];
            assert!(gaps.iter().all(|g| *g < 2e-6), "{seed} {level:?} {gaps:?}");
            most = most.max(gaps[0]).max(gaps[1]);
            if level != SimdLevel(crate::simd::Isa::Scalar) {
                of_levels.push((bx, bty));
            }
        }
        assert!(of_levels.windows(2).all(|w| w[0] == w[1]), "{seed}");
    }
    assert!(share.iter().all(|s| *s > 0.6), "{share:?}");
    assert!(most > 1e-8, "{most}");
}

/// Far from an exact transpose in units of $|Ax||y|$, in 32 bits.
fn unbalanced(grid: &Grid, panel: Panel, views: &[View], seed: u64) -> f64 {
    let pixels = views.len() * panel.nu * panel.nv;
    let (x, y) = (signs(seed, grid.len(), false), signs(seed + 9, pixels, false));
    let (mut ax, mut aty) = (vec![0.0; pixels], vec![0.0; grid.len()]);
    forward(Projector::Joseph, grid, panel, views, &x, &mut ax);
    adjoint(Projector::Joseph, grid, panel, views, &y, &mut aty);
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    (dot(&ax, &y) - dot(&x, &aty)).abs() / (dot(&ax, &ax) * dot(&y, &y)).sqrt()
}

#[test]
fn wide_rows_are_transposes() {
    let (mut planes, mut spaces) = (0, 0);
    for seed in 1000..1060 {
        let (grid, panel, views) = wide_scene(seed);
        planes += usize::from(combs(&grid, panel, &views) >= views.len());
        let gap = unbalanced(&grid, panel, &views, seed);
        assert!(gap <= 1e-6, "{seed} {gap}");
        let (grid, panel, views) = tall_scene(seed);
        spaces += usize::from(in_sheets(&grid, panel, &views).iter().all(|share| *share > 0.9));
        let gap = unbalanced(&grid, panel, &views, seed);
        assert!(gap <= 1e-6, "{seed} {gap}");
    }
    assert!(planes > 30 && spaces > 15, "{planes} {spaces}");
}

#[test]
fn transposes() {
    for projector in Projector::SLICEWISE {
        assert!(gap::<f64>(projector) < 1e-14, "{}", gap::<f64>(projector));
        assert!(gap::<f32>(projector) < 1e-7, "{}", gap::<f32>(projector));
    }
}

#[test]
fn threads_change_no_bit() {
    for projector in Projector::SLICEWISE {
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| apply::<f32>(projector))
        };
        let one = with(1);
        assert!(one == with(2) && one == with(5));
    }
}

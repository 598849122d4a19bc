//! Filtered backprojection against images with exact projections, and against ASTRA.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use microtome_inference::reconstruct::{Filter, FilteredBackprojection, Number, Sharing};
use microtome_kernels::ray::{Beam, Panel, Projector, Surface};
use microtome_models::ct::{
    Geometry, GeometryKind, RayTransform, TrajectoryKind, TrajectorySpec, VolumeGrid,
};
use std::collections::BTreeMap;
use std::f64::consts::{PI, TAU};
use std::path::Path;

/// A ball (in the plane a disc): value, centre, radius, and the power of
/// `value (1 - r^2/radius^2)^power`; 0 for a constant one, 3 for one that is smooth.
#[derive(Clone, Copy)]
struct Ball {
    value: f64,
    centre: [f64; 3],
    radius: f64,
    power: i32,
}

impl Ball {
    fn at(&self, p: [f64; 3]) -> f64 {
        let r2: f64 = (0..3).map(|k| (p[k] - self.centre[k]).powi(2)).sum();
        let rest = 1.0 - r2 / self.radius.powi(2);
        if rest > 0.0 { self.value * rest.powi(self.power) } else { 0.0 }
    }

    /// The exact integral along a line through `p` in the direction `d`: with the distance
    /// s of the centre, (1 - s^2/R^2)^(m + 1/2) R sqrt(pi) m! / Gamma(m + 3/2).
    fn integral(&self, p: [f64; 3], d: [f64; 3]) -> f64 {
        let c: [f64; 3] = std::array::from_fn(|k| self.centre[k] - p[k]);
        let dot = |a: [f64; 3], b: [f64; 3]| (0..3).map(|k| a[k] * b[k]).sum::<f64>();
        let s2 = dot(c, c) - dot(c, d).powi(2) / dot(d, d);
        let rest = 1.0 - s2 / self.radius.powi(2);
        let factor = match self.power {
            0 => 2.0,
            // 3! sqrt(pi) / Gamma(4.5) = 32/35.
            3 => 32.0 / 35.0,
            _ => panic!("no factor"),
        };
        let power = f64::from(self.power) + 0.5;
        if rest > 0.0 { self.value * factor * self.radius * rest.powf(power) } else { 0.0 }
    }
}

/// Two smooth balls of one size each.
fn smooth(z: f64) -> [Ball; 2] {
    [
        Ball { value: 0.02, centre: [4.0, -6.0, z], radius: 24.0, power: 3 },
        Ball { value: 0.01, centre: [-13.0, 9.0, z], radius: 15.0, power: 3 },
    ]
}

fn panel(geometry: &Geometry) -> Panel {
    let [nv, nu] = geometry.detector();
    Panel { nu, nv, surface: geometry.surface() }
}

fn project(geometry: &Geometry, balls: &[Ball]) -> Vec<f64> {
    let panel = panel(geometry);
    let mut out = Vec::new();
    for view in geometry.views() {
        for iv in 0..panel.nv {
            for iu in 0..panel.nu {
                let p = view.pixel(panel, iu as f64, iv as f64);
                let d = match view.beam {
                    Beam::Parallel(d) => d,
                    Beam::Source(s) => std::array::from_fn(|k| p[k] - s[k]),
                };
                out.push(balls.iter().map(|b| b.integral(p, d)).sum());
            }
        }
    }
    out
}

/// Point samples of the balls, and how far each voxel is from the axis.
fn sample(volume: &VolumeGrid, balls: &[Ball]) -> Vec<(f64, f64)> {
    let reversed = |v: Vec<f64>, fill: f64| -> [f64; 3] {
        std::array::from_fn(|k| v.iter().rev().nth(k).copied().unwrap_or(fill))
    };
    let h = reversed(volume.voxel_mm(), 1.0);
    let c = reversed(volume.centre_mm(), 0.0);
    let n = reversed(volume.shape().iter().map(|n| *n as f64).collect(), 1.0);
    let (nx, ny) = (n[0] as usize, n[1] as usize);
    (0..volume.len())
        .map(|j| {
            let q = [j % nx, j / nx % ny, j / nx / ny];
            let p: [f64; 3] =
                std::array::from_fn(|k| c[k] + (q[k] as f64 - (n[k] - 1.0) / 2.0) * h[k]);
            (balls.iter().map(|b| b.at(p)).sum(), p[0].hypot(p[1]))
        })
        .collect()
}

fn run(
    geometry: &Geometry,
    volume: &VolumeGrid,
    y: &[f64],
    sharing: Sharing,
) -> (Vec<f64>, Vec<String>) {
    let fbp = FilteredBackprojection::new(geometry, volume, Filter::RamLak, sharing).unwrap();
    (fbp.reconstruct(y).unwrap(), fbp.notes().to_vec())
}

/// Root mean square of the error within `radius` of the axis, over the greatest value.
fn error(
    geometry: &Geometry,
    volume: &VolumeGrid,
    balls: &[Ball],
    sharing: Sharing,
    radius: f64,
) -> f64 {
    let (x, _) = run(geometry, volume, &project(geometry, balls), sharing);
    let exact = sample(volume, balls);
    let most = exact.iter().fold(0.0, |m: f64, e| m.max(e.0));
    let inside: Vec<f64> = x
        .iter()
        .zip(&exact)
        .filter(|(_, e)| e.1 < radius)
        .map(|(x, e)| (x - e.0).powi(2))
        .collect();
    (inside.iter().sum::<f64>() / inside.len() as f64).sqrt() / most
}

fn arc() -> Surface {
    Surface::Cylinder { radius: None }
}

/// Fans and parallel beams with pixels of 96/n mm at the axis.
fn fan(n: usize, views: usize, range: f64, start: f64, offset: f64) -> TrajectorySpec {
    TrajectorySpec {
        source_to_axis_mm: Some(180.0),
        axis_to_detector_mm: Some(90.0),
        range_deg: Some(range),
        start_deg: Some(start),
        detector_offset_mm: Some(vec![offset]),
        ..TrajectorySpec::circular(views, &[144.0 / n as f64])
    }
}

fn parallel(n: usize, views: usize, range: f64, start: f64, offset: f64) -> TrajectorySpec {
    TrajectorySpec {
        source_to_axis_mm: None,
        axis_to_detector_mm: None,
        pixel_mm: vec![96.0 / n as f64],
        ..fan(n, views, range, start, offset)
    }
}

fn plane(n: usize) -> VolumeGrid {
    let h = 80.0 / n as f64;
    VolumeGrid::new(&[n, n / 2], &[h, 2.0 * h], &[0.7, -1.1]).unwrap()
}

/// Cases of `n` pixels; the views grow with them.
fn cases(n: usize) -> Vec<(&'static str, Geometry, Sharing, &'static str)> {
    use GeometryKind::{Fan2d, Parallel2d};
    let flat = |kind, spec: TrajectorySpec| spec.geometry(kind, [1, n]).unwrap();
    let bent = |spec: TrajectorySpec| flat(Fan2d, spec).with_surface(arc()).unwrap();
    let wide = |kind, spec: TrajectorySpec| spec.geometry(kind, [1, n * 3 / 4]).unwrap();
    let v = n * 3 / 2;
    let auto = Sharing::Auto;
    vec![
        ("parallel", flat(Parallel2d, parallel(n, v, 180.0, 20.0, 0.3)), auto, "half turn"),
        (
            "parallel, whole turn",
            flat(Parallel2d, parallel(n, 2 * v, 360.0, 0.0, 0.0)),
            auto,
            "half",
        ),
        (
            "parallel, 250 degrees",
            flat(Parallel2d, parallel(n, 2 * v, 250.0, 0.0, 0.0)),
            auto,
            "half",
        ),
        ("parallel, backwards", flat(Parallel2d, parallel(n, v, -180.0, 0.0, 0.0)), auto, "half"),
        (
            "parallel, to one side",
            wide(Parallel2d, parallel(n, 2 * v, 360.0, 0.0, 15.0)),
            auto,
            "Wang",
        ),
        ("fan", flat(Fan2d, fan(n, 2 * v, 360.0, 70.0, 0.8)), auto, "full turn"),
        ("fan, two turns", flat(Fan2d, fan(n, 3 * v, 720.0, 70.0, 0.0)), auto, "full turn"),
        ("fan, short", flat(Fan2d, fan(n, 2 * v, 224.0, 33.0, 0.0)), auto, "Parker"),
        ("fan, overscan", flat(Fan2d, fan(n, 2 * v, 280.0, 33.0, 0.0)), auto, "Parker"),
        ("fan, short, backwards", flat(Fan2d, fan(n, 2 * v, -224.0, 33.0, 0.0)), auto, "Parker"),
        ("fan, to one side", wide(Fan2d, fan(n, 2 * v, 360.0, 0.0, 22.0)), auto, "Wang"),
        ("fan, to the other", wide(Fan2d, fan(n, 2 * v, 360.0, 0.0, -22.0)), auto, "Wang"),
        ("arc", bent(fan(n, 2 * v, 360.0, 70.0, 0.0)), auto, "full turn"),
        ("arc, short", bent(fan(n, 2 * v, 224.0, 0.0, 0.0)), auto, "Parker"),
    ]
}

/// Smooth images are reconstructed with an error that falls as the square of the pixel: the
/// order of linear interpolation. Voxels are oblong and off centre.
#[test]
fn converges_in_the_plane() {
    for ((name, coarse, sharing, note), (_, fine, _, _)) in cases(64).into_iter().zip(cases(128)) {
        let balls = smooth(0.0);
        let (_, notes) = run(&coarse, &plane(64), &project(&coarse, &balls), sharing);
        assert!(notes.iter().any(|n| n.contains(note)), "{name}: {notes:?}");
        let low = error(&coarse, &plane(64), &balls, sharing, 31.0);
        let high = error(&fine, &plane(128), &balls, sharing, 31.0);
        println!("{name:<24} {low:.2e} {high:.2e} order {:.2}", (low / high).log2());
        assert!(high < 2e-3, "{name}: {high}");
        assert!((low / high).log2() > 1.6, "{name}: {low} {high}");
    }
}

/// Views at uneven angles in any order, and around an ellipse.
#[test]
fn spacing_does_not_matter() {
    let balls = smooth(0.0);
    let golden = (5.0_f64.sqrt() - 1.0) / 2.0;
    let mut rows = Vec::new();
    for k in 0..377 {
        let t = PI * (f64::from(k) * golden).fract();
        let (s, c) = t.sin_cos();
        // The length of a parallel ray has no meaning.
        rows.extend([-s * 3.0, c * 3.0, 7.0 * s, -7.0 * c, 0.75 * c, 0.75 * s]);
    }
    let g = Geometry::new(GeometryKind::Parallel2d, [1, 128], &rows).unwrap();
    let uneven = error(&g, &plane(128), &balls, Sharing::Auto, 31.0);
    assert!(uneven < 2e-3, "{uneven}");
    // An ellipse of sources, closer views at one side, detectors that turn with them.
    let mut rows = Vec::new();
    for k in 0..512 {
        let t = TAU * f64::from(k) / 512.0;
        let (s, c) = (t + 0.5 * t.cos()).sin_cos();
        let (a, b) = (190.0, 150.0);
        let far = (a * c).hypot(b * s);
        let d = [-a * c / far, -b * s / far];
        rows.extend([a * c, b * s, 90.0 * d[0], 90.0 * d[1], -1.125 * d[1], 1.125 * d[0]]);
    }
    let g = Geometry::new(GeometryKind::Fan2d, [1, 160], &rows).unwrap();
    let (_, notes) = run(&g, &plane(128), &project(&g, &balls), Sharing::Auto);
    assert!(notes.iter().any(|n| n.contains("closed curve")), "{notes:?}");
    let ellipse = error(&g, &plane(128), &balls, Sharing::Auto, 31.0);
    assert!(ellipse < 2e-3, "{ellipse}");
    // Detectors that are turned by up to 12 degrees about their middle.
    let mut rows = Vec::new();
    for k in 0..360 {
        let (s, c) = (TAU * f64::from(k) / 360.0).sin_cos();
        let (st, ct) = (0.2 * (f64::from(k) * 0.1).sin()).sin_cos();
        let u = [c * ct - s * st, s * ct + c * st];
        rows.extend([180.0 * s, -180.0 * c, -90.0 * s, 90.0 * c, 1.125 * u[0], 1.125 * u[1]]);
    }
    let g = Geometry::new(GeometryKind::Fan2d, [1, 140], &rows).unwrap();
    let turned = error(&g, &plane(128), &balls, Sharing::Auto, 31.0);
    assert!(turned < 2e-3, "{turned}");
}

/// A disc of 0.02/mm is one of 0.02/mm, whatever the size of pixels and voxels.
#[test]
fn units_are_right() {
    let disc = Ball { value: 0.02, centre: [1.0, 2.0, 0.0], radius: 25.0, power: 0 };
    for (name, geometry, sharing, _) in cases(192) {
        let h = 0.31;
        let volume = VolumeGrid::new(&[41, 31], &[h, 1.7 * h], &[2.0, 1.0]).unwrap();
        let (x, _) = run(&geometry, &volume, &project(&geometry, &[disc]), sharing);
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        assert!((mean / 0.02 - 1.0).abs() < 1e-3, "{name}: {mean}");
        let worst = x.iter().fold(0.0_f64, |m, v| m.max((v - 0.02).abs()));
        assert!(worst < 0.01 * 0.02, "{name}: {worst}");
    }
}

fn cone(n: usize, views: usize) -> TrajectorySpec {
    let pitch = 144.0 / n as f64;
    TrajectorySpec {
        pixel_mm: vec![pitch, pitch],
        detector_offset_mm: None,
        ..fan(n, views, 360.0, 10.0, 0.0)
    }
}

/// In the plane of the circle FDK is exact, on any detector; parallel beams everywhere.
#[test]
fn converges_in_space() {
    let n = 32;
    let balls = smooth(0.0);
    let of = |n: usize| {
        let h = 80.0 / n as f64;
        let slab = VolumeGrid::new(&[1, n, n], &[h, h, h], &[0.0; 3]).unwrap();
        let solid = VolumeGrid::new(&[n / 2, n, n], &[h, h, h], &[0.0; 3]).unwrap();
        let v = n * 3;
        let build = |spec: &TrajectorySpec| spec.geometry(GeometryKind::Cone3d, [n / 2 + 1, n]);
        let flat = build(&cone(n, v)).unwrap();
        let bent = flat.clone().with_surface(arc()).unwrap();
        let short = TrajectorySpec { range_deg: Some(230.0), ..cone(n, v) };
        let beam = TrajectorySpec {
            pixel_mm: vec![96.0 / n as f64; 2],
            detector_offset_mm: None,
            ..parallel(n, v, 180.0, 0.0, 0.0)
        };
        let beam = beam.geometry(GeometryKind::Parallel3d, [n / 2 + 1, n]).unwrap();
        vec![
            ("cone", flat, slab.clone()),
            ("cone, arc", bent, slab.clone()),
            ("cone, short", build(&short).unwrap(), slab),
            ("parallel", beam, solid),
        ]
    };
    for ((name, coarse, low), (_, fine, high)) in of(n).into_iter().zip(of(2 * n)) {
        let low = error(&coarse, &low, &balls, Sharing::Auto, 31.0);
        let high = error(&fine, &high, &balls, Sharing::Auto, 31.0);
        println!("{name:<24} {low:.2e} {high:.2e} order {:.2}", (low / high).log2());
        assert!(high < 8e-3 && (low / high).log2() > 1.6, "{name}: {low} {high}");
    }
}

/// A ball beside the plane, turned world: FDK's error out of the plane is small for small
/// angles, and the frame does not matter.
#[test]
fn cone_and_helix_in_space() {
    let n = 48;
    let ball = Ball { value: 0.02, centre: [5.0, -4.0, 3.0], radius: 22.0, power: 3 };
    let h = 80.0 / n as f64;
    let volume = VolumeGrid::new(&[24, n, n], &[h, h, h], &[0.0; 3]).unwrap();
    let flat = cone(n, 160).geometry(GeometryKind::Cone3d, [n, n]).unwrap();
    let circle = error(&flat, &volume, &[ball], Sharing::Auto, 31.0);
    println!("circle {circle:.2e}");
    assert!(circle < 0.01, "{circle}");
    let helix = TrajectorySpec {
        kind: TrajectoryKind::Helical,
        pitch_mm: Some(16.0),
        range_deg: Some(5.0 * 360.0),
        ..cone(n, 5 * 96)
    };
    let helix = helix.geometry(GeometryKind::Cone3d, [n, n]).unwrap();
    let (_, notes) = run(&helix, &volume, &project(&helix, &[ball]), Sharing::Auto);
    assert!(notes[0].contains("5.0 turns: approximate") || notes[0].contains("4.99"), "{notes:?}");
    let screw = error(&helix, &volume, &[ball], Sharing::Auto, 31.0);
    println!("helix {screw:.2e}");
    assert!(screw < 0.015, "{screw}");
    // The same scan with x, y, z renamed to y, z, x, in a volume with these axes.
    let turn = |p: &[f64]| [p[2], p[0], p[1]];
    let rows: Vec<f64> = flat.rows().chunks_exact(3).flat_map(turn).collect();
    let turned = Geometry::new(GeometryKind::Cone3d, [n, n], &rows).unwrap();
    let axes = [vec![1.0, 0.0, 0.0], vec![0.0, 0.0, 1.0], vec![0.0, 1.0, 0.0]];
    let renamed = volume.clone().with_axes(&axes).unwrap();
    let y = project(&flat, &[ball]);
    let (x, _) = run(&flat, &volume, &y, Sharing::Auto);
    let (z, _) = run(&turned, &renamed, &y, Sharing::Auto);
    let gap = x.iter().zip(&z).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
    assert!(gap < 1e-12, "{gap}");
}

/// ASTRA's FBP on the CPU is the same filter and the transpose of Joseph's projector.
fn astra<T: Number>(
    size: [usize; 3],
    views: &[f64],
    y: &[f64],
    name: &str,
    expected: &[f64],
) -> f64 {
    let [n, nu, _] = size;
    let geometry = Geometry::new(GeometryKind::Parallel2d, [1, nu], views).unwrap();
    let volume = VolumeGrid::new(&[n, n], &[1.0; 2], &[0.0; 2]).unwrap();
    let filter = Filter::parse(name).unwrap();
    let fbp = FilteredBackprojection::new(&geometry, &volume, filter, Sharing::Auto).unwrap();
    let y: Vec<T> = y.iter().map(|v| T::narrow(*v)).collect();
    let filtered = fbp.filtered(&y).unwrap();
    let matched = RayTransform::new(geometry, volume, Projector::Joseph).unwrap();
    let x = matched.adjoint(&filtered).unwrap();
    let most = expected.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    x.iter().zip(expected).fold(0.0_f64, |m, (a, b)| m.max((a.wide() - b).abs())) / most
}

#[test]
fn equals_astra() {
    let text = include_str!("../../../tests/golden/fbp.csv");
    let table: BTreeMap<&str, Vec<f64>> = text
        .lines()
        .filter(|l| !l.starts_with('#'))
        .map(|l| {
            let (name, values) = l.split_once(',').unwrap();
            (name, values.split(',').map(|v| v.parse().unwrap()).collect())
        })
        .collect();
    let size: [usize; 3] = std::array::from_fn(|k| table["size"][k] as usize);
    for filter in Filter::NAMED {
        let name = filter.name();
        let run64 = astra::<f64>(size, &table["views"], &table["projections"], name, &table[name]);
        let run32 = astra::<f32>(size, &table["views"], &table["projections"], name, &table[name]);
        // ASTRA's arithmetic is float32, its places along a detector within 1e-6 of the line.
        assert!(run64 < 1e-5 && run32 < 1e-5, "{name}: {run64} {run32}");
    }
}

/// Little-endian float arrays of a `.npy` file.
fn npy(path: &Path) -> Vec<f64> {
    let bytes = std::fs::read(path).unwrap();
    let head = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = String::from_utf8_lossy(&bytes[10..head]).to_string();
    assert!(text.contains("False"), "{text}");
    if text.contains("<f4") {
        let four = bytes[head..].chunks_exact(4);
        four.map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
    } else {
        assert!(text.contains("<f8"), "{text}");
        bytes[head..].chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
    }
}

#[test]
fn equals_astra_of_the_reference() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference/ct/astra2d");
    if !folder.exists() {
        println!("skipped: there is no {}", folder.display());
        return;
    }
    let read = |name: &str| npy(&folder.join(format!("{name}.npy")));
    let (views, y) = (read("views_par_fbp"), read("par_linear_fbp_sino"));
    for filter in Filter::NAMED {
        let expected = read(&format!("par_linear_fbp_{}", filter.name().replace('_', "-")));
        let gap = astra::<f32>([128, 192, 90], &views, &y, filter.name(), &expected);
        println!("{:<12} {gap:.2e}", filter.name());
        // The definition in float64 NumPy is 1.88e-4 from ASTRA's float32, at one voxel.
        assert!(gap < 3e-4, "{}: {gap}", filter.name());
    }
}

/// The image is linear in the projections: its variance is the sum of the squares of what one
/// projection after the other gives, times theirs. And draws agree.
#[test]
fn noise_is_that_of_the_matrix() {
    let n = 12;
    let mut all: Vec<(&str, Geometry, VolumeGrid)> =
        cases(n).into_iter().map(|(name, geometry, ..)| (name, geometry, plane(n))).collect();
    let solid = VolumeGrid::new(&[4, 6, 6], &[10.0, 9.0, 8.0], &[0.0; 3]).unwrap();
    let round = cone(8, 7).geometry(GeometryKind::Cone3d, [5, 8]).unwrap();
    all.push(("cone", round, solid));
    for (name, geometry, volume) in all {
        let pixels: usize = geometry.shape().iter().product();
        let variances: Vec<f64> = (0..pixels).map(|i| ((i * 7) % 5) as f64).collect();
        let fbp =
            FilteredBackprojection::new(&geometry, &volume, Filter::Hann, Sharing::Auto).unwrap();
        let found = fbp.variance(&variances).unwrap();
        let mut exact = vec![0.0; volume.len()];
        for (i, s) in variances.iter().enumerate() {
            let mut y = vec![0.0; pixels];
            y[i] = 1.0;
            let x = fbp.reconstruct(&y).unwrap();
            exact.iter_mut().zip(&x).for_each(|(e, x)| *e += x * x * s);
        }
        let most = exact.iter().fold(0.0_f64, |m, e| m.max(*e));
        assert!(most > 0.0);
        for (f, e) in found.iter().zip(&exact) {
            assert!((f - e).abs() < 1e-11 * most, "{name}: {f} {e}");
        }
        assert!(fbp.variance(&vec![-1.0; pixels]).is_err());
        assert!(fbp.variance(&variances[1..]).is_err());
    }
}

#[test]
fn threads_change_no_bit() {
    let volume = VolumeGrid::new(&[12, 20, 24], &[1.0, 1.2, 0.9], &[0.0; 3]).unwrap();
    let geometry = cone(24, 37).geometry(GeometryKind::Cone3d, [13, 24]).unwrap();
    let y: Vec<f32> = project(&geometry, &smooth(0.0)).iter().map(|v| *v as f32).collect();
    let of = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let fbp =
            FilteredBackprojection::new(&geometry, &volume, Filter::Hann, Sharing::Auto).unwrap();
        pool.install(|| fbp.reconstruct(&y).unwrap())
    };
    assert!(of(1) == of(2) && of(1) == of(5));
}

#[test]
fn bad_input_says_where() {
    let geometry = fan(32, 48, 224.0, 0.0, 0.0).geometry(GeometryKind::Fan2d, [1, 32]).unwrap();
    let fbp = |g: &Geometry, v: &VolumeGrid, s| {
        FilteredBackprojection::new(g, v, Filter::RamLak, s).map_err(|e| e.to_string())
    };
    let good = fbp(&geometry, &plane(32), Sharing::Auto).unwrap();
    let mut y = vec![0.0; 48 * 32];
    y[5 * 32 + 7] = f64::NAN;
    let said = good.reconstruct(&y).unwrap_err().to_string();
    assert!(said.contains("[5, 7]"), "{said}");
    assert!(good.reconstruct(&y[1..]).unwrap_err().to_string().contains("1535"));
    let solid = VolumeGrid::new(&[4, 4, 4], &[1.0; 3], &[0.0; 3]).unwrap();
    assert!(fbp(&geometry, &solid, Sharing::Auto).unwrap_err().contains("volume.shape"));
    assert!(fbp(&geometry, &plane(32), Sharing::Offset).unwrap_err().contains("full turn"));
    let bent = geometry.clone().with_surface(Surface::Cylinder { radius: Some(400.0) }).unwrap();
    assert!(fbp(&bent, &plane(32), Sharing::Auto).unwrap_err().contains("not about its source"));
    let limited = fan(32, 48, 150.0, 0.0, 0.0).geometry(GeometryKind::Fan2d, [1, 32]).unwrap();
    let notes = fbp(&limited, &plane(32), Sharing::Auto).unwrap().notes().to_vec();
    assert!(notes[0].contains("limited angle: 150.0"), "{notes:?}");
    let notes = fbp(&limited, &plane(32), Sharing::Full).unwrap().notes().to_vec();
    assert!(notes[0].contains("full turn"), "{notes:?}");
}

//! Streamlines from files to files: axes, places, columns, threads, messages.

use crate::bench::{Bench, assert_same};
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use microtome::datasets::tracts::read_tracts;
use microtome::datasets::{ImageGeometry, MapWriter, SignalSource, read_table, write_table};
use microtome::models::{HarmonicBasis, SphericalHarmonics, half_sphere, harmonic_count};
use std::sync::Arc;

const LMAX: usize = 4;
const DIMS: [usize; 3] = [16, 16, 7];
/// Negative x, oblique, shifted: mistakes of flips, axes and origins all show.
const AFFINE: [[f64; 4]; 4] =
    [[-1.6, -1.2, 0.0, 20.0], [-1.2, 1.6, 0.0, -10.0], [0.0, 0.0, 2.0, 5.0], [0.0, 0.0, 0.0, 1.0]];
/// The circle's centre, world mm.
const CENTRE: [f64; 2] = [20.0 - 1.6 * 7.5 - 1.2 * 7.5, -10.0 - 1.2 * 7.5 + 1.6 * 7.5];

fn world(v: [f64; 3]) -> [f64; 3] {
    [0, 1, 2]
        .map(|i| AFFINE[i][0] * v[0] + AFFINE[i][1] * v[1] + AFFINE[i][2] * v[2] + AFFINE[i][3])
}

/// A lobe along an axis: the harmonics of a point there, up to the order.
fn lobe(axis: [f64; 3]) -> Vec<f64> {
    let mut out = vec![0.0; harmonic_count(LMAX)];
    SphericalHarmonics::new(LMAX).unwrap().evaluate(axis, &mut out);
    out
}

/// Lobes along circles about the z axis through the centre of the grid; `turn` takes a world
/// direction to the axes of the file.
pub(crate) fn circles(
    bench: &Bench,
    name: &str,
    basis: HarmonicBasis,
    turn: impl Fn([f64; 3]) -> [f64; 3],
) {
    let geometry = ImageGeometry::new(DIMS, AFFINE);
    let mut image = MapWriter::create(&bench.path(name), &geometry, harmonic_count(LMAX)).unwrap();
    for n in 0..geometry.n_voxels() {
        let x = world(geometry.ijk(n).map(f64::from));
        let (dx, dy) = (x[0] - CENTRE[0], x[1] - CENTRE[1]);
        let r = dx.hypot(dy).max(1e-6);
        let own = lobe(turn([-dy / r, dx / r, 0.0]));
        image.push(n as i64, &HarmonicBasis::Mrtrix3.convert(basis, &own)).unwrap();
    }
    image.finish().unwrap();
}

pub(crate) fn mask(bench: &Bench, name: &str, inside: impl Fn([f64; 3]) -> bool) {
    let geometry = ImageGeometry::new(DIMS, AFFINE);
    let mut image = MapWriter::create(&bench.path(name), &geometry, 1).unwrap();
    for n in 0..geometry.n_voxels() {
        let ijk = geometry.ijk(n).map(f64::from);
        image.push(n as i64, &[f64::from(u8::from(inside(world(ijk))))]).unwrap();
    }
    image.finish().unwrap();
}

/// Seeds of a ring of radius 8 to 11 mm.
pub(crate) fn ring(x: [f64; 3]) -> bool {
    (8.0..11.0).contains(&(x[0] - CENTRE[0]).hypot(x[1] - CENTRE[1])) && (9.0..13.0).contains(&x[2])
}

#[test]
fn circles_in_either_frame_are_circles() {
    let bench = Bench::new();
    mask(&bench, "seeds.nii.gz", ring);
    circles(&bench, "world.nii.gz", HarmonicBasis::Mrtrix3, |d| d);
    // The rows of the affine without voxel sizes: world directions in voxel axes.
    let voxel = |d: [f64; 3]| [-0.8 * d[0] - 0.6 * d[1], -0.6 * d[0] + 0.8 * d[1], d[2]];
    circles(&bench, "voxel.nii.gz", HarmonicBasis::Descoteaux, voxel);
    circles(&bench, "legacy.nii.gz", HarmonicBasis::DescoteauxLegacy, voxel);
    mask(&bench, "right.nii.gz", |x| x[0] > CENTRE[0]);
    let mut ends = Vec::new();
    for (name, flags) in [
        ("world", "--basis mrtrix3"),
        ("voxel", "--basis descoteaux"),
        ("legacy", "--basis descoteaux_legacy --frame voxel"),
        ("wrong", "--basis mrtrix3 --frame voxel"),
    ] {
        let fod = if name == "wrong" { "world" } else { name };
        let line = format!(
            "track --fod {fod}.nii.gz {flags} --seeds seeds.nii.gz --n-seeds 60 --rule peak --integrator rk4 \
             --step-mm 0.5 --min-length-mm 2 --mask right.nii.gz --out {name}.trx --json"
        );
        let json = bench.run(&line).exits(0).json();
        assert_eq!(json["seeds"], 60);
        let tracts = read_tracts(&bench.path(&format!("{name}.trx"))).unwrap();
        assert_eq!(json["streamlines"], tracts.n_streamlines() as u64);
        assert!(json["steps"].as_u64().unwrap() >= tracts.points.len() as u64 - 60);
        // How far streamlines leave their circle, and how long they are.
        let mut drift = 0.0_f64;
        for i in 0..tracts.n_streamlines() {
            let radius =
                |x: &[f32; 3]| (f64::from(x[0]) - CENTRE[0]).hypot(f64::from(x[1]) - CENTRE[1]);
            let points = tracts.streamline(i);
            let first = radius(&points[0]);
            drift = points.iter().fold(drift, |m, x| m.max((radius(x) - first).abs()));
        }
        if name == "wrong" {
            assert!(drift > 2.0, "{drift}");
            continue;
        }
        assert!(tracts.n_streamlines() > 20, "{name}");
        assert!(drift < 0.3, "{name}: {drift}");
        // Half of a circle of 8 to 11 mm and some.
        let half = |i| (20.0..40.0).contains(&tracts.length_mm(i));
        assert!((0..tracts.n_streamlines()).all(half), "{name}");
        ends.push(tracts);
    }
    // The same field in other axes and bases gives the same streamlines, from either end.
    for other in &ends[1..] {
        assert_eq!(other.n_streamlines(), ends[0].n_streamlines());
        for i in 0..other.n_streamlines() {
            let (a, b) = (ends[0].streamline(i), other.streamline(i));
            assert_eq!(a.len(), b.len());
            let gap = |a: &[f32; 3], b: &[f32; 3]| {
                (0..3).map(|i| f64::from(a[i] - b[i]).powi(2)).sum::<f64>().sqrt()
            };
            let same = a.iter().zip(b).map(|(a, b)| gap(a, b)).fold(0.0, f64::max);
            let turned = a.iter().zip(b.iter().rev()).map(|(a, b)| gap(a, b)).fold(0.0, f64::max);
            assert!(same.min(turned) < 1e-3, "{i}: {same} {turned}");
        }
    }
}

#[test]
fn every_rule_and_format_gives_the_same_for_any_threads() {
    let bench = Bench::new();
    mask(&bench, "seeds.nii.gz", ring);
    circles(&bench, "fod.nii.gz", HarmonicBasis::Mrtrix3, |d| d);
    let formats = ["trx", "tck", "trk", "vtk"];
    for (n, rule) in ["peak", "closest", "probabilistic", "ifod2", "ptt"].into_iter().enumerate() {
        let format = formats[n % 4];
        for threads in [1, 2] {
            let line = format!(
                "track --fod fod.nii.gz --basis mrtrix3 --seeds seeds.nii.gz --n-seeds 40 --seed 3 \
                 --rule {rule} --step-mm 1 --max-length-mm 40 --min-length-mm 5 --threads {threads} \
                 --out {rule}{threads}.{format} --json"
            );
            let json = bench.run(&line).exits(0).json();
            assert!(json["streamlines"].as_u64().unwrap() > 30, "{rule}: {json}");
        }
        let path = |threads: u32| bench.path(&format!("{rule}{threads}.{format}"));
        assert_same(&path(1), &path(2));
    }
    // Columns of the points and of the streamlines.
    let tracts = read_tracts(&bench.path("peak1.trx")).unwrap();
    let amplitude = &tracts.per_point["amplitude"];
    assert_eq!(amplitude.values.len(), tracts.points.len());
    assert!(amplitude.values.iter().all(|a| *a >= 0.1));
    assert_eq!(tracts.per_streamline["seed_point"].values.len(), tracts.n_streamlines());
}

/// Places, and places with a direction of which one way is followed.
#[test]
fn seeds_may_be_points() {
    let bench = Bench::new();
    circles(&bench, "fod.nii.gz", HarmonicBasis::Mrtrix3, |d| d);
    let places =
        [0.4, 2.0, 4.5].map(|t: f64| [CENTRE[0] + 9.5 * t.cos(), CENTRE[1] + 9.5 * t.sin(), 11.0]);
    let text = |names: &str, more: fn([f64; 3]) -> String| {
        let rows = places.iter().map(|p| format!("{},{},{}{}\n", p[0], p[1], p[2], more(*p)));
        format!("{names}\n{}", rows.collect::<String>())
    };
    bench.put("points.csv", text("x,y,z", |_| String::new()));
    // Against the clock, seen from above.
    bench.put(
        "ways.csv",
        text("x,y,z,dx,dy,dz", |p| {
            format!(",{},{},0", -2.0 * (p[1] - CENTRE[1]), 2.0 * (p[0] - CENTRE[0]))
        }),
    );
    let line = "track --fod fod.nii.gz --basis mrtrix3 --rule peak --step-mm 0.5 --max-length-mm 10 \
        --min-length-mm 2 --seed-points";
    bench.run(&format!("{line} points.csv --out points.trx")).exits(0);
    bench.run(&format!("{line} ways.csv --unidirectional --out ways.trx")).exits(0);
    for name in ["points.trx", "ways.trx"] {
        let tracts = read_tracts(&bench.path(name)).unwrap();
        assert_eq!(tracts.n_streamlines(), 3);
        for (i, place) in places.iter().enumerate() {
            let at = tracts.per_streamline["seed_point"].values[i] as usize;
            let points = tracts.streamline(i);
            let off = |a: usize| (f64::from(points[at][a]) - place[a]).abs();
            assert!((0..3).all(|a| off(a) < 1e-4), "{name} {i}: {:?}", points[at]);
            if name == "ways.trx" {
                let last = points[points.len() - 1];
                let turn = (place[0] - CENTRE[0]) * (f64::from(last[1]) - CENTRE[1])
                    - (place[1] - CENTRE[1]) * (f64::from(last[0]) - CENTRE[0]);
                assert!(at == 0 && turn > 0.0, "{i}: {at} {turn}");
            }
        }
    }
    bench.put("two.csv", "1,2\n3,4\n");
    let ended = bench.run(&format!("{line} two.csv --out two.trx")).exits(1);
    assert!(ended.stderr.contains("two.csv") && ended.stderr.contains("x y z"), "{}", ended.stderr);
    assert!(!bench.exists("two.trx"));
}

/// Signals of one fibre along circles, with an FSL gradient table: 6 b = 0 and 45 directions.
fn fibres(bench: &Bench) {
    let axes: Vec<[f64; 3]> = half_sphere(45);
    let all = || [[0.0; 3]; 6].into_iter().chain(axes.iter().copied());
    let line = |c: usize| all().map(|g| format!("{} ", g[c])).collect::<String>();
    bench.put("bvec", [0, 1, 2].map(line).join("\n"));
    let b = |g: &[f64; 3]| if g == &[0.0; 3] { "0 " } else { "1500 " };
    bench.put("bval", all().map(|g| b(&g)).collect::<String>());
    let geometry = ImageGeometry::new(DIMS, AFFINE);
    let mut image = MapWriter::create(&bench.path("dwi.nii.gz"), &geometry, 51).unwrap();
    for n in 0..geometry.n_voxels() {
        let x = world(geometry.ijk(n).map(f64::from));
        let (dx, dy) = (x[0] - CENTRE[0], x[1] - CENTRE[1]);
        let r = dx.hypot(dy).max(1e-6);
        // The tangent in voxel axes: the affine's rotation, transposed.
        let t = [(0.8 * dy - 0.6 * dx) / r, (0.6 * dy + 0.8 * dx) / r, 0.0];
        let signal = |g: [f64; 3]| {
            let cosine = g[0] * t[0] + g[1] * t[1] + g[2] * t[2];
            let size = g[0] * g[0] + g[1] * g[1] + g[2] * g[2];
            1000.0 * (-1.5 * (0.3 * size + 1.4 * cosine * cosine)).exp()
        };
        image.push(n as i64, &all().map(signal).collect::<Vec<_>>()).unwrap();
    }
    image.finish().unwrap();
}

#[test]
fn fields_of_signals_follow_the_fibre() {
    let bench = Bench::new();
    mask(&bench, "seeds.nii.gz", ring);
    mask(&bench, "disc.nii.gz", |x| {
        (4.0..14.0).contains(&(x[0] - CENTRE[0]).hypot(x[1] - CENTRE[1]))
    });
    fibres(&bench);
    let track = |flags: &str| {
        bench.run(&format!(
            "track --dwi dwi.nii.gz --bval bval --bvec bvec --seeds seeds.nii.gz --n-seeds 40 --mask disc.nii.gz \
             --integrator rk4 --step-mm 0.5 --min-length-mm 5 --max-length-mm 30 --out out.trx --overwrite \
             --json {flags}"
        ))
    };
    for flags in [
        "--rule tensor",
        "--rule peak --model-odf csd",
        "--rule closest --model-odf csa",
        "--rule peak --model-odf opdt",
        "--rule bootstrap --model-odf csa",
        "--rule closest --model-odf opdt --interpolation cubic",
        "--rule bootstrap --model-odf opdt --interpolation cubic",
    ] {
        let json = track(flags).exits(0).json();
        let tracts = read_tracts(&bench.path("out.trx")).unwrap();
        assert!(tracts.n_streamlines() >= 35, "{flags}: {json}");
        for i in 0..tracts.n_streamlines() {
            let radius =
                |x: &[f32; 3]| (f64::from(x[0]) - CENTRE[0]).hypot(f64::from(x[1]) - CENTRE[1]);
            let points = tracts.streamline(i);
            let drift = points.iter().map(|x| (radius(x) - radius(&points[0])).abs());
            let drift = drift.fold(0.0, f64::max);
            assert!(drift < 0.4, "{flags}: {drift}");
        }
    }
    // One fibre's FA is 0.79; below it streamlines go on, above it there are none.
    let count = |x: f64| {
        let ended = track(&format!("--rule tensor --fa-threshold {x}")).exits(0);
        ended.json()["streamlines"].as_u64().unwrap()
    };
    assert!(count(0.7) >= 35);
    assert_eq!(count(0.85), 0);
    // The same of the GFA of functions.
    for model in ["csa", "opdt", "csd"] {
        let count = |x: f64| {
            let line = format!("--rule peak --model-odf {model} --gfa-threshold {x}");
            track(&line).exits(0).json()["streamlines"].as_u64().unwrap()
        };
        assert!(count(0.1) >= 35, "{model}");
        assert_eq!(count(0.999), 0, "{model}");
    }
    for (flags, word) in [
        ("--rule tensor --model-odf csa", "--model-odf"),
        ("--rule tensor --gfa-threshold 0.3", "--fa-threshold"),
        ("--rule bootstrap --model-odf csd", "csa or opdt"),
        ("--rule peak", "--model-odf"),
        ("--rule peak --model-odf csd --response missing.toml", "missing.toml"),
    ] {
        let ended = track(flags).exits(1);
        assert!(ended.stderr.contains(word), "{flags}: {}", ended.stderr);
    }
}

/// A posterior of one stick in every voxel: in draw d it is turned by d degrees about z from the
/// first voxel axis.
fn posterior(bench: &Bench, draws: usize) {
    let geometry = ImageGeometry::new(DIMS, AFFINE);
    let n = geometry.n_voxels() * draws;
    let angle = |row: usize| (row % draws) as f64 * std::f64::consts::PI / 180.0;
    let column = |value: &dyn Fn(usize) -> f64| {
        Arc::new(Float64Array::from((0..n).map(value).collect::<Vec<_>>())) as ArrayRef
    };
    let voxel = Int64Array::from((0..n).map(|r| (r / draws) as i64).collect::<Vec<_>>());
    let batch = RecordBatch::try_from_iter([
        ("voxel", Arc::new(voxel) as ArrayRef),
        ("stick.mu_x", column(&|r| angle(r).cos())),
        ("stick.mu_y", column(&|r| angle(r).sin())),
        ("stick.mu_z", column(&|_| 0.0)),
        ("stick.fraction", column(&|_| 0.6)),
    ])
    .unwrap();
    write_table(&bench.path("posterior.parquet"), batch.schema(), &[batch]).unwrap();
}

#[test]
fn draws_of_a_field_give_the_posterior_of_connections() {
    let bench = Bench::new();
    let draws = 8;
    posterior(&bench, draws);
    // Two parcels at the ends of the first voxel axis, seeds in the middle between them.
    let geometry = ImageGeometry::new(DIMS, AFFINE);
    let mut image = MapWriter::create(&bench.path("labels.nii.gz"), &geometry, 1).unwrap();
    let mut seeds = MapWriter::create(&bench.path("seeds.nii.gz"), &geometry, 1).unwrap();
    for n in 0..geometry.n_voxels() {
        let [i, j, _] = geometry.ijk(n);
        let label = if i < 2 {
            1.0
        } else if i > 13 {
            2.0
        } else {
            0.0
        };
        image.push(n as i64, &[label]).unwrap();
        seeds.push(n as i64, &[f64::from(u8::from(i == 7 && (7..9).contains(&j)))]).unwrap();
    }
    image.finish().unwrap();
    seeds.finish().unwrap();
    bench.put("names.csv", "label,name\n1,left\n2,right\n");
    let line = "track --posterior posterior.parquet --rule posterior --seeds seeds.nii.gz --n-seeds 30 --step-mm 0.5 \
                --min-length-mm 2 --draws 8 --json";
    let out = "--all-draws --parcels labels.nii.gz --parcel-names names.csv --connectome c.parquet \
               --density v.nii.gz --out t.trx";
    let json = bench.run(&format!("{line} {out}")).exits(0).json();
    assert_eq!(json["draws"], 8);
    assert_eq!(json["streamlines"], 240);
    let tracts = read_tracts(&bench.path("t.trx")).unwrap();
    let draw = &tracts.per_streamline["draw"].values;
    assert_eq!(draw.iter().filter(|d| **d == 3.0).count(), 30);
    // By hand: of every draw, the streamlines with one end in each parcel.
    let end = |x: &[f32; 3]| {
        let x = x.map(f64::from);
        ((x[0] - AFFINE[0][3]) * -0.8 + (x[1] - AFFINE[1][3]) * -0.6) / 2.0
    };
    let count = |d: usize| {
        (0..tracts.n_streamlines())
            .filter(|s| draw[*s] == d as f32)
            .filter(|s| {
                let points = tracts.streamline(*s);
                let mut ends = [end(&points[0]), end(&points[points.len() - 1])];
                ends.sort_by(f64::total_cmp);
                ends[0] < 1.5 && ends[1] > 13.5
            })
            .count() as f64
    };
    let counts: Vec<f64> = (0..draws).map(count).collect();
    let mean = counts.iter().sum::<f64>() / 8.0;
    assert!(counts[0] == 30.0 && mean > 0.0, "{counts:?}");
    let rows = read_table(&bench.path("c.parquet")).unwrap();
    let number = |name: &str, row: usize| {
        let column = rows[0].column_by_name(name).unwrap();
        column.as_any().downcast_ref::<Float64Array>().unwrap().value(row)
    };
    for row in [1, 2] {
        assert!((number("mean", row) - mean).abs() < 1e-12);
        let square: f64 = counts.iter().map(|c| (c - mean).powi(2)).sum();
        assert!((number("sd", row) - (square / 7.0).sqrt()).abs() < 1e-12);
        let positive = counts.iter().filter(|c| **c > 0.0).count() as f64 / 8.0;
        assert_eq!(number("p_positive", row), positive);
    }
    assert_eq!(number("mean", 0), 0.0);
    // The seeds' voxels are visited by all streamlines of every draw, without spread.
    let map = SignalSource::open(&bench.path("v.nii.gz"), None).unwrap();
    let values = map.read_rows(0..map.n_rows()).unwrap().signals;
    let most = values.chunks(2).map(|v| v[0]).fold(0.0, f64::max);
    assert!(most <= 30.0 && most > 1.0);
    assert!(values.chunks(2).any(|v| v[1] > 0.0));
    // One draw is one matrix.
    bench.run(&format!("{line} --draw 0 --parcels labels.nii.gz --connectome c.csv")).exits(0);
    let text = String::from_utf8(bench.read("c.csv")).unwrap();
    assert_eq!(text, "node,1,2\n1,0.0,30.0\n2,30.0,0.0\n");
    for (flags, word) in [
        ("--all-draws --connectome d.parquet", "--parcels"),
        ("--parcels labels.nii.gz --connectome d.txt", ".csv or .parquet"),
        ("--parcels labels.nii.gz --connectome c.csv", "--overwrite"),
        ("--density d.png", "--density"),
        ("", "--out"),
    ] {
        let ended = bench.run(&format!("{line} {flags}")).exits(1);
        assert!(ended.stderr.contains(word), "{flags}: {}", ended.stderr);
    }
}

#[test]
fn masks_include_exclude_and_stop() {
    let bench = Bench::new();
    mask(&bench, "seeds.nii.gz", ring);
    circles(&bench, "fod.nii.gz", HarmonicBasis::Mrtrix3, |d| d);
    mask(&bench, "right.nii.gz", |x| x[0] > CENTRE[0]);
    mask(&bench, "top.nii.gz", |x| x[1] > CENTRE[1] + 6.0);
    let count = |flags: &str| {
        let line = format!(
            "track --fod fod.nii.gz --basis mrtrix3 --seeds seeds.nii.gz --n-seeds 50 --rule peak --step-mm 0.5 \
             --max-length-mm 12 --min-length-mm 2 --out out.tck --overwrite --json {flags}"
        );
        bench.run(&line).exits(0).json()["streamlines"].as_u64().unwrap()
    };
    let all = count("");
    let (with, without) = (count("--include top.nii.gz"), count("--exclude top.nii.gz"));
    assert_eq!(with + without, all);
    assert!(with > 5 && without > 5);
    count("--mask right.nii.gz");
    let tracts = read_tracts(&bench.path("out.tck")).unwrap();
    assert!(tracts.points.iter().all(|x| f64::from(x[0]) > CENTRE[0] - 1.5));
    let before = tracts.points.len();
    count("--mask right.nii.gz --linearise-mm 0.05");
    assert!(read_tracts(&bench.path("out.tck")).unwrap().points.len() * 2 < before);
}

/// Images and points that are of no use: elsewhere, cut short, without an inverse, gigantic, not finite.
fn damaged(bench: &Bench) {
    let mut affine = AFFINE;
    affine[2][3] += 5000.0;
    let far = ImageGeometry::new(DIMS, affine);
    let mut image = MapWriter::create(&bench.path("far.nii.gz"), &far, 1).unwrap();
    (0..far.n_voxels()).for_each(|n| image.push(n as i64, &[1.0]).unwrap());
    image.finish().unwrap();
    bench.put("far.csv", "x,y,z\n900,900,900\n-800,0,0\n");
    bench.put("mixed.csv", format!("x,y,z\n900,900,900\n{},{},11\n", CENTRE[0] + 9.0, CENTRE[1]));
    let geometry = ImageGeometry::new(DIMS, AFFINE);
    for (name, part) in [("nowhere.nii.gz", 1), ("holes.nii.gz", 7)] {
        let mut image =
            MapWriter::create(&bench.path(name), &geometry, harmonic_count(LMAX)).unwrap();
        for n in 0..geometry.n_voxels() {
            let mut own = lobe([0.0, 0.6, 0.8]);
            if n % part == 0 {
                own[3] = f64::NAN;
            }
            image.push(n as i64, &own).unwrap();
        }
        image.finish().unwrap();
    }
    let whole = bench.read("fod.nii.gz");
    std::fs::write(bench.path("cut.nii.gz"), &whole[..whole.len() / 2]).unwrap();
    let mut plain =
        MapWriter::create(&bench.path("plain.nii"), &geometry, harmonic_count(LMAX)).unwrap();
    (0..geometry.n_voxels()).for_each(|n| plain.push(n as i64, &lobe([0.0, 0.6, 0.8])).unwrap());
    plain.finish().unwrap();
    // NIfTI-1: dimensions are the 16-bit numbers from byte 40, the rows of the affine those from 280.
    let plain = bench.read("plain.nii");
    let mut flat = plain.clone();
    flat.copy_within(280..296, 296);
    std::fs::write(bench.path("flat.nii"), &flat).unwrap();
    let mut huge = plain;
    for at in [42, 44, 46] {
        huge[at..at + 2].copy_from_slice(&i16::MAX.to_le_bytes());
    }
    std::fs::write(bench.path("huge.nii"), &huge).unwrap();
}

#[test]
fn wrong_input_of_track_is_named() {
    let bench = Bench::new();
    mask(&bench, "seeds.nii.gz", ring);
    mask(&bench, "empty.nii.gz", |_| false);
    circles(&bench, "fod.nii.gz", HarmonicBasis::Mrtrix3, |d| d);
    let geometry = ImageGeometry::new(DIMS, AFFINE);
    let mut image = MapWriter::create(&bench.path("seven.nii.gz"), &geometry, 7).unwrap();
    for n in 0..geometry.n_voxels() {
        image.push(n as i64, &[1.0; 7]).unwrap();
    }
    image.finish().unwrap();
    damaged(&bench);
    let good = "--fod fod.nii.gz --basis mrtrix3 --seeds seeds.nii.gz --rule peak --out out.trx";
    for (flags, word) in [
        ("--basis mrtrix3 --seeds seeds.nii.gz --rule peak --out out.trx".to_string(), "--fod"),
        ("--fod fod.nii.gz --seeds seeds.nii.gz --rule peak --out out.trx".to_string(), "--basis"),
        (good.replace("mrtrix3", "tesseral"), "tesseral"),
        (good.replace("peak", "eudx"), "eudx"),
        (good.replace("--rule peak", "--rule bootstrap"), "--dwi"),
        (good.replace("--rule peak", "--rule tensor"), "--dwi"),
        (format!("{good} --fa-threshold 0.2"), "--dwi"),
        (good.replace("--rule peak", "--rule posterior"), "--posterior"),
        (good.replace("fod.nii.gz", "seven.nii.gz"), "7 coefficients"),
        (good.replace("seeds.nii.gz", "empty.nii.gz"), "empty.nii.gz"),
        (good.replace("seeds.nii.gz", "fod.nii.gz"), "15 volumes"),
        (good.replace("fod.nii.gz", "seeds.nii.gz"), "no directions"),
        (good.replace("fod.nii.gz", "nowhere.nii.gz"), "not finite"),
        (good.replace("fod.nii.gz", "cut.nii.gz"), "cut.nii.gz"),
        (good.replace("fod.nii.gz", "flat.nii"), "no inverse"),
        (good.replace("fod.nii.gz", "huge.nii"), "huge.nii"),
        (good.replace("seeds.nii.gz", "far.nii.gz"), "far.nii.gz: no voxel of the mask lies in"),
        (good.replace("--seeds seeds.nii.gz", "--seed-points far.csv"), "none of the 2 points"),
        (format!("{good} --mask empty.nii.gz"), "--mask empty.nii.gz: the mask has no voxel"),
        (format!("{good} --mask far.nii.gz"), "--mask far.nii.gz"),
        (format!("{good} --include far.nii.gz"), "--include far.nii.gz"),
        (good.replace("out.trx", "out.txt"), "out.txt"),
        (format!("{good} --step-mm 0"), "step"),
        (format!("{good} --max-angle-deg 120"), "angle"),
        (format!("{good} --min-length-mm 90 --max-length-mm 50"), "length"),
        (format!("{good} --n-seeds 0"), "--n-seeds"),
        (format!("{good} --integrator rk5"), "rk5"),
        (format!("{good} --sphere 723"), "723"),
        (format!("{good} --frame scanner"), "scanner"),
        (format!("{good} --mask missing.nii.gz"), "missing.nii.gz"),
        (format!("{good} --linearise-mm -1"), "--linearise-mm"),
    ] {
        let ended = bench.run(&format!("track {flags}")).exits(1);
        assert!(
            ended.stderr.starts_with("error: ") && ended.stderr.contains(word),
            "{flags}: {}",
            ended.stderr
        );
        assert!(!bench.exists("out.trx") && !bench.exists("out.txt"), "{flags}");
    }
    // What changes nothing, and what leaves streamlines, is a warning.
    for (flags, words) in [
        (format!("{good} --stop far.nii.gz"), "--stop far.nii.gz"),
        (format!("{good} --exclude empty.nii.gz"), "changes nothing"),
        (good.replace("--seeds seeds.nii.gz", "--seed-points mixed.csv"), "1 of 2 seed points"),
        (
            good.replace("fod.nii.gz", "holes.nii.gz"),
            "voxels of the field hold numbers that are not finite",
        ),
        (format!("{good} --threshold 100"), "no seed has a direction"),
    ] {
        let ended = bench.run(&format!("track {flags} --overwrite")).exits(0);
        assert!(ended.stderr.contains(words), "{flags}: {}", ended.stderr);
    }
    std::fs::remove_file(bench.path("out.trx")).unwrap();
    bench.put("out.trx", "mine");
    let ended = bench.run(&format!("track {good}")).exits(1);
    assert!(ended.stderr.contains("--overwrite"), "{}", ended.stderr);
    assert_eq!(bench.read("out.trx"), b"mine");
}

#[test]
fn the_report_shows_streamlines() {
    let bench = Bench::new();
    mask(&bench, "seeds.nii.gz", ring);
    circles(&bench, "fod.nii.gz", HarmonicBasis::Mrtrix3, |d| d);
    let line = "track --fod fod.nii.gz --basis mrtrix3 --seeds seeds.nii.gz --n-seeds 700 --rule peak --step-mm 1 \
                --max-length-mm 20 --min-length-mm 5 --report page.html";
    let json = bench.run(&format!("{line} --json")).exits(0).json();
    let page = String::from_utf8(bench.read("page.html")).unwrap();
    let n = json["streamlines"].as_u64().unwrap();
    assert!(n > 600, "{n}");
    // Every second of more than 600, from three sides.
    assert_eq!(page.matches("<polyline").count() as u64, 3 * n.div_ceil(2));
    assert!(page.contains(&format!("{} of {n} are drawn.", n.div_ceil(2))));
    assert_eq!(page.matches("class=\"map\"").count(), 6);
    let again = bench.run(line).exits(1);
    assert!(again.stderr.contains("page.html") && again.stderr.contains("--overwrite"));
}

/// Peaks of files: signs that change, an order that does, a second peak, voxels without any.
#[test]
fn discrete_peaks_are_followed_in_either_frame() {
    let bench = Bench::new();
    mask(&bench, "seeds.nii.gz", ring);
    let geometry = ImageGeometry::new(DIMS, AFFINE);
    for voxel in [false, true] {
        let name = if voxel { "voxel.nii.gz" } else { "world.nii.gz" };
        let mut image = MapWriter::create(&bench.path(name), &geometry, 6).unwrap();
        for n in 0..geometry.n_voxels() {
            let x = world(geometry.ijk(n).map(f64::from));
            let (dx, dy) = (x[0] - CENTRE[0], x[1] - CENTRE[1]);
            let (r, sign) = (dx.hypot(dy).max(1e-6), if n % 3 == 0 { -0.8 } else { 0.8 });
            let d = [-dy / r * sign, dx / r * sign, 0.0];
            let d =
                if voxel { [-0.8 * d[0] - 0.6 * d[1], -0.6 * d[0] + 0.8 * d[1], d[2]] } else { d };
            let none = f64::from(f32::NAN);
            let other = if n % 2 == 0 { [0.0, 0.0, 0.5] } else { [none; 3] };
            let [a, b] = if n % 5 == 0 { [other, d] } else { [d, other] };
            image.push(n as i64, &[a[0], a[1], a[2], b[0], b[1], b[2]]).unwrap();
        }
        image.finish().unwrap();
    }
    let line = |flags: &str| {
        format!(
            "track --seeds seeds.nii.gz --n-seeds 60 --rule closest --integrator rk4 --step-mm 0.5 \
             --min-length-mm 5 --max-length-mm 20 --seed-directions largest --out out.trx --overwrite --json {flags}"
        )
    };
    let mut found = Vec::new();
    for flags in ["--peaks world.nii.gz", "--peaks voxel.nii.gz --frame voxel"] {
        let json = bench.run(&line(flags)).exits(0).json();
        let tracts = read_tracts(&bench.path("out.trx")).unwrap();
        assert!(json["streamlines"].as_u64().unwrap() >= 55, "{flags}: {json}");
        for i in 0..tracts.n_streamlines() {
            let radius =
                |x: &[f32; 3]| (f64::from(x[0]) - CENTRE[0]).hypot(f64::from(x[1]) - CENTRE[1]);
            let points = tracts.streamline(i);
            let drift = points.iter().map(|x| (radius(x) - radius(&points[0])).abs());
            let drift = drift.fold(0.0, f64::max);
            assert!(drift < 0.3, "{flags}: {drift}");
        }
        assert!(tracts.per_point["amplitude"].values.iter().all(|a| (a - 0.8).abs() < 1e-5));
        found.push(tracts.points);
    }
    let far = found[0].iter().zip(&found[1]).map(|(a, b)| (0..3).map(|i| (a[i] - b[i]).abs()));
    assert!(far.flatten().all(|d| d < 1e-3) && found[0].len() == found[1].len());
    mask(&bench, "flat.nii.gz", |_| true);
    for (flags, word) in [
        ("--peaks flat.nii.gz", "three numbers each"),
        ("--peaks world.nii.gz --interpolation cubic", "--interpolation"),
        ("--peaks world.nii.gz --gfa-threshold 0.2", "--gfa-threshold"),
        ("--peaks world.nii.gz --fod world.nii.gz", "give one"),
    ] {
        let ended = bench.run(&line(flags)).exits(1);
        assert!(ended.stderr.contains(word), "{flags}: {}", ended.stderr);
    }
    let ended = bench.run(&line("--peaks world.nii.gz").replace("closest", "ptt")).exits(1);
    assert!(ended.stderr.contains("--rule closest"), "{}", ended.stderr);
}

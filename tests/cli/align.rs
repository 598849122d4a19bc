//! `align --derivatives`, and `pose5` in the other verbs.

use crate::bench::Bench;
use microtome::datasets::Array;
use std::path::Path;

const POSE: &str = "kind = \"pose5\"\nposes = \"theta.npy\"\ndetector = [6, 7]\n\
    pixel_mm = [1.1, 1.3]\ndetector_centre_mm = [0.2, -0.4]\nstep_mm = 0.75\nsteps = 17\n\
    [volume]\nshape = [5, 7, 6]\nvoxel_mm = [1.2, 0.9, 1.0]\ncentre_mm = [0.3, -0.2, 0.1]\n";

/// A row of the table of `make_pose.py`.
fn golden(name: &str) -> Vec<f64> {
    let text = include_str!("../golden/pose.csv");
    let line = text.lines().find(|l| l.starts_with(&format!("{name},"))).unwrap();
    line.split(',').skip(1).map(|v| v.parse().unwrap()).collect()
}

fn bench() -> Bench {
    let bench = Bench::new();
    bench.put("g.toml", POSE);
    bench.put_array("theta.npy", &[3, 5], golden("theta"));
    bench.put_array("v.npy", &[5, 7, 6], golden("volume"));
    bench.put_array("m.npy", &[3, 6, 7], golden("measured"));
    bench
}

fn gap(path: &Path, shape: &[usize], expected: &[f64]) -> f64 {
    let found = Array::read(path).unwrap();
    assert_eq!(found.shape, shape, "{}", path.display());
    let found = found.values.into_f64();
    let greatest = expected.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let gaps = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    gaps.fold(0.0, f64::max) / greatest
}

const ALIGN: &str = "align --derivatives --volume v.npy --geometry g.toml --projections m.npy";

#[test]
fn derivatives_equal_the_table() {
    let bench = bench();
    let json = bench.run(&format!("{ALIGN} --out d --jacobian --json")).exits(0).json();
    assert_eq!(json["parameters"], serde_json::json!(["alpha", "beta", "phi", "dx", "dz"]));
    let close = |name: &str, array: &str, shape: &[usize]| {
        let found = gap(&bench.path("d").join(format!("{name}.npy")), shape, &golden(array));
        assert!(found < 1e-11, "{name} {found:e}");
    };
    close("projections", "projections", &[3, 6, 7]);
    close("loss", "loss", &[3]);
    close("gradient", "gradient", &[3, 5]);
    close("jacobian", "jacobian", &[3, 5, 6, 7]);
    let j = golden("jacobian");
    let normal: Vec<f64> = (0..75)
        .map(|at| {
            let row = |i: usize| &j[(at / 25 * 5 + i) * 42..][..42];
            row(at / 5 % 5).iter().zip(row(at % 5)).map(|(a, b)| a * b).sum()
        })
        .collect();
    assert!(gap(&bench.path("d/normal.npy"), &[3, 5, 5], &normal) < 1e-11);
    // The same again changes nothing; something else needs --overwrite.
    bench.run(&format!("{ALIGN} --out d --threads 3")).exits(0);
    bench.put_array("m.npy", &[3, 6, 7], vec![0.0; 126]);
    let refused = bench.run(&format!("{ALIGN} --out d")).exits(1);
    assert!(refused.stderr.contains("--overwrite"), "{}", refused.stderr);
    bench.run(&format!("{ALIGN} --out d --overwrite")).exits(0);
}

#[test]
fn pose5_projects_and_spreads() {
    let bench = bench();
    let json =
        bench.run("project --volume v.npy --geometry g.toml --out p.npy --json").exits(0).json();
    assert_eq!(json["kind"], "pose5");
    assert!(gap(&bench.path("p.npy"), &[3, 6, 7], &golden("projections")) < 1e-12);
    bench.run("backproject --projections m.npy --geometry g.toml --out b.npy").exits(0);
    assert!(gap(&bench.path("b.npy"), &[5, 7, 6], &golden("transpose")) < 1e-12);
    // A ray left out.
    bench.put("g.toml", POSE.replace("step_mm", "mask = \"k.npy\"\nstep_mm"));
    let mut mask = vec![1.0; 42];
    mask[5] = 0.0;
    bench.put_array("k.npy", &[6, 7], mask);
    bench.run("project --volume v.npy --geometry g.toml --out q.npy").exits(0);
    let mut expected = golden("projections");
    (0..3).for_each(|view| expected[42 * view + 5] = 0.0);
    assert!(gap(&bench.path("q.npy"), &[3, 6, 7], &expected) < 1e-12);
}

/// Other kinds have six parameters at zero.
#[test]
fn vector_geometries_have_six_parameters() {
    let bench = bench();
    bench.put(
        "g.toml",
        "kind = \"cone3d\"\ndetector = [6, 7]\n[volume]\nshape = [5, 7, 6]\n\
         voxel_mm = [1.2, 0.9, 1.0]\n[trajectory]\nkind = \"circular\"\nviews = 3\n\
         pixel_mm = [1.6, 1.7]\nsource_to_axis_mm = 20\naxis_to_detector_mm = 12\n",
    );
    bench.run(&format!("{ALIGN} --out d --jacobian")).exits(0);
    let shape = |name: &str| Array::read(&bench.path("d").join(name)).unwrap().shape;
    assert_eq!(shape("gradient.npy"), [3, 6]);
    assert_eq!(shape("jacobian.npy"), [3, 6, 6, 7]);
    let projected = "project --volume v.npy --geometry g.toml --projector trilinear --out p.npy";
    bench.run(projected).exits(0);
    let p = Array::read(&bench.path("p.npy")).unwrap().values.into_f64();
    assert!(gap(&bench.path("d/projections.npy"), &[3, 6, 7], &p) < 1e-12);
}

#[test]
fn wrong_poses_are_refused_by_the_word_at_fault() {
    let bench = bench();
    let says = |geometry: &str, text: &str| {
        bench.put("g.toml", geometry);
        let found = bench.run(&format!("{ALIGN} --out d")).exits(1);
        assert!(found.stderr.contains(text), "{}", found.stderr);
        assert!(!bench.path("d").exists());
    };
    says(&POSE.replace("pixel_mm = [1.1, 1.3]\n", ""), "pixel_mm");
    says(&POSE.replace("poses", "views"), "`views`");
    says(&POSE.replace("step_mm = 0.75", "step_mm = 0"), "step_mm");
    says(&POSE.replace("steps = 17", "projector = \"joseph\""), "pose5 has trilinear");
    says(&POSE.replace("[6, 7]\npixel", "[7]\npixel"), "[nv, nu]");
    says(&POSE.replace("theta.npy", "m.npy"), "m.npy");
    says(&POSE.replace("theta.npy", "loss.npy"), "loss.npy");
    bench.put_array("theta.npy", &[3, 4], vec![0.0; 12]);
    says(POSE, "rows of 5 numbers");
    bench.put_array("theta.npy", &[3, 5], vec![f64::NAN; 15]);
    says(POSE, "alpha is NaN");
    bench.put("g.toml", POSE);
    let bare = "align --volume v.npy --geometry g.toml --projections m.npy --out d";
    assert!(bench.run(bare).exits(1).stderr.contains("alpha is NaN"));
}

/// The reference of the rule, where it is there.
#[test]
fn equals_the_reference() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference/ct");
    if !folder.is_dir() {
        eprintln!("skipped: the folder of reference arrays is absent");
        return;
    }
    let bench = Bench::new();
    let text = "kind = \"pose5\"\nposes = \"theta.npy\"\ndetector = [22, 26]\n\
        pixel_mm = [1.05, 1.1]\nstep_mm = 0.75\nsteps = 56\n\
        [volume]\nshape = [20, 22, 24]\nvoxel_mm = [1, 1, 1]\n";
    bench.put("g.toml", text);
    let of = |name: &str| Array::read(&folder.join(format!("pose5_discrete/{name}.npy"))).unwrap();
    for (name, file) in [("theta", "theta"), ("volume", "v"), ("measured", "m")] {
        of(name).write(&bench.path(&format!("{file}.npy"))).unwrap();
    }
    let expected = |name: &str| of(name).values.into_f64();
    for (precision, tolerance) in [("f64", 1e-10), ("f32", 1e-4)] {
        let flags = format!("--precision {precision} --overwrite");
        bench.run(&format!("{ALIGN} --out d {flags}")).exits(0);
        let found = [
            gap(&bench.path("d/projections.npy"), &[4, 22, 26], &expected("projections")),
            gap(&bench.path("d/loss.npy"), &[4], &expected("loss")),
            gap(&bench.path("d/gradient.npy"), &[4, 5], &expected("loss_grad")),
        ];
        assert!(found.iter().all(|g| *g < tolerance), "{precision} {found:?}");
        // The reference has one transpose a view.
        let all = expected("adjoint_of_measured");
        let sum: Vec<f64> =
            (0..10560).map(|j| (0..4).map(|view| all[view * 10560 + j]).sum()).collect();
        let back = format!("backproject --projections m.npy --geometry g.toml --out b.npy {flags}");
        bench.run(&back).exits(0);
        let found = gap(&bench.path("b.npy"), &[20, 22, 24], &sum);
        assert!(found < tolerance, "{precision} transpose {found:e}");
    }
}

/// Closed forms for a sum of Gaussians: the directions of gradients.
#[test]
fn gradients_point_where_closed_forms_do() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference/ct");
    if !folder.is_dir() {
        eprintln!("skipped: the folder of reference arrays is absent");
        return;
    }
    let bench = Bench::new();
    bench.put(
        "g.toml",
        "kind = \"pose5\"\nposes = \"theta.npy\"\ndetector = [36, 40]\npixel_mm = [1.7, 1.6]\n\
         steps = 120\n[volume]\nshape = [64, 64, 64]\nvoxel_mm = [1, 1, 1]\n",
    );
    let of = |name: &str| Array::read(&folder.join(format!("pose5_smooth/{name}.npy"))).unwrap();
    for (name, file) in [("theta", "theta"), ("volume", "v"), ("measured", "m")] {
        of(name).write(&bench.path(&format!("{file}.npy"))).unwrap();
    }
    bench.run(&format!("{ALIGN} --out d --precision f64")).exits(0);
    let found = Array::read(&bench.path("d/gradient.npy")).unwrap().values.into_f64();
    let expected = of("loss_grad").values.into_f64();
    for (view, (a, b)) in found.chunks(5).zip(expected.chunks(5)).enumerate() {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
        assert!(cosine > 0.99, "view {view}: {cosine}");
    }
}

//! Responses and deconvolution: files, shards, axes, messages.

use crate::bench::{Bench, MEASUREMENTS, assert_same, scheme};
use microtome::datasets::{ImageGeometry, MapWriter, SignalSource, read_matrix};

const RESPONSE: &str = "basis = \"mrtrix3\"\nb_s_per_mm2 = [2500.0]\n[[tissue]]\nname = \"wm\"\nzonal = [[1100.0, -650.0, 250.0]]\n";

fn fit(bench: &Bench, rest: &str) -> crate::bench::Ended {
    bench.run(&format!("fit --model csd --bval a.bval --bvec a.bvec {rest}"))
}

#[test]
fn csd_from_response_to_fod() {
    let bench = Bench::with_voxels(600);
    let make = "response --dwi a.npy --bval a.bval --bvec a.bvec --lmax 4";
    bench.run(&format!("{make} --out r.toml --out-mrtrix m_")).exits(0);
    bench.run(&format!("{make} --out r.toml")).exits(0);
    let ended = bench.run(&format!("{make} --algorithm fa --out r.toml")).exits(1);
    assert!(ended.stderr.contains("--overwrite"), "{}", ended.stderr);
    let text = String::from_utf8(bench.read("m_wm.txt")).unwrap();
    assert!(text.starts_with("# Shells: 2500\n") && text.lines().count() == 2, "{text}");
    fit(&bench, "--dwi a.npy --response r.toml --out one --threads 1").exits(0);
    let fod = read_matrix(&bench.path("one/fod.npy")).unwrap();
    assert_eq!((fod.rows, fod.columns), (600, 15));
    // Threads, shards and a repeated line give the same bytes.
    fit(&bench, "--dwi a.npy --response r.toml --out two --threads 2").exits(0);
    for shard in ["1/2", "2/2"] {
        fit(&bench, &format!("--dwi a.npy --response r.toml --out parts --shard {shard}")).exits(0);
    }
    bench.run("merge parts").exits(0);
    for name in ["fit.parquet", "fod.parquet", "fod.npy"] {
        assert_same(&bench.path(&format!("one/{name}")), &bench.path(&format!("two/{name}")));
        assert_same(&bench.path(&format!("one/{name}")), &bench.path(&format!("parts/{name}")));
    }
    let again = fit(&bench, "--dwi a.npy --response r.toml --out one").exits(0);
    assert!(again.stderr.contains("nothing to do"), "{}", again.stderr);
    let other = fit(&bench, "--dwi a.npy --response r.toml --lmax 2 --out one").exits(1);
    assert!(other.stderr.contains("--overwrite"), "{}", other.stderr);
}

#[test]
fn csd_of_an_image_is_in_world_axes() {
    let bench = Bench::new();
    bench.put("r.toml", RESPONSE);
    let (b, g) = scheme();
    let u = [0.48, 0.6, 0.64];
    // Voxels are turned by 90 degrees about z in the world, with a positive determinant.
    let affine =
        [[0.0, -2.0, 0.0, 5.0], [2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 1.0]];
    let geometry = ImageGeometry::new([2, 1, 1], affine);
    let mut image = MapWriter::create(&bench.path("dwi.nii.gz"), &geometry, MEASUREMENTS).unwrap();
    let signals: Vec<f64> = b
        .iter()
        .zip(&g)
        .map(|(b, g)| {
            let t: f64 = g.iter().zip(&u).map(|(a, b)| a * b).sum();
            1000.0 * (-b * (0.2 + 1.5 * t * t)).exp()
        })
        .collect();
    image.push(0, &signals).unwrap();
    image.push(1, &signals).unwrap();
    image.finish().unwrap();
    fit(&bench, "--dwi dwi.nii.gz --response r.toml --out out").exits(0);
    let read = |name: &str| {
        let source = SignalSource::open(&bench.path(name), None).unwrap();
        source.read_rows(1..2).unwrap().signals
    };
    let peaks = read("out/peaks.nii.gz");
    assert_eq!((peaks.len(), read("out/fod.nii.gz").len()), (9, 15));
    // FSL reverses x here; then the world is (-y, x, z) of the voxel axes.
    let world = [-u[1], -u[0], u[2]];
    let norm = peaks[..3].iter().map(|p| p * p).sum::<f64>().sqrt();
    let cosine: f64 = peaks[..3].iter().zip(&world).map(|(p, w)| p / norm * w).sum();
    assert!(cosine.abs() > 0.999, "{peaks:?}");
    assert!(peaks[3].is_nan());
    for name in ["fod.json", "peaks.json", "model-csd_desc-estimate_param-odi_dwimap.nii.gz"] {
        assert!(bench.exists(&format!("out/{name}")), "{name}");
    }
}

#[test]
fn csd_faults_are_named() {
    let bench = Bench::with_voxels(3);
    bench.put("r.toml", RESPONSE);
    bench.put("b3.toml", RESPONSE.replace("2500", "3000"));
    bench.put("two.toml", RESPONSE.replace("[2500.0]", "[1000.0, 2500.0]"));
    bench.put("key.toml", RESPONSE.replace("zonal", "sonal"));
    let cases = [
        ("--dwi a.npy", "--response"),
        ("--dwi a.npy --response r.toml --lmax 3", "--lmax: lmax 3"),
        ("--dwi a.npy --response r.toml --lmax 6", "orders up to 4"),
        ("--dwi a.npy --response b3.toml", "--response: the response has b = 3000"),
        ("--dwi a.npy --response two.toml", "one row a shell"),
        ("--dwi a.npy --response key.toml", "sonal"),
        ("--dwi a.npy --response r.toml --side-lobes 1", "--side-lobes: side lobes"),
        ("--dwi a.npy --response r.toml --noise rician", "--noise rician"),
        ("--dwi a.npy --response r.toml --sigma 2", "--sigma"),
    ];
    for (flags, word) in cases {
        let ended = fit(&bench, &format!("{flags} --out out")).exits(1);
        assert!(
            ended.stderr.starts_with("error: ") && ended.stderr.contains(word),
            "{flags}: {}",
            ended.stderr
        );
        assert!(!bench.exists("out"));
    }
    let sampled =
        "sample --model csd --bval a.bval --bvec a.bvec --dwi a.npy --response r.toml --out out";
    assert!(bench.run(sampled).exits(1).stderr.contains("deconvolution"));
    let other = bench.fit("--dwi a.npy --response r.toml --out out").exits(1);
    assert!(other.stderr.contains("--response goes with --model csd"), "{}", other.stderr);
    let wrong = bench
        .run("response --dwi a.npy --bval a.bval --bvec a.bvec --algorithm best --out x.toml")
        .exits(1);
    assert!(wrong.stderr.contains("best") && !bench.exists("x.toml"));
    let text = bench.run("info models csd").exits(0).stdout;
    assert!(text.contains("10.1016/j.neuroimage.2014.07.061"), "{text}");
}

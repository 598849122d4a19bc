//! `reconstruct --posterior smoothed_tv`.

use crate::bench::Bench;
use microtome::datasets::read_table;

const GEOMETRY: &str = "kind = \"parallel2d\"\nprojector = \"siddon\"\ndetector = [12]\n\
    [volume]\nshape = [9, 8]\nvoxel_mm = [1.0, 1.0]\n\
    [trajectory]\nkind = \"circular\"\nviews = 7\npixel_mm = [1.0]\n";

fn bench() -> Bench {
    let bench = Bench::new();
    bench.put("g.toml", GEOMETRY);
    bench.put_values("y.npy", &[7, 12], |i| ((i * 37 + 11) % 101) as f64 / 30.0);
    bench.put_values("c.npy", &[7, 12], |i| ((i * 37 + 11) % 101) as f64 * 9.0);
    bench.put_values("labels.npy", &[9, 8], |i| (i % 3) as f64);
    bench
}

const LINE: &str = "reconstruct --geometry g.toml --posterior smoothed_tv --tv-weight 3 \
    --tv-eps 0.1 --chains 3 --tune 40 --draws 30";

#[test]
fn a_folder_holds_the_chains() {
    let bench = bench();
    let line = format!(
        "{LINE} --projections y.npy --sigma 0.5 --thin 2 --regions labels.npy --exceed 0.2 \
         --profile 1,0:7,6.5 --out post --json"
    );
    let json = bench.run(&line).exits(0).json();
    assert_eq!(json["exact"], false);
    assert_eq!(json["spec"]["proper_prior"], false);
    let out = bench.path("post");
    let (shape, draws) = bench.array(out.join("draws.npy"));
    assert_eq!(shape, [3, 15, 9, 8]);
    let (shape, mean) = bench.array(out.join("mean.npy"));
    assert_eq!(shape, [9, 8]);
    for (j, m) in mean.iter().enumerate() {
        let sum: f64 = draws.chunks(72).map(|d| d[j]).sum();
        assert!((sum / 45.0 - m).abs() < 1e-9, "{j}");
    }
    for name in ["sd.npy", "mcse.npy", "sd_mcse.npy"] {
        assert!(bench.array(out.join(name)).1.iter().all(|v| *v > 0.0), "{name}");
    }
    assert!(bench.array(out.join("exceedance.npy")).1.iter().all(|v| (0.0..=1.0).contains(v)));
    assert_eq!(read_table(&out.join("summary.parquet")).unwrap()[0].num_rows(), 72);
    assert_eq!(read_table(&out.join("regions.parquet")).unwrap()[0].num_rows(), 2);
    let profile = &read_table(&out.join("profile.parquet")).unwrap()[0];
    assert_eq!((profile.num_rows(), profile.num_columns()), (10, 12));
    // The mean of how much is above the limit is the sum of the probabilities.
    let sum: f64 = bench.array(out.join("exceedance.npy")).1.iter().sum();
    assert!((json["above"]["mean"].as_f64().unwrap() - sum).abs() < 1e-9);
    // Weights that say the same noise and other threads: the same bits.
    bench.put_values("w.npy", &[7, 12], |_| 4.0);
    let same = format!("{LINE} --projections y.npy --weights w.npy --thin 2 --threads 1 --out w");
    bench.run(&same).exits(0);
    assert_eq!(bench.array(bench.path("w").join("draws.npy")).1, draws);
    bench.run(&line).exits(0);
    let other = bench.run(&line.replace("--sigma 0.5", "--sigma 0.6")).exits(1);
    assert!(other.stderr.contains("--overwrite"), "{}", other.stderr);
}

#[test]
fn counts_stand_in_for_projections() {
    let bench = bench();
    let line = format!(
        "{LINE} --likelihood poisson --counts c.npy --i0 900 --prior-ridge 0.5 --out post --json"
    );
    let json = bench.run(&line).exits(0).json();
    assert_eq!(json["spec"]["proper_prior"], true);
    let (shape, draws) = bench.array(bench.path("post").join("draws.npy"));
    assert_eq!(shape, [3, 30, 9, 8]);
    assert!(draws.iter().all(|v| v.is_finite()));
}

#[test]
fn a_bound_is_kept() {
    let bench = bench();
    let line = format!(
        "{LINE} --likelihood poisson --counts c.npy --i0 900 --prior-ridge 0.5 --nonneg --out post \
         --json"
    );
    let json = bench.run(&line).exits(0).json();
    assert_eq!(json["spec"]["nonneg"], true);
    let (_, draws) = bench.array(bench.path("post").join("draws.npy"));
    assert!(draws.iter().all(|v| *v >= 0.0));
}

#[test]
fn a_normal_density_about_the_mode() {
    let bench = bench();
    bench.put("sf.toml", GEOMETRY.replace("siddon", "sf"));
    let line = "reconstruct --projections y.npy --geometry sf.toml --posterior laplace --sigma 0.5 \
        --tv-weight 3 --tv-eps 0.1 --prior-ridge 0.5 --draws 40 --regions labels.npy --exceed 0.2 \
        --profile 1,0:7,6.5 --precision f64 --out post --json";
    let json = bench.run(line).exits(0).json();
    assert!(json["mode_gradient"].as_f64().unwrap() <= 1e-6);
    let out = bench.path("post");
    let (shape, draws) = bench.array(out.join("draws.npy"));
    assert_eq!(shape, [40, 9, 8]);
    let (_, mode) = bench.array(out.join("mean.npy"));
    let (_, sd) = bench.array(out.join("sd.npy"));
    let (_, error) = bench.array(out.join("sd_mcse.npy"));
    for (j, s) in sd.iter().enumerate() {
        let squares: f64 = draws.chunks(72).map(|d| (d[j] - mode[j]).powi(2)).sum();
        assert!(((squares / 40.0).sqrt() - s).abs() < 1e-9, "{j}");
        assert!((error[j] - s / 80_f64.sqrt()).abs() < 1e-12);
    }
    for (name, rows) in [("summary", 72), ("regions", 2), ("profile", 10)] {
        let table = &read_table(&out.join(format!("{name}.parquet"))).unwrap()[0];
        assert_eq!(table.num_rows(), rows, "{name}");
    }
}

#[test]
fn counts_are_logarithms_for_the_gaussian() {
    let bench = bench();
    let count = |i: usize| 1.0 + ((i * 37 + 11) % 101) as f64 * 9.0;
    bench.put_values("c1.npy", &[7, 12], count);
    bench.put_values("l.npy", &[7, 12], |i| (900.0 / count(i)).ln());
    bench.put_values("w1.npy", &[7, 12], count);
    let line = "reconstruct --geometry g.toml --posterior gaussian --prior-weight 3 \
        --prior-kappa2 0.1 --draws 4 --precision f64 --evidence";
    let counts = format!("{line} --likelihood poisson --counts c1.npy --i0 900 --out c --json");
    let counts = bench.run(&counts).exits(0).json();
    let logs = format!("{line} --projections l.npy --weights w1.npy --out l --json");
    let logs = bench.run(&logs).exits(0).json();
    let gap = counts["log_evidence"].as_f64().unwrap() - logs["log_evidence"].as_f64().unwrap();
    assert!(gap.abs() < 1e-9, "{gap}");
    let of = |name: &str| bench.array(bench.path(name).join("mean.npy")).1;
    for (c, l) in of("c").iter().zip(of("l")) {
        assert!((c - l).abs() < 1e-12);
    }
}

#[test]
fn wrong_flags_leave_nothing() {
    let bench = bench();
    let says = |line: &str, text: &str| {
        let found = bench.run(&format!("{line} --out post")).exits(1);
        assert!(found.stderr.starts_with("error: "), "{}", found.stderr);
        assert!(found.stderr.contains(text), "{}", found.stderr);
        assert!(!bench.path("post").exists());
    };
    let with = |rest: &str| format!("{LINE} --projections y.npy {rest}");
    says(&with(""), "--sigma");
    says(&with("--sigma 1 --prior-weight 2"), "--tv-weight");
    says(&with("--sigma 1 --likelihood cauchy"), "cauchy");
    says(&with("--likelihood poisson"), "--counts");
    says(&with("--sigma 1").replace("--tv-eps 0.1", ""), "--tv-eps");
    says(&with("--sigma 1").replace("--tv-eps 0.1", "--tv-eps 0"), "tv eps");
    says(&with("--sigma 1").replace("--tune 40", "--tune 2"), "tune");
    says(&with("--sigma 1").replace("smoothed_tv", "tv"), "smoothed_tv");
    let gaussian = "reconstruct --projections y.npy --geometry g.toml --posterior gaussian \
        --sigma 1 --prior-weight 1 --chains 2";
    says(gaussian, "--chains");
    says(&gaussian.replace("--chains 2", "--nonneg"), "--nonneg");
    says(&gaussian.replace("--chains 2", "--tv-eps 1"), "--tv-eps");
    let laplace = with("--sigma 1").replace("smoothed_tv", "laplace");
    says(&laplace, "--chains");
    let laplace = laplace.replace("--chains 3 --tune 40", "");
    says(&format!("{laplace} --nonneg"), "--nonneg");
    says(&laplace.replace("--tv-eps 0.1", ""), "--posterior laplace needs");
    says(&laplace.replace("--draws 30", "--draws 1"), "probes");
    bench.put_values("n.npy", &[7, 12], |i| if i == 5 { -1.0 } else { 3.0 });
    says(&format!("{LINE} --likelihood poisson --counts n.npy --i0 9"), "-1");
    bench.put("sf.toml", GEOMETRY.replace("siddon", "sf"));
    says(&with("--sigma 1").replace("g.toml", "sf.toml"), "joseph");
}

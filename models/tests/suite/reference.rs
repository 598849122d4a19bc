//! Predicted signals against tables that were computed without this library.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use microtome_models::{
    Acquisition, Evaluator, Family, FixedValue, LinkSpec, Lowered, Model, ModelSpec, PulseTiming,
    SizeDistribution, register,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `kind`, or `kind|modifier` as the tables name a compartment with a modifier.
fn model(text: &str) -> ModelSpec {
    let mut parts = text.split('|');
    let mut toml = format!("[[compartment]]\nname = \"c\"\nkind = \"{}\"\n", parts.next().unwrap());
    for modifier in parts {
        toml += match modifier {
            "watson" => "dispersion = \"watson\"\n",
            "bingham" => "dispersion = \"bingham\"\n",
            _ => panic!("{text}: what is {modifier}?"),
        };
    }
    ModelSpec::from_toml(&toml).unwrap()
}

/// The signals of one compartment with `s0 = 1`; parameters by their names
/// within the compartment, those with a default as links.
fn predict(kind: &str, parameters: &BTreeMap<String, f64>, acquisition: &Acquisition) -> Vec<f64> {
    predict_spec(model(kind), kind, parameters, acquisition)
}

/// As [`predict`], of a model of one compartment.
fn predict_spec(
    mut spec: ModelSpec,
    kind: &str,
    parameters: &BTreeMap<String, f64>,
    acquisition: &Acquisition,
) -> Vec<f64> {
    let compartment = spec.compartments[0].build().unwrap();
    for parameter in compartment.parameters().iter().filter(|p| p.default.is_some()) {
        if let Some(&value) = parameters.get(parameter.name) {
            let link = LinkSpec::Fixed(FixedValue::Number(value));
            spec.link.insert(format!("c.{}", parameter.name), link);
        }
    }
    let given = spec.link.len();
    let model = Model::new(spec).unwrap();
    let x: Vec<f64> = model
        .value_names()
        .iter()
        .map(|name| match name.split_once('.') {
            Some((_, short)) => *parameters
                .get(short)
                .unwrap_or_else(|| panic!("{kind}: no `{short}` in the table")),
            None => 1.0,
        })
        .collect();
    let read = x.len() + given;
    assert_eq!(read, parameters.len() + 1, "{kind} does not have all of {parameters:?}");
    Evaluator::new(&Lowered::new(Arc::new(model), acquisition).unwrap()).predict(&x)
}

fn rows(path: &Path) -> (Vec<String>, Vec<Vec<String>>) {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut lines = text.lines().map(|l| l.split(',').map(str::to_string).collect::<Vec<_>>());
    (lines.next().unwrap(), lines.collect())
}

fn number(row: &[String], header: &[String], column: &str) -> f64 {
    let at =
        header.iter().position(|h| h == column).unwrap_or_else(|| panic!("no column {column}"));
    row[at].parse().unwrap()
}

#[test]
fn signals_equal_golden() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/microstructure_signals.csv");
    let (header, rows) = rows(&path);
    let mut seen = BTreeMap::<&str, usize>::new();
    for (line, row) in rows.iter().enumerate() {
        let of = |column: &str| number(row, &header, column);
        let timing =
            PulseTiming { delta_ms: vec![of("delta_ms")], big_delta_ms: vec![of("big_delta_ms")] };
        let g = [of("gx"), of("gy"), of("gz")];
        let acquisition =
            Acquisition::from_b(&[of("b_ms_per_um2")], &[g], Some(timing), None).unwrap();
        let parameters = row[1]
            .split_terminator(';')
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap();
                (name.to_string(), value.parse().unwrap())
            })
            .collect();
        let signal = predict(&row[0], &parameters, &acquisition)[0];
        let expected = of("signal");
        // A series is exact to 1e-14 of a signal of 1, a closed form to its own size.
        // Projected series leave out coefficients below 1e-13, sums over the modes of a
        // pore parts below 1e-14.
        let family = model(&row[0]).compartments[0].build().unwrap().family();
        let series = matches!(family, Family::Zonal | Family::Orthotropic);
        let bound = match series {
            // The degree of the polynomials of an exact pore is chosen for 2e-9.
            _ if row[0].contains("_exact") => 2e-9,
            true if row[0].contains("watson") => 1e-14,
            true if row[0].contains("bingham") => 1e-13,
            _ if series || row[0].contains("callaghan") => 1e-12 + 1e-13 * expected,
            _ => 1e-13 * expected,
        };
        assert!((signal - expected).abs() < bound, "row {}: {row:?}: {signal}", line + 2);
        *seen.entry(&row[0]).or_default() += 1;
    }
    for compartment in register() {
        let kind = compartment.kind();
        assert!(seen.contains_key(kind), "`{kind}` has no row in {}", path.display());
    }
}

/// The reference tables, which are not part of the repository.
fn reference() -> Option<PathBuf> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference/microstructure");
    folder.is_dir().then_some(folder)
}

/// The acquisition of the reference tables: SI to ms/um2, ms and um2/ms.
fn reference_acquisition(folder: &Path) -> Acquisition {
    let (header, measurements) = rows(&folder.join("acquisition.csv"));
    let column = |name: &str, factor: f64| {
        measurements.iter().map(|r| factor * number(r, &header, name)).collect::<Vec<_>>()
    };
    let (gx, gy, gz) = (column("gx", 1.0), column("gy", 1.0), column("gz", 1.0));
    let directions: Vec<[f64; 3]> = (0..gx.len()).map(|i| [gx[i], gy[i], gz[i]]).collect();
    let timing =
        PulseTiming { delta_ms: column("delta_s", 1e3), big_delta_ms: column("Delta_s", 1e3) };
    Acquisition::from_b(&column("b_s_per_m2", 1e-9), &directions, Some(timing), None).unwrap()
}

/// The parameters of the reference tables by (model, set).
fn reference_sets(folder: &Path) -> BTreeMap<(String, String), BTreeMap<String, f64>> {
    let mut sets: BTreeMap<(String, String), BTreeMap<String, f64>> = BTreeMap::new();
    for row in rows(&folder.join("parameters.csv")).1 {
        sets.entry((row[0].clone(), row[1].clone()))
            .or_default()
            .insert(row[2].clone(), row[3].parse().unwrap());
    }
    sets
}

#[test]
fn signals_equal_reference() {
    let Some(folder) = reference() else {
        eprintln!("skipped: the reference tables are not here");
        return;
    };
    let acquisition = reference_acquisition(&folder);
    let sets = reference_sets(&folder);
    let (header, signals) = rows(&folder.join("signals.csv"));
    let mut compared = 0;
    for (model, kind) in [
        ("G1Ball", "ball"),
        ("S1Dot", "dot"),
        ("C1Stick", "stick"),
        ("G2Zeppelin", "zeppelin"),
        ("G3TemporalZeppelin", "temporal_zeppelin"),
        ("C2Cylinder", "cylinder_sgp"),
        ("C3Cylinder", "cylinder_callaghan"),
        ("C4Cylinder", "cylinder_gpd"),
        ("S2Sphere", "sphere_sgp"),
        ("S3Sphere", "sphere_callaghan"),
        ("S4Sphere", "sphere_gpd"),
        ("P2Plane", "plane_sgp"),
        ("P3Plane", "plane_callaghan"),
        ("CC2CappedCylinder", "capped_cylinder_sgp"),
        ("WatsonStick", "stick|watson"),
        ("WatsonZeppelin", "zeppelin|watson"),
        ("BinghamStick", "stick|bingham"),
        ("BinghamZeppelin", "zeppelin|bingham"),
    ] {
        let mut predictions: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for row in signals.iter().filter(|r| r[0] == model) {
            let predicted = predictions.entry(row[1].clone()).or_insert_with(|| {
                let given =
                    sets.get(&(row[0].clone(), row[1].clone())).cloned().unwrap_or_default();
                predict(kind, &inside(kind, given), &acquisition)
            });
            let measurement: usize = row[2].parse().unwrap();
            let expected = number(row, &header, "signal_independent");
            let difference = predicted[measurement] - expected;
            assert!(
                difference.abs() < 1e-10,
                "{model} set {} measurement {measurement}: {difference:e}",
                row[1]
            );
            compared += 1;
        }
    }
    assert_eq!(compared, 17 * 672 + 112);
}

#[test]
fn spherical_means_equal_reference() {
    let Some(folder) = reference() else {
        eprintln!("skipped: the reference tables are not here");
        return;
    };
    let acquisition = reference_acquisition(&folder);
    let sets = reference_sets(&folder);
    let (header, labels) = rows(&folder.join("acquisition.csv"));
    let labels: Vec<usize> = labels.iter().map(|r| number(r, &header, "shell") as usize).collect();
    let (header, means) = rows(&folder.join("spherical_means.csv"));
    let mut compared = 0;
    for (name, kind) in [
        ("G1Ball", "ball"),
        ("C1Stick", "stick"),
        ("G2Zeppelin", "zeppelin"),
        ("G3TemporalZeppelin", "temporal_zeppelin"),
        ("C2Cylinder", "cylinder_sgp"),
        ("C3Cylinder", "cylinder_callaghan"),
        ("C4Cylinder", "cylinder_gpd"),
        ("S4Sphere", "sphere_gpd"),
    ] {
        let mut spec = model(kind);
        spec.spherical_mean = true;
        for row in means.iter().filter(|r| r[0] == name) {
            let mut parameters = inside(kind, sets[&(row[0].clone(), row[1].clone())].clone());
            // A model of means has no axis.
            parameters.retain(|name, _| !name.starts_with("mu_"));
            let predicted = predict_spec(spec.clone(), kind, &parameters, &acquisition);
            let shell: usize = row[2].parse().unwrap();
            let measurement = labels.iter().position(|l| *l == shell).unwrap();
            let difference = predicted[measurement] - number(row, &header, "mean_independent");
            assert!(
                difference.abs() < 1e-10,
                "{name} set {} shell {shell}: {difference:e}",
                row[1]
            );
            compared += 1;
        }
    }
    assert!(compared > 500, "{compared}");
}

/// Gamma-distributed cylinders.
#[test]
fn sizes_equal_reference() {
    let Some(folder) = reference() else {
        eprintln!("skipped: the reference tables are not here");
        return;
    };
    let acquisition = reference_acquisition(&folder);
    let (header, signals) = rows(&folder.join("signals.csv"));
    let mut spec = model("cylinder_gpd");
    spec.compartments[0].size_distribution = Some(SizeDistribution::Gamma);
    let mut compared = 0;
    for ((name, set), given) in reference_sets(&folder) {
        if name != "GammaCylinderC4" {
            continue;
        }
        let mut parameters = inside("cylinder_gpd", given);
        parameters.insert("beta".into(), parameters["beta"] * 1e6);
        let predicted = predict_spec(spec.clone(), "cylinder_gpd", &parameters, &acquisition);
        for row in signals.iter().filter(|r| r[0] == name && r[1] == set) {
            let measurement: usize = row[2].parse().unwrap();
            let difference = predicted[measurement] - number(row, &header, "signal_independent");
            assert!(
                difference.abs() < 1e-10,
                "set {set} measurement {measurement}: {difference:e}"
            );
            compared += 1;
        }
    }
    assert_eq!(compared, 672);
}

/// Names and units of this library: um2/ms, um, um2, the axis as three components.
fn inside(kind: &str, given: BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let intrinsic =
        if kind.starts_with("cylinder") { "lambda_perp_intrinsic" } else { "lambda_intrinsic" };
    let mut out = BTreeMap::new();
    for (name, value) in &given {
        match name.as_str() {
            "theta" | "phi" => {}
            "A" => drop(out.insert("a".into(), value * 1e12)),
            "D" | "D_perp" => drop(out.insert(intrinsic.into(), value * 1e9)),
            "diameter" if kind.starts_with("plane") => {
                out.insert("separation".into(), value * 1e6);
            }
            "diameter" | "length" => drop(out.insert(name.clone(), value * 1e6)),
            _ if name.starts_with("lambda") => drop(out.insert(name.clone(), value * 1e9)),
            _ => drop(out.insert(name.clone(), *value)),
        }
    }
    if let (Some(theta), Some(phi)) = (given.get("theta"), given.get("phi")) {
        out.insert("mu_x".into(), theta.sin() * phi.cos());
        out.insert("mu_y".into(), theta.sin() * phi.sin());
        out.insert("mu_z".into(), theta.cos());
    }
    out
}

//! Simulated dictionaries against what they interpolate.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use microtome_models::dictionary::{
    Dictionary, DictionaryAxis, DictionaryShell, DictionaryTable, SweepSpec,
};
use microtome_models::substrate::SubstrateSpec;
use microtome_models::{
    Acquisition, Evaluator, Lowered, Model, ModelSpec, PulseTiming, SpecError, Unit, half_sphere,
};
use std::sync::Arc;

const CYLINDER: &str = "[substrate]\nkind = \"cylinder\"\nradius_um = 2\n\
    [intra]\ndiffusivity_um2_per_ms = 2\n";

/// b = 0 and two shells of 30 directions.
fn acquisition() -> Acquisition {
    let (mut b, mut directions) = (vec![0.0], vec![[1.0, 0.0, 0.0]]);
    for shell in [1.0, 6.0] {
        b.extend([shell; 30]);
        directions.extend(half_sphere(30));
    }
    let n = b.len();
    let timing = PulseTiming { delta_ms: vec![10.0; n], big_delta_ms: vec![40.0; n] };
    Acquisition::from_b(&b, &directions, Some(timing), None).unwrap()
}

fn exact(sweep: &str, substrate: &str) -> DictionaryTable {
    let sweep = SweepSpec::from_toml(sweep).unwrap();
    let sweep = sweep.over(&SubstrateSpec::from_toml(substrate).unwrap()).unwrap();
    let substrates = sweep.substrates(0).unwrap().iter().map(|s| s.build().unwrap()).collect();
    sweep.of(vec![substrates], &acquisition(), true).unwrap().exact(|_| ()).unwrap()
}

fn walked(sweep: &str, substrate: &str, walkers: u64, seed: u64) -> DictionaryTable {
    let sweep = SweepSpec::from_toml(sweep).unwrap();
    let sweep = sweep.over(&SubstrateSpec::from_toml(substrate).unwrap()).unwrap();
    let substrates = sweep.substrates(0).unwrap().iter().map(|s| s.build().unwrap()).collect();
    let swept = sweep.of(vec![substrates], &acquisition(), false).unwrap();
    let step = swept.step_ms(None).unwrap();
    swept.walk(walkers, step, seed, |_| ()).unwrap().0
}

fn model(text: &str, dictionary: &Dictionary) -> Result<Model, String> {
    let mut spec = ModelSpec::from_toml(text).map_err(|e| e.to_string())?;
    spec.attach(|_, _| Ok::<_, SpecError>(dictionary.clone())).map_err(|e| e.to_string())?;
    Model::new(spec).map_err(|e| e.to_string())
}

const ALONE: &str = "[[compartment]]\nkind = \"dictionary\"\nfile = \"d.parquet\"\n";

/// A smooth table with three batches, on two shells and three parameters of 5, 3 and 2 nodes.
fn smooth(axial: bool) -> DictionaryTable {
    let axis = |name: &str, unit, nodes: &[f64]| DictionaryAxis {
        name: name.into(),
        unit,
        nodes: nodes.to_vec(),
    };
    let shell = |b: f64| DictionaryShell {
        b,
        delta_ms: 10.0,
        big_delta_ms: 40.0,
        cosines: if axial { vec![0.1, 0.4, 0.7, 0.95] } else { Vec::new() },
    };
    let mut table = DictionaryTable {
        axes: vec![
            axis("radius", Unit::Micrometre, &[0.5, 1.0, 2.0, 3.0, 4.0]),
            axis("diffusivity", Unit::SquareMicrometrePerMillisecond, &[1.0, 1.5, 2.0]),
            axis("share", Unit::One, &[0.2, 0.6]),
        ],
        shells: vec![shell(1.0), shell(6.0)],
        ..DictionaryTable::default()
    };
    let batch = |k: f64| -> Vec<f64> {
        let mut out = Vec::new();
        for point in 0..table.points() {
            let p = table.parameters(point);
            for s in &table.shells {
                let cosines = if axial { s.cosines.clone() } else { vec![0.3] };
                for t in cosines {
                    let across = 0.1 * p[0] * p[2] * (1.0 - t * t);
                    let wave = 0.02 * k * (p[0] + k * t + s.b).sin() * p[1];
                    out.push((-s.b * (0.2 * p[1] * t * t + across)).exp() + wave);
                }
            }
        }
        out
    };
    let batches = [-1.0, 0.2, 0.9].map(batch);
    let n = batches[0].len();
    let mean = |i: usize| batches.iter().map(|b| b[i]).sum::<f64>() / 3.0;
    table.signal = (0..n).map(mean).collect();
    table.se = (0..n)
        .map(|i| (batches.iter().map(|b| (b[i] - mean(i)).powi(2)).sum::<f64>() / 6.0).sqrt())
        .collect();
    (table.imaginary, table.se_imaginary) = (vec![0.0; n], vec![0.0; n]);
    table.batches = batches.to_vec();
    table
}

/// In a mixture with a dispersed axis too: all slopes against central differences.
#[test]
fn interpolant_slopes_equal_differences() {
    let mixture = format!("{ALONE}name = \"axons\"\n[[compartment]]\nkind = \"ball\"\n");
    let dispersed = mixture.replace("name =", "dispersion = \"watson\"\nname =");
    let mean = format!("spherical_mean = true\n{mixture}");
    for (text, axial) in
        [(ALONE, true), (ALONE, false), (&mixture, true), (&dispersed, true), (&mean, true)]
    {
        let dictionary = Dictionary::new(&smooth(axial), None, "x").unwrap();
        assert_eq!(dictionary.error_modes(), 2);
        let model = Arc::new(model(text, &dictionary).unwrap());
        let lowered = Lowered::new(model.clone(), &acquisition()).unwrap();
        let mut evaluator = Evaluator::new(&lowered);
        let mut x = vec![0.0; model.values()];
        for (name, value) in model.value_names().iter().zip(x.iter_mut()) {
            *value = match name.rsplit('.').next().unwrap() {
                "mu_x" => 0.48,
                "mu_y" => 0.6,
                "mu_z" => 0.64,
                "radius" => 2.3,
                "diffusivity" => 1.2,
                "share" => 0.35,
                "error_1" => 0.7,
                "error_2" => -1.1,
                "fraction" => 0.5,
                "odi" => 0.2,
                "lambda_iso" => 1.5,
                _ => 3.0,
            };
        }
        let slots = lowered.plan.slots();
        let jacobian = evaluator.signal_and_jacobian(&x).1.to_vec();
        for k in 0..model.values() {
            let mut at = |step: f64| {
                let mut x = x.clone();
                x[k] += step;
                evaluator.signal(&x).to_vec()
            };
            let h = 1e-5;
            let (up, down) = (at(h), at(-h));
            for i in 0..slots {
                let difference = (up[i] - down[i]) / (2.0 * h);
                let slope = jacobian[k * slots + i];
                let name = &model.value_names()[k];
                assert!((slope - difference).abs() < 2e-8, "{name} {i}: {slope} {difference}");
            }
        }
        // The reverse pass is the transpose.
        let weight: Vec<f64> =
            lowered.plan.mask().iter().enumerate().map(|(i, m)| m * (i as f64).cos()).collect();
        let mut gradient = vec![0.0; model.values()];
        evaluator.signal(&x);
        evaluator.pullback(&weight, &mut gradient);
        for (k, g) in gradient.iter().enumerate() {
            let sum: f64 = (0..slots).map(|i| weight[i] * jacobian[k * slots + i]).sum();
            assert!((g - sum).abs() < 1e-11 * (1.0 + sum.abs()), "{k}: {g} {sum}");
        }
    }
}

/// An exact dictionary of cylinders is `cylinder_exact`, at its nodes and, to the error that
/// leaving nodes out tells, between them.
#[test]
fn exact_twin_equals_cylinder_exact() {
    let sweep = "[[parameter]]\nkey = \"substrate.radius_um\"\nfrom = 1.0\nto = 4.0\ncount = 13\n\
        [[parameter]]\nkey = \"intra.diffusivity_um2_per_ms\"\nfrom = 1.0\nto = 2.5\ncount = 5\n";
    let table = exact(sweep, CYLINDER);
    let dictionary = Dictionary::new(&table, None, "x").unwrap();
    assert_eq!((dictionary.error_modes(), dictionary.largest_se()), (0, 0.0));
    let left_out = dictionary.left_out().iter().map(|e| e.largest).fold(0.0, f64::max);
    assert!((1e-6..0.05).contains(&left_out), "{left_out:e}");
    let ours = Arc::new(model(ALONE, &dictionary).unwrap());
    let text = "[[compartment]]\nkind = \"cylinder_exact\"\n[link]\n\
        \"cylinder_exact.lambda_perp_intrinsic\" = { equal = \"cylinder_exact.lambda_par\" }\n";
    let theirs = Arc::new(Model::new(ModelSpec::from_toml(text).unwrap()).unwrap());
    let acquisition = acquisition();
    let mut both =
        [&ours, &theirs].map(|m| Evaluator::new(&Lowered::new(m.clone(), &acquisition).unwrap()));
    let mut compare = |radius: f64, diffusivity: f64| {
        let mu = [0.36, 0.48, 0.8];
        let s0 = 1.5;
        let [a, b, c] = mu;
        let first = both[0].predict(&[a, b, c, radius, diffusivity, s0]);
        let second = both[1].predict(&[a, b, c, diffusivity, 2.0 * radius, s0]);
        first.iter().zip(&second).map(|(x, y)| (x - y).abs() / s0).fold(0.0, f64::max)
    };
    assert_eq!(ours.value_names().len(), 6);
    let at_nodes = compare(2.0, 1.0).max(compare(4.0, 2.5)).max(compare(1.0, 1.375));
    assert!(at_nodes < 1e-9, "{at_nodes:e}");
    let between = [[1.1, 1.1], [1.6, 2.3], [2.6, 1.9], [3.9, 2.4], [3.3, 1.05]];
    let between = between.map(|[r, d]| compare(r, d)).into_iter().fold(0.0, f64::max);
    assert!(between > 1e-8 && between < left_out, "{between:e} {left_out:e}");
}

/// The parts hold the variance of the batches, and the walked signals agree with the
/// exact ones within their errors.
#[test]
fn errors_of_walks_are_known() {
    let sweep = "[[parameter]]\nkey = \"substrate.radius_um\"\nvalues = [2.0, 3.0, 4.0]\n\
        [sweep]\nbatches = 24\nazimuths = 4\ncosines = 10\n";
    let walk = walked(sweep, CYLINDER, 1200, 3);
    assert_eq!((walk.batches.len(), walk.points()), (24, 3));
    let truth = exact(sweep, CYLINDER);
    let scores = |walk: &DictionaryTable| -> Vec<f64> {
        let pairs = walk.signal.iter().zip(&truth.signal).zip(&walk.se);
        pairs.map(|((w, t), se)| (w - t) / se).collect()
    };
    let z = scores(&walk);
    // The errors of one walk are one another's, so it takes several for their mean square.
    let mut square = 0.0;
    for seed in 0..8 {
        let z = scores(&walked(sweep, CYLINDER, 1200, 100 + seed));
        assert!(z.iter().all(|z| z.abs() < 6.0), "{z:?}");
        square += z.iter().map(|z| z * z).sum::<f64>() / (8 * z.len()) as f64;
    }
    println!("mean square of the scores {square:.2}");
    assert!((0.4..2.2).contains(&square), "{square}");
    let dictionary = Dictionary::new(&walk, None, "x").unwrap();
    assert!(dictionary.held() > 0.8 && dictionary.error_modes() <= 8);
    let (width, modes) = (dictionary.width(), dictionary.error_modes());
    let (mut value, mut slope) = (vec![0.0; width], vec![0.0; (1 + modes) * width]);
    let mut held = 0.0;
    for radius in [2.0, 3.0, 4.0] {
        dictionary.coefficients(&[radius], &vec![0.0; modes], &mut value, &mut slope);
        for part in slope[width..].chunks(width) {
            for s in part.chunks(10) {
                let mut p = vec![0.0; 10];
                for t in &walk.shells[0].cosines {
                    microtome_kernels::legendre::even_polynomials(*t, &mut p);
                    let v: f64 = p.iter().zip(s).map(|(p, c)| p * c).sum();
                    held += v * v;
                }
            }
        }
    }
    let total: f64 = walk.se.iter().map(|s| s * s).sum();
    assert!((held / total - dictionary.held()).abs() < 1e-9, "{held} {total}");
    // The same walkers at every radius: neighbours are off together.
    let n = walk.entries();
    let (mut product, mut squares) = (0.0, [0.0; 2]);
    for i in 0..n {
        let (a, b) = (z[n + i], z[2 * n + i]);
        product += a * b;
        squares = [squares[0] + a * a, squares[1] + b * b];
    }
    let correlation = product / (squares[0] * squares[1]).sqrt();
    assert!(correlation > 0.5, "{correlation}");
    // Other walkers for another seed, the same for the same.
    assert_eq!(walked(sweep, CYLINDER, 1200, 3), walk);
    assert_ne!(walked(sweep, CYLINDER, 1200, 4).signal, walk.signal);
}

/// Spheres have no axis: the mean over directions is one number a shell.
#[test]
fn isotropic_substrates_are_isotropic() {
    let sweep = "[[parameter]]\nkey = \"substrate.radius_um\"\nvalues = [1.0, 2.0, 3.0, 4.0]\n";
    let table = exact(sweep, &CYLINDER.replace("cylinder", "sphere"));
    assert_eq!((table.is_axial(), table.entries()), (false, 2));
    let dictionary = Dictionary::new(&table, None, "x").unwrap();
    let ours = Arc::new(model(ALONE, &dictionary).unwrap());
    let theirs = Arc::new(Model::new(ModelSpec::parse("sphere_exact").unwrap()).unwrap());
    let at = |model: &Arc<Model>, x: &[f64]| {
        Evaluator::new(&Lowered::new(model.clone(), &acquisition()).unwrap()).predict(x)
    };
    let text = "[[compartment]]\nkind = \"sphere_exact\"\n[link]\n\
        \"sphere_exact.lambda_intrinsic\" = { fixed = 2.0 }\n";
    let free = Arc::new(Model::new(ModelSpec::from_toml(text).unwrap()).unwrap());
    assert_eq!(theirs.values(), free.values());
    for radius in [2.0, 3.0] {
        let (a, b) = (at(&ours, &[radius, 1.0]), at(&free, &[2.0 * radius, 1.0]));
        for (a, b) in a.iter().zip(&b) {
            assert!((a - b).abs() < 1e-8, "{radius}: {a} {b}");
        }
    }
}

#[test]
fn other_acquisitions_are_refused() {
    let dictionary = Dictionary::new(&smooth(true), None, "x").unwrap();
    let model = Arc::new(model(ALONE, &dictionary).unwrap());
    let with = |b: f64, delta: f64| {
        let timing = PulseTiming { delta_ms: vec![delta; 2], big_delta_ms: vec![40.0; 2] };
        let directions = [[0.0; 3], [0.6, 0.0, 0.8]];
        let acquisition = Acquisition::from_b(&[0.0, b], &directions, Some(timing), None).unwrap();
        Lowered::new(model.clone(), &acquisition).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(with(6.0, 10.0), Ok(()));
    for (b, delta) in [(6.001, 10.0), (6.0, 10.1)] {
        let error = with(b, delta).unwrap_err();
        assert!(error.contains("b 6000 (delta 10, Delta 40)"), "{error}");
    }
    let none = Acquisition::from_b(&[0.0, 1.0], &[[0.0; 3], [1.0, 0.0, 0.0]], None, None).unwrap();
    let error = Lowered::new(model.clone(), &none).unwrap_err().to_string();
    assert!(error.contains("delta"), "{error}");
}

#[test]
fn wrong_models_name_the_key() {
    let dictionary = Dictionary::new(&smooth(true), None, "x").unwrap();
    let fails = |text: &str, words: &[&str]| {
        let error = model(text, &dictionary).unwrap_err();
        assert!(words.iter().all(|w| error.contains(w)), "{text}: {error}");
    };
    fails("[[compartment]]\nkind = \"dictionary\"\n", &["`file`", "--sweep"]);
    fails("[[compartment]]\nkind = \"ball\"\nfile = \"a\"\n", &["`file`", "dictionary"]);
    fails("[[compartment]]\nkind = \"ball\"\nerror_modes = 1\n", &["`error_modes`"]);
    fails(&format!("{ALONE}content = \"other\"\n"), &["d.parquet", "`content` is other"]);
    let below = format!("{ALONE}[range]\n\"dictionary.radius\" = [0.1, 3.0]\n");
    fails(&below, &["dictionary.radius", "0.5"]);
    fails(&format!("{ALONE}[link]\n\"dictionary.radius\" = {{ fixed = 9.0 }}\n"), &["radius", "9"]);
    let error = Dictionary::new(&smooth(true), Some(3), "x").unwrap_err().to_string();
    assert!(error.contains("error_modes = 3") && error.contains("2 at most"), "{error}");
    let mut short = smooth(true);
    short.signal.pop();
    assert!(Dictionary::new(&short, None, "x").is_err());
    let same = DictionaryShell { cosines: vec![0.5, 0.5], ..smooth(true).shells[0].clone() };
    let mut twice = smooth(true);
    twice.shells[0] = same;
    assert!(Dictionary::new(&twice, None, "x").unwrap_err().to_string().contains("b = 1000"));
}

#[test]
fn wrong_sweeps_name_the_key() {
    let radius = "[[parameter]]\nkey = \"substrate.radius_um\"\n";
    for (sweep, words) in [
        ("", &["parameter"][..]),
        ("[[parameter]]\nvalues = [1.0, 2.0]\n", &["`key`"]),
        (radius, &["substrate.radius_um", "`values`"]),
        ("[[parameter]]\nkey = \"substrate.radius_um\"\nvalues = [2.0, 1.0]\n", &["rise"]),
        ("[[parameter]]\nkey = \"substrate.radius_um\"\nvalues = [1.0]\n", &["two or more"]),
        (
            "[[parameter]]\nkey = \"substrate.radius_um\"\nfrom = 0.0\nto = 1.0\ncount = 3\nspacing = \"log\"\n",
            &["log", "above 0"],
        ),
        ("[[parameter]]\nkey = \"intra.t2_ms\"\nvalues = [1.0, 2.0]\n", &["t2_ms"]),
        (
            "[[parameter]]\nkey = \"substrate.radius_um\"\nvalues = [1.0, 2.0]\nname = \"fraction\"\n",
            &["`fraction`"],
        ),
        (
            "[[parameter]]\nkey = \"substrate.radius_um\"\nvalues = [1.0, 2.0]\n[sweep]\nbatches = 1\n",
            &["batches = 1"],
        ),
        ("[[parameter]]\nkey = \"substrate.radius_um\"\nfoo = 1\n", &["foo"]),
        ("[[parameter]]\nkey = \"substrate.size_um\"\nvalues = [1.0, 2.0]\n", &["size_um"]),
        ("[[parameter]]\nkey = \"outer.size_um\"\nvalues = [1.0, 2.0]\n", &["`outer.size_um`"]),
    ] {
        let substrate = SubstrateSpec::from_toml(CYLINDER).unwrap();
        let found = SweepSpec::from_toml(sweep)
            .and_then(|s| s.over(&substrate))
            .and_then(|s| s.substrates(0));
        let error = found.unwrap_err().to_string();
        assert!(words.iter().all(|w| error.contains(w)), "{sweep}: {error}");
    }
    let ellipsoid = "[substrate]\nkind = \"ellipsoid\"\nsemi_axes_um = [1, 1, 2]\n[intra]\n\
        diffusivity_um2_per_ms = 2\n";
    let sweep = "[[parameter]]\nkey = \"intra.diffusivity_um2_per_ms\"\nvalues = [1.0, 2.0]\n";
    let over = |sweep: &str| {
        SweepSpec::from_toml(sweep).unwrap().over(&SubstrateSpec::from_toml(ellipsoid).unwrap())
    };
    assert!(over(sweep).unwrap_err().to_string().contains("symmetry"));
    assert!(over(&format!("{sweep}[sweep]\nsymmetry = \"axial\"\n")).is_ok());
}

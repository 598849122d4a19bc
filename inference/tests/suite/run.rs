//! The contract of a voxelwise run: tables in, tables out, equal to the bit for
//! any batching and any number of threads.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use crate::batches;
use crate::voxels;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, Float64Array, RecordBatch, UInt64Array};
use arrow_schema::DataType;
use batches::{SIGMA, acquisition, batch, cells, numbers, part, run, spec, with_threads, words};
use microtome_inference::sample::Monitor;
use microtome_inference::{InferenceError, Runner, Tables, process, record_batch, voxel_batch};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::{Job, NoiseKind, RunSpec, SampleMethod, SearchSpec, SigmaSpec, VoxelBatch};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use voxels::{add_noise, lowered, mean, predict, specification, truth};

fn voxel_of(table: &RecordBatch) -> Vec<i64> {
    table.column_by_name("voxel").unwrap().as_primitive::<Int64Type>().values().to_vec()
}

fn schema(table: &RecordBatch) -> Vec<(String, DataType, Option<String>)> {
    let field = |f: &Arc<arrow_schema::Field>| {
        (f.name().clone(), f.data_type().clone(), f.metadata().get("unit").cloned())
    };
    table.schema().fields().iter().map(field).collect()
}

fn expect(columns: &[(&str, DataType, &str)]) -> Vec<(String, DataType, Option<String>)> {
    columns
        .iter()
        .map(|(name, kind, unit)| {
            (name.to_string(), kind.clone(), (!unit.is_empty()).then(|| unit.to_string()))
        })
        .collect()
}

use DataType::{Boolean, Float64 as F, Int32, Int64, Utf8};

const D: &str = "um^2/ms";
const PARAMETERS: [(&str, DataType, &str); 8] = [
    ("stick.mu_x", F, "1"),
    ("stick.mu_y", F, "1"),
    ("stick.mu_z", F, "1"),
    ("stick.lambda_par", F, D),
    ("stick.fraction", F, "1"),
    ("ball.lambda_iso", F, D),
    ("ball.fraction", F, "1"),
    ("s0", F, "signal"),
];
const VOXEL: [(&str, DataType, &str); 4] =
    [("voxel", Int64, ""), ("i", Int32, ""), ("j", Int32, ""), ("k", Int32, "")];

// ---- tables -----------------------------------------------------------------

#[test]
fn the_fit_table_has_its_columns() {
    let input = batch("ball_stick", 8);
    let tables = run(&spec(Job::Fit, "ball_stick", SigmaSpec::Known(SIGMA)), &input);
    let mut expected = expect(&VOXEL);
    expected.extend(expect(&[("status", Utf8, "")]));
    expected.extend(expect(&PARAMETERS));
    for (name, kind, unit) in expect(&PARAMETERS) {
        expected.push((format!("{name}.sd"), kind, unit));
    }
    expected.extend(expect(&[
        ("sigma", F, "signal"),
        ("r2", F, "1"),
        ("ln_likelihood", F, "nat"),
        ("iterations", F, "1"),
    ]));
    assert_eq!(schema(&tables.main), expected);
    assert_eq!(tables.main.num_rows(), 8);
    assert_eq!(voxel_of(&tables.main), input.voxel);
    let ijk = input.ijk.as_ref().unwrap();
    for (axis, name) in ["i", "j", "k"].iter().enumerate() {
        let got =
            tables.main.column_by_name(name).unwrap().as_primitive::<Int32Type>().values().to_vec();
        assert_eq!(got, ijk.iter().map(|v| v[axis]).collect::<Vec<_>>());
    }
    let status = words(&tables.main, "status");
    for (v, status) in status.iter().enumerate() {
        let lost = v == 2 || v == 5;
        assert_eq!(status, if lost { "invalid_signal" } else { "converged" }, "voxel {v}");
        for (name, _, _) in &PARAMETERS {
            for name in [name.to_string(), format!("{name}.sd")] {
                assert_eq!(numbers(&tables.main, &name)[v].is_nan(), lost, "voxel {v} {name}");
            }
        }
    }
    assert_eq!((tables.counts.voxels, tables.counts.failed), (8, 2));
    assert_eq!(tables.counts.by_status, BTreeMap::from([("converged", 6), ("invalid_signal", 2)]));
    assert!(tables.summary.is_none() && tables.fit.is_none());
    // Linked parameters stand beside free ones.
    let tables =
        run(&spec(Job::Fit, "ball_sticks_2", SigmaSpec::Known(SIGMA)), &batch("ball_sticks_2", 1));
    assert_eq!(
        numbers(&tables.main, "stick.lambda_par"),
        numbers(&tables.main, "stick_2.lambda_par")
    );
    assert_eq!(
        numbers(&tables.main, "stick.lambda_par.sd"),
        numbers(&tables.main, "stick_2.lambda_par.sd")
    );
}

#[test]
fn the_posterior_and_summary_tables_have_their_columns() {
    let input = batch("ball_stick", 7);
    let tables = run(&spec(Job::Sample, "ball_stick", SigmaSpec::Free), &input);
    let mut expected = expect(&VOXEL);
    expected.extend(expect(&[("chain", Int32, ""), ("draw", Int32, "")]));
    expected.extend(expect(&PARAMETERS));
    expected.extend(expect(&[
        ("sigma", F, "signal"),
        ("lp", F, "nat"),
        ("energy", F, "nat"),
        ("diverging", Boolean, ""),
        ("tree_depth", Int32, ""),
        ("reached_max_treedepth", Boolean, ""),
        ("n_steps", Int32, ""),
        ("step_size", F, "1"),
        ("acceptance_rate", F, "1"),
        ("status", Utf8, ""),
    ]));
    assert_eq!(schema(&tables.main), expected);
    let int = |name: &str| {
        tables.main.column_by_name(name).unwrap().as_primitive::<Int32Type>().values().to_vec()
    };
    let (chain, draw, voxel) = (int("chain"), int("draw"), voxel_of(&tables.main));
    let mut order = Vec::new();
    for v in (0..7).filter(|v| ![2, 5].contains(v)) {
        for c in 0..4 {
            order.extend((0..150).map(|d| (input.voxel[v], c, d)));
        }
    }
    let got: Vec<_> = voxel.iter().zip(&chain).zip(&draw).map(|((v, c), d)| (*v, *c, *d)).collect();
    assert_eq!(got, order, "rows are ordered by voxel, chain and draw, without voxels that failed");
    for (name, _, _) in &PARAMETERS {
        assert!(numbers(&tables.main, name).iter().all(|v| v.is_finite()), "{name}");
    }
    let fractions: Vec<f64> = numbers(&tables.main, "stick.fraction")
        .iter()
        .zip(numbers(&tables.main, "ball.fraction"))
        .map(|(a, b)| a + b)
        .collect();
    assert!(fractions.iter().all(|s| (s - 1.0).abs() < 1e-12));

    let summary = tables.summary.as_ref().unwrap();
    let mut expected = expect(&VOXEL);
    expected.extend(expect(&[("parameter", Utf8, ""), ("unit", Utf8, "")]));
    for name in ["mean", "sd", "q05", "q50", "q95"] {
        expected.extend(expect(&[(name, F, "of the parameter")]));
    }
    expected.extend(expect(&[
        ("rhat", F, "1"),
        ("ess_bulk", F, "draws"),
        ("ess_tail", F, "draws"),
        ("mcse_mean", F, "of the parameter"),
        ("mcse_sd", F, "of the parameter"),
        ("mcse_q05", F, "of the parameter"),
        ("mcse_q95", F, "of the parameter"),
        ("contraction", F, "1"),
        ("method", Utf8, ""),
        ("khat", F, "1"),
        ("n_modes", Int32, ""),
        ("ebfmi", F, "1"),
        ("divergences", Int32, ""),
        ("max_depth_hits", Int32, ""),
        ("trust", Boolean, ""),
        ("status", Utf8, ""),
    ]));
    assert_eq!(schema(summary), expected);
    let rows = [
        ("stick.mu_axis_x", "1"),
        ("stick.mu_axis_y", "1"),
        ("stick.mu_axis_z", "1"),
        ("stick.mu_cone90_deg", "deg"),
        ("stick.mu_dispersion", "1"),
        ("stick.lambda_par", D),
        ("stick.fraction", "1"),
        ("ball.lambda_iso", D),
        ("ball.fraction", "1"),
        ("s0", "signal"),
        ("sigma", "signal"),
    ];
    let (parameter, unit, status, method) = (
        words(summary, "parameter"),
        words(summary, "unit"),
        words(summary, "status"),
        words(summary, "method"),
    );
    assert_eq!(summary.num_rows(), 7 * rows.len());
    for (r, voxel) in voxel_of(summary).iter().enumerate() {
        let v = r / rows.len();
        assert_eq!(
            (*voxel, parameter[r].as_str(), unit[r].as_str()),
            (input.voxel[v], rows[r % rows.len()].0, rows[r % rows.len()].1)
        );
        let lost = v == 2 || v == 5;
        assert_eq!(method[r], if lost { "" } else { "nuts" });
        assert_eq!(
            status[r] == "invalid_signal",
            lost,
            "{} of voxel {v}: {}",
            parameter[r],
            status[r]
        );
        for name in ["mean", "rhat", "ess_bulk", "ess_tail"] {
            assert_eq!(
                numbers(summary, name)[r].is_nan(),
                lost,
                "{name} of {} of voxel {v}",
                parameter[r]
            );
        }
    }
    let fit = tables.fit.as_ref().unwrap();
    assert_eq!(voxel_of(fit), input.voxel);
    // The mean of the summary is that of the draws.
    let means = numbers(summary, "mean");
    let lambda = numbers(&tables.main, "stick.lambda_par");
    let row = parameter.iter().position(|p| p == "stick.lambda_par").unwrap();
    assert!((means[row] - mean(&lambda[..600])).abs() < 1e-12);
}

/// Who watches sees every draw, gradient and voxel, and changes nothing.
#[test]
fn a_watched_run_adds_up() {
    static MONITOR: Monitor = Monitor::new();
    let input = batch("ball_stick", 7);
    let spec = spec(Job::Sample, "ball_stick", SigmaSpec::Free);
    let runner = Runner::new(&spec).unwrap().watched(&MONITOR);
    let arrow = record_batch(&input).unwrap();
    let tables = runner.process(&arrow, &AtomicBool::new(false)).unwrap();
    assert_eq!(cells(&tables.main), cells(&run(&spec, &input).main));
    let p = MONITOR.progress();
    let doubtful =
        tables.counts.voxels - tables.counts.by_status.get("converged").copied().unwrap_or(0);
    assert_eq!((p.voxels, p.doubtful), (7, doubtful));
    // Two voxels have no draws.
    // Chains that do not agree go on.
    assert!(p.tuning >= 5 * 4 * 100 && p.draws >= 5 * 4 * 150, "{} {}", p.tuning, p.draws);
    // Of chains that went on, only the rows that stay are counted in the table.
    assert!(p.divergences >= tables.counts.divergences);
    // The first gradient of each of 20 chains is before its first draw.
    assert_eq!(p.gradients + 20, tables.counts.gradients);
    let mut steps = numbers(&tables.main, "step_size");
    // A quarter turn has a step of its own.
    steps.retain(|s| *s != std::f64::consts::FRAC_PI_2);
    steps.sort_by(f64::total_cmp);
    let median = steps[steps.len() / 2];
    assert!((p.step_size / median - 1.0).abs() < 0.15, "{p:?}, {median}");
}

#[test]
fn the_signals_of_a_batch_are_a_list_of_element() {
    let input = batch("ball_stick", 3);
    let arrow = record_batch(&input).unwrap();
    let names: Vec<_> = arrow.schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["row", "voxel", "i", "j", "k", "signals", "sigma"]);
    match arrow.column_by_name("signals").unwrap().data_type() {
        DataType::FixedSizeList(child, 66) => {
            assert_eq!((child.name().as_str(), child.data_type()), ("element", &DataType::Float64));
        }
        other => panic!("{other}"),
    }
    let back = voxel_batch(&arrow).unwrap();
    assert_eq!(format!("{back:?}"), format!("{input:?}"));
    // A slice of a batch is the batch of its rows.
    let slice = voxel_batch(&arrow.slice(1, 2)).unwrap();
    assert_eq!((slice.row, slice.voxel), (vec![1001, 1002], vec![103, 106]));
    assert_eq!(slice.signals[..66], input.signals[66..132]);
    assert_eq!(slice.sigma.unwrap(), input.sigma.unwrap()[1..]);
}

#[test]
fn a_table_without_rows_has_all_columns() {
    let one = batch("ball_stick", 1);
    let none = VoxelBatch {
        measurements: one.measurements,
        ijk: Some(Vec::new()),
        ..VoxelBatch::default()
    };
    for job in [Job::Fit, Job::Sample] {
        let spec = spec(job, "ball_stick", SigmaSpec::Free);
        let (full, empty) = (run(&spec, &one), run(&spec, &none));
        assert_eq!(empty.main.num_rows(), 0);
        assert_eq!(schema(&full.main), schema(&empty.main));
        // A batch whose voxels all fail has no draws, but its table has the columns.
        let mut lost = one.clone();
        lost.signals.fill(f64::NAN);
        assert_eq!(schema(&run(&spec, &lost).main), schema(&full.main));
    }
}

/// Few or no chains and draws are no reason to panic: what can't be said is NaN.
#[test]
fn odd_numbers_of_chains_and_draws_are_worked_on() {
    let input = batch("ball_stick", 3);
    for (chains, tune, draws) in
        [(0, 10, 10), (1, 30, 0), (1, 0, 1), (2, 5, 3), (3, 40, 7), (1, 60, 80)]
    {
        let mut spec = spec(Job::Sample, "ball_stick", SigmaSpec::Free);
        spec.search = SearchSpec { chains, tune, draws, ..spec.search };
        let tables = run(&spec, &input);
        let rows = tables.main.num_rows();
        assert!(
            rows == 2 * chains * draws
                || (tune < 10 && rows.is_multiple_of((chains * draws).max(1))),
            "{rows}"
        );
        let summary = tables.summary.unwrap();
        assert_eq!(summary.num_rows(), 3 * 11);
        let mean = by_parameter(&summary, 100, "mean")["s0"];
        assert_eq!(mean.is_nan(), rows == 0, "{chains} x ({tune} + {draws})");
        if chains == 1 {
            assert!(by_parameter(&summary, 100, "rhat")["s0"].is_nan());
        }
        if (chains, draws) == (1, 80) {
            // One chain is not judged by an R-hat that it does not have.
            assert_eq!(words(&summary, "status")[0], "converged");
        }
    }
}

// ---- equal to the bit -------------------------------------------------------

#[test]
fn results_do_not_depend_on_batches_or_threads() {
    for (model, sigma) in [
        ("ball_stick", SigmaSpec::PerVoxel),
        ("ball_stick", SigmaSpec::Free),
        ("ball_sticks_2", SigmaSpec::Known(SIGMA)),
    ] {
        let input = batch(model, 20);
        for (job, sampler) in [
            (Job::Fit, SampleMethod::Nuts),
            (Job::Sample, SampleMethod::Nuts),
            (Job::Sample, SampleMethod::Auto),
        ] {
            let mut spec = spec(job, model, sigma);
            spec.search = SearchSpec { draws: 60, sampler, ..spec.search };
            let all = |t: &Tables| -> Vec<Vec<Vec<String>>> {
                [Some(&t.main), t.summary.as_ref(), t.fit.as_ref()]
                    .into_iter()
                    .flatten()
                    .map(cells)
                    .collect()
            };
            let whole = with_threads(1, || run(&spec, &input));
            let threads = with_threads(2, || run(&spec, &input));
            assert_eq!(all(&whole), all(&threads), "{model} {job:?}: one thread and two");
            assert_eq!(whole.counts, threads.counts);
            let mut joined: Vec<Vec<Vec<String>>> = Vec::new();
            let mut counts = microtome_inference::Counts::default();
            for v in 0..20 {
                let one = with_threads(2, || run(&spec, &part(&input, v..v + 1)));
                counts.add(&one.counts);
                let tables = all(&one);
                if joined.is_empty() {
                    joined = tables;
                    continue;
                }
                for (to, from) in joined.iter_mut().flatten().zip(tables.into_iter().flatten()) {
                    to.extend(from);
                }
            }
            assert!(
                all(&whole) == joined,
                "{model} {sigma:?} {job:?}: one batch of 20 and 20 batches of one"
            );
            assert_eq!(whole.counts, counts);
            let batch = record_batch(&input).unwrap();
            assert_eq!(cells(&process(&batch, &spec).unwrap()), cells(&whole.main));
        }
    }
}

#[test]
fn the_seed_and_the_row_name_the_draws() {
    let input = part(&batch("ball_stick", 1), 0..1);
    let first = spec(Job::Sample, "ball_stick", SigmaSpec::Free);
    let draws = |spec: &RunSpec, input: &VoxelBatch| cells(&run(spec, input).main);
    let second = RunSpec { seed: 6, ..first.clone() };
    let moved = VoxelBatch { row: vec![7], ..input.clone() };
    let renamed = VoxelBatch { voxel: vec![100], ijk: Some(vec![[0, 1, 0]]), ..input.clone() };
    assert_ne!(draws(&first, &input), draws(&second, &input));
    assert_ne!(draws(&first, &input), draws(&first, &moved));
    assert_eq!(draws(&first, &input), draws(&first, &renamed));
}

// ---- errors -----------------------------------------------------------------

#[test]
fn a_stop_interrupts() {
    let input = record_batch(&batch("ball_stick", 4)).unwrap();
    for job in [Job::Fit, Job::Sample] {
        let runner = Runner::new(&spec(job, "ball_stick", SigmaSpec::Free)).unwrap();
        assert!(matches!(
            runner.process(&input, &AtomicBool::new(true)),
            Err(InferenceError::Interrupted)
        ));
    }
}

/// A batch without one column, or with another in its place.
fn replaced(batch: &RecordBatch, column: &str, by: Option<Arc<dyn Array>>) -> RecordBatch {
    let mut columns = Vec::new();
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        match &by {
            _ if field.name() != column => columns.push((field.name().clone(), array.clone())),
            Some(other) => columns.push((column.to_string(), other.clone())),
            None => {}
        }
    }
    RecordBatch::try_from_iter(columns).unwrap()
}

#[test]
fn chains_without_random_numbers_of_their_own_are_refused() {
    let mut spec = spec(Job::Sample, "ball_stick", SigmaSpec::Known(SIGMA));
    spec.search.chains = 257;
    match Runner::new(&spec) {
        Err(InferenceError::Chains { chains: 257, most: 255 }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn batches_that_do_not_fit_are_named() {
    let input = batch("ball_stick", 3);
    let arrow = record_batch(&input).unwrap();
    let known = spec(Job::Fit, "ball_stick", SigmaSpec::Known(SIGMA));
    let a_voxel = spec(Job::Sample, "ball_stick", SigmaSpec::PerVoxel);
    let column_of = |batch: &RecordBatch, spec: &RunSpec| match process(batch, spec) {
        Err(InferenceError::Column { column, .. }) => column,
        other => panic!("{other:?}"),
    };
    assert_eq!(column_of(&replaced(&arrow, "signals", None), &known), "signals");
    assert_eq!(column_of(&replaced(&arrow, "voxel", None), &known), "voxel");
    assert_eq!(column_of(&replaced(&arrow, "sigma", None), &a_voxel), "sigma");
    let wrong: Arc<dyn Array> = Arc::new(Float64Array::from(vec![0.0; 3]));
    for name in ["signals", "voxel", "row", "i"] {
        assert_eq!(column_of(&replaced(&arrow, name, Some(wrong.clone())), &known), name);
    }
    let words: Arc<dyn Array> = Arc::new(UInt64Array::from(vec![1; 3]));
    assert_eq!(column_of(&replaced(&arrow, "sigma", Some(words)), &a_voxel), "sigma");
    let nulls: Arc<dyn Array> = Arc::new(Float64Array::from(vec![Some(0.03), None, Some(0.03)]));
    assert_eq!(column_of(&replaced(&arrow, "sigma", Some(nulls)), &a_voxel), "sigma");
    assert_eq!(process(&replaced(&arrow, "row", None), &known).unwrap().num_rows(), 3);

    let short = VoxelBatch { measurements: 22, signals: input.signals[..66].to_vec(), ..input };
    let error = process(&record_batch(&short).unwrap(), &known).unwrap_err();
    assert!(matches!(error, InferenceError::Measurements { expected: 66, got: 22 }), "{error}");
    let text = error.to_string();
    assert!(text.contains("66") && text.contains("22"), "{text}");

    let mut unknown = known.clone();
    unknown
        .model
        .link
        .insert("stick.lambda_parr".into(), microtome_models::LinkSpec::Equal("s0".into()));
    let error = process(&arrow, &unknown).unwrap_err();
    assert!(
        matches!(error, InferenceError::Model(_))
            && error.to_string().contains("stick.lambda_parr"),
        "{error}"
    );
}

const FILE: &str = r#"
[[compartment]]
kind = "stick"
[[compartment]]
kind = "ball"
[link]
"ball.lambda_iso" = { fixed = "lambda.npy" }
"#;

#[test]
fn a_parameter_fixed_a_voxel_comes_from_its_column() {
    let mut input = batch("ball_stick", 2);
    let fixed = vec![1.1, 2.2];
    for job in [Job::Fit, Job::Sample] {
        let spec = spec(job, FILE, SigmaSpec::Known(SIGMA));
        input.fixed = Vec::new();
        match process(&record_batch(&input).unwrap(), &spec) {
            Err(InferenceError::Column { column, .. }) => assert_eq!(column, "fixed.0"),
            other => panic!("{other:?}"),
        }
        input.fixed = vec![fixed.clone()];
        let table = run(&spec, &input).main;
        let status = words(&table, "status");
        assert!(status.iter().all(|s| s == "converged" || s == "not_mixed"), "{status:?}");
        for (v, number) in fixed.iter().enumerate() {
            // The same numbers as from a model file with that number.
            let text = FILE.replace("\"lambda.npy\"", &number.to_string());
            let mut one = part(&input, v..v + 1);
            let with_file =
                cells(&run(&spec, &VoxelBatch { fixed: vec![vec![*number]], ..one.clone() }).main);
            one.fixed = Vec::new();
            let with_number = run(
                &RunSpec { model: specification(&text, NoiseKind::Rician), ..spec.clone() },
                &one,
            )
            .main;
            assert!(numbers(&with_number, "ball.lambda_iso").iter().all(|x| x == number));
            assert_eq!(with_file, cells(&with_number), "{job:?}");
        }
        for (voxel, value) in voxel_of(&table).iter().zip(numbers(&table, "ball.lambda_iso")) {
            assert_eq!(value, fixed[usize::from(*voxel != 100)]);
        }
    }
}

// ---- the summary ------------------------------------------------------------

/// The summary of one voxel by parameter.
fn by_parameter(summary: &RecordBatch, voxel: i64, column: &str) -> BTreeMap<String, f64> {
    voxel_of(summary)
        .iter()
        .zip(words(summary, "parameter"))
        .zip(numbers(summary, column))
        .filter(|((v, _), _)| **v == voxel)
        .map(|((_, p), x)| (p, x))
        .collect()
}

#[test]
fn axes_are_summarised_as_axes() {
    let input = batch("ball_stick", 12);
    let tables = run(&spec(Job::Sample, "ball_stick", SigmaSpec::Known(SIGMA)), &input);
    let summary = tables.summary.as_ref().unwrap();
    let mu: Vec<[f64; 3]> = {
        let [x, y, z] = ["x", "y", "z"].map(|a| numbers(&tables.main, &format!("stick.mu_{a}")));
        (0..x.len()).map(|i| [x[i], y[i], z[i]]).collect()
    };
    let acquisition = acquisition();
    let lowered = lowered("ball_stick", NoiseKind::Rician, &acquisition);
    let voxel_of_draw = voxel_of(&tables.main);
    let mut near = 0;
    for (v, &voxel) in input.voxel.iter().enumerate().filter(|(v, _)| ![2, 5].contains(v)) {
        let means = by_parameter(summary, voxel, "mean");
        let m = ["x", "y", "z"].map(|a| means[&format!("stick.mu_axis_{a}")]);
        let norm: f64 = m.iter().map(|c| c * c).sum();
        assert!((norm - 1.0).abs() < 1e-12, "voxel {v}: |axis|^2 = {norm}");
        let cosines: Vec<f64> = mu
            .iter()
            .zip(&voxel_of_draw)
            .filter(|(_, w)| **w == voxel)
            .map(|(d, _)| d.iter().zip(&m).map(|(a, b)| a * b).sum())
            .collect();
        assert_eq!(cosines.len(), 600);
        assert!(cosines.iter().all(|c| *c > 0.0), "voxel {v}: draws are signed by the axis");
        let cone = means["stick.mu_cone90_deg"];
        let inside =
            cosines.iter().filter(|c| c.min(1.0).acos().to_degrees() <= cone + 1e-9).count();
        assert!(
            (inside as f64 / 600.0 - 0.9).abs() < 0.01,
            "voxel {v}: the cone holds {inside} of 600"
        );
        // 1 - E[(m.mu)^2] is the dispersion when m is its eigenvector.
        let dispersion = 1.0 - mean(&cosines.iter().map(|c| c * c).collect::<Vec<_>>());
        assert!((means["stick.mu_dispersion"] - dispersion).abs() < 1e-9, "voxel {v}");
        // On a narrow cone: dispersion = 2 s^2 and cone = s sqrt(2 ln 10), s the sd of an angle.
        let expected = (dispersion / 2.0).sqrt() * (2.0 * 10.0_f64.ln()).sqrt();
        assert!((cone.to_radians() / expected - 1.0).abs() < 0.25, "voxel {v}: cone {cone} deg");
        let x = truth(&lowered.model, &mut PhiloxRng::new(81, v as u64, 0));
        near += usize::from(voxels::axis_angle_deg(&x[..3], &m) < 1.5 * cone);
        let rhat = by_parameter(summary, voxel, "rhat");
        assert_eq!(rhat["stick.mu_axis_x"], rhat["stick.mu_dispersion"]);
    }
    assert!(near >= 9, "{near} of 10 truths within 1.5 cones");
}

/// Signals of a ball know no direction: its draws cover the half sphere about the
/// fit, some of them lie on the other side of the mean axis, and the cone is
/// that of the prior.
#[test]
fn draws_of_an_unknown_direction_are_signed() {
    let acquisition = acquisition();
    let ball = lowered("ball", NoiseKind::Rician, &acquisition);
    let mut signals = Vec::new();
    for v in 0..4 {
        let mut rng = PhiloxRng::new(95, v, 0);
        let mut y = predict(&ball, &truth(&ball.model, &mut rng));
        add_noise(&mut y, NoiseKind::Rician, SIGMA, &mut rng);
        signals.extend(y);
    }
    let input = VoxelBatch {
        row: vec![0, 1, 2, 3],
        voxel: vec![0, 1, 2, 3],
        measurements: acquisition.len(),
        signals,
        ..VoxelBatch::default()
    };
    let tables = run(&spec(Job::Sample, "ball_stick", SigmaSpec::Known(SIGMA)), &input);
    let summary = tables.summary.as_ref().unwrap();
    let mu = ["x", "y", "z"].map(|a| numbers(&tables.main, &format!("stick.mu_{a}")));
    let voxel = voxel_of(&tables.main);
    for v in 0..4 {
        let means = by_parameter(summary, v, "mean");
        let m = ["x", "y", "z"].map(|a| means[&format!("stick.mu_axis_{a}")]);
        let cone = means["stick.mu_cone90_deg"];
        println!("voxel {v}: cone {cone:.1} deg");
        assert!(cone > 50.0 && cone <= 90.0, "voxel {v}: cone {cone} deg");
        assert!(
            by_parameter(summary, v, "contraction")["stick.mu_cone90_deg"] < 1.0 / 0.6,
            "voxel {v}"
        );
        for i in (0..voxel.len()).filter(|&i| voxel[i] == v) {
            let cosine: f64 = (0..3).map(|k| mu[k][i] * m[k]).sum();
            assert!(cosine >= 0.0, "voxel {v}: a draw with cosine {cosine}");
        }
    }
}

/// With the fraction of the ball near 0 by its prior, the data say nothing about
/// its diffusivity.
const NO_BALL: &str = r#"
[[compartment]]
kind = "stick"
[[compartment]]
kind = "ball"
[prior]
"fractions" = { dirichlet = [1000.0, 1.0] }
"stick.lambda_par" = { normal = [1.7, 0.3] }
"#;

#[test]
fn contraction_tells_the_prior_from_the_data() {
    let acquisition = acquisition();
    let stick = lowered("stick", NoiseKind::Rician, &acquisition);
    let mut rng = PhiloxRng::new(91, 0, 0);
    let mut y = predict(&stick, &truth(&stick.model, &mut rng));
    add_noise(&mut y, NoiseKind::Rician, SIGMA, &mut rng);
    let input = VoxelBatch {
        row: vec![0],
        voxel: vec![0],
        measurements: acquisition.len(),
        signals: y,
        ..VoxelBatch::default()
    };
    let mut spec = spec(Job::Sample, NO_BALL, SigmaSpec::Free);
    spec.search.draws = 1000;
    let tables = run(&spec, &input);
    let summary = tables.summary.as_ref().unwrap();
    let contraction = by_parameter(summary, 0, "contraction");
    println!("{contraction:.3?}");
    let unknown = contraction["ball.lambda_iso"];
    assert!((unknown - 1.0).abs() < 0.1, "ball.lambda_iso: {unknown}");
    for name in ["stick.lambda_par", "s0", "sigma"] {
        assert!(contraction[name] > 1.0 / 0.3, "{name}: {}", contraction[name]);
    }
    assert!(contraction["stick.mu_cone90_deg"] > 10.0);
    // No columns i, j, k for a table of voxels.
    assert!(tables.main.column_by_name("i").is_none() && summary.column_by_name("i").is_none());
}

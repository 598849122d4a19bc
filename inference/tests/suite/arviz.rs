//! The diagnostics against ArviZ.
//!
//! `tests/golden/make_arviz.py` wrote the tables; every row of the table of
//! expected values is checked.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use microtome_inference::diagnostics::{
    Chains, Workspace, ebfmi, ess_bulk, ess_mean, ess_quantile, ess_sd, ess_tail, mcse_mean,
    mcse_quantile, mcse_sd, rhat, summarize,
};
use std::collections::BTreeMap;

/// Relative difference that rounding alone explains.
const TOLERANCE: f64 = 1e-9;

struct Draws {
    values: Vec<f64>,
    chains: usize,
}

fn lines(file: &str) -> Vec<String> {
    let path = format!("{}/../tests/golden/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    text.lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect()
}

fn draws() -> BTreeMap<String, Draws> {
    let mut all = BTreeMap::new();
    for line in lines("arviz_draws.csv") {
        let mut fields = line.split(',');
        let case = fields.next().unwrap().to_owned();
        let entry = all.entry(case).or_insert(Draws { values: Vec::new(), chains: 0 });
        assert_eq!(fields.next().unwrap().parse::<usize>().unwrap(), entry.chains);
        entry.chains += 1;
        entry.values.extend(fields.map(|f| f.parse::<f64>().unwrap()));
    }
    all
}

fn expected() -> Vec<(String, String, f64)> {
    let row = |line: &String| {
        let fields: Vec<&str> = line.split(',').collect();
        let [case, quantity, value] = fields[..] else { panic!("{line}") };
        (case.to_owned(), quantity.to_owned(), value.parse().unwrap())
    };
    lines("arviz_expected.csv").iter().map(row).collect()
}

/// The relative difference; zero for equal numbers, two NaN or two equal
/// infinities.
fn difference(got: f64, truth: f64) -> f64 {
    if got == truth || (got.is_nan() && truth.is_nan()) {
        return 0.0;
    }
    let d = ((got - truth) / truth).abs();
    if d.is_nan() { f64::INFINITY } else { d }
}

#[test]
fn every_number_of_arviz_is_reproduced() {
    let draws = draws();
    let mut w = Workspace::new();
    let (mut rows, mut largest, mut faults) = (0, 0.0_f64, Vec::new());
    for (case, quantity, truth) in expected() {
        let d = &draws[&case];
        let length = d.values.len() / d.chains;
        let x = Chains::new(&d.values, d.chains, length).unwrap();
        let (name, argument) = quantity.split_once(':').unwrap_or((&quantity, "0"));
        let got = match name {
            "mean" => summarize(x, &mut w).mean,
            "sd" => summarize(x, &mut w).sd,
            "q05" => summarize(x, &mut w).q05,
            "q50" => summarize(x, &mut w).q50,
            "q95" => summarize(x, &mut w).q95,
            "rhat" => rhat(x, &mut w),
            "ess_bulk" => ess_bulk(x, &mut w),
            "ess_tail" => ess_tail(x, &mut w),
            "ess_mean" => ess_mean(x, &mut w),
            "ess_sd" => ess_sd(x, &mut w),
            "ess_quantile" => ess_quantile(x, argument.parse().unwrap(), &mut w),
            "mcse_mean" => mcse_mean(x, &mut w),
            "mcse_sd" => mcse_sd(x, &mut w),
            "mcse_quantile" => mcse_quantile(x, argument.parse().unwrap(), &mut w),
            "ebfmi" => ebfmi(d.values.chunks(length).nth(argument.parse().unwrap()).unwrap()),
            _ => panic!("unknown quantity {quantity}"),
        };
        let error = difference(got, truth);
        largest = largest.max(error);
        rows += 1;
        if error >= TOLERANCE {
            faults.push(format!(
                "{case} {quantity}: {got}, not {truth} (relative difference {error:.1e})"
            ));
        }
    }
    println!("{rows} numbers, largest relative difference {largest:.1e}");
    assert!(rows > 400, "only {rows} rows");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_summary_has_the_same_numbers() {
    let draws = draws();
    let mut w = Workspace::new();
    let mut rows = 0;
    for (case, quantity, truth) in expected() {
        let d = &draws[&case];
        let x = Chains::new(&d.values, d.chains, d.values.len() / d.chains).unwrap();
        let s = summarize(x, &mut w);
        let got = match quantity.as_str() {
            "rhat" => s.rhat,
            "ess_bulk" => s.ess_bulk,
            "ess_tail" => s.ess_tail,
            "mcse_mean" => s.mcse_mean,
            "mcse_sd" => s.mcse_sd,
            "mcse_quantile:0.05" => s.mcse_q05,
            "mcse_quantile:0.95" => s.mcse_q95,
            _ => continue,
        };
        rows += 1;
        assert!(difference(got, truth) < TOLERANCE, "{case} {quantity}: {got}, not {truth}");
    }
    assert!(rows > 80, "only {rows} rows");
}

#[test]
fn chains_that_stand_still_apart_have_no_finite_rhat() {
    let x: Vec<f64> = (0..100).map(|i| f64::from(i / 25)).collect();
    let r = rhat(Chains::new(&x, 4, 25).unwrap(), &mut Workspace::new());
    assert!(r > 1e6, "{r}");
}

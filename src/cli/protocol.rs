//! `microtome info design --optimise`: the search for an acquisition, and its table.
//!
//! Validated by the tests `design_*` in `tests/cli/`.

use super::design::{self, DesignArgs};
use super::record::settle_text;
use super::say;
use anyhow::{Context, bail};
use clap::Args;
use microtome_inference::design::{Design, DesignSearch, Expected, Limits, optimise};
use microtome_models::Acquisition;
use microtome_models::information::{Criterion, Optimality};
use serde_json::{Value, json};
use std::sync::Arc;

/// Limits and criterion of a search.
#[derive(Debug, Args)]
#[command(next_help_heading = "Search (with --optimise)")]
pub(crate) struct SearchFlags {
    /// Searches an acquisition; one that is given beside it is compared with.
    #[arg(long)]
    pub(super) optimise: bool,
    /// Strongest gradient, T/m.
    #[arg(long = "max-gradient-T-per-m", value_name = "X")]
    max_gradient: Option<f64>,
    /// Weighted shells [default: 3].
    #[arg(long, value_name = "N")]
    shells: Option<usize>,
    /// Measurements in all, b = 0 included.
    #[arg(long, value_name = "N")]
    measurements: Option<usize>,
    /// Measurements at b = 0; chosen with the rest when left out.
    #[arg(long, value_name = "N")]
    b0: Option<usize>,
    /// Fewest directions of a shell [default: 6].
    #[arg(long, value_name = "N")]
    min_directions: Option<usize>,
    /// Shortest pulse, ms [default: 3].
    #[arg(long, value_name = "MS")]
    min_delta_ms: Option<f64>,
    /// Longest pulse, ms.
    #[arg(long, value_name = "MS")]
    max_delta_ms: Option<f64>,
    /// Least time between the pulses for refocusing and ramps, ms [default: 6].
    #[arg(long, value_name = "MS")]
    gap_ms: Option<f64>,
    /// Echo time that is neither pulses nor between them (excitation, readout), ms [default: 15].
    #[arg(long, value_name = "MS")]
    overhead_ms: Option<f64>,
    /// Longest echo time, ms [default: 150].
    #[arg(long, value_name = "MS")]
    max_te_ms: Option<f64>,
    /// Largest b, s/mm^2.
    #[arg(long = "max-b-s-per-mm2", value_name = "X")]
    max_b: Option<f64>,
    /// What is made small: prior (posterior variances over those of the prior), value
    /// (variances over squared values, Alexander 2008) or information (minus the
    /// information gained about all parameters) [default: prior].
    #[arg(long, value_name = "NAME")]
    criterion: Option<String>,
    /// Parameters that the criterion counts, with weights where they are not 1, such as
    /// intra.diameter,intra.fraction=0.5 [default: all free ones but s0].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    targets: Vec<String>,
    /// Judges by the bound of Cramer and Rao, without the prior.
    #[arg(long)]
    without_prior: bool,
    /// Descents from different starts [default: 16].
    #[arg(long, value_name = "N")]
    starts: Option<usize>,
}

impl SearchFlags {
    /// Refuses flags of a search where none is asked for.
    pub(super) fn check_unused(&self) -> anyhow::Result<()> {
        let given = [
            ("max-gradient-T-per-m", self.max_gradient.is_some()),
            ("shells", self.shells.is_some()),
            ("measurements", self.measurements.is_some()),
            ("b0", self.b0.is_some()),
            ("min-directions", self.min_directions.is_some()),
            ("min-delta-ms", self.min_delta_ms.is_some()),
            ("max-delta-ms", self.max_delta_ms.is_some()),
            ("gap-ms", self.gap_ms.is_some()),
            ("overhead-ms", self.overhead_ms.is_some()),
            ("max-te-ms", self.max_te_ms.is_some()),
            ("max-b-s-per-mm2", self.max_b.is_some()),
            ("criterion", self.criterion.is_some()),
            ("targets", !self.targets.is_empty()),
            ("without-prior", self.without_prior),
            ("starts", self.starts.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((name, _)) => bail!("--{name} goes with --optimise"),
            None => Ok(()),
        }
    }

    fn limits(&self) -> anyhow::Result<Limits> {
        let Some(gradient) = self.max_gradient else {
            bail!("--optimise needs --max-gradient-T-per-m, such as 0.06 (60 mT/m)")
        };
        let Some(measurements) = self.measurements else {
            bail!("--optimise needs --measurements, the number of all volumes")
        };
        let mut l = Limits::new(gradient, self.shells.unwrap_or(3), measurements);
        l.b0 = self.b0;
        l.min_directions = self.min_directions.unwrap_or(l.min_directions);
        l.min_delta_ms = self.min_delta_ms.unwrap_or(l.min_delta_ms);
        l.max_delta_ms = self.max_delta_ms.unwrap_or(l.max_delta_ms);
        l.gap_ms = self.gap_ms.unwrap_or(l.gap_ms);
        l.overhead_ms = self.overhead_ms.unwrap_or(l.overhead_ms);
        l.max_te_ms = self.max_te_ms.unwrap_or(l.max_te_ms);
        l.max_b = self.max_b.map_or(l.max_b, |b| b / 1000.0);
        l.check()?;
        Ok(l)
    }

    fn optimality(&self) -> anyhow::Result<Optimality> {
        match self.criterion.as_deref() {
            None | Some("prior") => Ok(Optimality::RelativeToPrior),
            Some("value") => Ok(Optimality::RelativeToValue),
            Some("information") => Ok(Optimality::Determinant),
            Some(other) => bail!("--criterion {other}: write prior, value or information"),
        }
    }

    fn targets(&self) -> anyhow::Result<Vec<(String, f64)>> {
        let one = |text: &String| match text.split_once('=') {
            None => Ok((text.trim().to_string(), 1.0)),
            Some((name, weight)) => match weight.trim().parse::<f64>() {
                Ok(w) if w >= 0.0 && w.is_finite() => Ok((name.trim().to_string(), w)),
                _ => bail!("--targets {text}: the weight is a number that is not negative"),
            },
        };
        self.targets.iter().map(one).collect()
    }
}

/// Searches, writes and compares.
pub(super) fn search(args: &DesignArgs) -> anyhow::Result<(String, Value)> {
    let flags = &args.search;
    let limits = flags.limits()?;
    let (optimality, targets) = (flags.optimality()?, flags.targets()?);
    let reference = if args.acquisition.is_given() { Some(args.acquisition.read()?) } else { None };
    let alone = design::unweighted()?;
    let at = reference.as_ref().map_or(&alone, |r| &r.acquisition);
    let experiment = Arc::new(args.experiment(at, 16)?);
    let criterion = Criterion::new(experiment.clone(), optimality, !flags.without_prior, &targets)
        .context("--targets")?;
    let mut search = DesignSearch::new(limits);
    search.seed = args.seed;
    search.starts = flags.starts.unwrap_or(search.starts).max(1);
    let found = optimise(&criterion, &search)?;
    if let Some(out) = &args.out {
        settle_text("--out", out, &scheme_table(&found), args.overwrite)?;
    }
    let expected = Expected::of(&experiment, &found.acquisition)?;
    let mut text = format!("{}\n\n{}\n", args.conditions(&experiment), shells(&found));
    let mut json =
        json!({ "design": protocol_json(&found), "expected": design::expected_json(&expected) });
    let mut columns = vec![("design", expected)];
    if let Some(reference) = &reference {
        let expected = Expected::of(&experiment, &reference.acquisition)?;
        let value =
            criterion.of_information(&experiment.information(&reference.acquisition, None)?);
        text.push_str(&format!(
            "Criterion {} (of {}: {})\n\n",
            say::number(found.criterion),
            reference.file.display(),
            say::number(value)
        ));
        json["reference"] = json!({
            "criterion": value, "measurements": reference.acquisition.len(),
            "expected": design::expected_json(&expected),
        });
        columns.push(("given", expected));
    } else {
        text.push_str(&format!(
            "Criterion {} (first start {})\n\n",
            say::number(found.criterion),
            say::number(found.start)
        ));
    }
    text.push_str(&comparison(&columns));
    Ok((text, json))
}

/// Standard deviations side by side.
fn comparison(columns: &[(&str, Expected)]) -> String {
    let mut head = vec!["parameter".to_string(), "unit".into()];
    for (name, _) in columns {
        head.push(format!("{name} cramer-rao"));
        head.push(format!("{name} posterior"));
        head.push(format!("{name} expected"));
    }
    head.push("prior".into());
    let mut rows = vec![head];
    let Some((_, first)) = columns.first() else { return String::new() };
    for (k, q) in first.quantities.iter().enumerate() {
        let (name, unit, factor) = design::shown(q);
        let mut row = vec![name.to_string(), unit.into()];
        for (_, expected) in columns {
            let q = &expected.quantities[k];
            row.push(say::number(factor * q.cramer_rao));
            row.push(say::number(factor * q.typical));
            row.push(say::number(factor * q.posterior));
        }
        row.push(say::number(factor * q.prior));
        rows.push(row);
    }
    format!("Standard deviations\n{}", say::table(&rows))
}

fn shells(design: &Design) -> String {
    let head =
        ["shell", "b (s/mm^2)", "G (T/m)", "delta (ms)", "Delta (ms)", "TE (ms)", "measurements"];
    let mut rows = vec![head.map(String::from).to_vec()];
    let te = format!("{:.2}", design.protocol.te_ms);
    let dash = || "-".to_string();
    let zero = format!("{}", design.protocol.b0);
    rows.push(vec!["0".into(), "0".into(), dash(), dash(), dash(), te.clone(), zero]);
    for (s, shell) in design.protocol.shells.iter().enumerate() {
        rows.push(vec![
            (s + 1).to_string(),
            format!("{:.0}", 1000.0 * shell.b()),
            format!("{:.4}", shell.gradient_t_per_m),
            format!("{:.2}", shell.delta_ms),
            format!("{:.2}", shell.big_delta_ms),
            te.clone(),
            format!("{}", shell.measurements),
        ]);
    }
    say::table(&rows)
}

fn protocol_json(design: &Design) -> Value {
    let shells: Vec<Value> = design
        .protocol
        .shells
        .iter()
        .map(|s| {
            json!({
                "b_s_per_mm2": 1000.0 * s.b(), "G_T_per_m": s.gradient_t_per_m, "delta_ms": s.delta_ms,
                "Delta_ms": s.big_delta_ms, "measurements": s.measurements,
            })
        })
        .collect();
    json!({
        "shells": shells, "b0": design.protocol.b0, "te_ms": design.protocol.te_ms,
        "measurements": design.acquisition.len(), "criterion": design.criterion,
        "criterion_of_first_start": design.start, "criterion_of_descents": design.ends,
    })
}

/// The acquisition as a CSV scheme in SI.
fn scheme_table(design: &Design) -> String {
    let a: &Acquisition = &design.acquisition;
    let mut out = String::from("b_s_per_m2,gx,gy,gz,delta_s,Delta_s,TE_s,G_T_per_m,shell\n");
    let te = 1e-3 * design.protocol.te_ms;
    let mut row = |b: f64, g: &[f64; 3], [delta, big, strength]: [f64; 3], s: usize| {
        let [x, y, z] = g;
        out.push_str(&format!(
            "{b:e},{x},{y},{z},{},{},{te},{strength},{s}\n",
            1e-3 * delta,
            1e-3 * big
        ));
    };
    let mut at = design.protocol.b0.round() as usize;
    let first = design.protocol.shells.first();
    for _ in 0..at {
        let [delta, big] = first.map_or([0.0; 2], |s| [s.delta_ms, s.big_delta_ms]);
        row(0.0, &[0.0; 3], [delta, big, 0.0], 0);
    }
    for (s, shell) in design.protocol.shells.iter().enumerate() {
        let members = at..at + shell.measurements.round() as usize;
        at = members.end;
        for i in members {
            let times = [shell.delta_ms, shell.big_delta_ms, shell.gradient_t_per_m];
            row(1e9 * shell.b(), &a.directions()[i], times, s + 1);
        }
    }
    out
}

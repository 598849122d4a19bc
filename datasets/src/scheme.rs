//! Scheme files: Camino schemes and CSV tables, all in SI.
//!
//! | form | columns |
//! |---|---|
//! | Camino `VERSION: STEJSKALTANNER` or `VERSION: 1` | gx gy gz, \|G\| (T/m), Δ (s), δ (s), TE (s) |
//! | the same without a `VERSION` line (White Matter Modelling Challenge 2015) | as above |
//! | Camino `VERSION: BVECTOR` | gx gy gz, b (s/m²) |
//! | CSV with a header | by name: see [`COLUMNS`] |
//!
//! Conversions: 1 s/m² = 1e-9 ms/µm², 1 s = 1000 ms. Lines that begin with `#`
//! or `%` are comments. Directions of b = 0 rows are not looked at. Without b,
//! b = (γGδ)² (Δ - δ/3); a TE column of zeros only counts as absent.
//!
//! Source: Camino's scheme files (Cook et al. 2006, ISMRM 14, p. 2759), manual
//! page `fsl2scheme`, whose default scale makes b s/m². Validated by
//! `tests/files/schemes.rs` and `tests/files/real_data.rs`.

use std::path::Path;

use microtome_models::{Acquisition, AcquisitionError, GAMMA_RAD_PER_S_T, PulseTiming};

use crate::csv_table::ParameterTable;
use crate::error::{DatasetError, Result};
use crate::gradients::linear_at_zero;
use crate::text::{numbers, read_text, shorten};

/// Names that the header of a CSV scheme may have. Needed are
/// `b_s_per_m2,gx,gy,gz`, or without b `G_T_per_m,delta_s,Delta_s,gx,gy,gz`.
/// When b is there it is the quantity of record, and `tau_s`, `q_per_m` and
/// `G_T_per_m` are compared with it to 1e-3 (for linear encoding). `b_delta` is the
/// shape of the b-tensor (1 linear, 0 spherical, -0.5 planar), whose axis the
/// direction then is; it goes with `b_s_per_m2`.
pub const COLUMNS: [&str; 14] = [
    "b_s_per_m2",
    "gx",
    "gy",
    "gz",
    "delta_s",
    "Delta_s",
    "TE_s",
    "TR_s",
    "b_delta",
    "shell",
    "meas",
    "tau_s",
    "q_per_m",
    G,
];
const G: &str = "G_T_per_m";
const TOLERANCE: f64 = 1e-3;
const MS_PER_S: f64 = 1e3;
const MS_PER_UM2_PER_S_PER_M2: f64 = 1e-9;
/// Weakest b-value (s/m²) that a scheme in SI can have as its largest.
const SMALLEST_S_PER_M2: f64 = 5e7;

/// A scheme file.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemeFile {
    /// The acquisition, in the units used inside.
    pub acquisition: Acquisition,
    /// The `shell` column `[measurement]`, when the file has one.
    pub shell_labels: Option<Vec<i64>>,
}

/// Reads a scheme file; the form is told from its content.
///
/// # Units
/// SI in the file; ms/µm² and ms inside.
///
/// # Errors
/// Rows of another length, text that is not a number, unknown or missing
/// columns, values that contradict each other, and whatever
/// [`Acquisition::from_b`] refuses. Messages name the file.
pub fn read_scheme(path: &Path) -> Result<SchemeFile> {
    let text = read_text(path)?;
    let first = text.lines().map(str::trim).find(|l| !is_comment(l));
    match first {
        None => Err(DatasetError::format(path, "holds no measurements")),
        Some(line) if line.contains(',') && !line.starts_with("VERSION") => read_csv(path),
        Some(_) => read_camino(path, &text),
    }
}

fn is_comment(line: &str) -> bool {
    line.is_empty() || line.starts_with('#') || line.starts_with('%')
}

fn read_camino(path: &Path, text: &str) -> Result<SchemeFile> {
    let mut version = None;
    let mut rows: Vec<Vec<f64>> = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let (number, line) = (i as u64 + 1, line.trim());
        if is_comment(line) {
            continue;
        }
        if let Some(name) = line.strip_prefix("VERSION") {
            let name = name.trim_start_matches(':').trim().to_ascii_uppercase();
            if version.is_some() || !rows.is_empty() {
                return Err(DatasetError::line(
                    path,
                    number,
                    "VERSION must stand once, before the measurements",
                ));
            }
            version = Some(match name.as_str() {
                "STEJSKALTANNER" | "1" => 7,
                "BVECTOR" => 4,
                other => {
                    return Err(DatasetError::line(
                        path,
                        number,
                        format!(
                            "scheme version `{}` is not read; STEJSKALTANNER (1) and BVECTOR are",
                            shorten(other)
                        ),
                    ));
                }
            });
            continue;
        }
        let row = numbers(path, number, line)?;
        let wanted = version.unwrap_or(7);
        if row.len() != wanted {
            let columns = if wanted == 7 { "gx gy gz |G| Delta delta TE" } else { "gx gy gz b" };
            return Err(DatasetError::line(
                path,
                number,
                format!("{} numbers where {wanted} belong ({columns}, SI)", row.len()),
            ));
        }
        rows.push(row);
    }
    let directions: Vec<[f64; 3]> = rows.iter().map(|r| [r[0], r[1], r[2]]).collect();
    let column = |c: usize, scale: f64| rows.iter().map(|r| r[c] * scale).collect::<Vec<f64>>();
    let acquisition = if version == Some(4) {
        let b = column(3, 1.0);
        check_unit(path, &b)?;
        Acquisition::from_b(&column(3, MS_PER_UM2_PER_S_PER_M2), &directions, None, None)
    } else {
        let timing =
            PulseTiming { big_delta_ms: column(4, MS_PER_S), delta_ms: column(5, MS_PER_S) };
        from_strength(&column(3, 1.0), &directions, timing, echo_times(column(6, MS_PER_S)))
    };
    let acquisition = acquisition.map_err(DatasetError::acquisition(path))?;
    Ok(SchemeFile { acquisition, shell_labels: None })
}

/// As [`Acquisition::from_gradient_strength`], but says that delta is longer
/// than Delta where b would come out negative.
fn from_strength(
    gradient_t_per_m: &[f64],
    directions: &[[f64; 3]],
    timing: PulseTiming,
    te_ms: Option<Vec<f64>>,
) -> std::result::Result<Acquisition, AcquisitionError> {
    let times = timing.delta_ms.iter().zip(&timing.big_delta_ms);
    for (measurement, (g, (&delta_ms, &big_delta_ms))) in
        gradient_t_per_m.iter().zip(times).enumerate()
    {
        if *g > 0.0 && delta_ms > big_delta_ms {
            return Err(AcquisitionError::Timing { measurement, delta_ms, big_delta_ms });
        }
    }
    Acquisition::from_gradient_strength(gradient_t_per_m, directions, timing, te_ms)
}

fn echo_times(te: Vec<f64>) -> Option<Vec<f64>> {
    te.iter().any(|&t| t != 0.0).then_some(te)
}

/// Refuses b-values that are in s/mm², which some programs write here.
fn check_unit(path: &Path, b: &[f64]) -> Result<()> {
    let largest = b.iter().copied().fold(0.0, f64::max);
    if largest > 0.0 && largest < SMALLEST_S_PER_M2 {
        return Err(DatasetError::format(
            path,
            format!(
                "the largest b-value is {largest}, but schemes are in SI, s/m2 (1000 s/mm2 = 1e9 s/m2); \
                 if these are s/mm2, multiply them by 1e6 or use --bval and --bvec"
            ),
        ));
    }
    Ok(())
}

fn read_csv(path: &Path) -> Result<SchemeFile> {
    let table = ParameterTable::read_with_nan(path)?;
    if let Some(name) = table.names.iter().find(|n| !COLUMNS.contains(&n.as_str())) {
        return Err(DatasetError::UnknownColumn {
            path: path.to_path_buf(),
            column: name.clone(),
            known: COLUMNS.join(", "),
        });
    }
    let needed = |name: &str, why: &str| {
        table.column(name).ok_or_else(|| DatasetError::MissingColumn {
            path: path.to_path_buf(),
            column: name.to_owned(),
            why: why.to_owned(),
        })
    };
    let axis = "gradient directions are gx, gy, gz";
    let (x, y, z) = (needed("gx", axis)?, needed("gy", axis)?, needed("gz", axis)?);
    let directions: Vec<[f64; 3]> =
        x.iter().zip(y.iter().zip(z)).map(|(&x, (&y, &z))| [x, y, z]).collect();
    let milliseconds = |column: &[f64]| column.iter().map(|t| t * MS_PER_S).collect::<Vec<f64>>();
    let timing = match (table.column("delta_s"), table.column("Delta_s")) {
        (None, None) => None,
        _ => {
            let both = "delta_s and Delta_s belong together";
            let (delta, big_delta) = (needed("delta_s", both)?, needed("Delta_s", both)?);
            Some(PulseTiming {
                delta_ms: milliseconds(delta),
                big_delta_ms: milliseconds(big_delta),
            })
        }
    };
    let te = table.column("TE_s").map(milliseconds).and_then(echo_times);
    let tr = table.column("TR_s").map(milliseconds);
    let acquisition = match (table.column("b_s_per_m2"), timing) {
        (Some(b), timing) => {
            check_unit(path, b)?;
            if let Some(timing) = &timing {
                compare(path, &table, b, timing)?;
            }
            let b: Vec<f64> = b.iter().map(|b| b * MS_PER_UM2_PER_S_PER_M2).collect();
            match table.column("b_delta") {
                None => Acquisition::from_b(&b, &directions, timing, te),
                Some(shapes) => {
                    let shapes = linear_at_zero(shapes.to_vec(), &b);
                    Acquisition::from_b_tensor(&b, &directions, &shapes, timing, te)
                }
            }
        }
        (None, timing) => {
            if table.column("b_delta").is_some() {
                needed("b_s_per_m2", "b_delta goes with b, not with the strength of pulses")?;
            }
            let strength = match table.column(G) {
                Some(strength) => strength,
                None => needed("b_s_per_m2", "or G_T_per_m, delta_s and Delta_s in its place")?,
            };
            let timing = timing.ok_or_else(|| DatasetError::MissingColumn {
                path: path.to_path_buf(),
                column: "delta_s".to_owned(),
                why: "without b_s_per_m2, the columns G_T_per_m, delta_s and Delta_s are needed"
                    .to_owned(),
            })?;
            from_strength(strength, &directions, timing, te)
        }
    };
    let acquisition = match tr {
        Some(tr) => acquisition.and_then(|a| a.with_repetition_times(tr)),
        None => acquisition,
    };
    let acquisition = acquisition.map_err(DatasetError::acquisition(path))?;
    let shell_labels = match table.column("shell") {
        None => None,
        Some(column) => Some(labels(path, column)?),
    };
    Ok(SchemeFile { acquisition, shell_labels })
}

fn labels(path: &Path, column: &[f64]) -> Result<Vec<i64>> {
    column
        .iter()
        .enumerate()
        .map(|(i, &v)| {
            if v.fract() == 0.0 && v.abs() < 1e15 {
                Ok(v as i64)
            } else {
                Err(DatasetError::format(
                    path,
                    format!("measurement {i} (counted from 0): shell {v} is not an integer"),
                ))
            }
        })
        .collect()
}

/// Compares τ, q and G with b, δ and Δ. Where the value should be 0, 1e-3 of
/// the column's largest is allowed.
fn compare(
    path: &Path,
    table: &ParameterTable,
    b_s_per_m2: &[f64],
    timing: &PulseTiming,
) -> Result<()> {
    let seconds = |i: usize| (timing.delta_ms[i] / MS_PER_S, timing.big_delta_ms[i] / MS_PER_S);
    let tau = |i: usize| seconds(i).1 - seconds(i).0 / 3.0;
    // gamma G delta, rad/m
    let phase = |i: usize| if b_s_per_m2[i] == 0.0 { 0.0 } else { (b_s_per_m2[i] / tau(i)).sqrt() };
    let q = |i: usize| phase(i) / std::f64::consts::TAU;
    let strength = |i: usize| match phase(i) {
        0.0 => 0.0,
        p => p / (GAMMA_RAD_PER_S_T * seconds(i).0),
    };
    let checks: [(&str, &dyn Fn(usize) -> f64); 3] =
        [("tau_s", &tau), ("q_per_m", &q), (G, &strength)];
    let shapes = table.column("b_delta");
    let linear = |i: usize| shapes.is_none_or(|s| s[i] == 1.0);
    for (name, expected) in checks {
        let Some(column) = table.column(name) else { continue };
        let largest = (0..column.len()).map(expected).fold(0.0, f64::max);
        for (i, &value) in column.iter().enumerate().filter(|(i, _)| linear(*i)) {
            let wanted = expected(i);
            let scale = if wanted == 0.0 { largest } else { wanted.abs() };
            let off = (value - wanted).abs();
            if off.is_nan() || off > TOLERANCE * scale {
                return Err(DatasetError::format(
                    path,
                    format!(
                        "measurement {i} (counted from 0): `{name}` is {value}, but b, delta and Delta give \
                         {wanted}; correct the table or leave the column out"
                    ),
                ));
            }
        }
    }
    Ok(())
}

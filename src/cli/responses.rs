//! Files of responses: TOML, and the text files of MRtrix3 on the way out.
//!
//! ```toml
//! basis = "mrtrix3"                   # zonal coefficients of the signal, l = 0, 2, ...
//! b_s_per_mm2 = [0.0, 1000.0]
//! [[tissue]]
//! name = "wm"
//! zonal = [[2000.0], [900.0, -400.0, 60.0]]   # one row a shell
//! ```

use super::record::write_text;
use anyhow::{Context, bail};
use microtome_models::{Responses, TissueResponse};
use serde::{Deserialize, Serialize};
use std::path::Path;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    basis: String,
    b_s_per_mm2: Vec<f64>,
    tissue: Vec<TissueResponse>,
}

/// Reads responses.
pub(crate) fn read(path: &Path) -> anyhow::Result<Responses> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("--response {}: cannot read", path.display()))?;
    let file: File = toml::from_str(&text).map_err(|e| {
        anyhow::anyhow!(
            "{}: is not a file of `microtome response`: {}",
            path.display(),
            e.to_string().trim()
        )
    })?;
    if file.basis != "mrtrix3" {
        bail!("{}: basis `{}` is unknown; it must be mrtrix3", path.display(), file.basis);
    }
    let b = file.b_s_per_mm2.iter().map(|b| b / 1000.0).collect();
    let responses = Responses { b_ms_per_um2: b, tissue: file.tissue };
    responses.check().with_context(|| path.display().to_string())?;
    Ok(responses)
}

/// The text of a file of responses.
pub(crate) fn text(responses: &Responses, remark: &str) -> anyhow::Result<String> {
    let file = File {
        basis: "mrtrix3".into(),
        // To a millionth: 995 stays 995.
        b_s_per_mm2: responses.b_ms_per_um2.iter().map(|b| (b * 1e9).round() / 1e6).collect(),
        tissue: responses.tissue.clone(),
    };
    Ok(format!("# {remark}\n{}", toml::to_string(&file)?))
}

/// Writes the response of one tissue as MRtrix3 does: one line a shell.
pub(crate) fn write_mrtrix(
    path: &Path,
    responses: &Responses,
    tissue: &TissueResponse,
) -> anyhow::Result<()> {
    let words = |row: &[f64]| row.iter().map(f64::to_string).collect::<Vec<_>>().join(" ");
    let b: Vec<String> =
        responses.b_ms_per_um2.iter().map(|b| (b * 1000.0).round().to_string()).collect();
    let width = tissue.zonal.iter().map(Vec::len).max().unwrap_or(0);
    let mut text = format!("# Shells: {}\n", b.join(","));
    for row in &tissue.zonal {
        let mut row = row.clone();
        row.resize(width, 0.0);
        text.push_str(&(words(&row) + "\n"));
    }
    write_text(path, &text)
}

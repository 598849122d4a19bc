//! Files of responses: TOML, and the text files of MRtrix3 on the way out.
//!
//! ```toml
//! basis = "mrtrix3"                   # zonal coefficients of the signal, l = 0, 2, ...
//! b_s_per_mm2 = [0.0, 1000.0]
//! [[tissue]]
//! name = "wm"
//! zonal = [[2000.0], [900.0, -400.0, 60.0]]   # one row a shell
//! ```
//!
//! Source of the text files: MRtrix3, "Response function estimation" (one line a shell).
//! Validated by `responses_round_trip` below and `tests/cli/csd.rs`.

use crate::error::{DatasetError, Result};
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
///
/// # Errors
/// A file that is not there or not of this form; responses of wrong shapes.
pub fn read_responses(path: &Path) -> Result<Responses> {
    let text = std::fs::read_to_string(path).map_err(DatasetError::io(path, "read"))?;
    let file: File = toml::from_str(&text).map_err(|e| {
        let problem = e.to_string();
        DatasetError::format(
            path,
            format!("is not a file of `microtome response`: {}", problem.trim()),
        )
    })?;
    if file.basis != "mrtrix3" {
        let problem = format!("basis `{}` is unknown; it must be mrtrix3", file.basis);
        return Err(DatasetError::format(path, problem));
    }
    let b = file.b_s_per_mm2.iter().map(|b| b / 1000.0).collect();
    let responses = Responses { b_ms_per_um2: b, tissue: file.tissue };
    responses.check().map_err(|e| DatasetError::format(path, e.to_string()))?;
    Ok(responses)
}

/// The text of a file of responses, a remark in its first line.
///
/// # Errors
/// Those of TOML.
pub fn responses_text(
    responses: &Responses,
    remark: &str,
) -> std::result::Result<String, toml::ser::Error> {
    let file = File {
        basis: "mrtrix3".into(),
        // To a millionth: 995 stays 995.
        b_s_per_mm2: responses.b_ms_per_um2.iter().map(|b| (b * 1e9).round() / 1e6).collect(),
        tissue: responses.tissue.clone(),
    };
    Ok(format!("# {remark}\n{}", toml::to_string(&file)?))
}

/// The response of one tissue as MRtrix3 writes it: one line a shell.
pub fn mrtrix_response_text(responses: &Responses, tissue: &TissueResponse) -> String {
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
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn responses_round_trip() {
        let wm = TissueResponse {
            name: "wm".into(),
            zonal: vec![vec![2000.0], vec![900.0, -400.5, 60.0]],
        };
        let responses = Responses { b_ms_per_um2: vec![0.0, 0.995], tissue: vec![wm] };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.toml");
        let text = responses_text(&responses, "made by hand").unwrap();
        assert!(text.starts_with("# made by hand\n") && text.contains("995.0"), "{text}");
        std::fs::write(&path, &text).unwrap();
        assert_eq!(read_responses(&path).unwrap(), responses);
        let lines = mrtrix_response_text(&responses, &responses.tissue[0]);
        assert_eq!(lines, "# Shells: 0,995\n2000 0 0\n900 -400.5 60\n");
        for (from, to, word) in [
            ("mrtrix3", "dipy", "dipy"),
            ("zonal", "sonal", "sonal"),
            ("995.0", "995.0, 2.0", "wm"),
        ] {
            std::fs::write(&path, text.replace(from, to)).unwrap();
            let error = read_responses(&path).unwrap_err().to_string();
            assert!(error.contains("r.toml") && error.contains(word), "{error}");
        }
        assert!(
            read_responses(&folder.path().join("none")).unwrap_err().to_string().contains("none")
        );
    }
}

//! `microtome info tracts`: what a file of streamlines holds, and the same streamlines in another
//! format.
//!
//! Validated by `files_of_streamlines_are_shown_and_turned_into_others` in `tests/cli/tracts.rs`.

use super::say;
use anyhow::{Context, bail};
use clap::{Args, ValueHint};
use microtome_datasets::tracts::{
    TractColumn, TractFormat, Tractogram, read_tracts, write_tract_table, write_tracts,
};
use microtome_datasets::{ImageGeometry, SignalSource};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A file of streamlines: number, points, lengths, columns, grid; the same in another format.
#[derive(Debug, Args)]
pub(super) struct TractsArgs {
    /// The streamlines: .trx (or its folder), .tck or .trk, by their first bytes.
    #[arg(value_name = "FILE", value_hint = ValueHint::AnyPath)]
    file: PathBuf,
    /// Writes them as .trx, .tck, .trk, .vtk, or as a table with a row a streamline, .parquet. .tck has
    /// the points alone.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    write: Option<PathBuf>,
    /// The image whose grid they belong to, where FILE has none (.tck).
    #[arg(long, value_name = "IMAGE", value_hint = ValueHint::FilePath, requires = "write")]
    grid: Option<PathBuf>,
    /// Replaces an existing file.
    #[arg(long, requires = "write")]
    overwrite: bool,
}

impl TractsArgs {
    /// The text and the JSON object, after the file is written.
    pub(super) fn show(&self) -> anyhow::Result<(String, Value)> {
        let mut tracts = read_tracts(&self.file)?;
        if let Some(path) = &self.grid {
            tracts.geometry = Some(grid(path)?);
        }
        let (mut text, mut json) = info(&self.file, &tracts);
        if let Some(out) = &self.write {
            self.convert(out, &tracts).with_context(|| format!("--write {}", out.display()))?;
            text.push_str(&format!("  written   {}\n", out.display()));
            json["write"] = json!(out);
        }
        Ok((text, json))
    }

    fn convert(&self, out: &Path, tracts: &Tractogram) -> anyhow::Result<()> {
        if out.exists() && !self.overwrite {
            bail!("the file exists; give --overwrite to replace it");
        }
        if out.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet")) {
            return Ok(write_tract_table(out, tracts)?);
        }
        let format = TractFormat::of(out)?;
        if tracts.geometry.is_none() && matches!(format, TractFormat::Trx | TractFormat::Trk) {
            bail!(
                "the format names a grid, which {} has not; give --grid IMAGE",
                self.file.display()
            );
        }
        Ok(write_tracts(out, tracts)?)
    }
}

fn grid(path: &Path) -> anyhow::Result<ImageGeometry> {
    let source = SignalSource::open(path, None).context("--grid")?;
    source
        .geometry()
        .cloned()
        .with_context(|| format!("--grid {}: an image (.nii, .nii.gz) is needed", path.display()))
}

fn info(path: &Path, tracts: &Tractogram) -> (String, Value) {
    let n = tracts.n_streamlines();
    let mut lengths: Vec<f64> = (0..n).map(|i| tracts.length_mm(i)).collect();
    lengths.sort_by(f64::total_cmp);
    let mean = lengths.iter().sum::<f64>() / n.max(1) as f64;
    let ends = [lengths.first(), lengths.last()].map(|v| v.copied().unwrap_or(0.0));
    let columns = |from: &BTreeMap<String, TractColumn>| -> Vec<(String, usize)> {
        from.iter().map(|(name, c)| (name.clone(), c.width)).collect()
    };
    let (point, streamline) = (columns(&tracts.per_point), columns(&tracts.per_streamline));
    let words = |list: &[(String, usize)]| {
        let one = |(name, width): &(String, usize)| match width {
            1 => name.clone(),
            _ => format!("{name} ({width} numbers)"),
        };
        let all: Vec<String> = list.iter().map(one).collect();
        if all.is_empty() { "none".to_string() } else { all.join(", ") }
    };
    let dims = tracts.geometry.as_ref().map(|g| g.dims);
    let text = format!(
        "{}\n  {n} streamlines of {} points\n  lengths   {} to {} mm, mean {} mm\n  grid      {}\n  \
         points    {}\n  lines     {}\n  groups    {}\n",
        path.display(),
        tracts.points.len(),
        say::number(ends[0]),
        say::number(ends[1]),
        say::number(mean),
        dims.map_or("none".to_string(), |d| format!("{} x {} x {} voxels", d[0], d[1], d[2])),
        words(&point),
        words(&streamline),
        tracts.groups.len(),
    );
    let json = json!({
        "file": path, "streamlines": n, "points": tracts.points.len(), "mean_length_mm": mean,
        "shortest_mm": ends[0], "longest_mm": ends[1], "grid": dims, "per_point": point,
        "per_streamline": streamline, "groups": tracts.groups.keys().collect::<Vec<_>>(),
    });
    (text, json)
}

//! `microtome info geometry`: a CT set-up in words, as a drawing, and for other programs.
//!
//! Validated by `info_geometry_says_what_is_there` in `tests/cli/ct.rs` and by
//! `tests/cli/ct_setups.rs`.

use super::{drawing, say};
use anyhow::{Context, bail};
use clap::{Args, ValueEnum, ValueHint};
use microtome_datasets::{
    Array, DatasetError, StagedArray, Values, read_set_up, rtk_geometry_text, stage_text,
};
use microtome_kernels::ray::Beam;
use microtome_models::ct::{RtkGeometry, SetUp, Surface, TigreGeometry};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Whose form of views.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ViewFormat {
    /// ASTRA's vectors, .npy [view, 6 or 12].
    Astra,
    /// RTK's geometry, .xml.
    Rtk,
    /// Attributes of a TIGRE geometry, .json.
    Tigre,
    /// Arrays of diffct side by side, .npy [view, 6 or 12].
    Diffct,
}

/// A CT set-up: views, detector, volume; a drawing of it; its views for other programs.
#[derive(Debug, Args)]
pub(super) struct GeometryArgs {
    /// The set-up file (see `microtome project --help`).
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Draws the set-up: volume, path of the source, detectors and rays of some views.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    svg: Option<PathBuf>,
    /// Writes the views for another program.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "format")]
    export_views: Option<PathBuf>,
    /// Which program.
    #[arg(long, value_enum, value_name = "PROGRAM", requires = "export_views")]
    format: Option<ViewFormat>,
    /// diffct: pixel i of n is i - n/2 steps from the centre, as diffct_mlx counts.
    #[arg(long, requires = "export_views")]
    half_pixel: bool,
    /// Replaces existing files.
    #[arg(long)]
    overwrite: bool,
}

impl GeometryArgs {
    /// The text and the JSON object, after the files are written.
    pub(super) fn show(&self) -> anyhow::Result<(String, Value)> {
        let set_up = read_set_up(&self.file, None)?;
        let (mut text, mut json) = info(&self.file, &set_up);
        // Everything is made before anything is written.
        let views = match (&self.export_views, self.format) {
            (Some(out), Some(format)) => {
                let staged = self.views(&set_up, out, format);
                Some(staged.with_context(|| format!("--export-views {}", out.display()))?)
            }
            _ => None,
        };
        if let Some(out) = &self.svg {
            let name = self.file.file_name().map(|n| n.to_string_lossy().into_owned());
            let drawing = drawing::svg(&set_up, &name.unwrap_or_default());
            staged(out, &drawing).and_then(|s| s.commit(self.overwrite)).context("--svg")?;
            text.push_str(&format!("  drawing in {}\n", out.display()));
            json["svg"] = json!(out);
        }
        if let (Some((staged, note)), Some(out)) = (views, &self.export_views) {
            staged.commit(self.overwrite).context("--export-views")?;
            text.push_str(&format!("  views in {}{note}\n", out.display()));
            json["views_file"] = json!(out);
        }
        Ok((text, json))
    }

    /// The file of the views and what must be said beside it.
    fn views(
        &self,
        set_up: &SetUp,
        out: &Path,
        format: ViewFormat,
    ) -> anyhow::Result<(StagedArray, String)> {
        let geometry = &set_up.geometry;
        let ending = match format {
            ViewFormat::Astra | ViewFormat::Diffct => "npy",
            ViewFormat::Rtk => "xml",
            ViewFormat::Tigre => "json",
        };
        if !out.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending)) {
            bail!("the name must end in .{ending}");
        }
        if self.half_pixel && format != ViewFormat::Diffct {
            bail!("--half-pixel has a meaning for diffct only");
        }
        let space = geometry.kind().dimensions() == 3;
        if !space && matches!(format, ViewFormat::Rtk | ViewFormat::Tigre) {
            bail!("{} lies in the plane; this program has views in space", geometry.kind().name());
        }
        let table = |rows: Vec<f64>| {
            let shape = vec![geometry.n_views(), geometry.kind().width()];
            Ok(StagedArray::File(Array { shape, values: Values::F64(rows) }.stage(out)?))
        };
        let mut note = String::new();
        let file: anyhow::Result<StagedArray> = match format {
            ViewFormat::Astra => {
                geometry.flat("ASTRA")?;
                table(geometry.rows())
            }
            ViewFormat::Diffct => {
                let rows = geometry.diffct_rows(self.half_pixel)?;
                note = format!(", detector spacing {:?} mm", rows.pixel_mm);
                table(rows.rows)
            }
            ViewFormat::Rtk => {
                let rtk = RtkGeometry::of_views(geometry.views(), geometry.radius_mm()?)?;
                note = ", for projections with their middle at 0".into();
                let text = rtk_geometry_text(&rtk).map_err(anyhow::Error::msg)?;
                Ok(staged(out, &text)?)
            }
            ViewFormat::Tigre => {
                geometry.flat("TIGRE")?;
                let Some(frame) = set_up.volume.frame() else {
                    bail!("the axes of the volume are left-handed, which TIGRE has no form for")
                };
                let back = frame.inverse();
                let views: Vec<_> = geometry.views().iter().map(|v| back.view(v)).collect();
                let extent = set_up.volume.shape().into_iter().zip(set_up.volume.voxel_mm());
                let reach = extent.map(|(n, h)| (n as f64 * h).powi(2)).sum::<f64>().sqrt();
                let tigre = TigreGeometry::of_views(&views, geometry.detector(), reach)?;
                note = ", relative to the volume".into();
                let text = serde_json::to_string_pretty(&tigre)? + "\n";
                Ok(staged(out, &text)?)
            }
        };
        Ok((file?, note))
    }
}

/// A file that is complete but has not got its name.
fn staged(out: &Path, text: &str) -> Result<StagedArray, DatasetError> {
    Ok(StagedArray::File(stage_text(out, text)?))
}

/// Least and greatest.
fn span(values: impl Iterator<Item = f64>) -> [f64; 2] {
    values.fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], v| [a.min(v), b.max(v)])
}

/// A range of mm, or one number where both ends print alike.
fn mm([low, high]: [f64; 2]) -> String {
    let [a, b] = [low, high].map(|v| format!("{:.4}", v + 0.0));
    let plain = |t: &str| t.trim_end_matches('0').trim_end_matches('.').to_string();
    if a == b { plain(&a) } else { format!("{} to {}", plain(&a), plain(&b)) }
}

fn length(a: [f64; 3]) -> f64 {
    a.iter().map(|v| v * v).sum::<f64>().sqrt()
}

fn list<T: ToString>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(" x ")
}

/// The text and the JSON object of a set-up file.
fn info(path: &Path, set_up: &SetUp) -> (String, Value) {
    let (geometry, volume) = (&set_up.geometry, &set_up.volume);
    let [nv, nu] = geometry.detector();
    let flat = geometry.kind().dimensions() == 2;
    let pitch_u = span(geometry.views().iter().map(|v| length(v.u)));
    let pitch_v = span(geometry.views().iter().map(|v| length(v.v)));
    let distance = span(geometry.views().iter().filter_map(|view| match view.beam {
        Beam::Parallel(_) => None,
        Beam::Source(s) => Some(length(std::array::from_fn(|k| view.detector[k] - s[k]))),
    }));
    let (shape, voxel) = (volume.shape(), volume.voxel_mm());
    let extent: Vec<f64> = shape.iter().zip(&voxel).map(|(n, h)| *n as f64 * h).collect();
    let rays: usize = geometry.shape().iter().product();
    let mut rows = vec![
        ["kind".to_string(), set_up.kind_name().into()],
        ["projector".into(), set_up.projector.name().into()],
        ["views".into(), geometry.n_views().to_string()],
    ];
    if flat {
        rows.push(["detector".into(), format!("{nu} pixels")]);
        rows.push(["pixel".into(), format!("{} mm", mm(pitch_u))]);
    } else {
        rows.push(["detector".into(), format!("{nv} x {nu} pixels (v, u)")]);
        rows.push(["pixel".into(), format!("{} x {} mm (v, u)", mm(pitch_v), mm(pitch_u))]);
    }
    if let Surface::Cylinder { radius } = geometry.surface() {
        let radius = match radius {
            Some(radius) => format!("of {} mm", mm([radius, radius])),
            None => "about the source".into(),
        };
        rows.push(["surface".into(), format!("cylinder {radius}")]);
    }
    let raw = set_up.reduction.as_ref().map(|r| r.raw());
    if let Some([views, nv, nu]) = raw {
        let whole = if flat { format!("{views} x {nu}") } else { format!("{views} x {nv} x {nu}") };
        rows.push(["whole".into(), format!("{whole}, before crop and bin")]);
    }
    if distance[0].is_finite() {
        rows.push(["source".into(), format!("{} mm from the detector", mm(distance))]);
    }
    let order = if flat { "y, x" } else { "z, y, x" };
    rows.push(["volume".into(), format!("{} voxels ({order})", list(&shape))]);
    rows.push(["voxel".into(), format!("{} mm", list(&voxel))]);
    rows.push(["extent".into(), format!("{} mm", list(&extent))]);
    rows.push(["centre".into(), format!("{:?} mm", volume.centre_mm())]);
    let bytes = 4.0 * (rays + volume.len()) as f64;
    rows.push(["memory".into(), format!("{} in float32", say::bytes(bytes))]);
    let width = rows.iter().map(|r| r[0].len()).max().unwrap_or(0);
    let mut text = format!("{}\n", path.display());
    for [name, value] in &rows {
        text.push_str(&format!("  {name:<width$}  {value}\n"));
    }
    let source = distance[0].is_finite().then_some(distance);
    let json = json!({
        "kind": set_up.kind_name(), "projector": set_up.projector.name(),
        "views": geometry.n_views(), "detector": if flat { vec![nu] } else { vec![nv, nu] },
        "pixel_u_mm": pitch_u, "pixel_v_mm": (!flat).then_some(pitch_v),
        "source_to_detector_mm": source, "shape": shape, "voxel_mm": voxel,
        "centre_mm": volume.centre_mm(), "rays": rays, "voxels": volume.len(),
    });
    (text, json)
}

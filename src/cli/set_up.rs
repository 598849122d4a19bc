//! `microtome info geometry`: a CT set-up in words.
//!
//! Validated by `info_geometry_says_what_is_there` in `tests/cli/ct.rs`.

use super::say;
use microtome_datasets::read_set_up;
use microtome_kernels::ray::Beam;
use serde_json::{Value, json};
use std::path::Path;

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
pub(super) fn info(path: &Path) -> anyhow::Result<(String, Value)> {
    let set_up = read_set_up(path, None)?;
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
    Ok((text, json))
}

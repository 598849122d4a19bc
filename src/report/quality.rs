//! The section on quality: which voxels of the maps to believe.
//!
//! The limits are those of Vehtari et al. 2021, doi:10.1214/20-BA1221: R-hat at
//! most 1.01 and an effective sample size of at least 400 over four chains.

use super::data::{QualityKind, QualityMap, ReportData, StatusMap};
use super::maps::{block, notes};
use super::plot::Palette;
use super::raster::{self, Limits, shrink, thin};
use super::text::{Mark, counted, escape, figure, key, number, panel, per_cent, unit_after};

/// Colours of status codes: code 0 is good, the rest are not.
const STATUS: [[u8; 3]; 8] = [
    [0x56, 0xb4, 0xe9],
    [0xd5, 0x5e, 0x00],
    [0xf0, 0xe4, 0x42],
    [0xcc, 0x79, 0xa7],
    [0x1a, 0x1a, 0x1a],
    [0x00, 0x9e, 0x73],
    [0xe6, 0x9f, 0x00],
    [0x00, 0x72, 0xb2],
];

/// The section on quality; empty where there is nothing to show.
pub(super) fn section(data: &ReportData) -> String {
    let factor = block(data);
    let note = notes(data, factor);
    let mut panels = String::new();
    let mut sentences = String::new();
    for map in &data.quality {
        let (drawing, sentence) = diagnostic(map, factor);
        panels.push_str(&panel(
            "square",
            &format!(
                "{}{}",
                map.name,
                if map.unit.is_empty() { String::new() } else { format!(" ({})", map.unit) }
            ),
            &drawing,
        ));
        sentences.push_str(&sentence);
    }
    if let Some(status) = &data.status {
        let (drawing, sentence) = outcome(status, factor);
        panels.push_str(&panel("square", "status of each voxel", &drawing));
        sentences.push_str(&sentence);
    }
    if panels.is_empty() {
        return String::new();
    }
    figure(
        "",
        &panels,
        &format!(
            "<b>Where to believe the maps.</b>{sentences} Grey voxels are outside the mask.{note}"
        ),
    )
}

fn diagnostic(map: &QualityMap, factor: usize) -> (String, String) {
    let values = &map.values;
    let finite = values.iter().filter(|v| v.is_finite()).count();
    let count =
        |good: &dyn Fn(f32) -> bool| values.iter().filter(|v| v.is_finite() && !good(**v)).count();
    let auto = Limits::of(values.iter().copied());
    let name = escape(&map.name);
    let (limits, mark, sentence) = match map.kind {
        QualityKind::RHat => {
            let bad = count(&|v| v <= 1.01);
            let text = format!(
                " In “{name}”, values above 1.01 (line on the bar) say that the chains disagree; they do in {} ({}).",
                counted(bad, "voxel"),
                per_cent(bad, finite)
            );
            (
                Some(Limits::fixed(1.0, 1.05, values)).map(|l| Limits { below: false, ..l }),
                Some(1.01),
                text,
            )
        }
        QualityKind::EssBulk => {
            let bad = count(&|v| v >= 400.0);
            let text = format!(
                " In “{name}”, means and sds are noisy below 400 (line); so they are in {} ({}).",
                counted(bad, "voxel"),
                per_cent(bad, finite)
            );
            (auto.map(Limits::to_zero), Some(400.0), text)
        }
        QualityKind::Shrinkage => {
            let bad = count(&|v| v >= 0.5);
            let text = format!(
                " In “{name}”, 1 says that the data decided and 0 that the posterior is still the prior; it is below 0.5 in {} ({}).",
                counted(bad, "voxel"),
                per_cent(bad, finite)
            );
            (Some(Limits::fixed(0.0, 1.0, values)), None, text)
        }
        QualityKind::Other => {
            let range = auto.map_or_else(String::new, |l| {
                format!(
                    " “{name}” goes from {} to {}{}.",
                    number(l.low),
                    number(l.high),
                    escape(&unit_after(&map.unit))
                )
            });
            (auto, None, range)
        }
    };
    match limits.filter(|_| finite > 0) {
        Some(limits) => {
            let small = shrink(map.nx, map.ny, values, factor);
            (raster::map(&small, Palette::Viridis, &limits, mark, &map.name), sentence)
        }
        None => ("<p>No voxel has a value.</p>".into(), String::new()),
    }
}

fn outcome(status: &StatusMap, factor: usize) -> (String, String) {
    let (nx, ny, codes) = thin(status.nx, status.ny, &status.codes, factor);
    let used = status.labels.len().min(STATUS.len());
    let inside = status.codes.iter().filter(|c| **c != StatusMap::OUTSIDE).count();
    let mut entries = Vec::new();
    for (code, label) in status.labels.iter().take(used).enumerate() {
        let count = status.codes.iter().filter(|c| usize::from(**c) == code).count();
        if count > 0 {
            let [r, g, b] = STATUS[code];
            entries.push((
                format!("rgb({r},{g},{b})"),
                format!("{label}: {}", counted(count, "voxel")),
            ));
        }
    }
    let shown: Vec<(Mark, &str, String)> =
        entries.iter().map(|(c, t)| (Mark::Fill, c.as_str(), t.clone())).collect();
    let bad = status.codes.iter().filter(|c| **c != 0 && **c != StatusMap::OUTSIDE).count();
    let sentence = format!(
        " By status, leave out the voxels that are not {} ({} of {}, {}).",
        status.labels.first().map_or_else(|| "good".into(), |l| escape(l)),
        bad,
        counted(inside, "voxel"),
        per_cent(bad, inside)
    );
    (
        raster::codes(nx, ny, &codes, &STATUS[..used], "status of each voxel") + &key(&shown),
        sentence,
    )
}

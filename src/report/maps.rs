//! The sections on maps and quality: slices of parameters and diagnostics, or
//! histograms over voxels where the input was no image.
//!
//! A report stays below 3 MB: beyond a million drawn voxels all maps are averaged
//! over blocks, and the captions say so.

use super::data::{MapPair, Population, QualityKind, QualityMap, ReportData, StatusMap};
use super::plot::{self, Frame, Palette};
use super::raster::{self, Limits, shrink, thin};
use super::text::{Mark, counted, escape, figure, key, number, panel, per_cent, unit_after, with_unit};

/// Voxels drawn over all maps before they are averaged.
const MOST_PIXELS: usize = 1_000_000;
/// Points in a scatter plot.
const MOST_POINTS: usize = 500;
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

/// The block length that keeps all maps within the budget.
fn block(data: &ReportData) -> usize {
    let pairs: usize = data.maps.iter().map(|m| m.mean.len() + m.sd.len()).sum();
    let quality: usize = data.quality.iter().map(|m| m.values.len()).sum();
    let colours = data.directions.as_ref().map_or(0, |d| 3 * d.rgb.len());
    let status = data.status.as_ref().map_or(0, |s| s.codes.len());
    let total = pairs + quality + colours + status;
    (1..).find(|f| total / (f * f) <= MOST_PIXELS).unwrap_or(1)
}

fn notes(data: &ReportData, block: usize) -> String {
    let mut out = String::new();
    if !data.map_note.is_empty() {
        out.push_str(&format!(" {}", escape(&data.map_note)));
    }
    if block > 1 {
        out.push_str(&format!(" To keep this file small, each pixel stands for a block of {block} × {block} voxels."));
    }
    out
}

/// The section on maps; empty where there is nothing to show.
pub(super) fn maps(data: &ReportData) -> String {
    let factor = block(data);
    let note = notes(data, factor);
    let mut out = String::new();
    let mut done: Vec<(&str, &str)> = Vec::new();
    for map in &data.maps {
        let quantity = (map.name.as_str(), map.unit.as_str());
        if done.contains(&quantity) {
            continue;
        }
        done.push(quantity);
        let slices: Vec<&MapPair> = data.maps.iter().filter(|m| (m.name.as_str(), m.unit.as_str()) == quantity).collect();
        out.push_str(&quantity_row(&slices, factor, &note));
    }
    if let Some(directions) = &data.directions {
        let (nx, ny, pixels) = thin(directions.nx, directions.ny, &directions.rgb, factor);
        let drawing = raster::rgb(nx, ny, &pixels, &format!("colour-coded directions of {}", directions.name));
        let colours = key(&[
            (Mark::Fill, "#e00000", "x".into()),
            (Mark::Fill, "#00b000", "y".into()),
            (Mark::Fill, "#0000e0", "z".into()),
        ]);
        out.push_str(&figure(
            &(colours + &panel("square", &directions.name, &drawing)),
            &format!(
                "<b>Direction.</b> Red, green and blue give |x|, |y| and |z| of the mean direction, and brightness gives \
                 the fraction. Neighbours in one bundle should have one hue; salt-and-pepper colours mark voxels whose \
                 direction the data do not fix.{note}"
            ),
        ));
    }
    for population in &data.populations {
        out.push_str(&over_voxels(population));
    }
    out
}

fn quantity_row(slices: &[&MapPair], factor: usize, note: &str) -> String {
    let Some(first) = slices.first() else {
        return String::new();
    };
    let mut panels = String::new();
    let mean_limits = Limits::of(slices.iter().flat_map(|s| s.mean.iter().copied()));
    let sd_limits = Limits::of(slices.iter().flat_map(|s| s.sd.iter().copied())).map(Limits::from_zero);
    for slice in slices {
        let at = if slice.slice.is_empty() { String::new() } else { format!(", {}", slice.slice) };
        let mut two = String::new();
        for (what, values, limits, colours) in [
            ("posterior mean", &slice.mean, mean_limits, Palette::Viridis),
            ("posterior sd", &slice.sd, sd_limits, Palette::Cividis),
        ] {
            let Some(limits) = limits else { continue };
            let heading = format!("{}: {what}{at}", with_unit(&first.name, &first.unit));
            let small = shrink(slice.nx, slice.ny, values, factor);
            two.push_str(&panel("square", &heading, &raster::map(&small, colours, &limits, None, &heading)));
        }
        panels.push_str(&format!("<div class=\"pair\">{two}</div>"));
    }
    if mean_limits.is_none() && sd_limits.is_none() {
        panels = "<p>No voxel of this slice has a value.</p>".into();
    }
    let name = escape(&first.name);
    let shared = if slices.len() > 1 { " All slices share the two scales." } else { "" };
    let beyond = if [mean_limits, sd_limits].iter().flatten().any(|l| l.below || l.above) {
        " Where a colour bar ends in an arrow, its limits are the 1st and 99th percentile and values beyond take the end colour."
    } else {
        ""
    };
    let reading = if sd_limits.is_some() {
        format!(
            "Read the two maps together: structure in the mean is evidence only where it is larger than the sd beside it, \
             and a bright patch in the sd map marks voxels whose data say little about {name}. The two colour bars differ \
             in range and in colours."
        )
    } else {
        format!("No standard deviation is known for {name}, so differences between voxels can't be judged from this map alone.")
    };
    figure(&panels, &format!("<b>{name}.</b> {reading} Grey voxels are outside the mask or have no result.{shared}{beyond}{note}"))
}

fn over_voxels(population: &Population) -> String {
    let label = with_unit(&population.name, &population.unit);
    let finite = population.mean.iter().filter(|v| v.is_finite()).count();
    let mean_label = format!("mean of {label}");
    let frame = Frame {
        width: 480.0,
        height: 280.0,
        x: &mean_label,
        y: "density over voxels",
        alt: &format!("histogram of the posterior mean of {} over voxels", population.name),
    };
    let mut panels = panel("half", "", &plot::histogram(frame, &population.mean));
    let points: Vec<(f64, f64)> = population
        .mean
        .iter()
        .zip(&population.sd)
        .map(|(m, s)| (*m, *s))
        .filter(|p| p.0.is_finite() && p.1.is_finite())
        .collect();
    let name = escape(&population.name);
    let mut caption = format!(
        "<b>{name} over {}.</b> A peak at the edge of the allowed range means that the model leans on a bound there.",
        counted(finite, "voxel")
    );
    if !points.is_empty() {
        let step = points.len().div_ceil(MOST_POINTS);
        let shown: Vec<(f64, f64)> = points.iter().copied().step_by(step).collect();
        let sd_label = format!("sd{}", if population.unit.is_empty() { String::new() } else { format!(" ({})", population.unit) });
        let frame = Frame { y: &sd_label, alt: &format!("posterior sd of {} against its mean", population.name), ..frame };
        panels.push_str(&panel("half", "", &plot::cloud(frame, &shown, true)));
        caption.push_str(
            " In the right plot a voxel with a large sd is one whose data say little; an sd that grows with the mean is \
             what a log-scaled parameter shows.",
        );
        if step > 1 {
            caption.push_str(&format!(" It shows every {step}th voxel."));
        }
    }
    figure(&panels, &caption)
}

/// The section on quality; empty where there is nothing to show.
pub(super) fn quality(data: &ReportData) -> String {
    let factor = block(data);
    let note = notes(data, factor);
    let mut panels = String::new();
    let mut sentences = String::new();
    for map in &data.quality {
        let (drawing, sentence) = diagnostic(map, factor);
        panels.push_str(&panel("square", &with_unit(&map.name, &map.unit), &drawing));
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
    figure(&panels, &format!("<b>Where to believe the maps.</b>{sentences} Grey voxels are outside the mask.{note}"))
}

fn diagnostic(map: &QualityMap, factor: usize) -> (String, String) {
    let values = &map.values;
    let finite = values.iter().filter(|v| v.is_finite()).count();
    let count = |good: &dyn Fn(f32) -> bool| values.iter().filter(|v| v.is_finite() && !good(**v)).count();
    let auto = Limits::of(values.iter().copied());
    let name = escape(&map.name);
    let (limits, mark, sentence) = match map.kind {
        QualityKind::RHat => {
            let bad = count(&|v| v <= 1.01);
            let text = format!(
                " {name}: values above 1.01 (line on the bar) say that the chains disagree; they do in {} ({}).",
                counted(bad, "voxel"),
                per_cent(bad, finite)
            );
            (Some(Limits::fixed(1.0, 1.05, values)).map(|l| Limits { below: false, ..l }), Some(1.01), text)
        }
        QualityKind::EssBulk => {
            let bad = count(&|v| v >= 400.0);
            let text = format!(
                " {name}: below 400 (line) means and sds are noisy; so it is in {} ({}).",
                counted(bad, "voxel"),
                per_cent(bad, finite)
            );
            (auto.map(Limits::from_zero), Some(400.0), text)
        }
        QualityKind::Contraction => {
            let bad = count(&|v| v >= 0.5);
            let text = format!(
                " {name}: 1 says that the data decided, 0 that the posterior is still the prior; it is below 0.5 in {} ({}).",
                counted(bad, "voxel"),
                per_cent(bad, finite)
            );
            (Some(Limits::fixed(0.0, 1.0, values)), None, text)
        }
        QualityKind::Other => {
            let range = auto.map_or_else(String::new, |l| {
                format!(" {name}: from {} to {}{}.", number(l.low), number(l.high), escape(&unit_after(&map.unit)))
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
            entries.push((format!("rgb({r},{g},{b})"), format!("{label}: {}", counted(count, "voxel"))));
        }
    }
    let shown: Vec<(Mark, &str, String)> = entries.iter().map(|(c, t)| (Mark::Fill, c.as_str(), t.clone())).collect();
    let bad = status.codes.iter().filter(|c| **c != 0 && **c != StatusMap::OUTSIDE).count();
    let sentence = format!(
        " Status: leave out the voxels that are not {} ({} of {}, {}).",
        status.labels.first().map_or_else(|| "good".into(), |l| escape(l)),
        bad,
        counted(inside, "voxel"),
        per_cent(bad, inside)
    );
    (raster::codes(nx, ny, &codes, &STATUS[..used], "status of each voxel") + &key(&shown), sentence)
}

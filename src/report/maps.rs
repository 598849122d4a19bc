//! The section on maps: slices of parameters, or histograms over voxels where the
//! input was no image.
//!
//! A report stays below 3 MB: beyond a million drawn voxels all maps are averaged
//! over blocks, and the text says so.
//!
//! Validated by `a_whole_brain_stays_below_three_megabytes` and the other tests of
//! `tests.rs`.

use super::data::{MapPair, Population, ReportData};
use super::plot::{self, Frame, Palette};
use super::raster::{self, Limits, shrink, thin};
use super::text::{Mark, counted, escape, figure, key, number, panel, unit_after, with_unit};

/// Voxels drawn over all maps before they are averaged.
const MOST_PIXELS: usize = 1_000_000;
/// Points in a scatter plot.
const MOST_POINTS: usize = 500;

/// The block length that keeps all maps within the budget.
pub(super) fn block(data: &ReportData) -> usize {
    let pairs: usize = data.maps.iter().map(|m| m.mean.len() + m.sd.len()).sum();
    let quality: usize = data.quality.iter().map(|m| m.values.len()).sum();
    let colours = data.directions.as_ref().map_or(0, |d| 3 * d.rgb.len());
    let status = data.status.as_ref().map_or(0, |s| s.codes.len());
    let total = pairs + quality + colours + status;
    (1..).find(|f| total / (f * f) <= MOST_PIXELS).unwrap_or(1)
}

/// What holds for every map, as sentences with a space in front.
pub(super) fn notes(data: &ReportData, block: usize) -> String {
    let mut out = String::new();
    if !data.map_note.is_empty() {
        out.push_str(&format!(" {}", escape(&data.map_note)));
    }
    if block > 1 {
        out.push_str(&format!(
            " To keep this file small, each pixel stands for a block of {block} × {block} voxels."
        ));
    }
    out
}

/// The section on maps; empty where there is nothing to show.
pub(super) fn maps(data: &ReportData) -> String {
    let factor = block(data);
    let note = notes(data, factor);
    let mut out = String::new();
    if !data.maps.is_empty() {
        let several = data.maps.iter().any(|m| !m.sd.is_empty());
        let reading = if several {
            "Read the mean and the sd of a quantity together: a difference between two regions is evidence only where it is \
             larger than their sds. The colour bars of mean and sd differ in colours and in range. "
        } else {
            ""
        };
        out.push_str(&format!(
            "<p>{reading}Grey pixels are outside the mask or have no result. Where a colour bar ends in an arrow, its limits \
             are the 1st and 99th percentile and values beyond take the end colour.{note}</p>\n<div class=\"figures\">\n"
        ));
    }
    let mut done: Vec<(&str, &str)> = Vec::new();
    for map in &data.maps {
        let quantity = (map.name.as_str(), map.unit.as_str());
        if done.contains(&quantity) {
            continue;
        }
        done.push(quantity);
        let slices: Vec<&MapPair> =
            data.maps.iter().filter(|m| (m.name.as_str(), m.unit.as_str()) == quantity).collect();
        out.push_str(&quantity_row(&slices, factor));
    }
    if let Some(directions) = &data.directions {
        let (nx, ny, pixels) = thin(directions.nx, directions.ny, &directions.rgb, factor);
        let drawing = raster::rgb(
            nx,
            ny,
            &pixels,
            &format!("colour-coded directions of {}", directions.name),
        );
        let colours = key(&[
            (Mark::Fill, "#e00000", "x".into()),
            (Mark::Fill, "#00b000", "y".into()),
            (Mark::Fill, "#0000e0", "z".into()),
        ]);
        out.push_str(&figure(
            "beside",
            &(panel("square", &directions.name, &drawing) + &colours),
            "<b>Direction.</b> Red, green and blue give |x|, |y| and |z| of the mean direction, and brightness gives \
                 the fraction. Neighbours in one bundle should have one hue; salt-and-pepper colours mark voxels whose \
                 direction the data do not fix.",
        ));
    }
    if !data.maps.is_empty() {
        out.push_str("</div>\n");
    }
    for population in &data.populations {
        out.push_str(&over_voxels(population));
    }
    out
}

fn quantity_row(slices: &[&MapPair], factor: usize) -> String {
    let Some(first) = slices.first() else {
        return String::new();
    };
    let mut panels = String::new();
    let mean_limits = Limits::of(slices.iter().flat_map(|s| s.mean.iter().copied()));
    let sd_limits =
        Limits::of(slices.iter().flat_map(|s| s.sd.iter().copied())).map(Limits::to_zero);
    for slice in slices {
        let at = if slice.slice.is_empty() { String::new() } else { format!(", {}", slice.slice) };
        let mut two = String::new();
        for (what, values, limits, colours) in [
            ("mean", &slice.mean, mean_limits, Palette::Viridis),
            ("sd", &slice.sd, sd_limits, Palette::Cividis),
        ] {
            let Some(limits) = limits else { continue };
            let unit =
                if slice.unit.is_empty() { String::new() } else { format!(" ({})", slice.unit) };
            let alt = format!("map of the posterior {what} of {}{at}", first.name);
            let small = shrink(slice.nx, slice.ny, values, factor);
            let drawing = raster::map(&small, colours, &limits, None, &alt);
            two.push_str(&panel("square", &format!("{what}{at}{unit}"), &drawing));
        }
        panels.push_str(&format!("<div class=\"pair\">{two}</div>"));
    }
    if mean_limits.is_none() && sd_limits.is_none() {
        panels = "<p>No voxel of this slice has a value.</p>".into();
    }
    let shared = if slices.len() > 1 { " All slices share the two scales." } else { "" };
    let caption = format!(
        "<b>{}.</b>{}{shared}",
        escape(&with_unit(&first.name, &first.unit)),
        strength(slices, &first.unit)
    );
    let alone = slices.len() == 1
        && !raster::is_large(first.nx.div_ceil(factor), first.ny.div_ceil(factor));
    figure(if alone { "small" } else { "" }, &panels, &caption)
}

/// How the differences between voxels compare with the uncertainty of one.
fn strength(slices: &[&MapPair], unit: &str) -> String {
    let finite = |values: Vec<f32>| -> Vec<f64> {
        let mut v: Vec<f64> = values.into_iter().filter(|x| x.is_finite()).map(f64::from).collect();
        v.sort_by(f64::total_cmp);
        v
    };
    let means = finite(slices.iter().flat_map(|s| s.mean.iter().copied()).collect());
    let sds = finite(slices.iter().flat_map(|s| s.sd.iter().copied()).collect());
    if means.len() < 2 {
        return String::new();
    }
    if sds.is_empty() {
        return " No sd is known, so differences between voxels can't be judged from this map alone.".into();
    }
    let average = means.iter().sum::<f64>() / means.len() as f64;
    let spread =
        (means.iter().map(|m| (m - average).powi(2)).sum::<f64>() / means.len() as f64).sqrt();
    let typical = sds[sds.len() / 2];
    let verdict = if spread > 3.0 * typical {
        "so the structure in the mean stands well above the uncertainty"
    } else if spread > 1.2 * typical {
        "so only the strong contrasts in the mean are certain"
    } else {
        "so most of the structure in the mean may be noise"
    };
    let unit = escape(&unit_after(unit));
    format!(
        " The mean varies over voxels by {}{unit} (sd) and a single voxel is known to {}{unit} (median sd), {verdict}. \
         Bright patches in the sd map mark voxels whose data say little.",
        number(spread),
        number(typical)
    )
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
        let sd_label = format!(
            "sd{}",
            if population.unit.is_empty() {
                String::new()
            } else {
                format!(" ({})", population.unit)
            }
        );
        let frame = Frame {
            y: &sd_label,
            alt: &format!("posterior sd of {} against its mean", population.name),
            ..frame
        };
        panels.push_str(&panel("half", "", &plot::cloud(frame, &shown, true)));
        caption.push_str(
            " In the right plot a voxel with a large sd is one whose data say little; an sd that grows with the mean is \
             what a log-scaled parameter shows.",
        );
        if step > 1 {
            caption.push_str(&format!(" It shows one voxel in {step}."));
        }
    }
    figure("", &panels, &caption)
}

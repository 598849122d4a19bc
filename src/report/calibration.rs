//! The section on calibration: ranks of truths among posterior draws.
//!
//! A quantity has two plots: the distribution function of its ranks less that of uniform
//! ranks, with the band that holds it whole, and the histogram of the ranks. Validated by
//! `a_page_of_ranks` in `tests.rs`.

use super::data::{CalibrationPlot, ReportData};
use super::plot::{self, Frame};
use super::text::{escape, figure, number, panel};

/// Bars of a histogram.
const BARS: usize = 20;

/// The section; empty where no ranks were drawn.
pub(super) fn section(data: &ReportData) -> String {
    let band = &data.calibration_band;
    data.calibration.iter().map(|c| quantity(c, band)).collect()
}

fn quantity(plot: &CalibrationPlot, band: &[[f64; 2]]) -> String {
    let bins = band.len() + 1;
    let n = plot.ranks.len().max(1) as f64;
    let mut counts = vec![0.0; bins];
    for r in &plot.ranks {
        counts[(*r as usize).min(bins - 1)] += 1.0;
    }
    let uniform = |i: usize| i as f64 / bins as f64;
    let mut sum = 0.0;
    let mut points = vec![(0.0, 0.0)];
    points.extend(counts.iter().enumerate().map(|(i, c)| {
        sum += c / n;
        (uniform(i + 1), sum - uniform(i + 1))
    }));
    let mut edges = vec![(0.0, 0.0, 0.0)];
    edges.extend(band.iter().enumerate().map(|(i, [low, high])| {
        let z = uniform(i + 1);
        (z, low - z, high - z)
    }));
    edges.push((1.0, 0.0, 0.0));
    let alt = format!("Ranks of {}", plot.name);
    let frame = |x, y| Frame { width: 420.0, height: 260.0, x, y, alt: &alt };
    let bars = BARS.min(bins);
    let mut bar = vec![0.0; bars];
    for (i, c) in counts.iter().enumerate() {
        bar[i * bars / bins] += c;
    }
    let width = bins as f64 / bars as f64;
    let bars: Vec<(f64, f64, f64)> = bar
        .iter()
        .enumerate()
        .map(|(i, c)| (i as f64 * width, (i + 1) as f64 * width, *c))
        .collect();
    let panels = panel(
        "half",
        &plot.name,
        &plot::ecdf_difference(frame("rank / draws", "ECDF less uniform"), &points, &edges),
    ) + &panel(
        "half",
        "",
        &plot::rank_histogram(frame("rank", "simulations"), &bars, n * width / bins as f64),
    );
    let caption = format!(
        "<b>{}</b>: p {}, {} with Holm over all quantities; {}.",
        escape(&plot.name),
        number(plot.p),
        number(plot.adjusted),
        escape(&plot.shape)
    );
    figure("", &panels, &caption)
}

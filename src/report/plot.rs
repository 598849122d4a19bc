//! Every plot of the report as inline SVG. This is the only file that names the
//! plot crate (kuva), so that another one can take its place.
//!
//! A function takes numbers and labels and returns `<svg …>…</svg>` with a
//! `viewBox`, no external reference and no script. Points that are not finite are
//! left out. Colours are those of Okabe & Ito 2008 (*Color universal design*);
//! the palettes are viridis and cividis (Nuñez et al. 2018,
//! doi:10.1371/journal.pone.0199239), both readable with any colour vision.
//!
//! Validated by the tests below and by `tests.rs`.

use std::sync::Arc;

use kuva::plot::scatter::MarkerShape;
use kuva::plot::{BandPlot, ColorMap, LinePlot, ScatterPlot};
use kuva::render::annotations::{ReferenceLine, ShadedRegion};
use kuva::render::layout::{Layout, TickFormat};
use kuva::render::plots::Plot;
use kuva::render::theme::Theme;

use super::density::density;
use super::text::{escape, tick_step, tick_text};

/// Blue: the posterior, predictions, estimates.
pub(super) const BLUE: &str = "#0072b2";
/// Vermilion: the truth.
pub(super) const RED: &str = "#d55e00";
/// Grey: priors and other references.
pub(super) const GREY: &str = "#6b6b6b";
/// Black: what was measured.
pub(super) const INK: &str = "#1a1a1a";
/// Colours of chains and shells, in this order.
pub(super) const CYCLE: [&str; 6] =
    ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#6b6b6b"];

/// A sequential palette.
#[derive(Clone, Copy)]
pub(super) enum Palette {
    /// For estimates and diagnostics.
    Viridis,
    /// For standard deviations.
    Cividis,
    /// For images of a body.
    Grey,
}

/// The 255 colours of a palette.
pub(super) fn palette(which: Palette) -> Vec<[u8; 3]> {
    let map = match which {
        Palette::Viridis => ColorMap::Viridis,
        Palette::Cividis => ColorMap::Cividis,
        Palette::Grey => return (0..255).map(|i| [i; 3]).collect(),
    };
    let channel = |hex: &str, at: usize| {
        hex.get(at..at + 2).and_then(|h| u8::from_str_radix(h, 16).ok()).unwrap_or(0)
    };
    (0..255)
        .map(|i| {
            let hex = map.map(f64::from(i) / 254.0);
            [channel(&hex, 1), channel(&hex, 3), channel(&hex, 5)]
        })
        .collect()
}

/// Size, labels and description of a plot.
#[derive(Clone, Copy)]
pub(super) struct Frame<'a> {
    /// Width in px.
    pub(super) width: f64,
    /// Height in px.
    pub(super) height: f64,
    /// Label of the x axis with its unit.
    pub(super) x: &'a str,
    /// Label of the y axis with its unit.
    pub(super) y: &'a str,
    /// What the plot shows, for readers who don't see it.
    pub(super) alt: &'a str,
}

/// A histogram as a density, its bins after Freedman & Diaconis 1981.
pub(super) fn histogram(frame: Frame, values: &[f64]) -> String {
    let bins = density(values, None);
    let top = bins.iter().fold(0.0, |m: f64, b| m.max(b.2));
    let x = span(bins.iter().flat_map(|b| [b.0, b.1]), 0.02);
    render(frame, x, (0.0, top * 1.06), vec![staircase(&bins, BLUE)], Vec::new(), Vec::new())
}

/// A marginal posterior: histogram of the draws, 90 % interval, prior and truth.
pub(super) fn marginal(
    frame: Frame,
    draws: &[f64],
    prior: (&[f64], &[f64]),
    interval: (f64, f64),
    truth: Option<f64>,
) -> String {
    let bins = density(draws, None);
    let x = span(bins.iter().flat_map(|b| [b.0, b.1]).chain(truth), 0.06);
    let curve: Vec<(f64, f64)> = prior.0.iter().copied().zip(prior.1.iter().copied()).collect();
    let inside = curve.iter().filter(|p| p.0 >= x.0 && p.0 <= x.1 && p.1.is_finite()).map(|p| p.1);
    let peak = bins.iter().fold(0.0, |m: f64, b| m.max(b.2));
    let top = inside.fold(peak, |m: f64, y| m.max(y.min(1.5 * peak)));
    let plots = vec![staircase(&bins, BLUE), line(&curve, GREY, 1.8, Some("6 4"))];
    let mut regions = Vec::new();
    if interval.0.is_finite() && interval.1.is_finite() && interval.0 >= x.0 && interval.1 <= x.1 {
        regions.push(
            ShadedRegion::vertical(interval.0, interval.1).with_color(BLUE).with_opacity(0.10),
        );
    }
    let marks =
        truth.filter(|t| t.is_finite()).map(|t| upright(t, RED, 2.0, "0")).into_iter().collect();
    render(frame, x, (0.0, top * 1.06), plots, marks, regions)
}

/// The draws of each chain in order; `step` is the number of draws between two
/// shown ones.
pub(super) fn trace(frame: Frame, chains: &[Vec<f64>], step: usize, truth: Option<f64>) -> String {
    let y = span(chains.iter().flatten().copied().chain(truth), 0.05);
    let longest = chains.iter().map(Vec::len).max().unwrap_or(0);
    let plots = chains.iter().enumerate().map(|(c, draws)| {
        let points: Vec<_> =
            draws.iter().enumerate().step_by(step.max(1)).map(|(i, v)| (i as f64, *v)).collect();
        line(&points, CYCLE[c % CYCLE.len()], 0.8, None)
    });
    let marks =
        truth.filter(|t| t.is_finite()).map(|t| level(t, RED, 1.6, "0")).into_iter().collect();
    render(frame, (0.0, longest.max(2) as f64), y, plots.collect(), marks, Vec::new())
}

/// Two parameters against each other, one colour a chain.
pub(super) fn pair(frame: Frame, chains: &[Vec<(f64, f64)>], truth: Option<(f64, f64)>) -> String {
    let truth = truth.filter(|t| t.0.is_finite() && t.1.is_finite());
    let all = || chains.iter().flatten().copied().chain(truth);
    let mut plots: Vec<Plot> = chains
        .iter()
        .enumerate()
        .map(|(c, points)| {
            points_of(points, CYCLE[c % CYCLE.len()], 2.0, 0.45, MarkerShape::Circle)
        })
        .collect();
    if let Some(point) = truth {
        plots.push(points_of(&[point], RED, 5.0, 1.0, MarkerShape::Diamond));
    }
    let marks = truth
        .map(|t| vec![upright(t.0, RED, 1.0, "4 3"), level(t.1, RED, 1.0, "4 3")])
        .unwrap_or_default();
    render(
        frame,
        span(all().map(|p| p.0), 0.05),
        span(all().map(|p| p.1), 0.05),
        plots,
        marks,
        Vec::new(),
    )
}

/// Points of one colour.
pub(super) fn cloud(frame: Frame, points: &[(f64, f64)], y_from_zero: bool) -> String {
    let x = span(points.iter().map(|p| p.0), 0.04);
    let y = span(points.iter().map(|p| p.1).chain(y_from_zero.then_some(0.0)), 0.04);
    let y = if y_from_zero { (0.0, y.1) } else { y };
    render(
        frame,
        x,
        y,
        vec![points_of(points, BLUE, 2.2, 0.55, MarkerShape::Circle)],
        Vec::new(),
        Vec::new(),
    )
}

/// One measurement of [`bands`].
#[derive(Clone, Copy)]
pub(super) struct Prediction {
    /// Where it is drawn.
    pub(super) x: f64,
    /// Measured signal.
    pub(super) measured: f64,
    /// Median, 5 % and 95 % quantile of the predicted signal.
    pub(super) median: f64,
    /// Lower end of the band.
    pub(super) q05: f64,
    /// Upper end of the band.
    pub(super) q95: f64,
}

/// Measured signals over the predicted band; each group is joined by itself.
/// `y` is the range of the signal, `starts` marks where groups begin.
pub(super) fn bands(
    frame: Frame,
    groups: &[Vec<Prediction>],
    x: Option<(f64, f64)>,
    y: (f64, f64),
    starts: &[(f64, String)],
) -> String {
    let mut plots = Vec::new();
    for group in groups {
        let shown: Vec<&Prediction> =
            group.iter().filter(|p| [p.x, p.q05, p.q95].iter().all(|v| v.is_finite())).collect();
        plots.push(
            BandPlot::new(
                shown.iter().map(|p| p.x).collect::<Vec<f64>>(),
                shown.iter().map(|p| p.q05).collect::<Vec<f64>>(),
                shown.iter().map(|p| p.q95).collect::<Vec<f64>>(),
            )
            .with_color(BLUE)
            .with_opacity(0.22)
            .into(),
        );
        let median: Vec<(f64, f64)> = group.iter().map(|p| (p.x, p.median)).collect();
        plots.push(line(&median, BLUE, 1.6, None));
    }
    for group in groups {
        let measured: Vec<(f64, f64)> = group.iter().map(|p| (p.x, p.measured)).collect();
        plots.push(points_of(&measured, INK, 2.2, 0.9, MarkerShape::Circle));
    }
    let x = x.unwrap_or_else(|| span(groups.iter().flatten().map(|p| p.x), 0.02));
    render(frame, x, y, plots, group_marks(starts), Vec::new())
}

/// Standardised residuals of each group in its colour, with the 95 % lines of
/// N(0, 1).
pub(super) fn residuals(
    frame: Frame,
    groups: &[Vec<(f64, f64)>],
    starts: &[(f64, String)],
) -> String {
    let all = || groups.iter().flatten().copied();
    let y = symmetric(all().map(|p| p.1), 3.2);
    let plots = groups.iter().enumerate().map(|(g, points)| {
        points_of(points, CYCLE[g % CYCLE.len()], 2.6, 0.9, MarkerShape::Circle)
    });
    let mut marks = vec![
        level(0.0, INK, 1.0, "0"),
        level(1.96, GREY, 1.2, "6 4"),
        level(-1.96, GREY, 1.2, "6 4"),
    ];
    marks.extend(group_marks(starts));
    render(frame, span(all().map(|p| p.0), 0.02), y, plots.collect(), marks, Vec::new())
}

/// Histogram of standardised residuals with the density of N(0, 1).
pub(super) fn against_normal(frame: Frame, values: &[f64]) -> String {
    let x = symmetric(values.iter().copied(), 3.6);
    let bins = density(values, Some(0.5));
    let normal: Vec<(f64, f64)> = (0..=120)
        .map(|i| x.0 + (x.1 - x.0) * f64::from(i) / 120.0)
        .map(|t| (t, (-0.5 * t * t).exp() / std::f64::consts::TAU.sqrt()))
        .collect();
    let top = bins.iter().fold(0.4, |m: f64, b| m.max(b.2));
    let plots = vec![staircase(&bins, BLUE), line(&normal, INK, 1.8, None)];
    render(frame, x, (0.0, top * 1.06), plots, Vec::new(), Vec::new())
}

/// Estimates against truths with the line of equality; `bars` are truth, 5 % and
/// 95 % quantile.
pub(super) fn against_truth(
    frame: Frame,
    points: &[(f64, f64)],
    bars: &[(f64, f64, f64)],
) -> String {
    let both = points.iter().flat_map(|p| [p.0, p.1]).chain(bars.iter().flat_map(|b| [b.1, b.2]));
    let range = span(both, 0.04);
    let mut plots = vec![line(&[(range.0, range.0), (range.1, range.1)], RED, 1.6, None)];
    plots.extend(bars.iter().map(|b| line(&[(b.0, b.1), (b.0, b.2)], "#7fb4d6", 1.0, None)));
    plots.push(points_of(points, BLUE, 2.2, 0.75, MarkerShape::Circle));
    render(frame, range, range, plots, Vec::new(), Vec::new())
}

/// The distribution function of ranks less the uniform one, over its band (x, low, high).
pub(super) fn ecdf_difference(
    frame: Frame,
    points: &[(f64, f64)],
    band: &[(f64, f64, f64)],
) -> String {
    let reach = points.iter().map(|p| p.1).chain(band.iter().flat_map(|b| [b.1, b.2]));
    let y = symmetric(reach, 1e-3);
    let area = BandPlot::new(
        band.iter().map(|b| b.0).collect::<Vec<f64>>(),
        band.iter().map(|b| b.1).collect::<Vec<f64>>(),
        band.iter().map(|b| b.2).collect::<Vec<f64>>(),
    )
    .with_color(GREY)
    .with_opacity(0.22);
    let plots = vec![area.into(), line(points, BLUE, 1.8, None)];
    render(frame, (0.0, 1.0), y, plots, vec![level(0.0, INK, 1.0, "0")], Vec::new())
}

/// A histogram of ranks (from, to, count) with the count of uniform ones.
pub(super) fn rank_histogram(frame: Frame, bins: &[(f64, f64, f64)], expected: f64) -> String {
    let top = bins.iter().fold(expected, |m: f64, b| m.max(b.2));
    let x = (0.0, bins.last().map_or(1.0, |b| b.1));
    let mark = level(expected, INK, 1.2, "6 4");
    render(frame, x, (0.0, 1.06 * top), vec![staircase(bins, BLUE)], vec![mark], Vec::new())
}

/// Gives the clip paths of a finished page numbers that depend on the page alone
/// (the plot crate counts through the whole process).
pub(super) fn renumbered(page: &str) -> String {
    const STEM: &str = "kuva-clip-";
    let mut out = String::with_capacity(page.len());
    let mut seen: Vec<&str> = Vec::new();
    let mut rest = page;
    while let Some(at) = rest.find(STEM) {
        let (before, tail) = rest.split_at(at);
        let tail = &tail[STEM.len()..];
        let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (old, after) = tail.split_at(end);
        let new = seen.iter().rposition(|s| *s == old).unwrap_or_else(|| {
            seen.push(old);
            seen.len() - 1
        });
        out.push_str(before);
        out.push_str(&format!("clip-{new}"));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The finite range of the values, widened by a share on both sides.
fn span(values: impl Iterator<Item = f64>, share: f64) -> (f64, f64) {
    let (low, high) = values
        .filter(|v| v.is_finite())
        .fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return (0.0, 1.0);
    }
    let extra = if high > low { share * (high - low) } else { (0.05 * low.abs()).max(1e-6) };
    (low - extra, high + extra)
}

fn symmetric(values: impl Iterator<Item = f64>, least: f64) -> (f64, f64) {
    let furthest = values.filter(|v| v.is_finite()).fold(least, |m, v| m.max(1.12 * v.abs()));
    (-furthest, furthest)
}

fn line(points: &[(f64, f64)], colour: &str, width: f64, dash: Option<&str>) -> Plot {
    let shown: Vec<(f64, f64)> =
        points.iter().copied().filter(|p| p.0.is_finite() && p.1.is_finite()).collect();
    let mut plot = LinePlot::new().with_data(shown).with_color(colour).with_stroke_width(width);
    if let Some(dash) = dash {
        plot = plot.with_line_style(kuva::plot::LineStyle::Custom(dash.into()));
    }
    plot.into()
}

fn staircase(bins: &[(f64, f64, f64)], colour: &str) -> Plot {
    let mut points = Vec::with_capacity(bins.len() + 2);
    if let (Some(first), Some(last)) = (bins.first(), bins.last()) {
        points.push((first.0, 0.0));
        points.extend(bins.iter().map(|b| (b.0, b.2)));
        points.push((last.1, 0.0));
    }
    LinePlot::new()
        .with_data(points)
        .with_color(colour)
        .with_stroke_width(1.2)
        .with_step()
        .with_fill()
        .with_fill_opacity(0.35)
        .into()
}

fn points_of(
    points: &[(f64, f64)],
    colour: &str,
    size: f64,
    opacity: f64,
    marker: MarkerShape,
) -> Plot {
    let shown: Vec<(f64, f64)> =
        points.iter().copied().filter(|p| p.0.is_finite() && p.1.is_finite()).collect();
    ScatterPlot::new()
        .with_data(shown)
        .with_color(colour)
        .with_size(size)
        .with_marker(marker)
        .with_marker_opacity(opacity)
        .into()
}

fn upright(x: f64, colour: &str, width: f64, dash: &str) -> ReferenceLine {
    ReferenceLine::vertical(x).with_color(colour).with_stroke_width(width).with_dasharray(dash)
}

fn level(y: f64, colour: &str, width: f64, dash: &str) -> ReferenceLine {
    ReferenceLine::horizontal(y).with_color(colour).with_stroke_width(width).with_dasharray(dash)
}

fn group_marks(starts: &[(f64, String)]) -> Vec<ReferenceLine> {
    let mark = |(x, label): &(f64, String)| {
        let line = upright(*x, "#b5b5b5", 1.0, "0");
        if label.is_empty() { line } else { line.with_label(plain(label)) }
    };
    starts.iter().map(mark).collect()
}

/// The crate sets text between two dollar signs as mathematics; these are names.
fn plain(label: &str) -> String {
    label.replace('$', "\\$")
}

fn axis(low: f64, high: f64, count: f64) -> (f64, TickFormat) {
    let step = tick_step(low, high, count);
    (step, TickFormat::Custom(Arc::new(move |v| tick_text(v, step))))
}

fn render(
    frame: Frame,
    x: (f64, f64),
    y: (f64, f64),
    plots: Vec<Plot>,
    lines: Vec<ReferenceLine>,
    regions: Vec<ShadedRegion>,
) -> String {
    let y = if y.1 > y.0 && y.0.is_finite() && y.1.is_finite() { y } else { (0.0, 1.0) };
    let (x_step, x_text) = axis(x.0, x.1, (frame.width / 75.0).clamp(3.0, 10.0));
    let (y_step, y_text) = axis(y.0, y.1, (frame.height / 50.0).clamp(3.0, 6.0));
    let theme = Theme {
        grid_color: "#ececec".into(),
        axis_color: "#444444".into(),
        tick_color: "#444444".into(),
        text_color: INK.into(),
        ..Theme::light()
    };
    let mut layout = Layout::new(x, y)
        .with_width(frame.width)
        .with_height(frame.height)
        .with_x_axis_min(x.0)
        .with_x_axis_max(x.1)
        .with_y_axis_min(y.0)
        .with_y_axis_max(y.1)
        .with_x_tick_step(x_step)
        .with_y_tick_step(y_step)
        .with_x_tick_format(x_text)
        .with_y_tick_format(y_text)
        .with_x_label(plain(frame.x))
        .with_y_label(plain(frame.y))
        .with_label_size(13)
        .with_tick_size(12)
        .with_theme(theme);
    for line in lines {
        layout = layout.with_reference_line(line);
    }
    for region in regions {
        layout = layout.with_shaded_region(region);
    }
    inline(&kuva::render_to_svg(plots, layout), frame)
}

/// Turns a stand-alone SVG into one that scales inside a page.
fn inline(svg: &str, frame: Frame) -> String {
    let body = svg.find('>').map_or("", |end| &svg[end + 1..]);
    let body = match (body.find("<!--"), body.find("-->")) {
        (Some(from), Some(to)) if from < to => [&body[..from], &body[to + 3..]].concat(),
        _ => body.to_string(),
    };
    format!(
        "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">{body}",
        frame.width,
        frame.height,
        escape(frame.alt)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame =
        Frame { width: 300.0, height: 200.0, x: "x <$a$> (mm)", y: "y", alt: "a \"plot\"" };

    #[test]
    fn palettes_are_those_of_their_names() {
        let viridis = palette(Palette::Viridis);
        assert_eq!((viridis.len(), viridis[0], viridis[254]), (255, [68, 1, 84], [253, 231, 37]));
    }

    #[test]
    fn plots_hold_no_reference_and_escape_labels() {
        let svg = histogram(FRAME, &[1.0, 2.0, f64::NAN, 4.0]);
        assert!(
            svg.starts_with("<svg viewBox=\"0 0 300 200\"") && svg.ends_with("</svg>"),
            "{svg}"
        );
        assert!(svg.contains("x &lt;$a$&gt; (mm)") && svg.contains("a &quot;plot&quot;"), "{svg}");
        assert!(!svg.contains("http") && !svg.contains("NaN"));
    }

    #[test]
    fn nothing_is_drawn_without_panic() {
        for svg in [
            histogram(FRAME, &[]),
            marginal(FRAME, &[], (&[], &[]), (f64::NAN, f64::NAN), Some(f64::NAN)),
            trace(FRAME, &[], 0, None),
            pair(FRAME, &[Vec::new()], None),
            cloud(FRAME, &[(f64::INFINITY, 1.0)], true),
            bands(FRAME, &[Vec::new()], None, (f64::NAN, 1.0), &[]),
            residuals(FRAME, &[], &[]),
            against_normal(FRAME, &[f64::NAN]),
            against_truth(FRAME, &[], &[]),
            ecdf_difference(FRAME, &[], &[]),
            rank_histogram(FRAME, &[], 0.0),
        ] {
            assert!(svg.ends_with("</svg>"));
        }
    }

    #[test]
    fn clip_paths_are_counted_from_zero() {
        let page = "id=\"kuva-clip-31\" url(#kuva-clip-31) id=\"kuva-clip-40\"";
        assert_eq!(renumbered(page), "id=\"clip-0\" url(#clip-0) id=\"clip-1\"");
    }
}

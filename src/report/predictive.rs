//! The section on prediction: would this posterior have produced these signals?
//!
//! Validated by `tests.rs`.

use super::data::Predictive;
use super::plot::{self, BLUE, CYCLE, Frame, GREY, INK, Prediction};
use super::text::{Mark, decimals, escape, figure, key, panel, per_cent};

/// More shells than this are drawn in one plot by order.
const MOST_SHELLS: usize = 9;

/// The section on prediction; empty without measurements.
pub(super) fn section(p: &Predictive) -> String {
    let count = [p.measured.len(), p.median.len(), p.q05.len(), p.q95.len(), p.shell.len()]
        .into_iter()
        .min()
        .unwrap_or(0);
    if count == 0 {
        return String::new();
    }
    // By shell, then in the order of the measurements.
    let shells = p
        .shell
        .iter()
        .take(count)
        .max()
        .map_or(0, |s| s.saturating_add(1))
        .min(count.max(p.shell_labels.len()));
    let members: Vec<Vec<usize>> =
        (0..shells).map(|s| (0..count).filter(|m| p.shell[*m] == s).collect()).collect();
    let at = |m: usize, x: f64| Prediction {
        x,
        measured: p.measured[m],
        median: p.median[m],
        q05: p.q05[m],
        q95: p.q95[m],
    };
    let range = signal_range(p, count);
    let signal = if p.signal_unit.is_empty() {
        "signal (a.u.)".into()
    } else {
        format!("signal ({})", p.signal_unit)
    };

    let cosine = |m: usize| p.cosine.get(m).copied().filter(|c| c.is_finite()).map(f64::abs);
    let directed: Vec<usize> = (0..shells)
        .filter(|s| members[*s].iter().filter(|m| cosine(**m).is_some()).count() > 1)
        .collect();
    let by_cosine = !directed.is_empty() && directed.len() <= MOST_SHELLS;

    let mut panels = key(&[
        (Mark::Point, INK, "measured".into()),
        (Mark::Line, BLUE, "predicted median".into()),
        (Mark::Fill, "#bfd9ea", "90 % band of new measurements".into()),
    ]);
    let (order, starts) = ordered(p, &members, count);
    if by_cosine {
        let width = if directed.len() < 3 { "half" } else { "third" };
        for s in &directed {
            let mut group: Vec<Prediction> =
                members[*s].iter().filter_map(|m| cosine(*m).map(|c| at(*m, c))).collect();
            group.sort_by(|a, b| a.x.total_cmp(&b.x));
            let label = label(p, *s);
            let frame = Frame {
                width: if directed.len() < 3 { 500.0 } else { 360.0 },
                height: 260.0,
                x: "|g·µ| (cosine to the fibre)",
                y: &signal,
                alt: &format!("measured and predicted signal against |g·µ|, {label}"),
            };
            panels.push_str(&panel(
                width,
                &label,
                &plot::bands(frame, &[group], Some((0.0, 1.0)), range, &[]),
            ));
        }
    } else {
        let mut next = 0.0;
        let mut groups: Vec<Vec<Prediction>> = Vec::with_capacity(shells);
        for list in &members {
            let mut group: Vec<Prediction> = list.iter().map(|m| at(*m, 0.0)).collect();
            group.sort_by(|a, b| a.median.total_cmp(&b.median));
            for p in &mut group {
                p.x = next;
                next += 1.0;
            }
            groups.push(group);
        }
        let frame = Frame {
            width: 1080.0,
            height: 320.0,
            x: "measurement, by shell and predicted signal",
            y: &signal,
            alt: "measured and predicted signal by measurement",
        };
        panels.push_str(&panel("full", "", &plot::bands(frame, &groups, None, range, &starts)));
    }
    let outside = (0..count).filter(|m| !(p.q05[*m]..=p.q95[*m]).contains(&p.measured[*m])).count();
    let left_out = if by_cosine && directed.len() < shells {
        " Shells without gradient directions are left out here."
    } else {
        ""
    };
    let mut out = figure(
        "",
        &panels,
        &format!(
            "<b>Predicted and measured signal of {}.</b> The points should scatter about the line, with one in ten outside \
             the band; {outside} of {count} ({}) are outside. Points that leave the band together, at one end or in one \
             shell, show what the model can't describe.{left_out}",
            escape(&p.label),
            per_cent(outside, count)
        ),
    );
    out.push_str(&residuals(p, &order, &starts));
    out
}

type Order = Vec<Vec<(f64, usize)>>;

/// Positions of the measurements by shell, and where each shell starts, named
/// where there is room.
fn ordered(p: &Predictive, members: &[Vec<usize>], count: usize) -> (Order, Vec<(f64, String)>) {
    let mut next = 0usize;
    let mut order = Vec::with_capacity(members.len());
    let mut starts = Vec::new();
    for (s, list) in members.iter().enumerate() {
        if !list.is_empty() {
            let roomy = list.len() * 100 >= count * (label(p, s).chars().count() * 5 / 4 + 1);
            starts.push((next as f64 - 0.5, if roomy { label(p, s) } else { String::new() }));
        }
        order.push(list.iter().enumerate().map(|(i, m)| ((next + i) as f64, *m)).collect());
        next += list.len();
    }
    (order, starts)
}

fn label(p: &Predictive, shell: usize) -> String {
    p.shell_labels.get(shell).cloned().unwrap_or_else(|| format!("shell {}", shell + 1))
}

fn signal_range(p: &Predictive, count: usize) -> (f64, f64) {
    let all = [&p.measured, &p.q05, &p.q95];
    let values = all.iter().flat_map(|v| v.iter().take(count)).copied().filter(|v| v.is_finite());
    let (low, high) = values.fold((0.0f64, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    let extra = 0.05 * (high - low);
    (if low < 0.0 { low - extra } else { 0.0 }, high + extra)
}

fn residuals(p: &Predictive, order: &Order, starts: &[(f64, String)]) -> String {
    let finite: Vec<f64> = p.residual.iter().copied().filter(|r| r.is_finite()).collect();
    if finite.is_empty() {
        return String::new();
    }
    let groups: Vec<Vec<(f64, f64)>> = order
        .iter()
        .map(|g| g.iter().filter_map(|(x, m)| p.residual.get(*m).map(|r| (*x, *r))).collect())
        .collect();
    let n = finite.len() as f64;
    let mean = finite.iter().sum::<f64>() / n;
    let sd = (finite.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0)).sqrt();
    let beyond = finite.iter().filter(|r| r.abs() > 1.96).count();

    let mut entries: Vec<(Mark, &str, String)> = Vec::new();
    if groups.len() <= CYCLE.len() {
        entries.extend(
            (0..groups.len())
                .filter(|g| !groups[*g].is_empty())
                .map(|g| (Mark::Point, CYCLE[g % CYCLE.len()], label(p, g))),
        );
    }
    entries.push((Mark::Dash, GREY, "±1.96".into()));
    entries.push((Mark::Line, INK, "N(0, 1) on the right".into()));
    let frame = Frame {
        width: 680.0,
        height: 280.0,
        x: "measurement, by shell",
        y: "standardised residual",
        alt: "standardised residuals by measurement",
    };
    let left = plot::residuals(frame, &groups, starts);
    let frame = Frame {
        width: 400.0,
        x: "standardised residual",
        y: "density",
        alt: "histogram of standardised residuals with the standard normal density",
        ..frame
    };
    let right = plot::against_normal(frame, &finite);
    figure(
        "",
        &(key(&entries)
            + "<div class=\"panels\">"
            + &panel("wide", "", &left)
            + &panel("third", "", &right)
            + "</div>"),
        &format!(
            "<b>Residuals.</b> (Measured − predicted) / noise sd has mean {} and sd {} (0 and 1 for a true model), and {} of {} \
             ({}) lie beyond ±1.96 (5 % expected). A shell that sits above or below zero, or a histogram wider than the \
             curve, says that the model or the noise level is wrong.",
            decimals(mean, 2),
            decimals(sd, 2),
            beyond,
            finite.len(),
            per_cent(beyond, finite.len())
        ),
    )
}

//! The section on truth: estimates against what a phantom was made of.
//!
//! The coverage of 90 % intervals over $n$ voxels is binomial, so for a
//! calibrated posterior it lies within $0.9 \pm 1.96\sqrt{0.09/n}$ in 95 of 100
//! runs. Validated by `coverage_counts_intervals` below.

use super::data::TruthComparison;
use super::plot::{self, BLUE, Frame, RED};
use super::text::{Mark, escape, figure, key, number, panel, table, unit_cell, with_unit};

/// Voxels drawn with their interval.
const MOST_BARS: usize = 100;
/// Voxels drawn as a point where intervals are not known.
const MOST_POINTS: usize = 500;

/// The section on truth; empty where no truth is known.
pub(super) fn section(comparisons: &[TruthComparison]) -> String {
    if comparisons.is_empty() {
        return String::new();
    }
    let mut panels = key(&[
        (Mark::Point, BLUE, "a voxel, with its 90 % interval".into()),
        (Mark::Line, RED, "estimate = truth".into()),
    ]);
    let mut rows = Vec::new();
    let mut thinned = false;
    for c in comparisons {
        let voxels = finite(c);
        let most = if c.q05.is_empty() { MOST_POINTS } else { MOST_BARS };
        let step = voxels.len().div_ceil(most).max(1);
        thinned |= step > 1;
        let shown: Vec<usize> = voxels.iter().copied().step_by(step).collect();
        let points: Vec<(f64, f64)> = shown.iter().map(|v| (c.truth[*v], c.estimate[*v])).collect();
        let bars: Vec<(f64, f64, f64)> = shown
            .iter()
            .filter_map(|v| Some((c.truth[*v], *c.q05.get(*v)?, *c.q95.get(*v)?)))
            .collect();
        let label = with_unit(&c.name, &c.unit);
        let frame = Frame {
            width: 360.0,
            height: 340.0,
            x: &format!("true {label}"),
            y: &format!("estimated {label}"),
            alt: &format!("estimated against true {}", c.name),
        };
        panels.push_str(&panel("third", "", &plot::against_truth(frame, &points, &bars)));
        rows.push(row(c, &voxels));
    }
    let subset = if thinned {
        " An even subset of the voxels is drawn; the table counts all of them."
    } else {
        ""
    };
    let caption = format!(
        "<b>Estimates against the known truth.</b> Each point should lie on the line to within its bar. Points on a \
         horizontal line have followed the prior instead of the data, and bars that miss the line too often promise \
         too much.{subset}"
    );
    let head = [
        "parameter",
        "unit",
        "voxels",
        "median absolute error",
        "bias",
        "coverage of 90 % intervals",
        "expected coverage",
    ];
    let note = "<p class=\"note\">Expected coverage: where 95 of 100 calibrated runs of this many independent voxels would \
                lie. Bias is the mean of estimate minus truth.</p>\n";
    figure("", &panels, &caption) + &table(&head, &rows) + note
}

fn finite(c: &TruthComparison) -> Vec<usize> {
    let n = c.truth.len().min(c.estimate.len());
    (0..n).filter(|v| c.truth[*v].is_finite() && c.estimate[*v].is_finite()).collect()
}

fn row(c: &TruthComparison, voxels: &[usize]) -> Vec<String> {
    let n = voxels.len();
    let mut errors: Vec<f64> =
        voxels.iter().map(|v| (c.estimate[*v] - c.truth[*v]).abs()).collect();
    errors.sort_by(f64::total_cmp);
    let median = match n {
        0 => f64::NAN,
        _ => 0.5 * (errors[(n - 1) / 2] + errors[n / 2]),
    };
    let bias = voxels.iter().map(|v| c.estimate[*v] - c.truth[*v]).sum::<f64>() / n as f64;
    let (coverage, expected) = match coverage(c, voxels) {
        Some((share, n)) => {
            let half = 1.96 * (0.09 / n as f64).sqrt();
            let (low, high) = (0.9 - half, (0.9 + half).min(1.0));
            (
                format!("{:.0}\u{202f}%", 100.0 * share),
                format!("{:.0} to {:.0}\u{202f}%", 100.0 * low.max(0.0), 100.0 * high),
            )
        }
        None => ("–".into(), "–".into()),
    };
    vec![
        escape(&c.name),
        unit_cell(&c.unit),
        n.to_string(),
        number(median),
        number(bias),
        coverage,
        expected,
    ]
}

/// Share of voxels whose interval holds the truth, and how many have one.
fn coverage(c: &TruthComparison, voxels: &[usize]) -> Option<(f64, usize)> {
    let known: Vec<bool> = voxels
        .iter()
        .filter_map(|v| {
            let (low, high) = (*c.q05.get(*v)?, *c.q95.get(*v)?);
            (low.is_finite() && high.is_finite())
                .then_some(low <= c.truth[*v] && c.truth[*v] <= high)
        })
        .collect();
    let hits = known.iter().filter(|k| **k).count();
    (!known.is_empty()).then_some((hits as f64 / known.len() as f64, known.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_counts_intervals() {
        let c = TruthComparison {
            truth: vec![1.0, 2.0, 3.0, f64::NAN],
            estimate: vec![1.5, 2.0, 2.0, 1.0],
            q05: vec![0.5, 1.0, 1.0, 0.0],
            q95: vec![2.0, 3.0, 2.5, 1.0],
            ..TruthComparison::default()
        };
        let voxels = finite(&c);
        assert_eq!(voxels, [0, 1, 2]);
        assert_eq!(coverage(&c, &voxels), Some((2.0 / 3.0, 3)));
        assert_eq!(row(&c, &voxels)[3], "0.500");
    }
}

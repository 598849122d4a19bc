//! The section on one voxel: marginal posteriors, traces and a pair of
//! parameters.
//!
//! Validated by `correlation_of_a_line_is_one` below and by `tests.rs`.

use super::data::{VoxelParameter, VoxelPosterior};
use super::plot::{self, CYCLE, Frame, GREY, RED};
use super::text::{
    Mark, counted, decimals, escape, figure, key, number, panel, unit_after, with_unit,
};

/// Draws of one chain in a trace.
const MOST_DRAWS: usize = 400;
/// Points in the scatter plot of two parameters, over all chains.
const MOST_POINTS: usize = 1200;

/// The section on one voxel.
pub(super) fn section(voxel: &VoxelPosterior) -> String {
    let chains = voxel.parameters.iter().map(|p| p.chains.len()).max().unwrap_or(0);
    let step = voxel.parameters.iter().map(thinning).max().unwrap_or(1);
    let truth_known = voxel.parameters.iter().any(|p| known(p).is_some());
    let prior_known = voxel.parameters.iter().any(|p| !p.prior_x.is_empty());

    let mut entries = vec![(
        Mark::Fill,
        plot::BLUE,
        "posterior draws, with their 90 % interval shaded".to_string(),
    )];
    if prior_known {
        entries.push((Mark::Dash, GREY, "prior".to_string()));
    }
    if truth_known {
        entries.push((Mark::Line, RED, "truth".to_string()));
    }
    let shown = chains.min(CYCLE.len());
    entries.extend((0..shown).map(|c| (Mark::Line, CYCLE[c], format!("chain {}", c + 1))));

    let mut panels = key(&entries);
    for parameter in &voxel.parameters {
        panels.push_str(&row(parameter, step));
    }
    let mut caption = format!(
        "<b>Posterior of {}.</b> Left: what is known of each parameter after the data",
        escape(&voxel.label)
    );
    caption.push_str(if prior_known {
        ", over what was assumed before; where both curves have the same shape the data added nothing."
    } else {
        "."
    });
    if truth_known {
        caption.push_str(" The truth should lie within the shaded interval nine times out of ten.");
    }
    caption.push_str(&match chains {
        0 => " There are no draws to show.".into(),
        1 => " Right: the draws in order. There is one chain only, so its agreement with others can't be judged.".into(),
        _ => format!(
            " Right: the draws of {chains} chains in order; all of them should cover the same band without drift, steps or flat stretches."
        ),
    });
    if step > 1 {
        caption.push_str(&format!(" The traces show one draw in {step}."));
    }
    let mut out = figure("", &panels, &caption);
    if let Some((a, b)) = voxel.pair
        && let (Some(a), Some(b)) = (voxel.parameters.get(a), voxel.parameters.get(b))
    {
        out.push_str(&pair(a, b));
    }
    out
}

fn known(parameter: &VoxelParameter) -> Option<f64> {
    parameter.truth.filter(|t| t.is_finite())
}

fn thinning(parameter: &VoxelParameter) -> usize {
    parameter.chains.iter().map(Vec::len).max().unwrap_or(0).div_ceil(MOST_DRAWS).max(1)
}

fn row(p: &VoxelParameter, step: usize) -> String {
    let label = with_unit(&p.name, &p.unit);
    let unit = escape(&unit_after(&p.unit));
    let mut numbers = format!(
        "mean {}, sd {}, 90 % interval {} to {}{unit}; R-hat {}, effective sample size {}",
        number(p.mean),
        number(p.sd),
        number(p.q05),
        number(p.q95),
        decimals(p.rhat, 3),
        decimals(p.ess_bulk, 0),
    );
    if let Some(truth) = known(p) {
        let inside = if (p.q05..=p.q95).contains(&truth) { "inside" } else { "outside" };
        numbers.push_str(&format!("; truth {}{unit}, {inside} the interval", number(truth)));
    }
    let draws: Vec<f64> = p.chains.iter().flatten().copied().collect();
    let density =
        if p.unit.is_empty() { "density".to_string() } else { format!("density (1/({}))", p.unit) };
    let frame = Frame {
        width: 400.0,
        height: 230.0,
        x: &label,
        y: &density,
        alt: &format!("marginal posterior of {}", p.name),
    };
    let left =
        plot::marginal(frame, &draws, (&p.prior_x, &p.prior_density), (p.q05, p.q95), known(p));
    let frame = Frame {
        width: 680.0,
        x: "draw",
        y: if label.chars().count() > 22 { &p.name } else { &label },
        alt: &format!("trace of {}", p.name),
        ..frame
    };
    let right = plot::trace(frame, &p.chains, step, known(p));
    format!(
        "<div class=\"row\"><h4>{}</h4><p class=\"numbers\">{numbers}.</p><div class=\"panels\">{}{}</div></div>",
        escape(&label),
        panel("third", "", &left),
        panel("wide", "", &right)
    )
}

fn pair(a: &VoxelParameter, b: &VoxelParameter) -> String {
    let total: usize = a.chains.iter().map(Vec::len).sum();
    let step = total.div_ceil(MOST_POINTS).max(1);
    let joined: Vec<Vec<(f64, f64)>> = a
        .chains
        .iter()
        .zip(&b.chains)
        .map(|(x, y)| x.iter().copied().zip(y.iter().copied()).collect())
        .collect();
    let shown: Vec<Vec<(f64, f64)>> =
        joined.iter().map(|c| c.iter().copied().step_by(step).collect()).collect();
    let frame = Frame {
        width: 520.0,
        height: 380.0,
        x: &with_unit(&a.name, &a.unit),
        y: &with_unit(&b.name, &b.unit),
        alt: &format!("draws of {} against {}", b.name, a.name),
    };
    let drawing = plot::pair(frame, &shown, known(a).zip(known(b)));
    let mut entries: Vec<(Mark, &str, String)> = (0..shown.len().min(CYCLE.len()))
        .map(|c| (Mark::Point, CYCLE[c], format!("chain {}", c + 1)))
        .collect();
    if known(a).is_some() && known(b).is_some() {
        entries.push((Mark::Dash, RED, "truth".into()));
    }
    let r = correlation(joined.iter().flatten());
    let strength = if r.is_finite() {
        format!(
            " Their correlation is {}{}.",
            decimals(r, 2),
            if r.abs() > 0.8 {
                ", so the data fix a combination of the two far better than either"
            } else {
                ""
            }
        )
    } else {
        String::new()
    };
    let (name_a, name_b) = (escape(&a.name), escape(&b.name));
    let thinned = if step > 1 {
        format!(
            " The plot shows one draw in {step}, {} in all.",
            counted(total.div_ceil(step), "point")
        )
    } else {
        String::new()
    };
    figure(
        "beside",
        &(key(&entries) + &panel("full", "", &drawing)),
        &format!(
            "<b>{name_a} against {name_b}.</b> A narrow slanted ridge means that one can be traded for the other; separate \
             clouds mean that more than one explanation fits.{strength}{thinned}"
        ),
    )
}

fn correlation<'a>(points: impl Iterator<Item = &'a (f64, f64)> + Clone) -> f64 {
    let finite = points.filter(|p| p.0.is_finite() && p.1.is_finite());
    let n = finite.clone().count() as f64;
    let (sx, sy) = finite.clone().fold((0.0, 0.0), |s, p| (s.0 + p.0, s.1 + p.1));
    let (mx, my) = (sx / n, sy / n);
    let (xx, yy, xy) = finite.fold((0.0, 0.0, 0.0), |s, p| {
        let (x, y) = (p.0 - mx, p.1 - my);
        (s.0 + x * x, s.1 + y * y, s.2 + x * y)
    });
    xy / (xx * yy).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlation_of_a_line_is_one() {
        let points = [(0.0, 1.0), (1.0, 3.0), (f64::NAN, 0.0), (2.0, 5.0)];
        assert!((correlation(points.iter()) - 1.0).abs() < 1e-12);
        assert!(correlation([(1.0, 1.0)].iter()).is_nan());
    }
}

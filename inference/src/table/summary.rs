//! `summary.parquet`: one row a (voxel, parameter).
//!
//! Axes are axial: draws are signed by the principal eigenvector $m$ of
//! $E[\mu\mu^T]$, and instead of $\mu$ the summary has
//!
//! | row | |
//! |---|---|
//! | `<c>.mu_axis_x/y/z` | $m$ |
//! | `<c>.mu_cone90_deg` | half-angle of the axial cap about $m$ that holds 90 % of the draws |
//! | `<c>.mu_dispersion` | 1 - largest eigenvalue of $E[\mu\mu^T]$ |
//!
//! with R-hat and effective sample sizes of the worst $\mu_i\mu_j$. Draws of importance weights
//! and of a normal density are independent by their making: their effective size is that of the
//! weights, standard errors are those of so many independent draws, and R-hat, of rows that
//! are no chains, says nothing. `contraction`
//! is the prior over the posterior standard deviation (for the cone: the 84.26°
//! that hold 90 % of the half sphere over the cone): near 1 the prior speaks, not
//! the data.
//!
//! The rows of a voxel repeat what is known of its draws: `ebfmi` (the smallest of the
//! chains), `divergences`, `max_depth_hits` (draws whose trajectory was as long as
//! allowed), `status`, and `trust`, the verdict of [`Evidence::trusted`].
//!
//! Source: Mardia & Jupp 2000, *Directional Statistics*, ch. 10 (axial data).

use super::{Columns, SIGNAL_UNIT};
use crate::InferenceError;
use crate::diagnostics::{
    Chains, Doubt, Evidence, Independent, Summary, Workspace, ebfmi, summarize,
    summarize_independent, summarize_without_errors,
};
use crate::fit::Status;
use crate::sample::VoxelPosterior;
use arrow_array::RecordBatch;
use microtome_kernels::eigen::eigen_3x3;
use microtome_models::{FreeKind, Model, SampleMethod, VoxelBatch};

/// One row of the summary.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    parameter: String,
    unit: &'static str,
    pub(crate) summary: Summary,
    contraction: f64,
}

fn constant(value: f64, like: &Summary) -> Summary {
    Summary {
        mean: value,
        q50: value,
        rhat: like.rhat,
        ess_bulk: like.ess_bulk,
        ess_tail: like.ess_tail,
        ..Summary::MISSING
    }
}

/// Signs the axes of the draws of a voxel and summarises it.
pub(crate) fn voxel(
    model: &Model,
    posterior: &mut VoxelPosterior,
    fixed: &[f64],
    prior_sd: &[f64],
    workspace: &mut Workspace,
) -> Vec<Row> {
    let chains = posterior.traces.len();
    let draws = posterior.traces.first().map_or(0, |t| t.draws.len());
    let width = posterior.width;
    let mut rows = Vec::new();
    // Draws that no chain made have the sizes of their weights.
    let independent =
        posterior.weights.map(|w| Independent::new(w.effective, w.precision, chains * draws));
    let chains_of = |values: &[f64], of: &mut dyn FnMut(Chains<'_>) -> Summary| match Chains::new(
        values, chains, draws,
    ) {
        Ok(c) if chains > 0 => of(c),
        _ => Summary::MISSING,
    };
    let summary_of = |values: &[f64], workspace: &mut Workspace| {
        chains_of(values, &mut |c| match &independent {
            Some(of) => summarize_independent(c, of, workspace),
            None => summarize(c, workspace),
        })
    };
    // Products of the parts of an axis have no errors in the table.
    let convergence_of = |values: &[f64], workspace: &mut Workspace| {
        chains_of(values, &mut |c| match &independent {
            Some(of) => summarize_independent(c, of, workspace),
            None => summarize_without_errors(c, workspace),
        })
    };
    let free_axes: Vec<usize> =
        model.free().iter().filter(|f| f.kind == FreeKind::Axis).map(|f| f.at).collect();
    let mut axis_rows: Vec<(usize, [Summary; 5])> = Vec::new();
    for &at in &free_axes {
        axis_rows.push((at, axis(model, posterior, at, &convergence_of, workspace)));
    }
    let count = posterior.values.len() / width.max(1);
    let mut column = Vec::with_capacity(count);
    for info in model.columns() {
        if let Some((compartment, part)) = info.axis_part() {
            let Some((_, s)) =
                axis_rows.iter().find(|(at, _)| info.free_value() == Some(at + part))
            else {
                continue;
            };
            let row = |name: String, unit, summary, contraction| Row {
                parameter: name,
                unit,
                summary,
                contraction,
            };
            let axis = ["x", "y", "z"][part];
            rows.push(row(format!("{compartment}.mu_axis_{axis}"), "1", s[part], f64::NAN));
            if part == 2 {
                let prior_cone = 0.1_f64.acos().to_degrees();
                let cone = s[3];
                rows.push(row(
                    format!("{compartment}.mu_cone90_deg"),
                    "deg",
                    cone,
                    prior_cone / cone.mean,
                ));
                rows.push(row(format!("{compartment}.mu_dispersion"), "1", s[4], f64::NAN));
            }
            continue;
        }
        if info.is_constant() {
            continue;
        }
        column.clear();
        info.extend(posterior.values.chunks_exact(width.max(1)), fixed, &mut column);
        let summary = summary_of(&column, workspace);
        let prior = info.free_value().map_or(f64::NAN, |k| prior_sd[k]);
        rows.push(Row {
            parameter: info.name.clone(),
            unit: info.unit.symbol(),
            contraction: prior / summary.sd,
            summary,
        });
    }
    if width > model.values() {
        let k = model.values();
        column.clear();
        column.extend(posterior.values.chunks_exact(width).map(|x| x[k]));
        let summary = summary_of(&column, workspace);
        rows.push(Row {
            parameter: "sigma".into(),
            unit: SIGNAL_UNIT,
            contraction: prior_sd.get(k).copied().unwrap_or(f64::NAN) / summary.sd,
            summary,
        });
    }
    rows
}

/// Signs the draws of an axis; summaries of m_x, m_y, m_z, the cone and the dispersion.
fn axis(
    model: &Model,
    posterior: &mut VoxelPosterior,
    at: usize,
    summary_of: &dyn Fn(&[f64], &mut Workspace) -> Summary,
    workspace: &mut Workspace,
) -> [Summary; 5] {
    let width = posterior.width;
    let draws: Vec<[f64; 3]> =
        posterior.values.chunks_exact(width).map(|x| [x[at], x[at + 1], x[at + 2]]).collect();
    if draws.is_empty() {
        return [Summary::MISSING; 5];
    }
    let mut dyadic = [[0.0; 3]; 3];
    let mut products = Vec::with_capacity(6);
    let mut product = vec![0.0; draws.len()];
    for i in 0..3 {
        for j in i..3 {
            for (p, mu) in product.iter_mut().zip(&draws) {
                *p = mu[i] * mu[j];
            }
            let s = summary_of(&product, workspace);
            dyadic[i][j] = s.mean;
            dyadic[j][i] = s.mean;
            products.push(s);
        }
    }
    let pick = |get: fn(&Summary) -> f64, worse: fn(&f64, &f64) -> bool| {
        worst(products.iter().map(get), worse).unwrap_or(f64::NAN)
    };
    let worst = Summary {
        rhat: pick(|s| s.rhat, f64::gt),
        ess_bulk: pick(|s| s.ess_bulk, f64::lt),
        ess_tail: pick(|s| s.ess_tail, f64::lt),
        ..Summary::MISSING
    };
    let (values, vectors) = eigen_3x3(dyadic);
    let mut m = vectors[0];
    let mut x = [m[0], m[1], m[2]];
    // The sign of the fit, which has a canonical one.
    let reference: f64 = (0..3).map(|i| posterior.fit.x[at + i] * x[i]).sum();
    if reference < 0.0 {
        x = x.map(|v| -v);
        m = x;
    }
    let mut cosines = Vec::with_capacity(draws.len());
    for (values, mu) in posterior.values.chunks_exact_mut(width).zip(&draws) {
        let cosine: f64 = (0..3).map(|i| mu[i] * m[i]).sum();
        if cosine < 0.0 {
            model.flip_axis(at, values);
        }
        cosines.push(cosine.abs());
    }
    // 90 % of the draws have a larger cosine than this one.
    let at = (cosines.len() as f64 * 0.1).floor() as usize;
    let edge = *cosines.select_nth_unstable_by(at, f64::total_cmp).1;
    let cone = edge.min(1.0).acos().to_degrees();
    [
        constant(m[0], &worst),
        constant(m[1], &worst),
        constant(m[2], &worst),
        constant(cone, &worst),
        constant((1.0 - values[0]).max(0.0), &worst),
    ]
}

/// How the draws of a voxel came about, and what is to be thought of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quality {
    /// How the voxel ended.
    pub(crate) status: Status,
    method: SampleMethod,
    /// k-hat of importance weights; NaN without.
    khat: f64,
    /// Modes within six nats of the best.
    modes: usize,
    /// The smallest E-BFMI of the chains; NaN without chains.
    ebfmi: f64,
    pub(crate) divergences: u64,
    max_depth_hits: u64,
    /// The verdict of [`Evidence::trusted`].
    trust: bool,
}

/// The worst number, NaN when one of them is; `None` of no numbers.
fn worst(values: impl Iterator<Item = f64>, worse: fn(&f64, &f64) -> bool) -> Option<f64> {
    values.reduce(|a, b| if a.is_nan() || worse(&a, &b) { a } else { b })
}

/// The verdict on a voxel after its summary.
pub(crate) fn quality(posterior: &VoxelPosterior, rows: &[Row]) -> Quality {
    let traces = &posterior.traces;
    // Draws of weights or of a normal density are no chains.
    let is_chain = posterior.method == SampleMethod::Nuts;
    let khat = posterior.weights.map(|w| w.khat);
    let energies = traces.iter().filter(|_| is_chain).map(|t| {
        let energy: Vec<f64> = t.draws.iter().map(|d| d.energy).collect();
        ebfmi(&energy)
    });
    let draws = || traces.iter().flat_map(|t| &t.draws);
    let mut evidence = Evidence {
        converged: posterior.status == Status::Converged,
        // The limit of effective draws is one a chain.
        chains: if is_chain { traces.len() } else { 1 },
        draws: posterior.weights.map_or_else(|| draws().count(), |w| w.proposals),
        // One chain has no R-hat; its draws are not judged by it.
        rhat: worst(rows.iter().map(|r| r.summary.rhat), f64::gt)
            .filter(|_| is_chain && traces.len() > 1),
        ess: worst(rows.iter().flat_map(|r| [r.summary.ess_bulk, r.summary.ess_tail]), f64::lt),
        ebfmi: worst(energies, f64::lt),
        divergences: draws().filter(|d| d.diverging).count() as u64,
        khat,
    };
    let mut status = posterior.status;
    let mixed = !evidence.raises(Doubt::Rhat) && !evidence.raises(Doubt::Ebfmi);
    if status == Status::Converged && !mixed {
        status = Status::NotMixed;
        evidence.converged = false;
    }
    Quality {
        status,
        method: posterior.method,
        khat: khat.unwrap_or(f64::NAN),
        modes: posterior.modes,
        ebfmi: evidence.ebfmi.unwrap_or(f64::NAN),
        divergences: evidence.divergences,
        max_depth_hits: draws().filter(|d| d.reached_max_depth).count() as u64,
        trust: evidence.trusted(),
    }
}

/// The table of a batch.
pub(crate) fn table(
    batch: &VoxelBatch,
    rows: &[Vec<Row>],
    quality: &[Quality],
) -> Result<RecordBatch, InferenceError> {
    let times: Vec<usize> = rows.iter().map(Vec::len).collect();
    let all = || rows.iter().flatten();
    let number = |get: fn(&Row) -> f64| all().map(get).collect::<Vec<f64>>();
    let mut out = Columns::default();
    out.voxels(batch, &times);
    out.words("parameter", all().map(|r| r.parameter.as_str()));
    out.words("unit", all().map(|r| r.unit));
    out.numbers("mean", "of the parameter", number(|r| r.summary.mean));
    out.numbers("sd", "of the parameter", number(|r| r.summary.sd));
    out.numbers("q05", "of the parameter", number(|r| r.summary.q05));
    out.numbers("q50", "of the parameter", number(|r| r.summary.q50));
    out.numbers("q95", "of the parameter", number(|r| r.summary.q95));
    out.numbers("rhat", "1", number(|r| r.summary.rhat));
    out.numbers("ess_bulk", "draws", number(|r| r.summary.ess_bulk));
    out.numbers("ess_tail", "draws", number(|r| r.summary.ess_tail));
    out.numbers("mcse_mean", "of the parameter", number(|r| r.summary.mcse_mean));
    out.numbers("mcse_sd", "of the parameter", number(|r| r.summary.mcse_sd));
    out.numbers("mcse_q05", "of the parameter", number(|r| r.summary.mcse_q05));
    out.numbers("mcse_q95", "of the parameter", number(|r| r.summary.mcse_q95));
    out.numbers("contraction", "1", number(|r| r.contraction));
    let each =
        || times.iter().zip(quality).flat_map(|(&n, quality)| std::iter::repeat_n(quality, n));
    // A voxel without a posterior was sampled by no method.
    out.words("method", each().map(|q| if q.modes == 0 { "" } else { q.method.name() }));
    out.numbers("khat", "1", each().map(|q| q.khat).collect());
    out.counts("n_modes", each().map(|q| q.modes as u64));
    out.numbers("ebfmi", "1", each().map(|q| q.ebfmi).collect());
    out.counts("divergences", each().map(|q| q.divergences));
    out.counts("max_depth_hits", each().map(|q| q.max_depth_hits));
    out.flags("trust", each().map(|q| q.trust));
    out.words("status", each().map(|q| q.status.name()));
    Ok(out.finish()?)
}

//! All criteria of one voxel, from its draws.
//!
//! One pass over the draws evaluates the signals; their likelihoods serve LOO, WAIC
//! and the bridge, and every eighth draw or so a replicate. The mode is sought again
//! from the fit, which costs as much as a few dozen draws.
//!
//! Source: see the files of the parts. Validated by `tests/suite/comparison.rs`.

use super::bridge::{Bridge, bridge, laplace_evidence};
use super::exchange::Relabelling;
use super::likelihoods::Likelihoods;
use super::loo::{Loo, LooWorkspace, Waic, loo_and_waic, relative_efficiency};
use super::predictive_check::{Checker, PredictiveCheck, REPLICATES};
use crate::diagnostics::Workspace;
use crate::sample::{Laplace, VoxelPosterior};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::{Evaluator, PointwiseLikelihood, Posterior, SampleMethod, Sigma};

/// Sets the random numbers of criteria apart from those of chains of the same seed.
const SEED: u64 = 0x6372_6974_6572_6961;
const BRIDGE_STREAM: u8 = 0;
const REPLICATE_STREAM: u8 = 1;

/// How well a model describes and predicts the measurements of a voxel.
#[derive(Debug, Clone, PartialEq)]
pub struct Criteria {
    /// Leave-one-out predictive accuracy.
    pub loo: Loo,
    /// The widely applicable information criterion.
    pub waic: Waic,
    /// Marginal likelihood by bridge sampling; `None` where it can't be had.
    pub evidence: Option<Bridge>,
    /// Its logarithm by Laplace's approximation.
    pub ln_evidence_laplace: f64,
    /// Posterior predictive checks.
    pub check: PredictiveCheck,
}

/// A voxel as it was sampled.
#[derive(Debug, Clone, Copy)]
pub struct Voxel<'a> {
    /// `[measurement]`.
    pub signals: &'a [f64],
    /// The noise scale where it is known.
    pub sigma: Option<f64>,
    /// The measurements of each shell.
    pub shells: &'a [Vec<usize>],
    /// Seed of the run.
    pub seed: u64,
    /// Row in the whole input.
    pub row: u64,
}

/// Buffers of [`criteria`]. Keep one a thread.
#[derive(Debug, Default)]
pub struct CriteriaWorkspace {
    likelihoods: Likelihoods,
    loo: LooWorkspace,
    diagnostics: Workspace,
}

/// The criteria of a voxel; `None` when it has no draws or its density can't be
/// evaluated at the fit.
///
/// `evaluator` is that of the fit, with the values that are fixed a voxel set.
pub fn criteria(
    evaluator: &mut Evaluator,
    voxel: Voxel<'_>,
    draws: &VoxelPosterior,
    workspace: &mut CriteriaWorkspace,
) -> Option<Criteria> {
    // Draws without traces are those of one chain.
    let chains = draws.traces.len().max(1);
    // Draws of a normal density are not those of the posterior.
    if draws.values.is_empty() || draws.method == SampleMethod::Laplace {
        return None;
    }
    let lowered = evaluator.lowered().clone();
    let (model, plan) = (&lowered.model, &lowered.plan);
    let fit = &draws.fit;
    let noise = Sigma::of(voxel.sigma, model, fit.mean_b0).ok()?;
    let mut posterior =
        Posterior::new(evaluator, voxel.signals, noise, fit.mean_b0, &fit.x).ok()?;
    let laplace = {
        let mut centre = fit.x.clone();
        if voxel.sigma.is_none() {
            centre.push(fit.sigma);
        }
        let mut start = vec![0.0; posterior.dim()];
        posterior.chart().to_coordinates(&centre, &mut start);
        Laplace::at_mode(&mut posterior, &start)?
    };
    let likelihood = PointwiseLikelihood::new(model.noise(), voxel.signals, plan);
    let random = |stream| PhiloxRng::new(voxel.seed ^ SEED, voxel.row, stream);
    let total = draws.values.len() / draws.width.max(1);
    let stride = total.div_ceil(REPLICATES).max(1);
    let mut checker =
        Checker::new(model.noise(), plan, likelihood.y(), voxel.shells, random(REPLICATE_STREAM));
    let w = workspace;
    w.likelihoods.evaluate(&mut posterior, &likelihood, &draws.values, |draw, signal, sigma| {
        if draw % stride == 0 {
            checker.push(signal, sigma);
        }
    });
    // Draws of weights repeat each other, which their order does not show.
    let share = draws.weights.map_or(1.0, |w| (w.precision / total as f64).min(1.0));
    let efficiency =
        share * relative_efficiency(&draws.values, draws.width, chains, &mut w.diagnostics);
    let (loo, waic) =
        loo_and_waic(w.likelihoods.values(), w.likelihoods.draws(), efficiency, &mut w.loo);

    let mut relabelling = Relabelling::new(model, draws.width);
    let dim = posterior.dim();
    let mut z = vec![0.0; total * dim];
    let mut ln_density = vec![0.0; total];
    let rows = draws.values.chunks_exact(draws.width).zip(z.chunks_exact_mut(dim));
    for ((x, z), l) in rows.zip(&mut ln_density) {
        posterior.chart().exact_coordinates(x, z);
        relabelling.relabel(posterior.chart(), &laplace, x, z);
        // Relabelled or not, the likelihood is that of x.
        *l = posterior.ln_prior(z);
    }
    w.likelihoods.add_totals(&mut ln_density);
    let evidence = bridge(
        &mut posterior,
        &laplace,
        &mut relabelling,
        (&z, &ln_density),
        (chains, share),
        &mut random(BRIDGE_STREAM),
        &mut w.diagnostics,
    );
    // Where not all labellings are known, neither is their number.
    let whole = relabelling.is_whole();
    let ln_evidence_laplace =
        if whole { laplace_evidence(&laplace, relabelling.copies()) } else { f64::NAN };
    Some(Criteria {
        loo,
        waic,
        evidence: evidence.filter(|_| whole),
        ln_evidence_laplace,
        check: checker.finish(),
    })
}

//! How well an acquisition is expected to determine a model, before any data.
//!
//! $$\mathrm{sd}_\mathrm{CR} = \mathrm{median}_x\sqrt{g^TI^{-1}g},\qquad
//!   \mathrm{sd} = \sqrt{\langle g^T(I + \Lambda)^{-1}g\rangle_x}$$
//!
//! Over parameter sets $x$: the median of the bounds of Cramér and Rao (which is infinite
//! where the data alone do not determine a quantity), the median posterior standard
//! deviation, and the root of the mean posterior variance beside that of the prior. A shell matters by how much larger the posterior
//! standard deviations become without it, and by the information lost,
//! $\tfrac12\langle\ln\det(I+\Lambda) - \ln\det(I_{-s}+\Lambda)\rangle$ in nats.
//!
//! Source: as [`microtome_models::information`]. Validated by
//! `expected_sd_falls_with_the_root_of_the_measurements` and
//! `a_shell_that_is_not_needed_loses_little`, and against fits by
//! `fisher_information_is_the_covariance_of_fits`, of `tests/suite/design.rs`.

use microtome_kernels::dense::{cholesky, cholesky_inverse};
use microtome_models::information::{Experiment, InformationError};
use microtome_models::{Acquisition, ShellMeans, Unit};

/// Pivots below this share of their diagonal count as zero.
const SINGULAR: f64 = 1e-13;

/// What to expect of one quantity.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    /// The quantity; an axis is its angle.
    pub name: String,
    /// Whether it is the angle of an axis.
    pub is_axis: bool,
    /// Unit of the standard deviations; rad for axes.
    pub unit: Unit,
    /// Median of the bounds of Cramér and Rao.
    pub cramer_rao: f64,
    /// Median of the posterior standard deviations.
    pub typical: f64,
    /// Root of the mean posterior variance: what is expected before the set is known.
    pub posterior: f64,
    /// Root of the mean prior variance.
    pub prior: f64,
}

/// What to expect of one set.
#[derive(Debug, Clone, PartialEq)]
pub struct SetExpectation {
    /// Values of the quantities; `None` for axes.
    pub value: Vec<Option<f64>>,
    /// Bounds of Cramér and Rao; infinite where singular.
    pub cramer_rao: Vec<f64>,
    /// Posterior standard deviations.
    pub posterior: Vec<f64>,
    /// Prior standard deviations.
    pub prior: Vec<f64>,
}

/// What is lost without a group of measurements.
#[derive(Debug, Clone, PartialEq)]
pub struct ShellLoss {
    /// The measurements: neighbouring b-values and equal times; all b = 0 are one group.
    pub members: Vec<usize>,
    /// Mean b, ms/µm².
    pub b: f64,
    /// Posterior standard deviations without it over those with it, `[quantity]`.
    pub ratio: Vec<f64>,
    /// Information lost, nats.
    pub nats: f64,
}

/// The expectations of an experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// One a quantity.
    pub quantities: Vec<Expectation>,
    /// One a parameter set.
    pub sets: Vec<SetExpectation>,
    /// One a group of measurements.
    pub shells: Vec<ShellLoss>,
    /// Information gained over the prior, nats, the mean over sets.
    pub nats: f64,
}

/// Groups of measurements that stand or fall together.
fn groups(acquisition: &Acquisition) -> Vec<Vec<usize>> {
    let means = ShellMeans::new(acquisition);
    let b = acquisition.b_ms_per_um2();
    let (mut zero, mut out) = (Vec::new(), Vec::new());
    for members in means.members() {
        match members.first() {
            Some(&i) if b[i] <= microtome_models::B0_MAX_MS_PER_UM2 => zero.extend(members),
            _ => out.push(members.clone()),
        }
    }
    if !zero.is_empty() {
        out.insert(0, zero);
    }
    out
}

/// Covariance and ln det of a positive definite matrix.
fn invert(matrix: &[f64], n: usize) -> Option<(Vec<f64>, f64)> {
    let mut l = matrix.to_vec();
    if !cholesky(&mut l, n, SINGULAR) {
        return None;
    }
    let ln_det = 2.0 * (0..n).map(|i| l[i * n + i].ln()).sum::<f64>();
    Some((cholesky_inverse(&l, n), ln_det))
}

/// Standard deviations and ln det of the posteriors of all sets.
fn posteriors(experiment: &Experiment, information: &[Vec<f64>]) -> Vec<(Vec<f64>, f64)> {
    let one = |(set, i): (&microtome_models::information::ParameterSet, &Vec<f64>)| {
        let sum: Vec<f64> = i.iter().zip(set.prior_precision()).map(|(a, b)| a + b).collect();
        match invert(&sum, experiment.dim()) {
            Some((covariance, ln_det)) => {
                (experiment.standard_deviations(set, &covariance), ln_det)
            }
            None => (vec![f64::NAN; experiment.quantities().len()], f64::NAN),
        }
    };
    experiment.sets().iter().zip(information).map(one).collect()
}

/// Root of the mean square of one quantity.
fn rms<'a>(rows: impl Iterator<Item = &'a Vec<f64>> + Clone, k: usize) -> f64 {
    let (sum, n) = rows.fold((0.0, 0), |(sum, n), row| (sum + row[k] * row[k], n + 1));
    (sum / f64::from(n.max(1))).sqrt()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    match n {
        0 => f64::NAN,
        _ if n % 2 == 1 => values[n / 2],
        _ => 0.5 * (values[n / 2 - 1] + values[n / 2]),
    }
}

impl Expected {
    /// Judges an acquisition.
    ///
    /// # Errors
    /// An acquisition that lacks what the model needs.
    pub fn of(
        experiment: &Experiment,
        acquisition: &Acquisition,
    ) -> Result<Self, InformationError> {
        let n = experiment.dim();
        let information = experiment.information(acquisition, None)?;
        let whole = posteriors(experiment, &information);
        let mut sets = Vec::new();
        let mut gained = 0.0;
        for ((set, i), (posterior, ln_det)) in
            experiment.sets().iter().zip(&information).zip(&whole)
        {
            let (covariance, ln_prior) = invert(set.prior_precision(), n)
                .unwrap_or_else(|| (vec![f64::INFINITY; n * n], f64::NAN));
            gained += 0.5 * (ln_det - ln_prior);
            let quantities = experiment.quantities();
            sets.push(SetExpectation {
                value: quantities
                    .iter()
                    .map(|q| q.value(experiment.model(), &set.x, &set.per_voxel))
                    .collect(),
                cramer_rao: match invert(i, n) {
                    Some((covariance, _)) => experiment.standard_deviations(set, &covariance),
                    None => vec![f64::INFINITY; quantities.len()],
                },
                posterior: posterior.clone(),
                prior: experiment.standard_deviations(set, &covariance),
            });
        }
        let quantities = (experiment.quantities().iter().enumerate())
            .map(|(k, q)| Expectation {
                name: q.name.clone(),
                is_axis: q.is_axis(),
                unit: q.unit,
                cramer_rao: median(sets.iter().map(|s| s.cramer_rao[k]).collect()),
                typical: median(sets.iter().map(|s| s.posterior[k]).collect()),
                posterior: rms(sets.iter().map(|s| &s.posterior), k),
                prior: rms(sets.iter().map(|s| &s.prior), k),
            })
            .collect::<Vec<_>>();
        let mut shells = Vec::new();
        for members in groups(acquisition) {
            let mut weight = vec![1.0; acquisition.len()];
            members.iter().for_each(|&i| weight[i] = 0.0);
            let without =
                posteriors(experiment, &experiment.information(acquisition, Some(&weight))?);
            let b = acquisition.b_ms_per_um2();
            shells.push(ShellLoss {
                b: members.iter().map(|&i| b[i]).sum::<f64>() / members.len() as f64,
                ratio: (quantities.iter().enumerate())
                    .map(|(k, q)| rms(without.iter().map(|(sd, _)| sd), k) / q.posterior)
                    .collect(),
                nats: whole.iter().zip(&without).map(|(w, o)| 0.5 * (w.1 - o.1)).sum::<f64>()
                    / whole.len() as f64,
                members,
            });
        }
        let nats = gained / sets.len() as f64;
        Ok(Self { quantities, sets, shells, nats })
    }
}

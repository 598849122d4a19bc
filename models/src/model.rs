//! `compose_models`: compartments, links and fractions as one model.
//!
//! $$S_i = S_0\sum_c f_c\,E_{c,i},\qquad \sum_c f_c = 1,\ f_c \ge 0$$
//!
//! A model is compiled once from a [`ModelSpec`]. What is free is laid out as a
//! vector of *values*: an axis takes three (a unit vector), the fractions one
//! each (a simplex), everything else one. [`crate::Chart`] maps unconstrained
//! coordinates to values, [`crate::Evaluator`] values to signals.
//!
//! Validated by `tests/suite/composition.rs`.

mod error;

pub use error::ModelError;

use crate::acquisition::{Acquisition, Shell};
use crate::compartment::Compartment;
use crate::cumulant::{self, Measure};
use crate::frame::angle;
use crate::link::tortuosity;
use crate::noise::NoiseKind;
use crate::parameter::{ParameterSpec, Unit};
use crate::prior::{Prior, PriorError, PriorSpec};
use crate::relaxation::TYPICAL_T2_MS;
use crate::spec::ModelSpec;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Where the number of a scalar comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Source {
    /// A free value.
    Value(usize),
    /// A constant.
    Fixed(f64),
    /// A column of the voxel batch.
    PerVoxel(usize),
    /// `ratio * of`.
    Fractional { ratio: usize, of: Box<Source> },
    /// The tortuosity of (lambda_par, intra, extra).
    Tortuosity(Box<[Source; 3]>),
}

impl Source {
    /// The number; adds `weight` times its derivatives with respect to the free
    /// values through `sink(value index, derivative)`.
    pub(crate) fn evaluate(
        &self,
        x: &[f64],
        per_voxel: &[f64],
        weight: f64,
        sink: &mut dyn FnMut(usize, f64),
    ) -> f64 {
        match self {
            Source::Value(k) => {
                sink(*k, weight);
                x[*k]
            }
            Source::Fixed(v) => *v,
            Source::PerVoxel(k) => per_voxel.get(*k).copied().unwrap_or(f64::NAN),
            Source::Fractional { ratio, of } => {
                let base = of.evaluate(x, per_voxel, 0.0, &mut |_, _| ());
                sink(*ratio, weight * base);
                of.evaluate(x, per_voxel, weight * x[*ratio], sink);
                base * x[*ratio]
            }
            Source::Tortuosity(parts) => {
                let v = parts.each_ref().map(|p| p.evaluate(x, per_voxel, 0.0, &mut |_, _| ()));
                let (value, slope) = tortuosity(v[0], v[1], v[2]);
                for (part, d) in parts.iter().zip(slope) {
                    part.evaluate(x, per_voxel, weight * d, sink);
                }
                value
            }
        }
    }

    /// The number; its derivatives are added to `slopes` as `of` writes them.
    #[inline]
    pub(crate) fn evaluate_into<T>(
        &self,
        x: &[f64],
        per_voxel: &[f64],
        slopes: &mut Vec<T>,
        of: impl Fn(usize, f64) -> T,
    ) -> f64 {
        // Most numbers are free values: no call for them.
        if let Source::Value(k) = self {
            slopes.push(of(*k, 1.0));
            return x[*k];
        }
        self.evaluate(x, per_voxel, 1.0, &mut |k, d| slopes.push(of(k, d)))
    }

    fn depends_on_fractions(&self) -> bool {
        match self {
            Source::Tortuosity(_) => true,
            Source::Fractional { of, .. } => of.depends_on_fractions(),
            _ => false,
        }
    }
}

/// Where an axis comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AxisSource {
    /// Three free values from this index on.
    Value(usize),
    /// A constant direction.
    Fixed([f64; 3]),
}

/// One compartment of a compiled model.
#[derive(Debug, Clone)]
pub struct Component {
    /// Its name in columns and links.
    pub name: String,
    /// The physics.
    pub kind: Arc<dyn Compartment>,
    pub(crate) axis: Option<AxisSource>,
    pub(crate) scalars: Vec<Source>,
    pub(crate) fraction: Source,
}

/// What a free block of values is.
#[derive(Debug, Clone, PartialEq)]
pub enum FreeKind {
    /// One number within a range.
    Scalar {
        /// Period of an angle.
        period: Option<f64>,
    },
    /// A unit vector, up to its sign.
    Axis,
    /// Fractions of a simplex that sum to `total`.
    Fractions {
        /// One less the fixed fractions.
        total: f64,
        /// Dirichlet concentrations, one a fraction.
        concentration: Vec<f64>,
    },
    /// The signal without diffusion weighting.
    Scale,
}

/// A free block of values.
#[derive(Debug, Clone, PartialEq)]
pub struct Free {
    /// Parameter name; `fractions` for the simplex.
    pub name: String,
    /// What it is.
    pub kind: FreeKind,
    /// First value.
    pub at: usize,
    /// Number of values.
    pub len: usize,
    /// Bounds of a fit.
    pub range: [f64; 2],
    /// A typical size.
    pub scale: f64,
    /// Unit of the values.
    pub unit: Unit,
    /// The prior; `None` for axes, fractions, and an `s0` whose prior depends on the data.
    pub prior: Option<Prior>,
    /// Whether it is a nuisance with a standard normal prior that fits count, too
    /// ([`crate::ParameterSpec::is_nuisance`]).
    pub nuisance: bool,
}

/// One column of the results.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// `<compartment>.<parameter>`, `s0`, or the name of a ratio.
    pub name: String,
    /// Unit of the column.
    pub unit: Unit,
    pub(crate) source: ColumnSource,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ColumnSource {
    Scalar(Source),
    AxisPart(AxisSource, usize),
}

/// A compiled model: compartments, links, fractions, scale and noise.
#[derive(Debug, Clone)]
pub struct Model {
    spec: ModelSpec,
    components: Vec<Component>,
    scale: Source,
    free: Vec<Free>,
    values: usize,
    columns: Vec<Column>,
    measures: Vec<Measure>,
    per_voxel: Vec<(String, PathBuf)>,
    sigma_prior: Option<Prior>,
}

/// Composes compartments into a model with default links: all parameters free,
/// fractions on the simplex, a free `s0`.
///
/// # Errors
/// Unknown kinds.
///
/// # Example
/// ```
/// let model = microtome_models::compose_models(["stick", "ball"])?;
/// assert_eq!(model.values(), 8); // axis 3, lambda_par, lambda_iso, two fractions, s0
/// # Ok::<(), microtome_models::ModelError>(())
/// ```
pub fn compose_models<'a>(kinds: impl IntoIterator<Item = &'a str>) -> Result<Model, ModelError> {
    let expression: Vec<_> = kinds.into_iter().collect();
    Model::new(ModelSpec::parse(&expression.join(" + "))?)
}

impl Model {
    /// Compiles a specification.
    ///
    /// # Errors
    /// Names, links, priors and ranges that do not fit; the message names the key.
    pub fn new(spec: ModelSpec) -> Result<Self, ModelError> {
        if spec.deconvolution.is_some() {
            return Err(ModelError::Deconvolution);
        }
        crate::compile::compile(spec)
    }

    pub(crate) fn assemble(parts: crate::compile::Parts) -> Self {
        let mut model = Self {
            spec: parts.spec,
            components: parts.components,
            scale: parts.scale,
            values: parts.free.iter().map(|f| f.at + f.len).max().unwrap_or(0),
            free: parts.free,
            columns: parts.columns,
            measures: Vec::new(),
            per_voxel: parts.per_voxel,
            sigma_prior: parts.sigma_prior,
        };
        model.measures = cumulant::measures(&model);
        model
    }

    /// The specification it was compiled from.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// The compartments.
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    pub(crate) fn scale(&self) -> &Source {
        &self.scale
    }

    /// The free blocks in the order of the values.
    pub fn free(&self) -> &[Free] {
        &self.free
    }

    /// Number of free values.
    pub fn values(&self) -> usize {
        self.values
    }

    /// Number of degrees of freedom: an axis has two, n fractions n - 1.
    pub fn degrees_of_freedom(&self) -> usize {
        self.free
            .iter()
            .map(|f| match f.kind {
                FreeKind::Axis => 2,
                FreeKind::Fractions { .. } => f.len - 1,
                _ => 1,
            })
            .sum()
    }

    /// Names of the values, in order: the columns that are free.
    pub fn value_names(&self) -> Vec<&str> {
        let mut names = vec![""; self.values];
        for column in &self.columns {
            match &column.source {
                ColumnSource::Scalar(Source::Value(k)) if names[*k].is_empty() => {
                    names[*k] = &column.name
                }
                ColumnSource::AxisPart(AxisSource::Value(k), i) if names[k + i].is_empty() => {
                    names[k + i] = &column.name;
                }
                _ => {}
            }
        }
        names
    }

    /// The result columns, linked and fixed parameters included.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The columns of a fit that follow from the parameters: FA and diffusivities of
    /// tensors, the measures of an expansion.
    pub fn measures(&self) -> &[Measure] {
        &self.measures
    }

    /// The result columns of one voxel from its values.
    ///
    /// # Shapes
    /// `x` `[value]`, `per_voxel` one number for each of [`Model::per_voxel`],
    /// `out` `[column]`.
    pub fn fill_columns(&self, x: &[f64], per_voxel: &[f64], out: &mut [f64]) {
        for (column, out) in self.columns.iter().zip(out) {
            *out = column.evaluate(x, per_voxel, &mut |_, _| ());
        }
    }

    /// Parameters fixed to one value a voxel: name and file.
    pub fn per_voxel(&self) -> &[(String, PathBuf)] {
        &self.per_voxel
    }

    /// The noise distribution.
    pub fn noise(&self) -> NoiseKind {
        self.spec.noise.kind
    }

    /// The prior of σ that the user gave, if any.
    pub fn sigma_prior(&self) -> Option<&Prior> {
        self.sigma_prior.as_ref()
    }

    /// Whether `s0` is free.
    pub fn scale_is_free(&self) -> bool {
        self.free.iter().any(|f| f.kind == FreeKind::Scale)
    }

    /// Whether a link makes a scalar depend on fractions.
    pub fn is_nonlinear_in_fractions(&self) -> bool {
        self.components.iter().any(|c| c.scalars.iter().any(Source::depends_on_fractions))
    }

    /// Reverses the free axis whose first value is `at`, with the parameters that
    /// must change with it: the signal stays. An axis stays as well where such a
    /// parameter is fixed or shared by a compartment that has another axis.
    pub fn flip_axis(&self, at: usize, x: &mut [f64]) {
        let users: Vec<&Component> =
            self.components.iter().filter(|c| c.axis == Some(AxisSource::Value(at))).collect();
        // A value that turns the users of the axis together and does nothing else.
        let turns_only = |k: usize| {
            let uses = |source: &Source| {
                let mut found = false;
                source.evaluate(x, &[], 1.0, &mut |v, _| found |= v == k);
                found
            };
            let elsewhere = |c: &&Component| {
                let others = c.scalars.iter().zip(c.kind.parameters());
                let others =
                    others.filter(|(source, p)| p.period.is_none() || **source != Source::Value(k));
                others.map(|(source, _)| source).chain([&c.fraction]).any(uses)
            };
            !users.iter().any(elsewhere) && !self.followed(&users, &|v| v == k)
        };
        let turns = |c: &&Component| {
            c.scalars.iter().zip(c.kind.parameters()).all(|(source, p)| match source {
                _ if p.period.is_none() => true,
                Source::Value(k) => turns_only(*k),
                _ => false,
            })
        };
        if !users.iter().all(turns) {
            return;
        }
        let before = x.to_vec();
        let axis = [before[at], before[at + 1], before[at + 2]];
        for component in users {
            let mut mu = axis;
            let mut scalars: Vec<f64> = component
                .scalars
                .iter()
                .map(|s| s.evaluate(&before, &[], 0.0, &mut |_, _| ()))
                .collect();
            component.kind.flip_axis(&mut scalars, &mut mu);
            for (source, value) in component.scalars.iter().zip(&scalars) {
                if let Source::Value(k) = source {
                    x[*k] = *value;
                }
            }
            x[at..at + 3].copy_from_slice(&mu);
        }
    }

    /// Turns what turns about the free axis whose first value is `at` so that its
    /// second axis is nearest to `direction`.
    pub fn turn_towards(&self, at: usize, direction: [f64; 3], x: &mut [f64]) {
        let mu = [x[at], x[at + 1], x[at + 2]];
        for component in self.components.iter().filter(|c| c.axis == Some(AxisSource::Value(at))) {
            for (source, p) in component.scalars.iter().zip(component.kind.parameters()) {
                if let (Source::Value(k), Some(_)) = (source, p.period) {
                    x[*k] = angle(mu, direction);
                }
            }
        }
    }

    /// Every free angle that turns a frame about a free axis: where the angle is among the
    /// values, and the first value of the axis. The second axis of the frame
    /// ([`Frame::axes`](crate::Frame)) is what such an angle says, whatever the sign of the axis.
    pub fn turns(&self) -> Vec<(usize, usize)> {
        let mut out = Vec::new();
        for component in &self.components {
            let Some(AxisSource::Value(axis)) = component.axis else { continue };
            for (source, p) in component.scalars.iter().zip(component.kind.parameters()) {
                if let (Source::Value(k), Some(_)) = (source, p.period)
                    && !out.contains(&(*k, axis))
                {
                    out.push((*k, axis));
                }
            }
        }
        out
    }

    /// Brings values to their canonical form, the signal unchanged: angles within
    /// their period; exchangeable compartments by falling fraction (the larger one to
    /// the larger Dirichlet concentration, where these differ); axes with $\mu_z \ge 0$, or with $\mu_x \ge 0$ when a
    /// compartment turns about them; tensors with falling diffusivities where
    /// all their parameters are free and of one range.
    pub fn canonicalise(&self, x: &mut [f64]) {
        for free in &self.free {
            if let FreeKind::Scalar { period: Some(p) } = free.kind {
                x[free.at] = x[free.at].rem_euclid(p);
            }
        }
        for at in self.free.iter().filter(|f| f.kind == FreeKind::Axis).map(|f| f.at) {
            let users: Vec<&Component> =
                self.components.iter().filter(|c| c.axis == Some(AxisSource::Value(at))).collect();
            let turns =
                users.iter().any(|c| c.kind.parameters().iter().any(|p| p.period.is_some()));
            if x[if turns { at } else { at + 2 }] < 0.0 {
                self.flip_axis(at, x);
            }
            if let [only] = users.as_slice() {
                self.canonicalise_component(only, at, x);
            }
        }
        self.order_exchangeable(x);
    }

    /// The Dirichlet concentration of a fraction.
    fn concentration(&self, k: usize) -> f64 {
        let of = |f: &Free| match &f.kind {
            FreeKind::Fractions { concentration, .. } => {
                concentration.get(k.checked_sub(f.at)?).copied()
            }
            _ => None,
        };
        self.free.iter().find_map(of).unwrap_or(1.0)
    }

    /// Orders exchangeable compartments by falling fraction. Where their prior
    /// concentrations differ, the larger fraction goes to the larger one: that order has
    /// the higher prior density.
    fn order_exchangeable(&self, x: &mut [f64]) {
        for (i, a) in self.components.iter().enumerate() {
            for b in &self.components[i + 1..] {
                let Some(pairs) = self.exchange(a, b) else { continue };
                let (Source::Value(p), Source::Value(q)) = (&a.fraction, &b.fraction) else {
                    continue;
                };
                let rising = self.concentration(*p) < self.concentration(*q);
                if if rising { x[*p] > x[*q] } else { x[*q] > x[*p] } {
                    for (p, q) in pairs {
                        x.swap(p, q);
                    }
                }
            }
        }
    }

    /// The swaps of values that leave every posterior as it is: for each pair of
    /// exchangeable compartments whose prior is symmetric, too, the values that change
    /// places.
    pub fn exchangeable(&self) -> Vec<Vec<(usize, usize)>> {
        let mut out = Vec::new();
        for (i, a) in self.components.iter().enumerate() {
            for b in &self.components[i + 1..] {
                let Some(pairs) = self.exchange(a, b) else { continue };
                if pairs.iter().all(|(p, q)| self.concentration(*p) == self.concentration(*q))
                    && !pairs.is_empty()
                {
                    out.push(pairs);
                }
            }
        }
        out
    }

    /// The values to swap so that two compartments change places; `None` when
    /// that would change the signal or leave a range.
    pub(crate) fn exchange(&self, a: &Component, b: &Component) -> Option<Vec<(usize, usize)>> {
        if a.kind.kind() != b.kind.kind() {
            return None;
        }
        let mut pairs = Vec::new();
        match (&a.axis, &b.axis) {
            (Some(AxisSource::Value(p)), Some(AxisSource::Value(q))) => {
                pairs.extend((0..3).map(|i| (p + i, q + i)))
            }
            (None, None) => {}
            _ => return None,
        }
        let sources = a.scalars.iter().zip(&b.scalars).chain([(&a.fraction, &b.fraction)]);
        for (p, q) in sources {
            match (p, q) {
                (Source::Value(p), Source::Value(q)) => pairs.push((*p, *q)),
                (Source::Fixed(p), Source::Fixed(q)) if p == q => {}
                _ => return None,
            }
        }
        pairs.retain(|(p, q)| p != q);
        pairs.sort_unstable();
        pairs.dedup();
        // A link inside one of the two must have its like inside the other.
        let mut ends: Vec<usize> = pairs.iter().flat_map(|&(p, q)| [p, q]).collect();
        ends.sort_unstable();
        if ends.windows(2).any(|w| w[0] == w[1]) {
            return None;
        }
        let range = |k: usize| {
            self.free.iter().find(|f| f.at <= k && k < f.at + f.len).map(|f| (f.range, &f.prior))
        };
        let moved = |k: usize| pairs.iter().any(|&(p, q)| k == p || k == q);
        let equal_ranges = pairs.iter().all(|&(p, q)| range(p) == range(q));
        // No other compartment may follow a value that moves.
        (equal_ranges && !self.followed(&[a, b], &moved)).then_some(pairs)
    }

    /// Whether a compartment other than `these` depends on a value that `moves`.
    fn followed(&self, these: &[&Component], moves: &dyn Fn(usize) -> bool) -> bool {
        let zeros = vec![0.0; self.values];
        self.components.iter().filter(|c| these.iter().all(|t| t.name != c.name)).any(|c| {
            let mut found = match c.axis {
                Some(AxisSource::Value(k)) => (k..k + 3).any(moves),
                _ => false,
            };
            for source in c.scalars.iter().chain([&c.fraction]) {
                source.evaluate(&zeros, &[], 1.0, &mut |k, _| found |= moves(k));
            }
            found
        })
    }

    fn canonicalise_component(&self, component: &Component, at: usize, x: &mut [f64]) {
        let mut indices = Vec::with_capacity(component.scalars.len());
        let mut ranges: Vec<[f64; 2]> = Vec::new();
        for (source, parameter) in component.scalars.iter().zip(component.kind.parameters()) {
            let Source::Value(k) = source else { return };
            indices.push(*k);
            if parameter.period.is_none() {
                ranges.extend(self.free.iter().find(|f| f.at == *k).map(|f| f.range));
            }
        }
        let shared = || self.followed(&[component], &|k| indices.contains(&k));
        if ranges.windows(2).any(|w| w[0] != w[1]) || shared() {
            return;
        }
        let mut mu = [x[at], x[at + 1], x[at + 2]];
        let mut scalars: Vec<f64> = indices.iter().map(|&k| x[k]).collect();
        component.kind.canonicalise(&mut scalars, &mut mu);
        x[at..at + 3].copy_from_slice(&mu);
        for (k, value) in indices.into_iter().zip(scalars) {
            x[k] = value;
        }
    }

    /// Checks that the acquisition has what the compartments need.
    ///
    /// # Errors
    /// A compartment that needs δ and Δ when the scheme has none; one that has no
    /// signal for the encoding of a measurement.
    pub fn check(&self, acquisition: &Acquisition) -> Result<(), ModelError> {
        if acquisition.te_ms().is_none()
            && let Some(c) = self.components.iter().find(|c| c.kind.needs_echo_time())
        {
            return Err(ModelError::NeedsEchoTime { compartment: c.name.clone() });
        }
        if acquisition.tr_ms().is_none()
            && let Some(c) = self.components.iter().find(|c| c.kind.needs_repetition_time())
        {
            return Err(ModelError::NeedsRepetitionTime { compartment: c.name.clone() });
        }
        for c in &self.components {
            let shells = acquisition.shells().iter().enumerate().filter(|(_, s)| s.b > 0.0);
            for (s, shell) in shells {
                let Some(reason) = c.kind.refuses(shell) else { continue };
                let members = acquisition.shell_of().iter().position(|of| *of == s);
                return Err(ModelError::Encoding {
                    compartment: c.name.clone(),
                    reason,
                    measurement: members.unwrap_or(0),
                    b_s_per_mm2: (shell.b * 1e9).round() / 1e6,
                    shape: shell.b_delta.map_or("undefined".into(), |v| format!("{v}")),
                });
            }
            let pulses = acquisition.timing().is_some() || !acquisition.waveforms().is_empty();
            if c.kind.needs_timing() && !pulses {
                return Err(ModelError::NeedsTiming { compartment: c.name.clone() });
            }
        }
        Ok(())
    }

    /// Checks that the compartments have a signal for what gradient nonlinearity
    /// makes of the acquisition: other b-tensors than linear ones lose their axis
    /// of symmetry.
    ///
    /// # Errors
    /// A compartment that needs the symmetry.
    pub fn check_nonlinearity(&self, acquisition: &Acquisition) -> Result<(), ModelError> {
        if acquisition.is_linear() {
            return Ok(());
        }
        let shell = Shell { b: 1.0, b_delta: None, ..Shell::default() };
        match self.components.iter().find_map(|c| c.kind.refuses(&shell).map(|r| (c, r))) {
            Some((c, reason)) => {
                Err(ModelError::Nonlinearity { compartment: c.name.clone(), reason })
            }
            None => Ok(()),
        }
    }

    /// How much larger the signal at TE = 0 is than at an echo time, guessed before
    /// there is a fit; 1 where no compartment has T2.
    pub fn echo_factor(&self, te_ms: Option<f64>) -> f64 {
        match te_ms {
            Some(te) if self.components.iter().any(|c| c.kind.needs_echo_time()) => {
                (te / TYPICAL_T2_MS).exp()
            }
            _ => 1.0,
        }
    }

    /// The prior of `s0` when the user gave none:
    /// lognormal about the mean b = 0 signal, sd 0.5 of the logarithm, cut to `range`.
    ///
    /// # Errors
    /// A mean that is not positive.
    pub fn default_scale_prior(mean_b0: f64, range: [f64; 2]) -> Result<Prior, PriorError> {
        Prior::new(&PriorSpec::Lognormal([mean_b0.ln(), 0.5]), range)
    }

    /// The prior of σ when the user gave none: lognormal about a 25th of the
    /// mean b = 0 signal, sd 1 of the logarithm.
    ///
    /// # Errors
    /// A mean that is not positive.
    pub fn default_sigma_prior(mean_b0: f64) -> Result<Prior, PriorError> {
        Prior::new(&PriorSpec::Lognormal([(mean_b0 / 25.0).ln(), 1.0]), [0.0, f64::INFINITY])
    }
}

impl Column {
    /// The number of this column; its derivatives go to `sink(value, derivative)`.
    pub fn evaluate(&self, x: &[f64], per_voxel: &[f64], sink: &mut dyn FnMut(usize, f64)) -> f64 {
        match &self.source {
            ColumnSource::Scalar(source) => source.evaluate(x, per_voxel, 1.0, sink),
            ColumnSource::AxisPart(AxisSource::Fixed(v), i) => v[*i],
            ColumnSource::AxisPart(AxisSource::Value(k), i) => {
                sink(k + i, 1.0);
                x[k + i]
            }
        }
    }

    /// Appends the numbers of this column for many sets of values of one voxel.
    ///
    /// # Shapes
    /// `rows` of `[value]`, `per_voxel` as of [`Model::fill_columns`].
    pub fn extend<'a>(
        &self,
        rows: impl Iterator<Item = &'a [f64]>,
        per_voxel: &[f64],
        out: &mut Vec<f64>,
    ) {
        match self.free_value() {
            Some(k) => out.extend(rows.map(|x| x[k])),
            None => out.extend(rows.map(|x| self.evaluate(x, per_voxel, &mut |_, _| ()))),
        }
    }

    /// Whether the column is a constant of the model or the voxel.
    pub fn is_constant(&self) -> bool {
        matches!(
            self.source,
            ColumnSource::Scalar(Source::Fixed(_) | Source::PerVoxel(_))
                | ColumnSource::AxisPart(AxisSource::Fixed(_), _)
        )
    }

    /// The index of the free value that this column is, if it is one.
    pub fn free_value(&self) -> Option<usize> {
        match &self.source {
            ColumnSource::Scalar(Source::Value(k)) => Some(*k),
            ColumnSource::AxisPart(AxisSource::Value(k), i) => Some(k + i),
            _ => None,
        }
    }

    /// The compartment and the component 0, 1 or 2 when this is a part of an axis.
    pub fn axis_part(&self) -> Option<(&str, usize)> {
        match &self.source {
            ColumnSource::AxisPart(_, i) => self.name.rsplit_once(".mu_").map(|(c, _)| (c, *i)),
            ColumnSource::Scalar(_) => None,
        }
    }
}

/// Looks a declaration up by name.
pub(crate) fn declared<'a>(
    kind: &'a dyn Compartment,
    name: &str,
) -> Option<(usize, &'a ParameterSpec)> {
    kind.parameters().iter().enumerate().find(|(_, p)| p.name == name)
}

/// The compartments of a specification, not yet linked.
pub(crate) fn kinds(
    spec: &ModelSpec,
) -> Result<BTreeMap<String, Arc<dyn Compartment>>, ModelError> {
    let mut out = BTreeMap::new();
    for (name, c) in spec.names().into_iter().zip(&spec.compartments) {
        if out.insert(name.clone(), spec.build(c)?).is_some() {
            return Err(ModelError::DuplicateName { name });
        }
    }
    Ok(out)
}

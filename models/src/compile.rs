//! From a written model to a compiled one: names are resolved, links followed,
//! free values laid out, priors and ranges attached.

use crate::compartment::Compartment;
use crate::evaluate::MAX_ACTIVE;
use crate::link::{FixedValue, LinkSpec};
use crate::model::{
    AxisSource, Column, ColumnSource, Component, Free, FreeKind, Model, ModelError, Source,
    declared, kinds,
};
use crate::parameter::{ParameterSpec, Unit, domain_text};
use crate::prior::{Prior, PriorSpec};
use crate::spec::ModelSpec;
use crate::tangent::MAX_FRACTIONS;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// The parts of a [`Model`].
pub(crate) struct Parts {
    pub(crate) spec: ModelSpec,
    pub(crate) components: Vec<Component>,
    pub(crate) scale: Source,
    pub(crate) free: Vec<Free>,
    pub(crate) columns: Vec<Column>,
    pub(crate) per_voxel: Vec<(String, PathBuf)>,
    pub(crate) sigma_prior: Option<Prior>,
}

/// The declaration of a link ratio.
const RATIO: ParameterSpec = ParameterSpec {
    name: "ratio",
    unit: Unit::One,
    range: [0.0, 1.0],
    scale: 0.5,
    domain: [0.0, 1.0],
    default: None,
    period: None,
    meaning: "ratio of a fractional link",
};

const SCALE: ParameterSpec = ParameterSpec {
    name: "s0",
    unit: Unit::Signal,
    range: [0.0, f64::INFINITY],
    scale: 1.0,
    domain: [0.0, f64::INFINITY],
    default: Some(1.0),
    period: None,
    meaning: "signal without diffusion weighting",
};

pub(crate) fn compile(spec: ModelSpec) -> Result<Model, ModelError> {
    let kinds = kinds(&spec)?;
    if !spec.expansion.is_gaussian() && !spec.is_lone_tensor() {
        return Err(ModelError::Expansion);
    }
    let mut compiler = Compiler {
        names: spec.names(),
        spec: &spec,
        kinds,
        scalars: BTreeMap::new(),
        axes: BTreeMap::new(),
        free: Vec::new(),
        next: 0,
        per_voxel: Vec::new(),
    };
    compiler.check_keys()?;
    compiler.lay_out_axes_and_scalars()?;
    compiler.lay_out_fractions()?;
    compiler.lay_out_scale()?;
    compiler.check_effects()?;
    let parts = compiler.finish()?;
    Ok(Model::assemble(Parts { spec: spec.clone(), ..parts }))
}

fn used_twice(name: &str) -> ModelError {
    ModelError::Link { name: name.into(), reason: "this name is used twice".into() }
}

/// The typical size of a parameter: as declared, or in the middle (of the logarithm)
/// of a positive range that does not hold it.
fn typical(scale: f64, [low, high]: [f64; 2]) -> f64 {
    let outside = scale <= low || scale >= high;
    if outside && low > 0.0 && high.is_finite() { (low * high).sqrt() } else { scale }
}

struct Compiler<'a> {
    spec: &'a ModelSpec,
    names: Vec<String>,
    kinds: BTreeMap<String, Arc<dyn Compartment>>,
    /// Unlinked scalars and fractions by parameter name.
    scalars: BTreeMap<String, Source>,
    axes: BTreeMap<String, AxisSource>,
    free: Vec<Free>,
    next: usize,
    per_voxel: Vec<(String, PathBuf)>,
}

impl Compiler<'_> {
    fn known(&self) -> Vec<String> {
        let mut out = Vec::new();
        for name in &self.names {
            let kind = &self.kinds[name];
            if kind.oriented() {
                out.push(format!("{name}.mu"));
            }
            out.extend(kind.parameters().iter().map(|p| format!("{name}.{}", p.name)));
            out.push(format!("{name}.fraction"));
        }
        out.push("s0".into());
        out
    }

    fn ratios(&self) -> impl Iterator<Item = &str> {
        self.spec.link.values().filter_map(|l| match l {
            LinkSpec::Fractional { factor_name, .. } => Some(factor_name.as_str()),
            _ => None,
        })
    }

    fn check_keys(&self) -> Result<(), ModelError> {
        let known = self.known();
        let check = |table: &'static str, name: &str, extra: &[&str]| {
            if known.iter().any(|k| k == name) || extra.contains(&name) {
                return Ok(());
            }
            let known = known.iter().map(String::as_str).chain(extra.iter().copied());
            Err(ModelError::UnknownParameter {
                table,
                name: name.to_string(),
                known: known.collect::<Vec<_>>().join(", "),
            })
        };
        let mut extra: Vec<&str> = self.ratios().collect();
        if let Some(name) = extra
            .iter()
            .find(|r| known.iter().any(|k| k == *r) || ["sigma", "fractions"].contains(r))
        {
            return Err(used_twice(name));
        }
        for name in self.spec.link.keys() {
            check("link", name, &[])?;
        }
        extra.push("sigma");
        for name in self.spec.range.keys() {
            check("range", name, &extra)?;
        }
        extra.push("fractions");
        for name in self.spec.prior.keys() {
            check("prior", name, &extra)?;
        }
        Ok(())
    }

    /// Refuses priors and ranges that nothing would read.
    fn check_effects(&self) -> Result<(), ModelError> {
        let ranges = self.spec.range.keys().map(|name| ("range", name));
        for (table, name) in ranges.chain(self.spec.prior.keys().map(|name| ("prior", name))) {
            let free = self.free.iter().find(|f| f.name == *name);
            let reason = match (table, name.as_str()) {
                ("prior", "fractions" | "sigma") => continue,
                ("range", "sigma") if self.spec.prior.contains_key("sigma") => continue,
                ("range", "sigma") => "it cuts the prior of sigma; give that one too",
                (_, name) if name.ends_with(".fraction") => {
                    "fractions have one prior together, `fractions`, and no range"
                }
                ("range", _) if free.is_some_and(|f| f.kind == FreeKind::Axis) => {
                    "a direction has no range"
                }
                _ if free.is_none() => {
                    "the parameter is not free; remove this line, or the link that ties it"
                }
                _ => continue,
            };
            return Err(ModelError::NoEffect { table, name: name.clone(), reason: reason.into() });
        }
        Ok(())
    }

    fn lay_out_axes_and_scalars(&mut self) -> Result<(), ModelError> {
        for name in self.names.clone() {
            let kind = self.kinds[&name].clone();
            if kind.oriented() {
                self.lay_out_axis(&format!("{name}.mu"))?;
            }
            for parameter in kind.parameters() {
                let full = format!("{name}.{}", parameter.name);
                // A prior or a range of the user frees a parameter that has a default.
                let freed =
                    self.spec.prior.contains_key(&full) || self.spec.range.contains_key(&full);
                let freed = freed || parameter.is_nuisance();
                match (self.spec.link.get(&full), parameter.default.filter(|_| !freed)) {
                    (None, Some(value)) => {
                        self.scalars.insert(full, Source::Fixed(value));
                    }
                    (None, None) => self.add_scalar(&full, parameter)?,
                    (Some(LinkSpec::Fixed(value)), _) => {
                        let source = self.fixed(&full, value, parameter)?;
                        self.scalars.insert(full, source);
                    }
                    (Some(LinkSpec::Fractional { factor_name, .. }), _) => {
                        self.add_scalar(&factor_name.clone(), &RATIO)?;
                    }
                    (Some(_), _) => {}
                }
            }
        }
        Ok(())
    }

    fn lay_out_axis(&mut self, full: &str) -> Result<(), ModelError> {
        match self.spec.link.get(full) {
            None => {
                match self.spec.prior.get(full) {
                    None | Some(PriorSpec::Isotropic) => {}
                    Some(_) => {
                        return Err(ModelError::PriorForm {
                            name: full.into(),
                            reason: "the only prior of a direction is \"isotropic\"".into(),
                        });
                    }
                }
                self.axes.insert(full.into(), AxisSource::Value(self.next));
                self.push(full, FreeKind::Axis, 3, &RATIO, None)?;
            }
            Some(LinkSpec::Fixed(FixedValue::Direction(v))) => {
                let norm = (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt();
                if norm.is_nan() || (norm - 1.0).abs() >= 1e-3 {
                    return Err(ModelError::Link {
                        name: full.into(),
                        reason: format!(
                            "a fixed direction must be a unit vector; its length is {norm}"
                        ),
                    });
                }
                self.axes.insert(full.into(), AxisSource::Fixed(v.map(|c| c / norm)));
            }
            Some(LinkSpec::Equal(_)) => {}
            Some(_) => {
                return Err(ModelError::Link {
                    name: full.into(),
                    reason: "a direction can be equal to another, or fixed to [x, y, z]".into(),
                });
            }
        }
        Ok(())
    }

    fn add_scalar(&mut self, full: &str, parameter: &ParameterSpec) -> Result<(), ModelError> {
        if self.scalars.contains_key(full) {
            return Err(used_twice(full));
        }
        self.scalars.insert(full.into(), Source::Value(self.next));
        // A prior or a range of the user makes an angle a number like others: its
        // density is not periodic.
        let restricted = self.spec.prior.contains_key(full) || self.spec.range.contains_key(full);
        let period = if restricted { None } else { parameter.period };
        let nuisance = parameter.is_nuisance() && !restricted;
        let prior = nuisance.then_some(PriorSpec::Normal([0.0, 1.0]));
        self.push(full, FreeKind::Scalar { period }, 1, parameter, prior)
    }

    /// Appends a free block with its range and prior.
    fn push(
        &mut self,
        full: &str,
        kind: FreeKind,
        len: usize,
        parameter: &ParameterSpec,
        default_prior: Option<PriorSpec>,
    ) -> Result<(), ModelError> {
        let [low, high] = parameter.domain;
        let prior_spec = self.spec.prior.get(full).cloned();
        let mut range = match (self.spec.range.get(full), &prior_spec) {
            (Some(&[a, b]), _) => {
                // An interval open below only has no chart.
                let closed_below = a.is_finite() || b == f64::INFINITY;
                if !(a < b && a >= low && b <= high && closed_below) {
                    return Err(ModelError::Range {
                        name: full.into(),
                        low: a,
                        high: b,
                        domain_low: low,
                        domain_high: high,
                    });
                }
                [a, b]
            }
            (None, Some(_)) => parameter.domain,
            (None, None) => parameter.range,
        };
        let scalar = matches!(kind, FreeKind::Scalar { .. } | FreeKind::Scale);
        let nuisance = scalar && default_prior.is_some();
        let prior = match prior_spec.or(default_prior) {
            Some(spec) if scalar => Some(Prior::new(&spec, range)),
            None if matches!(kind, FreeKind::Scalar { .. }) => {
                Some(Prior::new(&PriorSpec::Uniform(range), range))
            }
            _ => None,
        };
        let prior =
            prior.transpose().map_err(|source| ModelError::Prior { name: full.into(), source })?;
        if let Some(p) = &prior {
            range = p.support();
        }
        self.free.push(Free {
            name: full.into(),
            kind,
            at: self.next,
            len,
            range,
            scale: typical(parameter.scale, range),
            unit: parameter.unit,
            prior,
            nuisance,
        });
        self.next += len;
        Ok(())
    }

    fn fixed(
        &mut self,
        full: &str,
        value: &FixedValue,
        parameter: &ParameterSpec,
    ) -> Result<Source, ModelError> {
        let [low, high] = parameter.domain;
        match value {
            FixedValue::Number(v) if v.is_finite() && *v >= low && *v <= high => {
                Ok(Source::Fixed(*v))
            }
            FixedValue::Number(v) => Err(ModelError::Link {
                name: full.into(),
                reason: format!(
                    "{v} is outside the physical domain: it must be {}",
                    domain_text(parameter.domain)
                ),
            }),
            FixedValue::File(path) => {
                self.per_voxel.push((full.into(), path.clone()));
                Ok(Source::PerVoxel(self.per_voxel.len() - 1))
            }
            FixedValue::Direction(_) => Err(ModelError::Link {
                name: full.into(),
                reason: "three numbers can only fix a direction".into(),
            }),
        }
    }

    fn lay_out_fractions(&mut self) -> Result<(), ModelError> {
        let mut free_names = Vec::new();
        let mut total = 1.0;
        for name in self.names.clone() {
            let full = format!("{name}.fraction");
            match self.spec.link.get(&full) {
                None => free_names.push(full),
                Some(LinkSpec::Fixed(FixedValue::Number(v))) if *v >= 0.0 && *v <= 1.0 => {
                    total -= v;
                    self.scalars.insert(full, Source::Fixed(*v));
                }
                Some(_) => {
                    return Err(ModelError::Link {
                        name: full,
                        reason: "a fraction can only be fixed, to a number between 0 and 1".into(),
                    });
                }
            }
        }
        if total < -1e-12 || (free_names.is_empty() && total.abs() > 1e-9) {
            return Err(ModelError::Link {
                name: "fraction".into(),
                reason: format!("the fixed fractions sum to {}, not 1", 1.0 - total),
            });
        }
        if free_names.len() > 1 && total < 1e-9 {
            return Err(ModelError::Link {
                name: "fraction".into(),
                reason: format!(
                    "the fixed fractions sum to {}, which leaves nothing for {}",
                    1.0 - total,
                    free_names.join(", ")
                ),
            });
        }
        if free_names.len() > MAX_FRACTIONS {
            return Err(ModelError::TooMany {
                what: "free fractions".into(),
                got: free_names.len(),
                most: MAX_FRACTIONS,
            });
        }
        let concentration = match self.spec.prior.get("fractions") {
            None => vec![1.0; free_names.len()],
            Some(PriorSpec::Dirichlet(a))
                if a.len() == free_names.len() && a.iter().all(|v| *v > 0.0 && v.is_finite()) =>
            {
                a.clone()
            }
            Some(_) => {
                return Err(ModelError::PriorForm {
                    name: "fractions".into(),
                    reason: format!(
                        "the prior of the fractions is {{ dirichlet = [..] }} with {} positive numbers",
                        free_names.len()
                    ),
                });
            }
        };
        match free_names.as_slice() {
            [] => {}
            [only] => {
                self.scalars.insert(only.clone(), Source::Fixed(total.max(0.0)));
            }
            several => {
                for (i, full) in several.iter().enumerate() {
                    self.scalars.insert(full.clone(), Source::Value(self.next + i));
                }
                let kind = FreeKind::Fractions { total, concentration };
                self.push("fractions", kind, several.len(), &RATIO, None)?;
            }
        }
        Ok(())
    }

    fn lay_out_scale(&mut self) -> Result<(), ModelError> {
        let source = match self.spec.link.get("s0") {
            None => {
                self.push("s0", FreeKind::Scale, 1, &SCALE, None)?;
                Source::Value(self.next - 1)
            }
            Some(LinkSpec::Fixed(value)) => self.fixed("s0", &value.clone(), &SCALE)?,
            Some(_) => {
                return Err(ModelError::Link {
                    name: "s0".into(),
                    reason: "s0 can only be fixed".into(),
                });
            }
        };
        self.scalars.insert("s0".into(), source);
        Ok(())
    }

    /// Follows links until a source; `depth` catches circles.
    fn resolve(&self, full: &str, depth: usize) -> Result<Source, ModelError> {
        let circle =
            || ModelError::Link { name: full.into(), reason: "the links form a circle".into() };
        if depth > self.scalars.len() + self.spec.link.len() {
            return Err(circle());
        }
        if let Some(source) = self.scalars.get(full) {
            return Ok(source.clone());
        }
        let follow = |target: &str| {
            if !self.known().iter().any(|k| k == target) && !self.scalars.contains_key(target) {
                return Err(ModelError::Link {
                    name: full.into(),
                    reason: format!(
                        "there is no parameter `{target}`; this model has: {}",
                        self.known().join(", ")
                    ),
                });
            }
            self.resolve(target, depth + 1)
        };
        match self.spec.link.get(full) {
            Some(LinkSpec::Equal(target)) => follow(target),
            Some(LinkSpec::Fractional { of, factor_name }) => match self.scalars.get(factor_name) {
                Some(Source::Value(ratio)) => {
                    Ok(Source::Fractional { ratio: *ratio, of: Box::new(follow(of)?) })
                }
                _ => Err(circle()),
            },
            Some(LinkSpec::Tortuosity { lambda_par, intra, extra }) => {
                Ok(Source::Tortuosity(Box::new([
                    follow(lambda_par)?,
                    follow(intra)?,
                    follow(extra)?,
                ])))
            }
            _ => Err(ModelError::Link {
                name: full.into(),
                reason: "is a direction, not a number".into(),
            }),
        }
    }

    fn resolve_axis(&self, full: &str, depth: usize) -> Result<AxisSource, ModelError> {
        if let Some(axis) = self.axes.get(full) {
            return Ok(axis.clone());
        }
        match self.spec.link.get(full) {
            Some(LinkSpec::Equal(target)) if depth <= self.names.len() => {
                let exists = target.strip_suffix(".mu").and_then(|c| self.kinds.get(c));
                if exists.is_none_or(|k| !k.oriented()) {
                    return Err(ModelError::Link {
                        name: full.into(),
                        reason: format!("`{target}` is not the direction of a compartment"),
                    });
                }
                self.resolve_axis(target, depth + 1)
            }
            _ => Err(ModelError::Link {
                name: full.into(),
                reason: "the links form a circle".into(),
            }),
        }
    }

    /// The evaluation keeps what one compartment depends on in tables of fixed size.
    fn check_active(&self, component: &Component, scale: &Source) -> Result<(), ModelError> {
        let x = vec![1.0; self.next];
        let mut active = BTreeSet::new();
        for source in component.scalars.iter().chain([&component.fraction, scale]) {
            source.evaluate(&x, &[], 1.0, &mut |k, _| {
                active.insert(k);
            });
        }
        if active.len() > MAX_ACTIVE {
            return Err(ModelError::TooMany {
                what: format!(
                    "free values that the scalars, fraction and scale of `{}` depend on",
                    component.name
                ),
                got: active.len(),
                most: MAX_ACTIVE,
            });
        }
        Ok(())
    }

    fn finish(self) -> Result<Parts, ModelError> {
        let mut components = Vec::new();
        let mut columns = Vec::new();
        for name in &self.names {
            let kind = self.kinds[name].clone();
            let mut axis = None;
            if kind.oriented() {
                let source = self.resolve_axis(&format!("{name}.mu"), 0)?;
                for (i, part) in ["x", "y", "z"].iter().enumerate() {
                    columns.push(Column {
                        name: format!("{name}.mu_{part}"),
                        unit: Unit::One,
                        source: ColumnSource::AxisPart(source.clone(), i),
                    });
                }
                axis = Some(source);
            }
            let mut scalars = Vec::new();
            for parameter in kind.parameters() {
                let full = format!("{name}.{}", parameter.name);
                let source = self.resolve(&full, 0)?;
                debug_assert!(declared(kind.as_ref(), parameter.name).is_some());
                columns.push(Column {
                    name: full,
                    unit: parameter.unit,
                    source: ColumnSource::Scalar(source.clone()),
                });
                scalars.push(source);
            }
            let full = format!("{name}.fraction");
            let fraction = self.resolve(&full, 0)?;
            columns.push(Column {
                name: full,
                unit: Unit::One,
                source: ColumnSource::Scalar(fraction.clone()),
            });
            components.push(Component { name: name.clone(), kind, axis, scalars, fraction });
        }
        for ratio in self.ratios() {
            let source = self.resolve(ratio, 0)?;
            columns.push(Column {
                name: ratio.into(),
                unit: Unit::One,
                source: ColumnSource::Scalar(source),
            });
        }
        let scale = self.resolve("s0", 0)?;
        for component in &components {
            self.check_active(component, &scale)?;
        }
        columns.push(Column {
            name: "s0".into(),
            unit: Unit::Signal,
            source: ColumnSource::Scalar(scale.clone()),
        });
        let sigma_prior = match self.spec.prior.get("sigma") {
            Some(spec) => {
                let domain = [0.0, f64::INFINITY];
                let range = self.spec.range.get("sigma").copied().unwrap_or(domain);
                if range[0] < 0.0 {
                    return Err(ModelError::Range {
                        name: "sigma".into(),
                        low: range[0],
                        high: range[1],
                        domain_low: domain[0],
                        domain_high: domain[1],
                    });
                }
                Some(
                    Prior::new(spec, range)
                        .map_err(|source| ModelError::Prior { name: "sigma".into(), source })?,
                )
            }
            None => None,
        };
        Ok(Parts {
            spec: ModelSpec::default(),
            components,
            scale,
            free: self.free,
            columns,
            per_voxel: self.per_voxel,
            sigma_prior,
        })
    }
}

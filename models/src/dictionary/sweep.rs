//! A sweep: which parameters of a substrate vary, and the simulation of all of them.
//!
//! ```toml
//! [[parameter]]
//! key = "substrate.radius_um"         # of the substrate's file; keys = [...] sets several
//! name = "radius"                     # left out: the last word of the key without its unit
//! values = [0.5, 1.0, 2.0, 3.0]       # or from, to, count and spacing = "linear" | "log"
//! [sweep]
//! batches = 24                        # independent batches of walkers
//! azimuths = 8                        # directions about the axis at every angle to it
//! cosines = 12                        # angles to the axis; by b and diffusivity when left out
//! symmetry = "axial"                  # axial | isotropic; by the kind of substrate
//! own_packings = true                 # of random packings: one a batch, not the same for all
//! ```
//!
//! Every point of the grid is walked with the same random numbers and the same time step, so
//! that errors change slowly from point to point and the interpolant is as smooth as the
//! signal. Batches have random packings of their own (`packing_seed` and the number of the
//! batch), so that the errors are also those of a finite number of packed objects. On every shell the cosines are the positive nodes of a Gauss-Legendre rule, and the
//! signals are means over azimuths; an isotropic substrate has the mean over all directions.
//! The number of cosines, $4 + 3\sqrt{bD}$ ($8 + 6.4\sqrt{bD}$ for exact signals), leaves
//! terms of about 1e-6 (1e-16) out of the series of free diffusion.
//!
//! Validated by `models/tests/suite/dictionary.rs` and `tests/cli/dictionary.rs`.

use super::table::{DictionaryAxis, DictionaryError, DictionaryShell, DictionaryTable};
use crate::acquisition::{Acquisition, PulseTiming};
use crate::substrate::{
    Sequence, Signals, Simulation, Substrate, SubstrateSpec, TOTAL, exact_signals,
};
use microtome_kernels::legendre::{gauss_legendre, series_terms};
use microtome_kernels::vector::normals;
use serde::{Deserialize, Serialize};

/// The key of the substrate that makes packings differ.
const PACKING_SEED: &str = "packing_seed";
/// Most points of a grid.
const POINTS: usize = 100_000;

/// A sweep as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepSpec {
    /// The parameters.
    #[serde(default)]
    pub parameter: Vec<SweepAxis>,
    /// How they are simulated.
    #[serde(default)]
    pub sweep: SweepOptions,
}

/// A parameter as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct SweepAxis {
    /// The key of the substrate that varies: `substrate.radius_um`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Several keys that have the same value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Its name in models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its values, rising.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<f64>>,
    /// The first of `count` values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<f64>,
    /// The last of `count` values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<f64>,
    /// Number of values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// How they are spread.
    #[serde(default)]
    pub spacing: Spacing,
}

/// How values are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Spacing {
    /// With equal differences.
    #[default]
    Linear,
    /// With equal ratios.
    Log,
}

/// The symmetry of the signals of a substrate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Symmetry {
    /// The signal depends on the angle to the axis.
    Axial,
    /// The signal is that of all directions.
    Isotropic,
}

/// `[sweep]` as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SweepOptions {
    /// Batches of walkers.
    pub batches: usize,
    /// Directions about the axis.
    pub azimuths: usize,
    /// Angles to the axis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cosines: Option<usize>,
    /// The symmetry, where the kind of substrate does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symmetry: Option<Symmetry>,
    /// Whether every batch has a random packing of its own.
    pub own_packings: bool,
}

impl Default for SweepOptions {
    fn default() -> Self {
        Self { batches: 24, azimuths: 8, cosines: None, symmetry: None, own_packings: true }
    }
}

/// What a sweep has done so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// Walks so far.
    pub done: usize,
    /// Walks in all.
    pub of: usize,
}

/// A parameter with its values and the keys that it sets.
#[derive(Debug, Clone, PartialEq)]
struct Varied {
    axis: DictionaryAxis,
    keys: Vec<String>,
}

/// A checked sweep over a substrate.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    substrate: SubstrateSpec,
    varied: Vec<Varied>,
    options: SweepOptions,
    symmetry: Symmetry,
}

/// A sweep with its substrates, ready to be simulated.
#[derive(Debug)]
pub struct Swept {
    table: DictionaryTable,
    /// `[packing][point]`.
    substrates: Vec<Vec<Substrate>>,
    sequence: Sequence,
    /// Share of every measurement in its entry.
    weights: Vec<(usize, f64)>,
    batches: usize,
}

fn wrong(what: String) -> DictionaryError {
    DictionaryError { what }
}

impl SweepAxis {
    fn build(&self) -> Result<Varied, DictionaryError> {
        let keys: Vec<String> = self.key.iter().chain(&self.keys).cloned().collect();
        let Some(first) = keys.first() else {
            return Err(wrong(
                "a [[parameter]] has no `key`, such as \"substrate.radius_um\"".into(),
            ));
        };
        let last = first.rsplit('.').next().unwrap_or(first);
        let (own, unit) = DictionaryAxis::of_column(last);
        let name = self.name.clone().unwrap_or(own);
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let taken = ["fraction", "mu", "s0", "sigma", "odi", "psi", "beta_fraction"];
        if name.is_empty() || !plain || taken.contains(&name.as_str()) || name.starts_with("error_")
        {
            return Err(wrong(format!(
                "`{name}` can't be the name of a parameter; letters, digits and _ that no other parameter of models has are needed"
            )));
        }
        let numbers = match (&self.values, self.from, self.to, self.count) {
            (Some(values), None, None, None) => values.clone(),
            (None, Some(from), Some(to), Some(count)) if count >= 2 => {
                let log = self.spacing == Spacing::Log;
                if log && !(from > 0.0 && to > 0.0) {
                    return Err(wrong(format!(
                        "{first}: spacing = \"log\" needs from = {from} and to = {to} above 0"
                    )));
                }
                let share = |i: usize| i as f64 / (count - 1) as f64;
                let at = |i: usize| match self.spacing {
                    _ if i + 1 == count => to,
                    Spacing::Linear => from + share(i) * (to - from),
                    Spacing::Log => from * (to / from).powf(share(i)),
                };
                (0..count).map(at).collect()
            }
            _ => {
                return Err(wrong(format!(
                    "{first}: give `values`, or `from`, `to` and `count` (2 or more)"
                )));
            }
        };
        let rise = numbers.windows(2).all(|w| w[0] < w[1]);
        if numbers.len() < 2 || !rise || !numbers.iter().all(|v| v.is_finite()) {
            return Err(wrong(format!(
                "{first}: {numbers:?} do not rise; two or more finite numbers that rise are needed"
            )));
        }
        Ok(Varied { axis: DictionaryAxis { name, unit, nodes: numbers }, keys })
    }
}

impl SweepSpec {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// Text that is no TOML, unknown keys.
    pub fn from_toml(text: &str) -> Result<Self, DictionaryError> {
        toml::from_str(text).map_err(|e| wrong(e.to_string().trim().to_string()))
    }

    /// Checks a sweep over a substrate.
    ///
    /// # Errors
    /// Parameters without keys or values; numbers that can't be; substrates whose signals
    /// relax, or whose symmetry is not known.
    pub fn over(&self, substrate: &SubstrateSpec) -> Result<Sweep, DictionaryError> {
        let varied = self.parameter.iter().map(SweepAxis::build).collect::<Result<Vec<_>, _>>()?;
        if varied.is_empty() {
            return Err(wrong("there is no [[parameter]]; one at least varies".into()));
        }
        for (i, v) in varied.iter().enumerate() {
            if varied[..i].iter().any(|w| w.axis.name == v.axis.name) {
                return Err(wrong(format!(
                    "two parameters have the name `{}`; give one of them another `name`",
                    v.axis.name
                )));
            }
        }
        let points = varied.iter().try_fold(1_usize, |n, v| n.checked_mul(v.axis.nodes.len()));
        if points.is_none_or(|n| n > POINTS) {
            return Err(wrong(format!(
                "the grid has more than {POINTS} points; take fewer values"
            )));
        }
        let options = &self.sweep;
        if !(2..=1000).contains(&options.batches) || !(1..=1000).contains(&options.azimuths) {
            return Err(wrong(format!(
                "batches = {}, azimuths = {}; from 2 and from 1 up to 1000 are possible",
                options.batches, options.azimuths
            )));
        }
        if options.cosines.is_some_and(|n| !(1..=200).contains(&n)) {
            return Err(wrong("cosines: from 1 up to 200 are possible".into()));
        }
        let media = [&substrate.intra, &substrate.myelin, &substrate.extra];
        let relaxes = media.iter().filter_map(|m| m.as_ref()).any(|m| {
            m.t2_ms.is_some_and(|t| t.is_finite()) || m.surface_relaxivity_um_per_ms > 0.0
        });
        if relaxes
            || varied
                .iter()
                .flat_map(|v| &v.keys)
                .any(|k| k.ends_with(".t2_ms") || k.ends_with(".surface_relaxivity_um_per_ms"))
        {
            return Err(wrong(
                "signals of a dictionary are relative to b = 0 and know no relaxation: leave t2_ms and surface_relaxivity_um_per_ms out (t2 = true in a model file gives the compartment a T2)".into(),
            ));
        }
        let known = match substrate.substrate.kind.as_str() {
            "free" | "sphere" | "spheres" => Some(Symmetry::Isotropic),
            "planes" | "cylinder" | "capped_cylinder" | "annuli" | "cylinders" => {
                Some(Symmetry::Axial)
            }
            _ => None,
        };
        let symmetry = options.symmetry.or(known).ok_or_else(|| {
            wrong(format!(
                "the symmetry of a substrate of kind `{}` is not known; give symmetry = \"axial\" (the mean over directions about substrate.axis) or \"isotropic\" (the mean over all directions) in [sweep]",
                substrate.substrate.kind
            ))
        })?;
        let (substrate, options) = (substrate.clone(), options.clone());
        Ok(Sweep { substrate, varied, options, symmetry })
    }
}

impl Sweep {
    /// Points of the grid.
    pub fn points(&self) -> usize {
        self.varied.iter().map(|v| v.axis.nodes.len()).product()
    }

    /// Batches of walkers at every point.
    pub fn batches(&self) -> usize {
        self.options.batches
    }

    /// Different packings of every point: one a batch, or one where nothing is packed at
    /// random.
    pub fn packings(&self) -> usize {
        let shape = &self.substrate.substrate;
        let random = shape.count.is_some() && shape.objects.is_none();
        let seeds = self.varied.iter().flat_map(|v| &v.keys).any(|k| k.ends_with(PACKING_SEED));
        if random && self.options.own_packings && !seeds { self.options.batches } else { 1 }
    }

    /// The substrates of all points in one of the packings, the last parameter fastest.
    ///
    /// # Errors
    /// A key that the substrate can't have.
    pub fn substrates(&self, packing: usize) -> Result<Vec<SubstrateSpec>, DictionaryError> {
        let axes: Vec<DictionaryAxis> = self.varied.iter().map(|v| v.axis.clone()).collect();
        let grid = DictionaryTable { axes, ..DictionaryTable::default() };
        let mut substrate = self.substrate.clone();
        if self.packings() > 1 {
            let seed = substrate.substrate.packing_seed.unwrap_or(0);
            substrate.substrate.packing_seed = Some(seed.wrapping_add(packing as u64));
        }
        let text = toml::Value::try_from(&substrate)
            .map_err(|e| wrong(format!("the substrate can't be written: {e}")))?;
        (0..self.points())
            .map(|point| {
                let mut changed = text.clone();
                for (v, x) in self.varied.iter().zip(grid.parameters(point)) {
                    for key in &v.keys {
                        set(&mut changed, key, x)?;
                    }
                }
                changed.try_into().map_err(|e: toml::de::Error| {
                    let keys: Vec<&str> =
                        self.varied.iter().flat_map(|v| &v.keys).map(String::as_str).collect();
                    wrong(format!("{}: {}", keys.join(", "), e.message()))
                })
            })
            .collect()
    }

    /// Makes a sweep of the substrates of [`Sweep::substrates`], built, `[packing][point]`, and
    /// the shells of an acquisition.
    ///
    /// # Errors
    /// An acquisition without weighting by pulses.
    pub fn of(
        &self,
        substrates: Vec<Vec<Substrate>>,
        acquisition: &Acquisition,
        exact: bool,
    ) -> Result<Swept, DictionaryError> {
        if !acquisition.waveforms().is_empty() || !acquisition.is_linear() {
            return Err(wrong("a dictionary is of pairs of pulses along one direction; waveforms and b-tensors have none".into()));
        }
        let largest = substrates
            .iter()
            .flatten()
            .flat_map(|s| s.media())
            .map(|m| m.diffusivity)
            .fold(0.0, f64::max);
        let axis = match self.substrate.substrate.axis {
            Some(v) => {
                let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
                v.map(|x| x / norm)
            }
            None => [0.0, 0.0, 1.0],
        };
        let [e1, e2] = normals(axis);
        let axial = self.symmetry == Symmetry::Axial;
        let (mut b, mut directions, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        let (mut delta_ms, mut big_delta_ms) = (Vec::new(), Vec::new());
        let mut shells: Vec<DictionaryShell> = Vec::new();
        let mut entry = 0;
        for shell in acquisition.shells().iter().filter(|s| s.b > 0.0) {
            let (Some(delta), Some(big)) = (shell.delta_ms, shell.big_delta_ms) else {
                return Err(wrong(
                    "the acquisition does not tell delta and Delta, which a walk needs".into(),
                ));
            };
            // Shells may differ in TE alone.
            if shells.iter().any(|s| (s.b, s.delta_ms, s.big_delta_ms) == (shell.b, delta, big)) {
                continue;
            }
            let x = shell.b * largest;
            let series = if exact { series_terms(x) } else { (4.0 + 3.0 * x.sqrt()) as usize };
            let n = self.options.cosines.unwrap_or(series);
            let rule = gauss_legendre(2 * n).split_off(n);
            let azimuths = if exact { 1 } else { self.options.azimuths };
            for (i, (t, w)) in rule.iter().enumerate() {
                for k in 0..azimuths {
                    let phi = std::f64::consts::TAU * (k as f64 + 0.5) / azimuths as f64;
                    let (sin, cos) = phi.sin_cos();
                    let across = (1.0 - t * t).max(0.0).sqrt();
                    let g: [f64; 3] =
                        std::array::from_fn(|a| across * (cos * e1[a] + sin * e2[a]) + t * axis[a]);
                    directions.push(g);
                    b.push(shell.b);
                    delta_ms.push(delta);
                    big_delta_ms.push(big);
                    let share = if axial { 1.0 } else { *w };
                    weights.push((entry + if axial { i } else { 0 }, share / azimuths as f64));
                }
            }
            let cosines = if axial { rule.iter().map(|p| p.0).collect() } else { Vec::new() };
            shells.push(DictionaryShell {
                b: shell.b,
                delta_ms: delta,
                big_delta_ms: big,
                cosines,
            });
            entry += if axial { n } else { 1 };
        }
        if shells.is_empty() {
            return Err(wrong("the acquisition has no measurement with b > 0".into()));
        }
        let timing = PulseTiming { delta_ms, big_delta_ms };
        let directions = Acquisition::from_b(&b, &directions, Some(timing), None)
            .map_err(|e| wrong(e.to_string()))?;
        let sequence = Sequence::from_pulses(&directions).map_err(|e| wrong(e.to_string()))?;
        let axes = self.varied.iter().map(|v| v.axis.clone()).collect();
        let table = DictionaryTable { axes, shells, ..DictionaryTable::default() };
        Ok(Swept { table, substrates, sequence, weights, batches: self.options.batches })
    }
}

/// Sets a dotted key of a table to a number, a whole one where the file has whole ones.
fn set(table: &mut toml::Value, key: &str, x: f64) -> Result<(), DictionaryError> {
    let missing = || {
        wrong(format!(
            "`{key}` is no key of the substrate; name its table and key, such as \"substrate.radius_um\" or \"intra.diffusivity_um2_per_ms\""
        ))
    };
    let (path, last) = key.rsplit_once('.').ok_or_else(missing)?;
    let mut at = table;
    for part in path.split('.') {
        at = at.get_mut(part).ok_or_else(missing)?;
    }
    let whole = ["count", PACKING_SEED].contains(&last) && x.fract() == 0.0;
    let value = if whole { toml::Value::Integer(x as i64) } else { toml::Value::Float(x) };
    at.as_table_mut().ok_or_else(missing)?.insert(last.to_string(), value);
    Ok(())
}

impl Swept {
    /// Measurements that every walker counts.
    pub fn measurements(&self) -> usize {
        self.sequence.len()
    }

    /// The shells that are simulated.
    pub fn shells(&self) -> &[DictionaryShell] {
        &self.table.shells
    }

    /// The time step of all points: the shortest that one of them needs.
    ///
    /// # Errors
    /// Those of [`Simulation::new`].
    pub fn step_ms(&self, given: Option<f64>) -> Result<f64, DictionaryError> {
        let mut least = f64::INFINITY;
        for s in self.substrates.iter().flatten() {
            let simulation = Simulation::new(s.clone(), &self.sequence, given, 1, 0);
            least = least.min(simulation.map_err(|e| wrong(e.to_string()))?.time_step().ms);
        }
        Ok(least)
    }

    /// Exact signals, without walkers.
    ///
    /// # Errors
    /// Substrates that have none.
    pub fn exact(
        mut self,
        mut observe: impl FnMut(Observation),
    ) -> Result<DictionaryTable, DictionaryError> {
        let of = self.table.points();
        for (done, s) in self.substrates.iter().take(1).flatten().enumerate() {
            observe(Observation { done, of });
            let signals = exact_signals(s, &self.sequence).map_err(|e| wrong(e.to_string()))?;
            let sums = self.averaged(&signals);
            self.table.signal.extend(sums.iter().map(|v| v[0]));
            self.table.imaginary.extend(sums.iter().map(|v| v[1]));
        }
        self.table.se = vec![0.0; self.table.signal.len()];
        self.table.se_imaginary = self.table.se.clone();
        Ok(self.table)
    }

    /// Real and imaginary part of every entry: means over azimuths.
    fn averaged(&self, signals: &Signals) -> Vec<[f64; 2]> {
        let mut sums = vec![[0.0; 2]; self.table.entries()];
        let total = signals.rows.iter().filter(|r| r.compartment == TOTAL);
        for (row, (entry, w)) in total.zip(&self.weights) {
            sums[*entry][0] += w * row.signal.real;
            sums[*entry][1] += w * row.signal.imaginary;
        }
        sums
    }

    /// Walks `walkers` in all at every point, in equal batches (rounded up); returns the table
    /// and the steps of all walkers.
    ///
    /// # Errors
    /// Those of [`Simulation::new`]; a walker that left its walls by rounding.
    pub fn walk(
        self,
        walkers: u64,
        step_ms: f64,
        seed: u64,
        mut observe: impl FnMut(Observation),
    ) -> Result<(DictionaryTable, u64), DictionaryError> {
        let all = self.walk_on(walkers, step_ms, seed, Walked::default(), |seen, _| {
            observe(seen);
            true
        })?;
        all.ok_or_else(|| wrong("the sweep was stopped".into()))
    }

    /// [`Swept::walk`] from where a sweep was stopped: `observe` is called before every walk
    /// with those so far, and stops the sweep by returning false; then there is no table.
    ///
    /// # Errors
    /// As [`Swept::walk`]; `done` of another sweep.
    pub fn walk_on(
        mut self,
        walkers: u64,
        step_ms: f64,
        seed: u64,
        mut done: Walked,
        mut observe: impl FnMut(Observation, &Walked) -> bool,
    ) -> Result<Option<(DictionaryTable, u64)>, DictionaryError> {
        let (count, entries) = (self.batches, self.table.entries());
        let points = self.table.points();
        let of = points * count;
        if !done.signals.len().is_multiple_of(entries.max(1)) || done.signals.len() > of * entries {
            return Err(wrong("the walks to go on from are of another sweep".into()));
        }
        let each = walkers.div_ceil(count as u64);
        for number in done.signals.len() / entries.max(1)..of {
            if !observe(Observation { done: number, of }, &done) {
                return Ok(None);
            }
            let (point, batch) = (number / count, number % count);
            let packing = self.substrates.iter().cycle().nth(batch);
            let Some(substrate) = packing.and_then(|p| p.get(point)) else {
                return Err(wrong(format!("{points} substrates are needed a packing")));
            };
            let seed = batch_seed(seed, batch);
            let walk =
                Simulation::new(substrate.clone(), &self.sequence, Some(step_ms), each, seed)
                    .map_err(|e| wrong(e.to_string()))?;
            let signals = walk.run(|_| true);
            if signals.escaped > 0 {
                return Err(wrong(format!(
                    "{} walkers left their walls by rounding at {:?}",
                    signals.escaped,
                    self.table.parameters(point)
                )));
            }
            done.steps += signals.walker_steps;
            done.signals.extend(self.averaged(&signals));
        }
        let part = |batch: usize, part: usize| -> Vec<f64> {
            let walks = done.signals.chunks_exact(entries.max(1)).skip(batch).step_by(count);
            walks.flatten().map(|v| v[part]).collect()
        };
        let batches: Vec<Vec<f64>> = (0..count).map(|k| part(k, 0)).collect();
        let imaginary: Vec<Vec<f64>> = (0..count).map(|k| part(k, 1)).collect();
        (self.table.signal, self.table.se) = mean_and_error(&batches);
        (self.table.imaginary, self.table.se_imaginary) = mean_and_error(&imaginary);
        self.table.batches = batches;
        Ok(Some((self.table, done.steps)))
    }
}

/// The walks of a sweep that is not over, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Walked {
    /// Real and imaginary part `[walk][entry]`.
    signals: Vec<[f64; 2]>,
    steps: u64,
}

impl Walked {
    /// All numbers, for a file.
    pub fn words(&self) -> Vec<u64> {
        let bits = self.signals.iter().flatten().map(|v| v.to_bits());
        std::iter::once(self.steps).chain(bits).collect()
    }

    /// The walks of [`Walked::words`], to the bit; `None` when numbers are missing.
    pub fn from_words(words: &[u64]) -> Option<Self> {
        let (steps, bits) = words.split_first()?;
        let (pairs, rest) = bits.as_chunks::<2>();
        let signals = pairs.iter().map(|p| p.map(f64::from_bits)).collect();
        rest.is_empty().then_some(Self { signals, steps: *steps })
    }
}

/// Seeds of batches: far apart, so that no two sweeps of near seeds share walkers.
fn batch_seed(seed: u64, batch: usize) -> u64 {
    seed ^ (batch as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Means over batches and their standard errors.
fn mean_and_error(batches: &[Vec<f64>]) -> (Vec<f64>, Vec<f64>) {
    let n = batches.len() as f64;
    let size = batches.first().map_or(0, Vec::len);
    let mut mean = vec![0.0; size];
    let mut se = vec![0.0; size];
    for (i, (m, s)) in mean.iter_mut().zip(&mut se).enumerate() {
        *m = batches.iter().map(|b| b[i]).sum::<f64>() / n;
        let square: f64 = batches.iter().map(|b| (b[i] - *m) * (b[i] - *m)).sum();
        *s = (square / (n * (n - 1.0))).sqrt();
    }
    (mean, se)
}

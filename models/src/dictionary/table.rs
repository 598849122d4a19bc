//! Signals on a grid of parameters, as they are simulated or read from a file.
//!
//! An entry is a (shell, cosine) with the cosine that of the angle between gradient and axis,
//! or a shell alone for substrates without an axis. Validated by `models/tests/suite/dictionary.rs`.

use crate::parameter::Unit;

/// One parameter and its nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct DictionaryAxis {
    /// Name without its unit.
    pub name: String,
    /// Unit.
    pub unit: Unit,
    /// Rising.
    pub nodes: Vec<f64>,
}

impl DictionaryAxis {
    /// The name with its unit, as columns of files have it: `radius_um`.
    pub fn column(&self) -> String {
        let suffix = SUFFIXES.iter().find(|(_, unit)| *unit == self.unit);
        format!("{}{}", self.name, suffix.map_or("", |(s, _)| s))
    }

    /// Name and unit of a column: `radius_um` is a radius in µm.
    pub fn of_column(column: &str) -> (String, Unit) {
        let found = SUFFIXES.iter().find_map(|(suffix, unit)| {
            let name = column.strip_suffix(suffix)?;
            (!name.is_empty()).then(|| (name.to_string(), *unit))
        });
        found.unwrap_or_else(|| (column.to_string(), Unit::One))
    }
}

/// Endings of columns and their units, the longest first.
const SUFFIXES: [(&str, Unit); 6] = [
    ("_um2_per_ms", Unit::SquareMicrometrePerMillisecond),
    ("_um_per_ms", Unit::MicrometrePerMillisecond),
    ("_um2", Unit::SquareMicrometre),
    ("_um", Unit::Micrometre),
    ("_ms", Unit::Millisecond),
    ("_rad", Unit::Radian),
];

/// One shell: a pair of pulses, and the cosines at which it was simulated.
#[derive(Debug, Clone, PartialEq)]
pub struct DictionaryShell {
    /// b, ms/µm², above 0.
    pub b: f64,
    /// δ, ms.
    pub delta_ms: f64,
    /// Δ, ms.
    pub big_delta_ms: f64,
    /// Cosines of the angle between gradient and axis, in [0, 1], rising; empty where there
    /// is no axis.
    pub cosines: Vec<f64>,
}

impl DictionaryShell {
    /// Entries of the shell in a row of the table.
    pub fn entries(&self) -> usize {
        self.cosines.len().max(1)
    }
}

/// The signals of a dictionary.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DictionaryTable {
    /// The parameters; the grid has all combinations, the last parameter fastest.
    pub axes: Vec<DictionaryAxis>,
    /// The shells.
    pub shells: Vec<DictionaryShell>,
    /// Real parts of the signals, relative to those at b = 0, `[grid, entry]`.
    pub signal: Vec<f64>,
    /// Imaginary parts `[grid, entry]`.
    pub imaginary: Vec<f64>,
    /// Standard errors of the real parts `[grid, entry]`; 0 where exact.
    pub se: Vec<f64>,
    /// Standard errors of the imaginary parts `[grid, entry]`.
    pub se_imaginary: Vec<f64>,
    /// Real parts of equally large independent batches of walkers, whose mean the signals
    /// are, `[batch][grid, entry]`; none where exact.
    pub batches: Vec<Vec<f64>>,
}

impl DictionaryTable {
    /// Points of the grid.
    pub fn points(&self) -> usize {
        self.axes.iter().map(|a| a.nodes.len()).product()
    }

    /// Entries of a point.
    pub fn entries(&self) -> usize {
        self.shells.iter().map(DictionaryShell::entries).sum()
    }

    /// The parameters of a point of the grid.
    pub fn parameters(&self, point: usize) -> Vec<f64> {
        let mut rest = point;
        let mut out = vec![0.0; self.axes.len()];
        for (axis, x) in self.axes.iter().zip(&mut out).rev() {
            *x = axis.nodes[rest % axis.nodes.len()];
            rest /= axis.nodes.len();
        }
        out
    }

    /// Whether the signal depends on the angle to an axis.
    pub fn is_axial(&self) -> bool {
        self.shells.iter().any(|s| !s.cosines.is_empty())
    }

    /// Checks that all numbers fit together.
    ///
    /// # Errors
    /// What is wrong, by name.
    pub fn check(&self) -> Result<(), DictionaryError> {
        let wrong = |what: String| Err(DictionaryError { what });
        if self.axes.is_empty() || self.shells.is_empty() {
            return wrong("a dictionary needs a parameter and a shell with b > 0 at least".into());
        }
        for (i, a) in self.axes.iter().enumerate() {
            if a.nodes.len() < 2 || !a.nodes.windows(2).all(|w| w[0] < w[1]) {
                return wrong(format!(
                    "the parameter `{}` has {} value(s); two or more that rise are needed",
                    a.name,
                    a.nodes.len()
                ));
            }
            if self.axes[..i].iter().any(|b| b.name == a.name) {
                return wrong(format!("the parameter `{}` is there twice", a.name));
            }
        }
        let axial = self.is_axial();
        for s in &self.shells {
            let pulses = s.b > 0.0 && s.delta_ms > 0.0 && s.big_delta_ms >= s.delta_ms;
            let rising = s.cosines.windows(2).all(|w| w[0] < w[1]);
            let inside = s.cosines.iter().all(|t| (0.0..=1.0).contains(t));
            if !(pulses && rising && inside && axial != s.cosines.is_empty()) {
                return wrong(format!(
                    "the shell of b = {} s/mm2, delta = {} ms, Delta = {} ms is no pair of pulses with cosines that rise from 0 to 1",
                    1e3 * s.b,
                    s.delta_ms,
                    s.big_delta_ms
                ));
            }
        }
        let size = self.points() * self.entries();
        let lists = [&self.signal, &self.imaginary, &self.se, &self.se_imaginary];
        if lists.into_iter().chain(&self.batches).any(|l| l.len() != size) {
            return wrong(format!("{size} signals are needed, one an entry and point of the grid"));
        }
        let numbers = [&self.signal, &self.se].into_iter().chain(&self.batches);
        if numbers.flatten().any(|v| !v.is_finite()) {
            return wrong("a signal or standard error is not a finite number".into());
        }
        if self.batches.len() == 1 {
            return wrong("one batch tells nothing of its errors; two or more are needed".into());
        }
        Ok(())
    }
}

/// Why there can be no such dictionary.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{what}")]
pub struct DictionaryError {
    /// What is wrong, and what to do.
    pub what: String,
}

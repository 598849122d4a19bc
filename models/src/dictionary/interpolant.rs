//! Splines through a table and through the parts of its errors.
//!
//! *Leaving nodes out.* For every parameter of four nodes and more, the spline through the
//! grid without one inner node, at that node, is off by an error that bounds that of the
//! interpolation between closer nodes.
//!
//! Validated by `models/tests/suite/dictionary.rs`.

use super::table::{DictionaryAxis, DictionaryError, DictionaryTable};
use microtome_kernels::dense::invert;
use microtome_kernels::legendre::even_polynomials;
use microtome_kernels::spline::{GridSpline, SplineAxis};

/// b-values and times are those of the dictionary to this share.
const SAME: f64 = 1e-6;

/// One shell of the interpolant.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shell {
    b: f64,
    delta_ms: f64,
    big_delta_ms: f64,
    /// The first coefficient in a row.
    pub(super) at: usize,
    /// Legendre coefficients; 1 where there is no axis.
    pub(super) terms: usize,
}

/// How far the spline without a node is off at that node.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftOut {
    /// The parameter whose node was left out.
    pub parameter: String,
    /// Largest error of a signal; 0 where the parameter has fewer than four nodes.
    pub largest: f64,
    /// Root mean square.
    pub rms: f64,
    /// The value of the parameter where it is largest.
    pub at: f64,
}

/// A dictionary that can be evaluated between its points.
#[derive(Debug, Clone, PartialEq)]
pub struct Dictionary {
    axes: Vec<DictionaryAxis>,
    shells: Vec<Shell>,
    axial: bool,
    spline: GridSpline,
    held: f64,
    largest_se: f64,
    left_out: Vec<LeftOut>,
    content: String,
}

impl Dictionary {
    /// The interpolant of a table.
    ///
    /// `error_modes` is the number of parts of the errors; enough for 99 % of their variance and
    /// [`super::ERROR_MODES`] at most where it is `None`, and 0 takes the signals for exact. `content` identifies the table (a hash of its
    /// file).
    ///
    /// # Errors
    /// A table whose numbers do not fit together; cosines that do not determine a series;
    /// more parts of the errors than batches less one.
    pub fn new(
        table: &DictionaryTable,
        error_modes: Option<usize>,
        content: &str,
    ) -> Result<Self, DictionaryError> {
        table.check()?;
        let wrong = |what: String| DictionaryError { what };
        let entries = table.entries();
        let (parts, held) = super::error_modes::error_modes(table, error_modes)?;
        let mut layers = table.signal.clone();
        for part in &parts {
            layers.extend_from_slice(part);
        }
        let mut shells = Vec::new();
        let mut at = 0;
        for s in &table.shells {
            let terms = s.entries();
            if !s.cosines.is_empty() {
                let mut values = vec![0.0; terms * terms];
                for (row, t) in values.chunks_mut(terms).zip(&s.cosines) {
                    even_polynomials(*t, row);
                }
                let series = invert(&values, terms).ok_or_else(|| {
                    wrong(format!(
                        "the {terms} cosines of the shell of b = {} s/mm2 do not determine a series of as many terms",
                        1e3 * s.b
                    ))
                })?;
                for row in layers.chunks_mut(entries) {
                    let row = &mut row[at..at + terms];
                    let before = row.to_vec();
                    for (to, weights) in row.iter_mut().zip(series.chunks(terms)) {
                        *to = weights.iter().zip(&before).map(|(w, v)| w * v).sum();
                    }
                }
            }
            let (b, delta_ms, big_delta_ms) = (s.b, s.delta_ms, s.big_delta_ms);
            shells.push(Shell { b, delta_ms, big_delta_ms, at, terms });
            at += terms;
        }
        let spline = axes_of(&table.axes)
            .and_then(|axes| GridSpline::through(axes, entries, layers))
            .ok_or_else(|| wrong("the grid has no spline: two nodes are too close".into()))?;
        Ok(Self {
            axes: table.axes.clone(),
            shells,
            axial: table.is_axial(),
            spline,
            held,
            largest_se: table.se.iter().copied().fold(0.0, f64::max),
            left_out: left_out(table),
            content: content.to_string(),
        })
    }

    /// The parameters and their nodes.
    pub fn axes(&self) -> &[DictionaryAxis] {
        &self.axes
    }

    /// Whether there is an axis.
    pub fn is_axial(&self) -> bool {
        self.axial
    }

    /// Number of parts of the errors.
    pub fn error_modes(&self) -> usize {
        self.spline.layers() - 1
    }

    /// The share of the variance of the errors that the parts hold; 1 without errors.
    pub fn held(&self) -> f64 {
        self.held
    }

    /// The largest standard error of a signal.
    pub fn largest_se(&self) -> f64 {
        self.largest_se
    }

    /// The errors at nodes that are left out, one a parameter.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// What identifies the table.
    pub fn content(&self) -> &str {
        &self.content
    }

    /// Legendre coefficients of all shells: their values and their slopes along the parameters
    /// and then along the errors.
    ///
    /// # Shapes
    /// `parameters` `[axis]`, `errors` `[mode]`, `value` `[width]`, `slope`
    /// `[axis + mode, width]` with [`Dictionary::width`].
    pub fn coefficients(
        &self,
        parameters: &[f64],
        errors: &[f64],
        value: &mut [f64],
        slope: &mut [f64],
    ) {
        self.spline.evaluate(parameters, errors, value, slope);
    }

    /// Coefficients of all shells together.
    pub fn width(&self) -> usize {
        self.spline.width()
    }

    pub(super) fn shells(&self) -> &[Shell] {
        &self.shells
    }

    /// The simulated shell that a shell of an acquisition is.
    pub(super) fn find(&self, shell: &crate::acquisition::Shell) -> Option<&Shell> {
        let (delta, big) = (shell.delta_ms?, shell.big_delta_ms?);
        let same = |a: f64, b: f64| (a - b).abs() <= SAME * b.abs();
        self.shells
            .iter()
            .find(|s| same(shell.b, s.b) && same(delta, s.delta_ms) && same(big, s.big_delta_ms))
    }

    /// The simulated shells in words: `b 1000 (delta 10, Delta 30)`.
    pub fn shells_in_words(&self) -> String {
        let words = self.shells.iter().map(|s| {
            let b = (s.b * 1e6).round() / 1e3;
            format!("b {b} (delta {}, Delta {})", rounded(s.delta_ms), rounded(s.big_delta_ms))
        });
        words.collect::<Vec<_>>().join(", ")
    }
}

/// Times to 1e-6 ms.
fn rounded(ms: f64) -> f64 {
    (ms * 1e6).round() / 1e6
}

fn axes_of(axes: &[DictionaryAxis]) -> Option<Vec<SplineAxis>> {
    axes.iter().map(|a| SplineAxis::new(&a.nodes)).collect()
}

/// The errors at inner nodes that are left out, one after another.
fn left_out(table: &DictionaryTable) -> Vec<LeftOut> {
    let entries = table.entries();
    let mut out = Vec::new();
    let mut inner = entries;
    let mut found = Vec::new();
    for axis in table.axes.iter().rev() {
        let n = axis.nodes.len();
        let (mut largest, mut at, mut square, mut count) = (0.0_f64, axis.nodes[0], 0.0, 0_usize);
        for k in 1..n.saturating_sub(1) {
            if n < 4 {
                break;
            }
            let mut nodes = axis.nodes.clone();
            nodes.remove(k);
            let Some(spline) = SplineAxis::new(&nodes) else { continue };
            for block in table.signal.chunks(n * inner) {
                let kept: Vec<f64> = block
                    .chunks(inner)
                    .enumerate()
                    .filter(|(i, _)| *i != k)
                    .flat_map(|(_, r)| r.iter().copied())
                    .collect();
                let Some(through) = GridSpline::through(vec![spline.clone()], inner, kept) else {
                    continue;
                };
                let (mut value, mut slope) = (vec![0.0; inner], vec![0.0; inner]);
                through.evaluate(&[axis.nodes[k]], &[], &mut value, &mut slope);
                for (v, truth) in value.iter().zip(&block[k * inner..]) {
                    let error = (v - truth).abs();
                    square += error * error;
                    count += 1;
                    if error > largest {
                        (largest, at) = (error, axis.nodes[k]);
                    }
                }
            }
        }
        let rms = (square / count.max(1) as f64).sqrt();
        found.push(LeftOut { parameter: axis.name.clone(), largest, rms, at });
        inner *= n;
    }
    out.extend(found.into_iter().rev());
    out
}

//! A dictionary as a compartment.
//!
//! $$\frac{\partial c_{s,k}}{\partial\theta_i} = \sum_n v_n\,\partial_i B_n(\theta),\qquad
//!   \frac{\partial c_{s,k}}{\partial z_j} = c^{(j)}_{s,k}(\theta)$$
//!
//! The slopes are those of the interpolant. Its parameters are those of the grid, bounded to
//! it, and `error_1`, `error_2`, ... with a standard normal prior. Validated by
//! `interpolant_slopes_equal_differences` of `models/tests/suite/dictionary.rs`.

use super::interpolant::Dictionary;
use crate::acquisition::Shell;
use crate::compartment::{Coefficients, Compartment, Family};
use crate::parameter::{ParameterSpec, Unit};
use crate::zonal::ZonalSeries;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Tissue whose signal was simulated.
#[derive(Debug)]
pub struct DictionaryTissue {
    dictionary: Arc<Dictionary>,
    parameters: Vec<ParameterSpec>,
    /// The shells in words.
    shells: String,
}

/// The one copy of a text that lives as long as the program: names of parameters that only a
/// file knows.
fn kept(text: &str) -> &'static str {
    static KEPT: OnceLock<Mutex<BTreeSet<&'static str>>> = OnceLock::new();
    let mut all = KEPT.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    match all.get(text) {
        Some(one) => one,
        None => {
            let one: &'static str = Box::leak(text.to_string().into_boxed_str());
            all.insert(one);
            one
        }
    }
}

impl DictionaryTissue {
    /// The compartment of a dictionary.
    pub fn new(dictionary: Arc<Dictionary>) -> Self {
        let of_grid = dictionary.axes().iter().map(|a| {
            let (low, high) = (a.nodes[0], a.nodes[a.nodes.len() - 1]);
            ParameterSpec {
                name: kept(&a.name),
                unit: a.unit,
                range: [low, high],
                scale: 0.5 * (low + high),
                domain: [low, high],
                default: None,
                period: None,
                meaning: "parameter of the simulated substrate, within its grid",
            }
        });
        let of_errors = (1..=dictionary.error_modes()).map(|j| ParameterSpec {
            name: kept(&format!("error_{j}")),
            unit: Unit::One,
            range: [f64::NEG_INFINITY, f64::INFINITY],
            scale: 1.0,
            domain: [f64::NEG_INFINITY, f64::INFINITY],
            default: Some(0.0),
            period: None,
            meaning: "error of the simulation along a part of it, in its standard deviations",
        });
        let parameters = of_grid.chain(of_errors).collect();
        let shells = dictionary.shells_in_words();
        Self { dictionary, parameters, shells }
    }

    fn series(&self, shells: &[Shell]) -> ZonalSeries {
        let terms = self.dictionary.shells().iter().map(|s| s.terms).max().unwrap_or(1);
        ZonalSeries::of_length(shells, self.parameters.len(), terms)
    }
}

impl Compartment for DictionaryTissue {
    fn kind(&self) -> &str {
        super::DICTIONARY
    }

    fn parameters(&self) -> &[ParameterSpec] {
        &self.parameters
    }

    fn oriented(&self) -> bool {
        self.dictionary.is_axial()
    }

    fn family(&self) -> Family {
        if self.dictionary.is_axial() { Family::Zonal } else { Family::Isotropic }
    }

    fn needs_timing(&self) -> bool {
        true
    }

    fn refuses(&self, shell: &Shell) -> Option<&'static str> {
        if !shell.is_linear() {
            Some("was simulated for pairs of pulses along one direction (b_delta = 1) only")
        } else if shell.waveform.is_some() {
            Some("was simulated for pairs of pulses, not for free waveforms")
        } else if shell.b > 0.0 && shell.delta_ms.is_some() && self.dictionary.find(shell).is_none()
        {
            // As many texts as there are shells.
            Some(kept(&format!(
                "was simulated for other pulses than delta = {} ms, Delta = {} ms at this b; its shells (s/mm2, ms) are {}",
                shell.delta_ms.unwrap_or(0.0),
                shell.big_delta_ms.unwrap_or(0.0),
                self.shells
            )))
        } else {
            None
        }
    }

    fn coefficients(&self, shells: &[Shell]) -> Coefficients {
        match self.family() {
            Family::Zonal => Coefficients::Zonal(self.series(shells)),
            family => Coefficients::new(family, shells, self.parameters.len()),
        }
    }

    fn lower(&self, shells: &[Shell], scalars: &[f64], _mu: [f64; 3], out: &mut Coefficients) {
        let d = self.dictionary.axes().len();
        let (n, width) = (self.parameters.len(), self.dictionary.width());
        let (mut value, mut slope) = (vec![0.0; width], vec![0.0; n * width]);
        self.dictionary.coefficients(&scalars[..d], &scalars[d..n], &mut value, &mut slope);
        match out {
            Coefficients::Zonal(series) => {
                series.clear();
                for (s, shell) in shells.iter().enumerate() {
                    let stride = series.stride;
                    let found = self.dictionary.find(shell).filter(|_| shell.b > 0.0);
                    let Some(simulated) = found else {
                        series.c[s * stride] = if shell.b == 0.0 { 1.0 } else { f64::NAN };
                        continue;
                    };
                    let terms = simulated.terms.min(stride);
                    series.terms[s] = terms;
                    series.c[s * stride..][..terms]
                        .copy_from_slice(&value[simulated.at..][..terms]);
                    for j in 0..n {
                        let row = series.row(j, s);
                        series.d_c[row..row + terms]
                            .copy_from_slice(&slope[j * width + simulated.at..][..terms]);
                    }
                }
            }
            Coefficients::Isotropic { value: v, d_value } => {
                for (s, shell) in shells.iter().enumerate() {
                    let found = self.dictionary.find(shell).filter(|_| shell.b > 0.0);
                    let at = found.map(|f| f.at);
                    v[s] = match at {
                        Some(at) => value[at],
                        None if shell.b == 0.0 => 1.0,
                        None => f64::NAN,
                    };
                    for j in 0..n {
                        d_value[j * shells.len() + s] = at.map_or(0.0, |at| slope[j * width + at]);
                    }
                }
            }
            _ => {}
        }
    }

    fn reference(&self) -> &str {
        "simulated (docs/dictionary.md)"
    }
}

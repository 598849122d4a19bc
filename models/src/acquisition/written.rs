//! The acquisition as it stands in files: what was given, not what follows from it.
//!
//! Reading goes through the checks of [`crate::Acquisition`], so a specification
//! that was written by hand is as safe as a scheme. Validated by
//! `reading_checks_again`.

use super::{Acquisition, AcquisitionError, Lists, PulseTiming, Waveform};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    b: Vec<f64>,
    directions: Vec<[f64; 3]>,
    #[serde(default)]
    timing: Option<PulseTiming>,
    #[serde(default)]
    te_ms: Option<Vec<f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tr_ms: Option<Vec<f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    b_delta: Option<Vec<f64>>,
    /// Measurements whose b-tensor has no axis of symmetry; their `b_delta` means nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    without_axis: Vec<usize>,
    /// (xx, yy, zz, xy, xz, yz), ms/µm².
    #[serde(default, skip_serializing_if = "Option::is_none")]
    b_tensors: Option<Vec<[f64; 6]>>,
    /// Counted from 1; 0 for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    waveform_of: Option<Vec<usize>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    waveforms: Vec<Waveform>,
}

impl From<Acquisition> for Written {
    fn from(acquisition: Acquisition) -> Self {
        let lists = acquisition.lists;
        let without_axis = |v: &Vec<Option<f64>>| -> Vec<usize> {
            v.iter().enumerate().filter(|(_, s)| s.is_none()).map(|(i, _)| i).collect()
        };
        Self {
            without_axis: lists.b_delta.as_ref().map(without_axis).unwrap_or_default(),
            b_delta: lists.b_delta.map(|v| v.into_iter().map(|s| s.unwrap_or(1.0)).collect()),
            b: lists.b,
            directions: lists.directions,
            timing: lists.timing,
            te_ms: lists.te_ms,
            tr_ms: lists.tr_ms,
            b_tensors: lists.b_tensors,
            waveform_of: lists.waveform_of,
            waveforms: lists.waveforms.iter().map(|w| w.as_ref().clone()).collect(),
        }
    }
}

impl TryFrom<Written> for Acquisition {
    type Error = AcquisitionError;

    fn try_from(written: Written) -> Result<Self, AcquisitionError> {
        let axis_of = |(i, v): (usize, f64)| (!written.without_axis.contains(&i)).then_some(v);
        let b_delta: Option<Vec<Option<f64>>> =
            written.b_delta.as_ref().map(|v| v.iter().copied().enumerate().map(axis_of).collect());
        let lists = Lists {
            b: written.b,
            directions: written.directions,
            timing: written.timing,
            te_ms: written.te_ms,
            tr_ms: written.tr_ms,
            b_delta,
            b_tensors: written.b_tensors,
            waveform_of: written.waveform_of,
            waveforms: written.waveforms.into_iter().map(Arc::new).collect(),
            repeats: None,
        };
        lists.check_shapes()?;
        Self::assemble(lists)
    }
}

impl Lists {
    /// Compares whole b-tensors and waveforms with the shapes that stand beside them.
    fn check_shapes(&self) -> Result<(), AcquisitionError> {
        let Some(tensors) = &self.b_tensors else { return Ok(()) };
        for (measurement, tensor) in tensors.iter().enumerate() {
            let wrong = |what: String| AcquisitionError::Tensor { measurement, what };
            let found = super::b_tensor::Shape::of(tensor).map_err(wrong)?.b_delta;
            let Some(stated) = self.b_delta.as_ref().and_then(|v| v.get(measurement)) else {
                return Err(wrong("stands without b_delta".into()));
            };
            let equal = match (found, stated) {
                (Some(a), Some(b)) => (a - b).abs() < 1e-5,
                (None, None) => true,
                _ => false,
            };
            if !equal {
                return Err(wrong(format!(
                    "has b_delta {found:?}, but {stated:?} stands beside it"
                )));
            }
            let Some(g) = self.directions.get(measurement) else {
                break; // The counts are checked next.
            };
            // Direction and shape say what the tensor says, to its symmetry.
            let b = tensor[0] + tensor[1] + tensor[2];
            let other = stated.map(|b_delta| super::b_tensor::axisymmetric(b, *g, b_delta));
            let near = |p: &f64, q: &f64| (p - q).abs() <= 2e-3 * b;
            if other.is_some_and(|other| !tensor.iter().zip(&other).all(|(p, q)| near(p, q))) {
                return Err(wrong(format!("does not have the axis {g:?} that stands beside it")));
            }
            let waveform = self.waveform_of.as_ref().and_then(|of| of.get(measurement));
            let shape = waveform.and_then(|k| self.waveforms.get(k.checked_sub(1)?));
            let differs = |w: &Arc<Waveform>| match (w.b_delta(), stated) {
                (Some(a), Some(b)) => (a - b).abs() > 1e-5,
                (a, b) => a != *b,
            };
            if shape.is_some_and(differs) {
                return Err(wrong("is not that of its waveform".into()));
            }
        }
        Ok(())
    }
}

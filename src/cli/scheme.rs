//! From acquisition flags to an acquisition.

use super::flags::AcquisitionFlags;
use anyhow::bail;
use microtome_datasets::{FslTimes, read_fsl_shapes, read_scheme, read_waveforms};
use microtome_models::Acquisition;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// An acquisition and the file that it came from.
#[derive(Debug, Clone)]
pub(crate) struct Scheme {
    pub(crate) acquisition: Acquisition,
    /// The b-values, the scheme or the waveforms, for messages.
    pub(crate) file: PathBuf,
    /// The `shell` column of a CSV scheme.
    labels: Option<Vec<i64>>,
}

impl Scheme {
    /// The shells of the measurements (with repetition) of each label of the `shell`
    /// column, by rising label; without it each shell alone.
    pub(crate) fn labelled_shells(&self) -> Vec<Vec<usize>> {
        let shell_of = self.acquisition.shell_of();
        let Some(labels) = &self.labels else {
            return (0..self.acquisition.shells().len()).map(|s| vec![s]).collect();
        };
        let mut groups: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for (label, shell) in labels.iter().zip(shell_of) {
            groups.entry(*label).or_default().push(*shell);
        }
        groups.into_values().collect()
    }
}

impl AcquisitionFlags {
    /// Reads the acquisition.
    pub(crate) fn read(&self) -> anyhow::Result<Scheme> {
        let times = [
            ("delta-ms", self.delta_ms),
            ("big-delta-ms", self.big_delta_ms),
            ("te-ms", self.te_ms),
            ("tr-ms", self.tr_ms),
            ("dt-ms", self.dt_ms),
        ];
        for (name, time) in times {
            if let Some(t) = time
                && !(t.is_finite() && t > 0.0)
            {
                bail!("--{name} {t}: a positive number of milliseconds is needed");
            }
        }
        let given = |name: &str| times.iter().any(|(n, t)| *n == name && t.is_some());
        let fsl = self.bval.is_some() || self.bvec.is_some();
        match (&self.scheme, &self.waveform, fsl) {
            (Some(_), None, true) => {
                bail!("--scheme and --bval/--bvec both describe the acquisition; give one of them")
            }
            (Some(_), Some(_), _) => {
                bail!("--scheme and --waveform both describe the acquisition; give one of them")
            }
            (None, Some(_), true) => bail!(
                "--waveform and --bval/--bvec both describe the acquisition; give one of them"
            ),
            (None, None, false) => {
                bail!("an acquisition is needed: --bval and --bvec (FSL), --scheme, or --waveform")
            }
            _ => {}
        }
        if self.waveform.is_none() && given("dt-ms") {
            bail!("--dt-ms goes with --waveform");
        }
        if let (Some(path), false) = (&self.bdelta, fsl) {
            bail!("--bdelta {}: goes with --bval and --bvec", path.display());
        }
        if let Some(scheme) = &self.scheme {
            if let Some((name, _)) = times.iter().find(|(_, t)| t.is_some()) {
                bail!(
                    "--{name} goes with --bval and --bvec; a scheme brings its own times ({})",
                    scheme.display()
                );
            }
            let file = read_scheme(scheme)?;
            return Ok(Scheme {
                acquisition: file.acquisition,
                file: scheme.clone(),
                labels: file.shell_labels,
            });
        }
        if let Some(waveform) = &self.waveform {
            if let Some(name) = ["delta-ms", "big-delta-ms"].into_iter().find(|n| given(n)) {
                bail!("--{name} is of pairs of pulses; the waveform holds its own times");
            }
            let Some(dt_ms) = self.dt_ms else {
                bail!("--waveform needs --dt-ms, the spacing of its samples")
            };
            let acquisition = read_waveforms(waveform, dt_ms, self.te_ms, self.tr_ms)?;
            return Ok(Scheme { acquisition, file: waveform.clone(), labels: None });
        }
        match (&self.bval, &self.bvec) {
            (Some(bval), Some(bvec)) => {
                let times = FslTimes {
                    delta_ms: self.delta_ms,
                    big_delta_ms: self.big_delta_ms,
                    te_ms: self.te_ms,
                    tr_ms: self.tr_ms,
                };
                let acquisition = read_fsl_shapes(bval, bvec, self.bdelta.as_deref(), times)?;
                Ok(Scheme { acquisition, file: bval.clone(), labels: None })
            }
            (Some(_), None) => bail!("--bval needs --bvec"),
            _ => bail!("--bvec needs --bval"),
        }
    }
}

//! From acquisition flags to an acquisition.

use super::flags::AcquisitionFlags;
use anyhow::bail;
use microtome_datasets::{FslTimes, read_fsl, read_scheme};
use microtome_models::Acquisition;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// An acquisition and the file that it came from.
#[derive(Debug, Clone)]
pub(crate) struct Scheme {
    pub(crate) acquisition: Acquisition,
    /// The b-values or the scheme, for messages.
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
        ];
        for (name, time) in times {
            if let Some(t) = time
                && !(t.is_finite() && t > 0.0)
            {
                bail!("--{name} {t}: a positive number of milliseconds is needed");
            }
        }
        match (&self.scheme, &self.bval, &self.bvec) {
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
                bail!("--scheme and --bval/--bvec both describe the acquisition; give one of them")
            }
            (Some(scheme), None, None) => {
                if let Some((name, _)) = times.iter().find(|(_, t)| t.is_some()) {
                    bail!(
                        "--{name} goes with --bval and --bvec; a scheme brings its own times ({})",
                        scheme.display()
                    );
                }
                let file = read_scheme(scheme)?;
                Ok(Scheme {
                    acquisition: file.acquisition,
                    file: scheme.clone(),
                    labels: file.shell_labels,
                })
            }
            (None, Some(bval), Some(bvec)) => {
                let times = FslTimes {
                    delta_ms: self.delta_ms,
                    big_delta_ms: self.big_delta_ms,
                    te_ms: self.te_ms,
                };
                let acquisition = read_fsl(bval, bvec, times)?;
                Ok(Scheme { acquisition, file: bval.clone(), labels: None })
            }
            (None, Some(_), None) => bail!("--bval needs --bvec"),
            (None, None, Some(_)) => bail!("--bvec needs --bval"),
            (None, None, None) => {
                bail!("an acquisition is needed: --bval and --bvec (FSL), or --scheme")
            }
        }
    }
}

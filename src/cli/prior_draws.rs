//! `microtome predict --prior-draws`: prior predictive sampling.
//!
//! Set k has the random numbers of simulation k of `diagnose --sbc` with the same seed, so a
//! simulation can be looked at by itself. Validated by `prior_draws_*` in `tests/cli/`.

use super::say;
use anyhow::{Context, bail};
use clap::{Args, ValueHint};
use microtome_datasets::atomic::AtomicFile;
use microtome_models::{Model, ModelSpec, NoiseKind, PriorSampler, PriorSpec, simulation_rng};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Sets that are in memory at a time.
pub(crate) const BLOCK: usize = 16_384;

/// Prior predictive sampling.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Prior predictive")]
pub(crate) struct PriorFlags {
    /// Draws N parameter sets from the prior of the model, in place of --parameters.
    #[arg(long, value_name = "N")]
    pub(crate) prior_draws: Option<usize>,
    /// Writes the drawn parameter sets as a table for --parameters.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    parameters_out: Option<PathBuf>,
    /// Mean b=0 signal that the default prior of s0 is about: lognormal(log X, 0.5). A prior of
    /// the model file stays.
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    level: f64,
    /// Adds noise of this scale, in the unit of the signals, of the kind of --noise or the
    /// model file (gaussian).
    #[arg(long, value_name = "X")]
    sigma: Option<f64>,
    /// Seed of draws and noise.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// Noise that is added to signals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AddedNoise {
    kind: NoiseKind,
    sigma: f64,
    seed: u64,
}

impl AddedNoise {
    /// Adds noise to the signals of a set.
    pub(crate) fn add(&self, row: usize, signals: &mut [f64]) {
        let mut rng = simulation_rng(self.seed, row as u64, 1);
        signals.iter_mut().for_each(|s| *s = self.kind.draw(*s, self.sigma, &mut rng));
    }
}

impl PriorFlags {
    /// Checks the flags against those of the verb.
    pub(crate) fn check(&self, parameters: bool, named_noise: bool) -> anyhow::Result<()> {
        match (parameters, self.prior_draws) {
            (true, Some(n)) => {
                bail!("--prior-draws {n} and --parameters both name the sets; give one of them")
            }
            (false, None) => {
                bail!("--parameters FILE, or --prior-draws N for sets from the prior, is needed")
            }
            (false, Some(n)) if n == 0 || n > 100_000_000 => {
                bail!("--prior-draws {n}: a number from 1 to 100000000 is needed")
            }
            (true, None) if self.parameters_out.is_some() => {
                bail!("--parameters-out goes with --prior-draws")
            }
            _ => {}
        }
        if let Some(sigma) = self.sigma
            && !(sigma.is_finite() && sigma > 0.0)
        {
            bail!("--sigma {sigma}: a noise level is a positive number in the unit of the signals");
        }
        if named_noise && self.sigma.is_none() && self.prior_draws.is_some() {
            bail!("--noise needs --sigma X, the scale of the noise to add");
        }
        if !(self.level.is_finite() && self.level > 0.0) {
            bail!("--level {}: a positive signal is needed", self.level);
        }
        Ok(())
    }

    /// The noise to add.
    pub(crate) fn noise(&self, kind: NoiseKind) -> Option<AddedNoise> {
        self.sigma.map(|sigma| AddedNoise { kind, sigma, seed: self.seed })
    }

    /// The specification with a prior for the scale.
    pub(crate) fn explicit(&self, spec: &ModelSpec) -> ModelSpec {
        spec.with_scale_priors(self.level, false)
    }

    /// The prior of `s0` in words, where it is free.
    pub(crate) fn scale_prior(&self, spec: &ModelSpec) -> Option<String> {
        match spec.prior.get("s0")? {
            PriorSpec::Lognormal([mean, sd]) => Some(format!(
                "s0 lognormal about {}, sd {sd} of the logarithm",
                say::number(mean.exp())
            )),
            other => Some(format!("s0 {other:?}")),
        }
    }

    /// The sets, made when they are asked for.
    pub(crate) fn sets(&self, model: &Model, rows: usize) -> anyhow::Result<PriorSets> {
        if let Some((name, _)) = model.per_voxel().first() {
            bail!(
                "`{name}` is fixed to one value a voxel, which prior draws have none of; fix it to a number"
            );
        }
        Ok(PriorSets { sampler: PriorSampler::new(model, false)?, seed: self.seed, rows })
    }

    /// Whether `--parameters-out` can be written, before anything is.
    ///
    /// # Errors
    /// A folder that is not there; a file of other content.
    pub(crate) fn check_file(
        &self,
        model: &Model,
        sets: &PriorSets,
        overwrite: bool,
    ) -> anyhow::Result<()> {
        let Some(path) = &self.parameters_out else { return Ok(()) };
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
        if folder.is_some_and(|p| !p.is_dir()) {
            bail!("--parameters-out {}: its folder is not there", path.display());
        }
        if path.is_dir() {
            bail!("--parameters-out {}: is a folder; a file is needed", path.display());
        }
        if path.exists() && !overwrite && !sets.are_in(model, path)? {
            bail!(
                "--parameters-out {}: the file exists with other content; give --overwrite to replace it",
                path.display()
            );
        }
        Ok(())
    }

    /// Writes `--parameters-out`; [`PriorFlags::check_file`] said that it can be.
    pub(crate) fn write(
        &self,
        model: &Model,
        sets: &PriorSets,
        overwrite: bool,
    ) -> anyhow::Result<()> {
        let Some(path) = &self.parameters_out else { return Ok(()) };
        if path.exists() && !overwrite {
            return Ok(());
        }
        let mut file = AtomicFile::create(path)?;
        for text in sets.texts(model) {
            file.write_all(text.as_bytes())
                .with_context(|| format!("{}: cannot write", path.display()))?;
        }
        file.commit()?;
        Ok(())
    }
}

/// Sets that are drawn from the prior, a block at a time: a set depends on its number and
/// the seed alone.
#[derive(Debug)]
pub(crate) struct PriorSets {
    sampler: PriorSampler,
    seed: u64,
    pub(crate) rows: usize,
}

impl PriorSets {
    /// Sets of some numbers, `[set, value]`, canonical.
    pub(crate) fn draw(&self, model: &Model, rows: Range<usize>) -> Vec<f64> {
        rows.flat_map(|row| self.sampler.simulate(model, self.seed, row as u64)).collect()
    }

    /// The table that `--parameters` reads, in pieces.
    fn texts<'a>(&'a self, model: &'a Model) -> impl Iterator<Item = String> + 'a {
        let names = model.value_names();
        let width = names.len().max(1);
        let blocks = (0..self.rows).step_by(BLOCK).map(move |start| {
            let values = self.draw(model, start..(start + BLOCK).min(self.rows));
            let mut text = String::new();
            for row in values.chunks(width) {
                let cells: Vec<String> = row.iter().map(f64::to_string).collect();
                text += &(cells.join(",") + "\n");
            }
            text
        });
        std::iter::once(names.join(",") + "\n").chain(blocks)
    }

    /// Whether a file holds this table.
    fn are_in(&self, model: &Model, path: &Path) -> anyhow::Result<bool> {
        let read = || format!("--parameters-out {}: cannot read the file", path.display());
        let mut file = BufReader::new(File::open(path).with_context(read)?);
        let mut found = Vec::new();
        for text in self.texts(model) {
            found.clear();
            (&mut file).take(text.len() as u64).read_to_end(&mut found).with_context(read)?;
            if found != text.as_bytes() {
                return Ok(false);
            }
        }
        Ok(file.fill_buf().with_context(read)?.is_empty())
    }
}

//! The direct methods: filtered backprojection of parallel beams, fans and cones.

use super::{Job, Outcome};
use clap::Args;
use microtome_datasets::Values;

/// A direct method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Analytic {
    Fbp,
    Fdk,
}

impl Analytic {
    pub(super) const NAMES: [&'static str; 2] = ["fbp", "fdk"];

    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "fbp" => Some(Self::Fbp),
            "fdk" => Some(Self::Fdk),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fbp => "fbp",
            Self::Fdk => "fdk",
        }
    }
}

/// Flags of the direct methods.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Direct methods")]
pub(super) struct AnalyticFlags {
    /// Window of the ramp: ram_lak, shepp_logan, cosine, hamming or hann.
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
}

impl AnalyticFlags {
    /// The first flag that is given.
    pub(super) fn given(&self) -> Option<&'static str> {
        self.filter.as_ref().map(|_| "--filter")
    }
}

pub(super) fn run(job: &Job<'_>, method: Analytic, _y: Values) -> anyhow::Result<Outcome> {
    if let Some(flag) = job.args.iterative.given() {
        anyhow::bail!(
            "{flag} is of the iterative methods; --method {} does not take it",
            method.name()
        );
    }
    anyhow::bail!("--method {}: this build has no direct methods yet; take sirt", method.name())
}

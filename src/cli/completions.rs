//! `microtome completions`: completion scripts for shells.

use super::{Outcome, command};
use clap::Args;
use clap_complete::Shell;

/// Writes a completion script for a shell to standard output.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  microtome completions bash > ~/.local/share/bash-completion/completions/microtome"
)]
pub(crate) struct CompletionsArgs {
    /// The shell: bash, elvish, fish, powershell or zsh.
    shell: Shell,
}

impl CompletionsArgs {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command(), "microtome", &mut script);
        super::say::text(&String::from_utf8_lossy(&script));
        Ok(Outcome::Done)
    }
}

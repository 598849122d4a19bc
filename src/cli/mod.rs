//! The verbs of the command line and what is common to them: parsing, the
//! configuration file, errors as one sentence, exit codes.
//!
//! | exit code | means |
//! |---|---|
//! | 0 | done |
//! | 1 | the input or the configuration is wrong; one message beginning `error: ` |
//! | 2 | done, but more voxels failed than `--max-failed` allows |
//! | 130 | interrupted; finished blocks are kept |
//!
//! Validated by `tests/cli/`.

mod align;
mod blocks;
mod compare;
mod completions;
mod config;
mod counting;
mod criteria;
mod demo;
mod demo_ct;
mod design;
mod diagnose;
mod doubts;
mod drawing;
mod finding_table;
mod fit;
mod flags;
mod fod;
mod folder;
mod frame;
mod growing;
mod info;
mod input;
mod job;
mod maps;
mod merge;
mod model;
mod population;
mod predict;
mod predictive;
mod prepare;
mod prior_draws;
mod progress;
mod project;
mod protocol;
mod reconstruct;
mod record;
mod report;
mod response;
mod sample;
mod say;
mod sbc;
mod scheme;
mod set_up;
mod simulate;
mod slice;
mod streaming;
mod substrates;
mod sweep;
mod track;
mod tracts;
mod truth;
mod verdict;
mod voxelwise;
mod walk_state;
mod walk_tables;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::process::ExitCode;

/// Usage first, then what the verb does.
const TEMPLATE: &str = "{usage-heading} {usage}\n\n{about-with-newline}\n{all-args}{after-help}";

/// Posteriors for diffusion-MRI microstructure: compose a model, fit it, sample it.
#[derive(Debug, Parser)]
#[command(name = "microtome", version, arg_required_else_help = false)]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Info(info::InfoArgs),
    Fit(fit::FitArgs),
    Sample(sample::SampleArgs),
    Predict(predict::PredictArgs),
    Merge(merge::MergeArgs),
    Prepare(prepare::PrepareArgs),
    Project(project::ProjectArgs),
    Backproject(project::BackprojectArgs),
    Align(align::AlignArgs),
    Reconstruct(reconstruct::ReconstructArgs),
    Simulate(simulate::SimulateArgs),
    Track(Box<track::TrackArgs>),
    Response(response::ResponseArgs),
    Diagnose(diagnose::DiagnoseArgs),
    Report(report::ReportArgs),
    Demo(demo::DemoArgs),
    Completions(completions::CompletionsArgs),
}

/// How a verb ended when it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything is well.
    Done,
    /// Done, but not to be trusted as it is.
    TooManyFailed,
    /// Stopped by the user.
    Interrupted,
}

impl Outcome {
    fn code(self) -> u8 {
        match self {
            Outcome::Done => 0,
            Outcome::TooManyFailed => 2,
            Outcome::Interrupted => 130,
        }
    }
}

/// The command with the settings that hold for every verb.
pub(crate) fn command() -> clap::Command {
    Cli::command().mut_subcommands(of_verb)
}

/// The settings of a verb and of the topics under it.
fn of_verb(c: clap::Command) -> clap::Command {
    // A deconvolution is fitted: it has no posterior and no parameters to predict from.
    let fits = !["sample", "predict", "design"].contains(&c.get_name());
    let diagnoses = c.get_name() == "diagnose";
    c.args_override_self(true)
        .help_template(TEMPLATE)
        .mut_args(|a| {
            // Flags of a calibration mean nothing to the other checks.
            let shared = ["dir", "compare", "sbc", "out", "json", "overwrite", "quiet", "help"];
            let of_sbc = diagnoses && !shared.contains(&a.get_id().as_str());
            let a = if of_sbc { a.requires("sbc") } else { a };
            let takes = a.get_action().takes_values();
            let hidden = !fits && a.get_long().is_some_and(|n| model::OF_CSD.contains(&n));
            let hidden = hidden || a.is_hide_set();
            a.allow_negative_numbers(takes).hide(hidden)
        })
        .mut_subcommands(of_verb)
}

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        eprintln!(
            "error: internal fault at {place}; your input should not be able to cause this. \
             Please report it with the command line and `microtome info version`"
        );
        std::process::exit(1);
    }));
    match run(std::env::args_os().collect()) {
        Ok(outcome) => ExitCode::from(outcome.code()),
        Err(error) => {
            eprintln!("error: {}", message(&error));
            ExitCode::from(1)
        }
    }
}

fn run(line: Vec<std::ffi::OsString>) -> anyhow::Result<Outcome> {
    if line.len() < 2 {
        say::text(&command().render_help().to_string());
        return Ok(Outcome::Done);
    }
    let line = config::merge(line)?;
    let matches = match command().try_get_matches_from(&line) {
        Ok(matches) => matches,
        Err(e) if !e.use_stderr() => {
            say::text(&e.render().to_string());
            return Ok(Outcome::Done);
        }
        Err(e) => {
            let text = e.render().to_string();
            anyhow::bail!("{}", text.trim().trim_start_matches("error: "));
        }
    };
    let cli = Cli::from_arg_matches(&matches)?;
    let settings = matches.subcommand().and_then(|(verb, m)| config::settings(verb, m).ok());
    let settings = settings.unwrap_or_default();
    match cli.verb {
        Verb::Info(a) => a.run(),
        Verb::Fit(a) => a.run(&settings),
        Verb::Sample(a) => a.run(&settings),
        Verb::Predict(a) => a.run(&settings),
        Verb::Merge(a) => a.run(),
        Verb::Prepare(a) => a.run(&settings),
        Verb::Project(a) => a.run(&settings),
        Verb::Backproject(a) => a.run(&settings),
        Verb::Align(a) => a.run(&settings),
        Verb::Reconstruct(a) => a.run(&settings),
        Verb::Simulate(a) => a.run(&settings),
        Verb::Track(a) => a.run(&settings),
        Verb::Response(a) => a.run(&settings),
        Verb::Diagnose(a) => a.run(),
        Verb::Report(a) => a.run(),
        Verb::Demo(a) => a.run(),
        Verb::Completions(a) => a.run(),
    }
}

/// The chain of an error as one sentence; causes that the text already holds
/// are not repeated.
fn message(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

//! The configuration file: every flag under its long name, in TOML.
//!
//! The file becomes flags in front of those of the command line, and a later
//! flag overrides an earlier one, so nothing is written twice. A key may be
//! written with `_` or `-`. Relative paths in the file are relative to its
//! folder. `fit` and `sample` can share a file: a key that only the other one has is
//! left alone with a note. Every other key that the verb does not have is an error.
//!
//! Validated by `config_round_trip` and `wrong_input_is_exit_1_with_the_reason` in `tests/cli/`.

use super::command;
use super::input::REPEATED_B0;
use anyhow::{Context, bail};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Keys that make no sense in a file.
const NOT_SAVED: [&str; 5] = ["config", "save-config", "dry-run", "help", "version"];

/// Verbs that can share a file.
const SHARING: [&str; 2] = ["fit", "sample"];

/// Puts the flags of `--config FILE` before those of the line.
pub(crate) fn merge(line: Vec<OsString>) -> anyhow::Result<Vec<OsString>> {
    let Some(path) = config_path(&line) else { return Ok(line) };
    let Some(verb) = line.get(1).and_then(|v| v.to_str()) else { return Ok(line) };
    let root = command();
    let Some(subcommand) = root.find_subcommand(verb) else { return Ok(line) };
    if find(subcommand, "config").is_none() {
        return Ok(line);
    }
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("{}: cannot read the configuration", path.display()))?;
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
        anyhow::anyhow!("{}: {}", path.display(), e.to_string().trim())
    })?;
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let mut out: Vec<OsString> = line[..2].to_vec();
    let mut left: Vec<String> = Vec::new();
    for (key, value) in table {
        let name = key.replace('_', "-");
        let Some(arg) = find(subcommand, &name) else {
            let having = |c: &&Command| find(c, &name).is_some();
            let others: Vec<&str> =
                root.get_subcommands().filter(having).map(Command::get_name).collect();
            let shares = SHARING.contains(&verb) && others.iter().any(|o| SHARING.contains(o));
            if shares && !NOT_SAVED.contains(&name.as_str()) {
                let other = SHARING.iter().find(|o| **o != verb).unwrap_or(&"");
                left.push(format!("`{key}` of {other}"));
                continue;
            }
            let whose = match others.is_empty() {
                true => String::new(),
                false => format!(" (it is one of {})", others.join(", ")),
            };
            let mut known: Vec<&str> = subcommand
                .get_arguments()
                .filter_map(Arg::get_long)
                .filter(|k| !NOT_SAVED.contains(k))
                .collect();
            known.sort_unstable();
            bail!(
                "{}: unknown key `{key}`{whose}; `microtome {verb}` knows {}",
                path.display(),
                known.join(", ")
            );
        };
        if NOT_SAVED.contains(&name.as_str()) {
            bail!("{}: the key `{key}` can't stand in a configuration file", path.display());
        }
        if replaced(&name, &line) {
            continue;
        }
        let flag = |text: String| OsString::from(format!("--{name}={text}"));
        match value {
            toml::Value::Boolean(on) if !arg.get_action().takes_values() => {
                if on {
                    out.push(OsString::from(format!("--{name}")));
                }
            }
            toml::Value::String(text) if arg.get_action().takes_values() => {
                out.push(flag(located(&name, arg, &text, &folder)));
            }
            toml::Value::Integer(n) if arg.get_action().takes_values() => {
                out.push(flag(n.to_string()))
            }
            toml::Value::Float(x) if arg.get_action().takes_values() => {
                out.push(flag(format!("{x}")))
            }
            other => bail!("{}: the key `{key}` can't be {other}", path.display()),
        }
    }
    let quiet = out.iter().chain(&line[2..]).any(|w| w == "--quiet");
    if !left.is_empty() && !quiet {
        super::say::note(&format!(
            "note: {}: {verb} leaves alone {}",
            path.display(),
            left.join(", ")
        ));
    }
    out.extend_from_slice(&line[2..]);
    Ok(out)
}

/// The value of `--config` on the line.
fn config_path(line: &[OsString]) -> Option<PathBuf> {
    let at = line.iter().position(|w| w.to_string_lossy().starts_with("--config"))?;
    let word = line[at].to_string_lossy().into_owned();
    match word.strip_prefix("--config=") {
        Some(path) => Some(PathBuf::from(path)),
        None if word == "--config" => line.get(at + 1).map(PathBuf::from),
        None => None,
    }
}

/// Whether the line describes the acquisition in another of the three ways.
fn replaced(name: &str, line: &[OsString]) -> bool {
    let has = |flag: &str| {
        line.iter().any(|w| {
            let w = w.to_string_lossy();
            w == flag || w.strip_prefix(flag).is_some_and(|rest| rest.starts_with('='))
        })
    };
    match name {
        "scheme" => has("--bval") || has("--bvec") || has("--waveform"),
        "bval" | "bvec" | "bdelta" | "delta-ms" | "big-delta-ms" => {
            has("--scheme") || has("--waveform")
        }
        "waveform" | "dt-ms" => has("--scheme") || has("--bval") || has("--bvec"),
        "te-ms" | "tr-ms" => has("--scheme"),
        _ => false,
    }
}

fn find<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|a| a.get_long() == Some(name))
}

/// Whether the value of a flag names a file or folder.
fn is_path(name: &str, arg: &Arg, value: &str) -> bool {
    let file = |endings: &[&str]| endings.iter().any(|e| value.to_ascii_lowercase().ends_with(e));
    match name {
        "model" => file(&[".toml"]),
        "sigma" => value.parse::<f64>().is_err() && value != REPEATED_B0,
        _ => arg.get_value_parser().type_id() == clap::builder::ValueParser::path_buf().type_id(),
    }
}

fn located(name: &str, arg: &Arg, value: &str, folder: &Path) -> String {
    if is_path(name, arg, value) {
        folder.join(value).to_string_lossy().into_owned()
    } else {
        value.into()
    }
}

/// The flags of a run: given ones and defaults, in the order of their names.
pub(crate) fn settings(verb: &str, matches: &ArgMatches) -> anyhow::Result<Vec<Setting>> {
    let root = command();
    let subcommand = root.find_subcommand(verb).context("no such verb")?;
    let mut out = Vec::new();
    for arg in subcommand.get_arguments() {
        let Some(name) = arg.get_long().filter(|n| !NOT_SAVED.contains(n)) else { continue };
        let id = arg.get_id().as_str();
        let given = matches.value_source(id) == Some(ValueSource::CommandLine);
        if !given && matches.value_source(id) != Some(ValueSource::DefaultValue) {
            continue;
        }
        if !arg.get_action().takes_values() {
            if matches.get_flag(id) {
                out.push(Setting {
                    name: name.into(),
                    value: "true".into(),
                    kind: Kind::Switch,
                    given,
                });
            }
            continue;
        }
        let values = matches.get_raw(id).into_iter().flatten();
        let words: Vec<String> = values.map(|v| v.to_string_lossy().into_owned()).collect();
        // All parts of a list; of a flag that is given twice the last.
        let value = match arg.get_value_delimiter() {
            Some(mark) => words.join(&mark.to_string()),
            None => words.last().cloned().unwrap_or_default(),
        };
        if !words.is_empty() {
            let kind = if is_path(name, arg, &value) {
                Kind::Path
            } else if value.parse::<f64>().is_ok() {
                Kind::Number
            } else {
                Kind::Word
            };
            out.push(Setting { name: name.into(), value, kind, given });
        }
    }
    out.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(out)
}

/// One flag of a run.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    name: String,
    value: String,
    kind: Kind,
    given: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Switch,
    Path,
    Number,
    Word,
}

/// The line that makes this run, without the configuration file.
pub(crate) fn line(verb: &str, settings: &[Setting]) -> String {
    let mut out = format!("microtome {verb}");
    for s in settings.iter().filter(|s| s.given) {
        out.push_str(&format!(" --{}", s.name));
        if s.kind != Kind::Switch {
            out.push_str(&format!(" {}", super::say::quoted(&s.value)));
        }
    }
    out
}

/// Writes the flags as a configuration file. Relative paths stay as they are
/// when the file stands in the current folder and become absolute otherwise.
pub(crate) fn save(path: &Path, settings: &[Setting]) -> anyhow::Result<()> {
    let here = path.parent().is_none_or(|p| p.as_os_str().is_empty() || p == Path::new("."));
    let mut text = String::from(
        "# Flags of microtome by their long names; relative paths are relative to this file.\n",
    );
    for s in settings {
        let value = match s.kind {
            Kind::Switch => "true".to_string(),
            Kind::Number if s.value.parse::<i64>().is_ok() => s.value.clone(),
            Kind::Path if !here => {
                let absolute = std::path::absolute(&s.value)?;
                toml::Value::String(absolute.to_string_lossy().into_owned()).to_string()
            }
            Kind::Number => match s.value.parse::<f64>() {
                Ok(x) if x.is_finite() => format!("{x:?}"),
                _ => toml::Value::String(s.value.clone()).to_string(),
            },
            _ => toml::Value::String(s.value.clone()).to_string(),
        };
        text.push_str(&format!("{} = {value}\n", s.name.replace('-', "_")));
    }
    super::record::write_text(path, &text)
}

//! `microtome info`: models, acquisitions, data, designs, CT set-ups, streamlines, and this program.

use super::design::DesignArgs;
use super::flags::AcquisitionFlags;
use super::{Outcome, model, say};
use anyhow::Context;
use clap::{Args, Subcommand, ValueHint};
use microtome_datasets::SignalSource;
use microtome_models::{Compartment, FreeKind, Model, NoiseKind, PRESETS, Prior, Shell, register};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

/// Shows models and their parameters, acquisitions, data, CT set-ups, streamlines, and this program.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  microtome info models
  microtome info models ball_stick
  microtome info scheme --bval dwi.bval --bvec dwi.bvec
  microtome info data --dwi dwi.nii.gz
  microtome info geometry cone.toml --svg cone.svg
  microtome info geometry cone.toml --export-views cone.xml --format rtk
  microtome info design --model noddi --bval dwi.bval --bvec dwi.bvec --snr 30
  microtome info tracts bundle.trx
  microtome info tracts bundle.tck --grid dwi.nii.gz --write bundle.trx
  microtome info version

Units: diffusivities um^2/ms, b s/mm^2, times ms, angles rad.")]
pub(crate) struct InfoArgs {
    #[command(subcommand)]
    topic: Topic,
    /// Prints one JSON object as the last line of standard output.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Topic {
    /// Compartments and presets with parameters, units, ranges, default priors, references.
    Models {
        /// A preset, an expression or a model file; all when left out.
        name: Option<String>,
    },
    /// The shells of an acquisition.
    Scheme {
        #[command(flatten)]
        acquisition: AcquisitionFlags,
    },
    /// Shape of an image or array.
    Data {
        /// Signals: .nii, .nii.gz or .npy.
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        dwi: PathBuf,
        /// A mask.
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        mask: Option<PathBuf>,
    },
    /// A CT set-up: views, detector, volume; a drawing of it; its views for other programs.
    Geometry(Box<super::set_up::GeometryArgs>),
    Design(Box<DesignArgs>),
    Tracts(Box<super::tracts::TractsArgs>),
    /// Version, SIMD level and features of this program.
    Version,
}

impl InfoArgs {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let (text, json) = match &self.topic {
            Topic::Models { name: None } => all_models(),
            Topic::Models { name: Some(name) } => one_model(name)?,
            Topic::Scheme { acquisition } => scheme(acquisition)?,
            Topic::Data { dwi, mask } => data(dwi, mask.as_deref())?,
            Topic::Geometry(set_up) => set_up.show()?,
            Topic::Design(design) => design.show()?,
            Topic::Tracts(tracts) => tracts.show()?,
            Topic::Version => version(),
        };
        if self.json {
            say::line(&json.to_string());
        } else {
            say::text(&text);
        }
        Ok(Outcome::Done)
    }
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|c| (*c).to_string()).collect()
}

fn interval([low, high]: [f64; 2]) -> String {
    let end = |x: f64| if x.is_infinite() { "inf".to_string() } else { format!("{x}") };
    format!("{} to {}", end(low), end(high))
}

fn compartment(kind: &dyn Compartment) -> (String, Value) {
    let mut rows = vec![row(&["parameter", "unit", "range", "default prior", "meaning"])];
    let mut parameters = Vec::new();
    if kind.oriented() {
        rows.push(row(&[
            "mu",
            "1",
            "unit vector",
            "uniform on the sphere",
            "axis (columns mu_x, mu_y, mu_z)",
        ]));
        parameters.push(json!({ "name": "mu", "unit": "1", "meaning": "axis" }));
    }
    for p in kind.parameters() {
        let prior = match p.default {
            Some(_) if p.is_nuisance() => "standard normal".into(),
            Some(value) => format!("fixed at {value}"),
            None if p.period.is_some() => "uniform on the circle".into(),
            None => "uniform on the range".into(),
        };
        rows.push(row(&[p.name, p.unit.symbol(), &interval(p.range), &prior, p.meaning]));
        parameters.push(json!({
            "name": p.name, "unit": p.unit.symbol(), "range": p.range, "default": p.default, "meaning": p.meaning,
        }));
    }
    rows.push(row(&[
        "fraction",
        "1",
        "0 to 1",
        "Dirichlet(1) of all fractions",
        "share of the signal",
    ]));
    let text = format!("{}\n{}  {}\n", kind.kind(), indented(&say::table(&rows)), kind.reference());
    let timing = kind.needs_timing();
    let json = json!({
        "kind": kind.kind(), "parameters": parameters, "reference": kind.reference(), "needs_timing": timing,
    });
    (text, json)
}

fn indented(text: &str) -> String {
    text.lines().map(|l| format!("  {l}\n")).collect()
}

fn all_models() -> (String, Value) {
    let mut text =
        String::from("Compartments (joined by + in --model; a second one of a kind is kind_2)\n\n");
    let mut kinds = Vec::new();
    for kind in register() {
        let (t, j) = compartment(kind.as_ref());
        text.push_str(&t);
        text.push('\n');
        kinds.push(j);
    }
    text.push_str(
        "Modifiers of a compartment, in a model file\n\n  \
         dispersion = \"watson\"          adds odi (0 to 1)\n  \
         dispersion = \"bingham\"         adds odi, psi (rad), beta_fraction (0 to 1)\n  \
         size_distribution = \"gamma\"   alpha (shape) and beta (um, scale) of the radius in place of diameter\n  \
         oriented = true               gives planes a free normal mu and lambda_par\n  \
         t2 = true, t1 = true          adds t2_ms (needs TE), t1_ms (needs TR)\n  \
         of = [\"stick\", \"zeppelin\"]    the two waters of karger\n  \
         spherical_mean = true         at the top of the file: fits the means of each shell\n\n",
    );
    text.push_str("Presets\n\n");
    let mut rows = vec![row(&["name", "meaning", "reference"])];
    let mut presets = Vec::new();
    for p in PRESETS {
        rows.push(row(&[p.name, p.meaning, p.reference]));
        presets.push(json!({ "name": p.name, "meaning": p.meaning, "reference": p.reference }));
    }
    let [meaning, reference] = DECONVOLUTION;
    rows.push(row(&[model::CSD, meaning, reference]));
    presets.push(json!({ "name": model::CSD, "meaning": meaning, "reference": reference }));
    text.push_str(&indented(&say::table(&rows)));
    text.push_str(
        "\nOf every model\n\n  s0     signal   scale; default prior lognormal(log of the mean b=0 signal of the voxel, 0.5)\n  \
         sigma  signal   noise scale; default prior lognormal(log(mean b=0 signal / 25), 1); known with --sigma\n  \
         noise           gaussian (default), rician, nc_chi (coils) or student_t (nu)\n\nMore of one model: microtome info models NAME\n",
    );
    let noise = NoiseKind::NAMES;
    (text, json!({ "compartments": kinds, "presets": presets, "noise": noise }))
}

/// What `--model csd` is: it has no parameters to list.
const DECONVOLUTION: [&str; 2] = [
    "fibre orientation distributions by spherical deconvolution, with --response FILE",
    "Jeurissen et al. 2014, doi:10.1016/j.neuroimage.2014.07.061",
];

fn deconvolution() -> (String, Value) {
    let [meaning, reference] = DECONVOLUTION;
    let text = format!(
        "csd: {meaning} ({reference})\n\nColumns\n  <tissue>.fraction, <tissue>.volume, peak_1_x, _y, _z, _value (to peak_3),\n  \
         odi, anisotropy, laplacian, mse, r2; coefficients in fod.nii.gz or fod.npy (basis of MRtrix3)\n"
    );
    (text, json!({ "name": model::CSD, "meaning": meaning, "reference": reference }))
}

fn one_model(name: &str) -> anyhow::Result<(String, Value)> {
    if name == model::CSD {
        return Ok(deconvolution());
    }
    let named = model::read(name)?;
    let compiled = Model::new(named.spec.clone()).with_context(|| format!("--model {name}"))?;
    let mut text =
        format!("{name}: {} with {} noise\n", named.spec.names().join(" + "), compiled.noise());
    if let Some(p) = PRESETS.iter().find(|p| p.name == name) {
        text.push_str(&format!("{} ({})\n\nModel file\n", p.meaning, p.reference));
        text.push_str(&indented(p.toml));
        text.push('\n');
    }
    text.push_str(&format!("{} degrees of freedom\n\nFree\n", compiled.degrees_of_freedom()));
    let mut rows = vec![row(&["parameter", "unit", "range", "prior"])];
    let mut free = Vec::new();
    for f in compiled.free() {
        let (range, prior) = match &f.kind {
            FreeKind::Axis => ("unit vector".into(), "uniform on the sphere".into()),
            FreeKind::Fractions { total, concentration } => {
                (format!("simplex of sum {total}"), format!("Dirichlet{concentration:?}"))
            }
            _ => (
                interval(f.range),
                f.prior
                    .as_ref()
                    .map_or_else(|| "lognormal(log of the mean b=0 signal, 0.5)".into(), prior),
            ),
        };
        rows.push(row(&[&f.name, f.unit.symbol(), &range, &prior]));
        free.push(
            json!({ "name": f.name, "unit": f.unit.symbol(), "range": range, "prior": prior }),
        );
    }
    text.push_str(&indented(&say::table(&rows)));
    let columns: Vec<&str> = compiled.columns().iter().map(|c| c.name.as_str()).collect();
    text.push_str(&format!("\nColumns\n  {}\n", columns.join(", ")));
    let measures: Vec<&str> = compiled.measures().iter().map(|m| m.name.as_str()).collect();
    if !measures.is_empty() {
        text.push_str(&format!(
            "\nColumns of a fit that follow from them\n  {}\n",
            measures.join(", ")
        ));
    }
    text.push_str("\nReferences\n");
    let mut references: Vec<&str> =
        compiled.components().iter().map(|c| c.kind.reference()).collect();
    references.dedup();
    for r in &references {
        text.push_str(&format!("  {r}\n"));
    }
    let json = json!({
        "model": name, "free": free, "columns": columns, "measures": measures, "references": references,
    });
    Ok((text, json))
}

/// A prior by its median and 90 % interval.
fn prior(p: &Prior) -> String {
    let [low, high] = p.support();
    let [a, b, c] = [0.05, 0.5, 0.95].map(|q| say::number(p.quantile(q)));
    format!("on {}; 5 % {a}, median {b}, 95 % {c}", interval([low, high]))
}

fn scheme(flags: &AcquisitionFlags) -> anyhow::Result<(String, Value)> {
    let scheme = flags.read()?;
    let a = &scheme.acquisition;
    let time = |t: Option<f64>| t.map_or("-".into(), |t| format!("{}", (t * 1e6).round() / 1e6));
    let waveform = |shell: &Shell| {
        let of = shell.waveform.as_ref()?;
        a.waveforms().iter().position(|w| Arc::ptr_eq(w, of))
    };
    let mut head =
        vec!["shell", "b (s/mm^2)", "measurements", "delta (ms)", "Delta (ms)", "TE (ms)"];
    let shaped = !a.is_linear();
    head.extend(a.tr_ms().map(|_| "TR (ms)"));
    head.extend(shaped.then_some("b_delta"));
    head.extend((!a.waveforms().is_empty()).then_some("waveform"));
    let mut rows = vec![row(&head)];
    let mut shells = Vec::new();
    for (s, shell) in a.shells().iter().enumerate() {
        let n = a.shell_of().iter().filter(|x| **x == s).count();
        let b = (shell.b * 1e9).round() / 1e6;
        let mut cells = vec![
            s.to_string(),
            b.to_string(),
            n.to_string(),
            time(shell.delta_ms),
            time(shell.big_delta_ms),
            time(shell.te_ms),
        ];
        cells.extend(a.tr_ms().map(|_| time(shell.tr_ms)));
        // At b = 0 there is no shape.
        let shape = shell.b_delta.filter(|_| shell.b > 0.0);
        let word = match shape {
            Some(v) => format!("{}", (v * 1e6).round() / 1e6),
            None if shell.b > 0.0 => "no axis".into(),
            None => "-".into(),
        };
        cells.extend(shaped.then_some(word));
        let number = waveform(shell).map_or("-".into(), |w| w.to_string());
        cells.extend((!a.waveforms().is_empty()).then_some(number));
        rows.push(cells);
        shells.push(json!({
            "b_s_per_mm2": b, "measurements": n, "delta_ms": shell.delta_ms, "big_delta_ms": shell.big_delta_ms,
            "te_ms": shell.te_ms, "tr_ms": shell.tr_ms, "b_delta": shape, "waveform": waveform(shell),
        }));
    }
    let text = format!(
        "{}: {} measurements, {} shells\n{}",
        scheme.file.display(),
        a.len(),
        shells.len(),
        say::table(&rows)
    );
    Ok((text, json!({ "measurements": a.len(), "shells": shells })))
}

fn data(dwi: &std::path::Path, mask: Option<&std::path::Path>) -> anyhow::Result<(String, Value)> {
    let source = SignalSource::open(dwi, mask)?;
    let mut text =
        format!("{}\n  {} measurements a voxel\n", dwi.display(), source.n_measurements());
    let mut json = json!({ "measurements": source.n_measurements(), "voxels": source.n_voxels(), "inside": source.n_rows() });
    match source.geometry() {
        Some(g) => {
            let [a, b, c] = g.voxel_mm();
            text.push_str(&format!(
                "  {} x {} x {} voxels of {a:.3} x {b:.3} x {c:.3} mm\n",
                g.dims[0], g.dims[1], g.dims[2]
            ));
            json["dims"] = json!(g.dims);
            json["voxel_mm"] = json!([a, b, c]);
            json["affine"] = json!(g.affine);
        }
        None => text.push_str(&format!("  {} voxels (an array)\n", source.n_voxels())),
    }
    if mask.is_some() {
        text.push_str(&format!("  {} voxels inside the mask\n", source.n_rows()));
    }
    Ok((text, json))
}

fn version() -> (String, Value) {
    let features: Vec<&str> = [
        ("graph", cfg!(feature = "graph")),
        ("cuda", cfg!(feature = "cuda")),
        ("metal", cfg!(feature = "metal")),
    ]
    .into_iter()
    .filter_map(|(name, on)| on.then_some(name))
    .collect();
    let (version, simd) = (super::input::version(), super::input::simd());
    let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let list = if features.is_empty() { "none".to_string() } else { features.join(", ") };
    let text = format!(
        "microtome {version}\n  SIMD level  {simd}\n  features    {list}\n  target      {target}\n"
    );
    (
        text,
        json!({ "version": version, "simd_level": simd, "features": features, "target": target }),
    )
}

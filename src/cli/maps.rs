//! NIfTI maps of a run on an image, with BIDS-derivative names.
//!
//! `model-<label>_desc-<what>_param-<parameter>_dwimap.nii.gz` and a `.json`
//! beside it; labels are lower-case letters and digits, so `stick.lambda_par` is
//! `sticklambdapar`. `desc` is `estimate` and `sd` of a fit, `mean` and `sd` of a
//! posterior. `model-<label>_desc-donottrust_mask.nii.gz` of a posterior is 1 where its
//! draws are not to be trusted. Diffusivities stay in um^2/ms, as `Units` says. Outside the mask
//! every map is 0; voxels without a result are NaN.
//!
//! Source of the names: BIDS extension proposal 16 (diffusion derivatives).

use super::fod;
use super::frame::{self, Voxel};
use super::model::label;
use super::record::write_text;
use microtome_datasets::{ImageGeometry, MapWriter};
use microtome_models::{FitMethod, Job, Model, RunSpec, SampleMethod, SigmaSpec};
use rayon::prelude::*;
use serde_json::json;
use std::path::Path;

/// Words of the `status` column by their code in the map.
const STATUS: [&str; 7] = [
    "outside",
    "converged",
    "max_iterations",
    "singular",
    "invalid_signal",
    "divergent",
    "not_mixed",
];
/// Voxels that are gathered before the maps take them, all maps in parallel.
const CHUNK: usize = 65_536;

/// What of an estimate a map shows.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    Mean,
    Sd,
    WorstRhat,
    SmallestEss,
    Status,
    DoNotTrust,
}

#[derive(Debug, Clone)]
struct Map {
    param: String,
    desc: &'static str,
    part: Part,
    /// One a volume.
    parameters: Vec<String>,
    unit: String,
    description: String,
}

/// The begin of the names of all maps of a model.
pub(crate) fn prefix(model: &str) -> String {
    format!("model-{model}_")
}

impl Map {
    fn file(&self, model: &str) -> String {
        match self.part {
            Part::DoNotTrust => format!("{}desc-{}_mask", prefix(model), self.desc),
            _ => format!("{}desc-{}_param-{}_dwimap", prefix(model), self.desc, self.param),
        }
    }

    fn values(&self, voxel: &Voxel, out: &mut Vec<f64>) {
        let all = || voxel.parameters.values();
        match self.part {
            Part::Mean => out.extend(self.parameters.iter().map(|p| voxel.mean(p))),
            Part::Sd => {
                out.extend(
                    self.parameters
                        .iter()
                        .map(|p| voxel.parameters.get(p).map_or(f64::NAN, |e| e.sd)),
                );
            }
            Part::WorstRhat => out.push(all().map(|e| e.rhat).fold(f64::NAN, f64::max)),
            Part::SmallestEss => {
                out.push(all().map(|e| e.ess_bulk.min(e.ess_tail)).fold(f64::NAN, f64::min))
            }
            Part::Status => {
                let code = STATUS.iter().position(|s| *s == voxel.status);
                out.push(code.map_or(f64::NAN, |c| c as f64));
            }
            Part::DoNotTrust => {
                let trust = voxel.sampling.as_ref().is_some_and(|s| s.trust);
                out.push(f64::from(u8::from(!trust)));
            }
        }
    }
}

/// The maps of a specification.
fn maps(spec: &RunSpec, model: &Model) -> Vec<Map> {
    let sampled = spec.job == Job::Sample;
    let desc = if sampled { "mean" } else { "estimate" };
    let words = match (sampled, spec.method()) {
        (true, _) => "posterior mean",
        (false, FitMethod::Nlls) => "maximum-likelihood estimate",
        (false, _) => "log-linear least-squares estimate",
    };
    let mut out = Vec::new();
    for column in model.columns() {
        if column.is_constant() {
            continue;
        }
        let unit = column.unit.symbol().to_string();
        if let Some((compartment, part)) = column.axis_part() {
            let name = if sampled { "mu_axis" } else { "mu" };
            if part == 0 {
                out.push(Map {
                    param: label(&format!("{compartment}mu")),
                    desc,
                    part: Part::Mean,
                    parameters: ["x", "y", "z"]
                        .map(|a| format!("{compartment}.{name}_{a}"))
                        .to_vec(),
                    unit: "1".into(),
                    description: format!(
                        "{compartment}.mu, {words}: unit vector, sign without meaning"
                    ),
                });
            }
            continue;
        }
        let both = [(desc, Part::Mean, words), ("sd", Part::Sd, "standard deviation")];
        out.extend(both.map(|(desc, part, words)| Map {
            param: label(&column.name),
            desc,
            part,
            parameters: vec![column.name.clone()],
            unit: unit.clone(),
            description: format!("{}, {words}", column.name),
        }));
    }
    for measure in model.measures().iter().filter(|_| !sampled) {
        let both = [(desc, Part::Mean, "estimate"), ("sd", Part::Sd, "standard deviation")];
        out.extend(both.map(|(desc, part, words)| Map {
            param: label(&measure.name),
            desc,
            part,
            parameters: vec![measure.name.clone()],
            unit: measure.unit.symbol().into(),
            description: format!("{}: {}, {words}", measure.name, measure.meaning),
        }));
    }
    if sampled {
        for component in model.components().iter().filter(|c| c.kind.oriented()) {
            let name = format!("{}.mu_cone90_deg", component.name);
            out.push(Map {
                param: label(&name),
                desc,
                part: Part::Mean,
                description: format!(
                    "{name}: half-angle of the axial cone that holds 90 % of the draws"
                ),
                parameters: vec![name],
                unit: "degree".into(),
            });
        }
    }
    let mut single = |param: &str, desc, part, parameter: &str, unit: &str, description: &str| {
        out.push(Map {
            param: param.into(),
            desc,
            part,
            parameters: vec![parameter.into()],
            unit: unit.into(),
            description: description.into(),
        });
    };
    if spec.sigma == SigmaSpec::Free || (!sampled && spec.sigma == SigmaSpec::RepeatedB0) {
        single(
            "sigma",
            desc,
            Part::Mean,
            "sigma",
            "signal",
            "noise standard deviation of the voxel",
        );
    }
    if sampled {
        single(
            "rhat",
            "worst",
            Part::WorstRhat,
            "",
            "1",
            "largest R-hat of the parameters; good below 1.01",
        );
        single(
            "ess",
            "smallest",
            Part::SmallestEss,
            "",
            "draws",
            "smallest effective sample size; good above 100 a chain",
        );
        single(
            "",
            "donottrust",
            Part::DoNotTrust,
            "",
            "1",
            "1 where the draws are not to be trusted: `trust` of summary.parquet is false",
        );
    } else {
        single("r2", desc, Part::Mean, "r2", "1", "coefficient of determination of the signals");
    }
    single("status", "code", Part::Status, "", "1", "how the voxel ended; see Levels");
    out
}

/// What makes the draws, for the sidecar of a map.
fn sampling(method: SampleMethod) -> &'static str {
    match method {
        SampleMethod::Nuts => "no-U-turn sampler",
        SampleMethod::Psis => "Pareto-smoothed importance sampling",
        SampleMethod::Laplace => "normal density at the posterior mode",
        SampleMethod::Auto => {
            "Pareto-smoothed importance sampling, and the no-U-turn sampler where it can't be trusted"
        }
    }
}

/// Writes the maps of the tables in a folder; returns the names of the files.
pub(crate) fn write(
    folder: &Path,
    geometry: &ImageGeometry,
    spec: &RunSpec,
    model_label: &str,
) -> anyhow::Result<Vec<String>> {
    if spec.model.deconvolution.is_some() {
        return fod::write_images(folder, geometry, spec);
    }
    let model = Model::new(spec.model.clone())?;
    let table =
        folder.join(if spec.job == Job::Sample { "summary.parquet" } else { "fit.parquet" });
    let maps = maps(spec, &model);
    let mut names = Vec::new();
    let mut open = Vec::with_capacity(maps.len());
    for map in &maps {
        let name = map.file(model_label);
        let writer = MapWriter::create(
            &folder.join(format!("{name}.nii.gz")),
            geometry,
            map.parameters.len(),
        )?;
        open.push((map, writer, Vec::with_capacity(CHUNK)));
        write_text(&folder.join(format!("{name}.json")), &sidecar(map, spec))?;
        names.push(format!("{name}.nii.gz"));
        names.push(format!("{name}.json"));
    }
    let mut voxels: Vec<i64> = Vec::with_capacity(CHUNK);
    let flush = |open: &mut Vec<(&Map, MapWriter, Vec<f64>)>, voxels: &mut Vec<i64>| {
        open.par_iter_mut().try_for_each(|(map, writer, values)| {
            let rows = values.chunks_exact(map.parameters.len());
            let result =
                voxels.iter().zip(rows).try_for_each(|(voxel, row)| writer.push(*voxel, row));
            values.clear();
            result
        })?;
        voxels.clear();
        anyhow::Ok(())
    };
    frame::for_each(&table, |voxel| {
        voxels.push(voxel.voxel);
        for (map, _, values) in &mut open {
            map.values(voxel, values);
        }
        if voxels.len() == CHUNK { flush(&mut open, &mut voxels) } else { Ok(()) }
    })?;
    flush(&mut open, &mut voxels)?;
    open.into_par_iter().try_for_each(|(_, writer, _)| writer.finish())?;
    if spec.search.criteria {
        names.extend(super::criteria::write_maps(folder, geometry, model_label)?);
    }
    let name = "dataset_description.json";
    let text = json!({
        "Name": "microtome results", "BIDSVersion": "1.9.0", "DatasetType": "derivative",
        "GeneratedBy": [{ "Name": "microtome", "Version": super::input::version() }],
    });
    write_text(&folder.join(name), &(serde_json::to_string_pretty(&text)? + "\n"))?;
    names.push(name.into());
    Ok(names)
}

fn sidecar(map: &Map, spec: &RunSpec) -> String {
    let method = match spec.job {
        Job::Fit => {
            let method = match spec.method() {
                FitMethod::Nlls => "maximum likelihood",
                FitMethod::Ols => "ordinary least squares of the logarithm",
                FitMethod::Wls => "weighted least squares of the logarithm",
            };
            json!({ "FitMethod": method, "Noise": spec.model.noise.kind.to_string() })
        }
        Job::Sample => json!({
            "FitMethod": if spec.search.prior.is_independent() { sampling(spec.search.sampler) } else { "Gibbs sampler with Hamiltonian steps" },
            "Prior": spec.search.prior.name(), "Noise": spec.model.noise.kind.to_string(),
            "Chains": spec.search.chains, "Burnin": spec.search.tune, "Samples": spec.search.draws,
        }),
    };
    let mut text = json!({
        "Description": map.description,
        "Units": map.unit,
        "Model": { "Description": spec.model.names().join(" + "), "Parameters": method },
    });
    if map.parameters.len() == 3 {
        text["OrientationEncoding"] = json!({
            "Type": "unit3vector", "EncodingAxis": 3, "Reference": "ijk", "AntipodalSymmetry": true, "FillValue": 0,
            "Frame": "of the gradient directions of the input (for FSL b-vectors: x reversed when the affine has a positive determinant)",
        });
    }
    if map.part == Part::Status {
        let levels: serde_json::Map<String, serde_json::Value> =
            STATUS.iter().enumerate().map(|(code, s)| (code.to_string(), json!(s))).collect();
        text["Levels"] = levels.into();
    }
    serde_json::to_string_pretty(&text).unwrap_or_default() + "\n"
}

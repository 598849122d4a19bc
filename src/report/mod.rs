//! `report.html`: what a run found, how sure it is, and whether to believe it, on
//! one page that loads nothing from anywhere.
//!
//! [`html`] turns a [`ReportData`] into the page: verdict and facts; maps;
//! quality; one voxel; prediction; truth where it is known; streamlines; reconstructed images; the
//! table of parameters; methods and references. Every text is escaped, plots are inline
//! SVG (`plot.rs`) and maps are PNG data URIs (`raster.rs`).
//!
//! Validated by `tests.rs`.

mod bundles;
mod calibration;
mod data;
mod density;
mod images;
mod maps;
mod plot;
mod predictive;
mod quality;
mod raster;
#[cfg(test)]
mod synthetic;
#[cfg(test)]
mod tests;
mod text;
mod truth;
mod voxel;

pub use data::{
    BundlePicture, CalibrationPlot, DirectionMap, MapPair, ParameterRow, Population, Predictive,
    QualityKind, QualityMap, ReconstructedImage, ReportData, StatusMap, TruthComparison, Verdict,
    VoxelParameter, VoxelPosterior,
};

use text::{decimals, escape, number, table, unit_cell};

const STYLE: &str = include_str!("page.css");

/// The report as one self-contained HTML file.
///
/// Parts without data are left out. The result depends on `data` alone.
///
/// # Example
///
/// ```
/// use microtome::report::{ReportData, html};
/// let data = ReportData { title: "b < 1000 s/mm²".into(), ..ReportData::default() };
/// assert!(html(&data).contains("<h1>b &lt; 1000 s/mm²</h1>"));
/// ```
pub fn html(data: &ReportData) -> String {
    let sections = [
        (
            "verdict",
            if data.bundles.is_some() { "Facts" } else { "Verdict and facts" },
            facts(data),
        ),
        (
            "maps",
            if data.maps.is_empty() && !data.populations.is_empty() {
                "Parameters over voxels"
            } else {
                "Maps"
            },
            maps::maps(data),
        ),
        ("quality", "Quality", quality::section(data)),
        ("voxel", "One voxel", data.voxel.as_ref().map_or_else(String::new, voxel::section)),
        (
            "predictive",
            "Predictive check",
            data.predictive.as_ref().map_or_else(String::new, predictive::section),
        ),
        ("truth", "Truth", truth::section(&data.truth)),
        (
            "streamlines",
            "Streamlines",
            data.bundles.as_ref().map_or_else(String::new, bundles::section),
        ),
        ("images", "Images", images::section(&data.images, &data.image_note)),
        ("calibration", "Calibration", calibration::section(data)),
        ("parameters", "Parameters", parameters(&data.parameters)),
        ("methods", "Methods and references", methods(data)),
    ];
    let title = if data.title.is_empty() { "microtome report".into() } else { escape(&data.title) };
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n"
    );
    if !data.command_line.is_empty() {
        page.push_str(&format!("<pre>{}</pre>\n", escape(&data.command_line)));
    }
    page.push_str("<nav>");
    for (id, name, body) in &sections {
        if !body.is_empty() {
            page.push_str(&format!("<a href=\"#{id}\">{name}</a>"));
        }
    }
    page.push_str("</nav>\n</header>\n<main>\n");
    for (id, name, body) in &sections {
        if !body.is_empty() {
            page.push_str(&format!("<section id=\"{id}\">\n<h2>{name}</h2>\n{body}</section>\n"));
        }
    }
    page.push_str("</main>\n</body>\n</html>\n");
    plot::renumbered(&page)
}

fn verdict(data: &ReportData) -> String {
    let (class, words) = match data.verdict {
        Verdict::Trust => ("trust", "Trust"),
        Verdict::Caution => ("caution", "Caution"),
        Verdict::DoNotTrust => ("distrust", "Do not trust"),
    };
    let mut out = format!("<div class=\"verdict {class}\"><strong>{words}</strong>");
    if !data.verdict_sentences.is_empty() {
        out.push_str("<ul>");
        for sentence in &data.verdict_sentences {
            out.push_str(&format!("<li>{}</li>", escape(sentence)));
        }
        out.push_str("</ul>");
    }
    out.push_str("</div>\n");
    out
}

fn facts(data: &ReportData) -> String {
    let mut out = if data.bundles.is_some() { String::new() } else { verdict(data) };
    if !data.facts.is_empty() {
        out.push_str("<dl>");
        for (name, value) in &data.facts {
            out.push_str(&format!(
                "<div><dt>{}</dt><dd>{}</dd></div>",
                escape(name),
                escape(value)
            ));
        }
        out.push_str("</dl>\n");
    }
    out
}

fn parameters(list: &[ParameterRow]) -> String {
    if list.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = list
        .iter()
        .map(|p| {
            let flag = |bad: bool, text: String| {
                if bad { format!("<b class=\"bad\">{text}</b>") } else { text }
            };
            vec![
                escape(&p.name),
                unit_cell(&p.unit),
                number(p.mean),
                number(p.sd),
                flag(p.shrinkage < 0.5, decimals(p.shrinkage, 2)),
                flag(p.worst_rhat > 1.01, decimals(p.worst_rhat, 3)),
                flag(p.smallest_ess < 400.0, decimals(p.smallest_ess, 0)),
            ]
        })
        .collect();
    let head = [
        "parameter",
        "unit",
        "mean",
        "sd",
        "shrinkage",
        "worst R-hat",
        "smallest effective sample size",
    ];
    table(&head, &rows)
        + "<p class=\"note\">Mean, sd and shrinkage are averages over voxels; the last two columns are the worst voxel. \
           Bold red marks shrinkage below 0.5 (more than half of the prior variance is left), R-hat above 1.01 and effective sample \
           sizes below 400.</p>\n"
}

fn methods(data: &ReportData) -> String {
    let mut out = String::new();
    for (heading, text) in &data.methods {
        out.push_str(&format!("<h3>{}</h3>\n<p>{}</p>\n", escape(heading), escape(text)));
    }
    if !data.references.is_empty() {
        out.push_str("<h3>References</h3>\n<ul class=\"references\">");
        for (name, text) in &data.references {
            out.push_str(&format!("<li><b>{}</b> {}</li>", escape(name), escape(text)));
        }
        out.push_str("</ul>\n");
    }
    out
}

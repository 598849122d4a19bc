//! The report as a whole: complete, self-contained, escaped, small, and without
//! panic on missing or broken data.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::synthetic::{Numbers, run};
use super::*;

/// Every value of `attribute` in the page.
fn attributes<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    let stem = format!("{attribute}=\"");
    page.split(&stem).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

/// The page without the base64 of its images.
fn without_images(page: &str) -> String {
    let mut parts = page.split("data:image/png;base64,");
    let first = parts.next().unwrap().to_string();
    parts.fold(first, |text, part| text + part.split_once('"').unwrap().1)
}

#[test]
fn the_page_is_complete_and_in_order() {
    let page = html(&run());
    let mut from = 0;
    for id in
        ["verdict", "maps", "quality", "voxel", "predictive", "truth", "parameters", "methods"]
    {
        let at = page[from..].find(&format!("<section id=\"{id}\">"));
        from += at.unwrap_or_else(|| panic!("no section {id} after byte {from}"));
    }
    assert_eq!(page.matches("<figure ").count(), page.matches("<figcaption>").count());
    // Two slices and one quantity, mean and sd; three diagnostics, status, direction.
    assert_eq!(page.matches("class=\"map\"").count(), 11);
    for text in [
        "Caution",
        "20240611",
        "lambda_par (µm²/ms)",
        "0.413",
        "doi:10.1002/mrm.10609",
        "coverage of 90 % intervals",
    ] {
        assert!(page.contains(text), "{text}");
    }
    for tag in ["section", "figure", "div", "svg", "table", "span", "g", "ul", "b"] {
        let opened =
            page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "<{tag}>");
    }
    let text = without_images(&page);
    assert!(!text.contains("NaN") && !text.contains("inf\""));
    assert!(page.len() < 1_500_000, "{} bytes", page.len());
}

#[test]
fn images_share_their_scale() {
    let image = |name: &str, values: Vec<f32>, psnr: f64| ReconstructedImage {
        name: name.into(),
        nx: 2,
        ny: 2,
        values,
        psnr,
        ssim: 0.9,
    };
    let images = vec![
        image("truth", vec![0.0, 1.0, 0.0, 1.0], f64::NAN),
        image("a < b", vec![0.0, 4.0, 0.0, 1.0], 20.0),
    ];
    let data = ReportData { images, image_note: "of <x>".into(), ..ReportData::default() };
    let page = html(&data);
    assert!(page.contains("<section id=\"images\">") && page.contains("a &lt; b"));
    assert!(page.contains("of &lt;x&gt;") && page.contains("<td>20.0</td>"));
    // One scale up to 4 for both, and no row for the truth.
    assert_eq!(page.matches(">4</text>").count(), 2);
    assert!(!page.contains("<td>truth</td>"));
    assert!(!html(&ReportData::default()).contains("id=\"images\""));
}

#[test]
fn the_page_loads_nothing() {
    let page = html(&run());
    let links: Vec<&str> = ["src", "href", "srcset", "data", "action", "poster"]
        .iter()
        .flat_map(|a| attributes(&page, a))
        .collect();
    assert!(links.len() > 10);
    for link in links {
        assert!(link.starts_with('#') || link.starts_with("data:image/png;base64,"), "{link}");
    }
    for word in ["http:", "https:", "<script", "<link", "<iframe", "@import", "url(h", "url(/"] {
        assert!(!page.contains(word), "{word}");
    }
    // The links within the page and its clip paths lead somewhere, and once.
    let ids = attributes(&page, "id");
    for link in attributes(&page, "href").iter().filter_map(|l| l.strip_prefix('#')) {
        assert_eq!(ids.iter().filter(|id| **id == link).count(), 1, "{link}");
    }
    for clip in page.split("url(#").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        assert_eq!(ids.iter().filter(|id| **id == clip).count(), 1, "{clip}");
    }
}

#[test]
fn the_page_depends_on_the_data_alone() {
    assert_eq!(html(&run()), html(&run()));
}

#[test]
fn every_text_is_escaped() {
    let evil = "<img src=x onerror=alert(1)>\"'&";
    let mut data = run();
    data.title = evil.into();
    data.command_line = evil.into();
    data.map_note = evil.into();
    data.verdict_sentences = vec![evil.into()];
    data.facts = vec![(evil.into(), evil.into())];
    data.methods = vec![(evil.into(), evil.into())];
    data.references = vec![(evil.into(), evil.into())];
    for map in &mut data.maps {
        (map.name, map.unit, map.slice) = (evil.into(), evil.into(), evil.into());
    }
    for map in &mut data.quality {
        (map.name, map.unit) = (evil.into(), evil.into());
    }
    data.status.as_mut().unwrap().labels = vec![evil.into(); 3];
    data.directions.as_mut().unwrap().name = evil.into();
    for p in &mut data.populations {
        (p.name, p.unit) = (evil.into(), evil.into());
    }
    let voxel = data.voxel.as_mut().unwrap();
    voxel.label = evil.into();
    for p in &mut voxel.parameters {
        (p.name, p.unit) = (evil.into(), evil.into());
    }
    let predictive = data.predictive.as_mut().unwrap();
    (predictive.label, predictive.signal_unit) = (evil.into(), evil.into());
    predictive.shell_labels = vec![evil.into(); 3];
    for t in &mut data.truth {
        (t.name, t.unit) = (evil.into(), evil.into());
    }
    for p in &mut data.parameters {
        (p.name, p.unit) = (evil.into(), evil.into());
    }
    let page = html(&data);
    assert!(!page.contains("<img"));
    assert!(page.matches("&lt;img src=x onerror=alert(1)&gt;&quot;").count() > 60);
}

#[test]
fn nothing_gives_a_page_with_a_verdict() {
    let page = html(&ReportData::default());
    assert!(page.contains("Caution") && page.ends_with("</html>\n"));
    assert_eq!(page.matches("<section").count(), 1);
}

#[test]
fn missing_and_broken_data_do_not_panic() {
    // NaN everywhere.
    let mut data = run();
    for map in &mut data.maps {
        map.mean.fill(f32::NAN);
        map.sd.clear();
    }
    for map in &mut data.quality {
        map.values.fill(f32::NAN);
    }
    for p in &mut data.populations {
        p.mean.fill(f64::NAN);
        p.sd.clear();
    }
    for p in &mut data.voxel.as_mut().unwrap().parameters {
        p.chains.iter_mut().for_each(|c| c.fill(f64::NAN));
        (p.truth, p.rhat) = (Some(f64::NAN), f64::NAN);
    }
    let predictive = data.predictive.as_mut().unwrap();
    predictive.residual.fill(f64::NAN);
    predictive.measured.fill(f64::NAN);
    predictive.median.fill(f64::INFINITY);
    for t in &mut data.truth {
        t.truth.fill(f64::NAN);
    }
    let page = html(&data);
    assert!(!without_images(&page).contains("NaN"));
    assert!(page.contains("No voxel of this slice has a value."));

    // Lists of the wrong length, codes and shells without a name.
    let mut data = run();
    data.maps[0].nx = 0;
    data.maps[1].mean.truncate(5);
    data.maps[2].ny = 7;
    data.quality[0].nx = 1000;
    data.directions.as_mut().unwrap().rgb.pop();
    data.status.as_mut().unwrap().labels.pop();
    let predictive = data.predictive.as_mut().unwrap();
    predictive.q05.truncate(50);
    predictive.cosine.truncate(20);
    predictive.residual.truncate(10);
    predictive.shell[3] = usize::MAX;
    predictive.shell_labels.clear();
    data.truth[0].q05.truncate(3);
    data.truth[1].estimate.clear();
    let voxel = data.voxel.as_mut().unwrap();
    voxel.pair = Some((0, 99));
    voxel.parameters[1].prior_density.truncate(3);
    voxel.parameters[2].chains = vec![vec![], vec![1.0]];
    assert!(html(&data).ends_with("</html>\n"));
}

#[test]
fn one_chain_and_no_truth_say_so() {
    let mut data = run();
    data.truth.clear();
    let voxel = data.voxel.as_mut().unwrap();
    for p in &mut voxel.parameters {
        p.chains.truncate(1);
        p.truth = None;
        p.prior_x.clear();
        p.prior_density.clear();
    }
    data.predictive.as_mut().unwrap().cosine.clear();
    let page = html(&data);
    assert!(page.contains("There is one chain only"));
    assert!(!page.contains("id=\"truth\"") && !page.contains("chain 2"));
    assert!(page.contains("measured and predicted signal by measurement"));
}

#[test]
fn a_whole_brain_stays_below_three_megabytes() {
    let mut rng = Numbers(3);
    let mut data = run();
    let n = 256;
    let noise: Vec<f32> = (0..n * n).map(|_| rng.normal() as f32).collect();
    data.maps = (0..12)
        .map(|k| MapPair {
            name: format!("parameter {k}"),
            nx: n,
            ny: n,
            mean: noise.clone(),
            sd: noise.iter().map(|v| v.abs()).collect(),
            ..MapPair::default()
        })
        .collect();
    data.populations = vec![data.populations[0].clone(); 12];
    data.truth = vec![data.truth[0].clone(); 12];
    let voxel = data.voxel.as_mut().unwrap();
    voxel.parameters = vec![voxel.parameters[0].clone(); 12];
    let page = html(&data);
    assert!(page.len() < 3_000_000, "{} bytes", page.len());
    assert!(page.contains("block of 2 × 2 voxels"));
}

#[test]
fn a_page_of_ranks() {
    let plot = |name: &str, ranks: Vec<u32>| CalibrationPlot {
        name: name.into(),
        p: 0.04,
        adjusted: 0.08,
        shape: "posteriors too <narrow>".into(),
        ranks,
    };
    let data = ReportData {
        calibration: vec![plot("a & b", (0..200).map(|i| i % 10).collect()), plot("c", Vec::new())],
        calibration_band: (1..10).map(|i| [0.1 * f64::from(i) - 0.05; 2]).collect(),
        ..ReportData::default()
    };
    let page = html(&data);
    assert!(page.contains("id=\"calibration\"") && page.contains("ECDF less uniform"));
    assert!(page.contains("a &amp; b") && page.contains("posteriors too &lt;narrow&gt;"));
    assert_eq!(page.matches("<svg").count(), 4);
    assert!(!page.contains("http") && !page.contains("NaN"));
    assert!(!html(&ReportData::default()).contains("id=\"calibration\""));
}

#[test]
fn bundles_are_drawn_from_three_sides() {
    let mut visits = vec![0.0; 4 * 3 * 2];
    visits[5] = 7.0;
    let picture = BundlePicture {
        lines: vec![vec![[0.0, 0.0, 0.0], [3.0, 0.0, 0.0]], vec![[1.0, 0.0, 1.0], [1.0, 2.0, 1.0]]],
        shape: [4, 3, 2],
        error: visits.iter().map(|v: &f32| v.sqrt()).collect(),
        visits,
        note: "2 of 2 < 3 are drawn.".into(),
    };
    let page = html(&ReportData { bundles: Some(picture), ..ReportData::default() });
    assert_eq!(page.matches("<polyline").count(), 6);
    // Along i: the first is a red dash, of which only its place is seen; from above it is as long as three voxels.
    assert!(page.contains("<polyline stroke=\"rgb(220,0,0)\" points=\"37.5,187.5 262.5,187.5\"/>"));
    assert!(page.contains("rgb(0,220,0)") && page.contains("2 of 2 &lt; 3 are drawn."));
    assert_eq!(page.matches("class=\"map\"").count(), 6);
    assert!(!page.contains("Caution"));
    let none =
        html(&ReportData { bundles: Some(BundlePicture::default()), ..ReportData::default() });
    assert!(!none.contains("<svg"));
}

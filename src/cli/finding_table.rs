//! The findings of `diagnose` as text and as JSON.

use super::say;
use super::verdict::{Extreme, Findings, is_part_of_axis};
use microtome_inference::diagnostics::{EBFMI_LIMIT, RHAT_LIMIT};
use serde_json::{Value, json};

impl Findings {
    /// The checks as a table of text.
    pub(crate) fn text(&self) -> String {
        let mut rows: Vec<Vec<String>> = vec![vec!["check".into(), "found".into()]];
        let mut add = |name: &str, value: String| rows.push(vec![name.to_string(), value]);
        let count = |n: u64| format!("{n} ({:.1} %)", self.percent(n));
        add("voxels", self.voxels.to_string());
        for (status, n) in &self.by_status {
            add(&format!("  {status}"), count(*n));
        }
        if self.sampled {
            add("not to be trusted", count(self.doubts.voxels));
            for (doubt, n) in &self.doubts.by_reason {
                add(&format!("  for {}", doubt.name()), count(*n));
            }
            let at = |e: &Option<Extreme>| match e {
                Some(e) if e.parameter.is_empty() => {
                    format!("{} ({})", say::number(e.value), e.label)
                }
                Some(e) => format!("{} ({} of {})", say::number(e.value), e.parameter, e.label),
                None => "-".into(),
            };
            add(&format!("worst R-hat (good to {RHAT_LIMIT})"), at(&self.worst_rhat));
            let name = format!("smallest effective sample size (good from {})", self.ess_limit());
            add(&name, at(&self.smallest_ess));
            add(&format!("smallest E-BFMI (good from {EBFMI_LIMIT})"), at(&self.smallest_ebfmi));
            if self.largest_khat.is_some() {
                let name = format!("largest k-hat (good to {})", say::number(self.khat_limit()));
                add(&name, at(&self.largest_khat));
            }
            add("divergent draws", self.divergences.to_string());
            add("trajectories as long as allowed", self.max_depth_hits.to_string());
        }
        let head = ["parameter", "mean", "sd", "contraction", "shrinkage", "prior-dominated"];
        let wide = if self.sampled { head.len() } else { 3 };
        let mut parameters = vec![head[..wide].iter().map(|h| h.to_string()).collect::<Vec<_>>()];
        for (name, p) in self.parameters.iter().filter(|(name, _)| !is_part_of_axis(name)) {
            let numbers = [p.mean(), p.sd(), p.contraction(), p.shrinkage()].map(say::number);
            let dominated = if p.contraction().is_nan() {
                "-".to_string()
            } else {
                format!("{:.1} %", 100.0 * p.prior_dominated as f64 / p.n.max(1) as f64)
            };
            let row = [vec![name.clone()], numbers.to_vec(), vec![dominated]].concat();
            parameters.push(row[..wide].to_vec());
        }
        let mut text = say::table(&rows);
        text.push('\n');
        text.push_str(&say::table(&parameters));
        text.push_str("(averages over converged voxels");
        if self.sampled {
            text.push_str("; contraction = prior sd / posterior sd, as in summary.parquet; shrinkage = 1 - posterior variance / prior variance");
        }
        text.push_str(")\n");
        let doubts = self.doubts.text();
        if !doubts.is_empty() {
            text.push('\n');
            text.push_str(&doubts);
        }
        text
    }

    /// The findings as one object; numbers that are not finite are null.
    pub(crate) fn json(&self, good: bool, sentences: &[String], verdict: &str) -> Value {
        let extreme = |e: &Option<Extreme>| {
            let object = |e: &Extreme| json!({ "value": e.value, "parameter": e.parameter, "voxel": e.voxel, "name": e.label });
            e.as_ref().map(object)
        };
        let reasons: serde_json::Map<String, Value> =
            self.doubts.by_reason.iter().map(|(d, n)| (d.name().to_string(), json!(n))).collect();
        let worst = self.doubts.worst.iter().map(|w| {
            let e = &w.evidence;
            json!({
                "name": w.label, "status": w.status, "rhat": e.rhat, "ess": e.ess, "ebfmi": e.ebfmi,
                "divergences": e.divergences, "khat": e.khat, "reasons": w.reasons,
            })
        });
        let parameters = self.parameters.iter().filter(|(name, _)| !is_part_of_axis(name));
        let parameters: serde_json::Map<String, Value> = parameters
            .map(|(name, p)| {
                let object = json!({
                    "mean": p.mean(), "sd": p.sd(), "contraction": p.contraction(),
                    "shrinkage": p.shrinkage(), "voxels": p.n, "prior_dominated": p.prior_dominated,
                });
                (name.clone(), object)
            })
            .collect();
        json!({
            "trust": good, "voxels": self.voxels, "failed": self.failed(),
            "do_not_trust_voxels": self.untrusted(),
            "do_not_trust_percent": self.percent(self.untrusted()),
            "reasons": reasons, "worst_voxels": worst.collect::<Vec<_>>(),
            "counts_by_status": self.by_status, "divergences": self.divergences,
            "max_depth_hits": self.max_depth_hits,
            "worst_rhat": extreme(&self.worst_rhat), "smallest_ess": extreme(&self.smallest_ess),
            "smallest_ebfmi": extreme(&self.smallest_ebfmi), "largest_khat": extreme(&self.largest_khat),
            "parameters": parameters, "sentences": sentences, "verdict": verdict,
        })
    }
}

//! One slice of an image of results, or the voxels of an array, for the report.

use super::frame::{self, Voxel};
use super::truth::unit;
use microtome::report::{DirectionMap, MapPair, Population, QualityKind, QualityMap, StatusMap};
use std::collections::BTreeMap;
use std::path::Path;

/// Voxels that a population shows at most.
const MOST_VOXELS: usize = 20_000;

/// What the report draws.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    /// The voxels of the slice, or of the array.
    pub(crate) voxels: Vec<Voxel>,
    /// nx, ny and k of an image.
    pub(crate) grid: Option<[usize; 3]>,
}

impl Slice {
    /// The fullest slice of the results; the lowest of equals nearest to the middle.
    pub(crate) fn read(results: &Path) -> anyhow::Result<Self> {
        let mut counts: BTreeMap<i32, usize> = BTreeMap::new();
        let mut most = [0_i32; 2];
        let mut n = 0_usize;
        frame::for_each(results, |voxel| {
            n += 1;
            if let Some([i, j, k]) = voxel.ijk {
                *counts.entry(k).or_default() += 1;
                most = [most[0].max(i), most[1].max(j)];
            }
            Ok(())
        })?;
        let best = counts.values().copied().max();
        let ties: Vec<i32> =
            counts.iter().filter(|(_, n)| Some(**n) == best).map(|(k, _)| *k).collect();
        let k = ties.get(ties.len().saturating_sub(1) / 2).copied();
        let step = n.div_ceil(MOST_VOXELS).max(1);
        let (mut at, mut voxels) = (0_usize, Vec::new());
        frame::for_each(results, |voxel| {
            let wanted = match (k, voxel.ijk) {
                (Some(k), Some(ijk)) => ijk[2] == k,
                _ => at.is_multiple_of(step),
            };
            if wanted {
                voxels.push(voxel.clone());
            }
            at += 1;
            Ok(())
        })?;
        let grid = k.map(|k| [most[0] as usize + 1, most[1] as usize + 1, k as usize]);
        Ok(Self { voxels, grid })
    }

    /// Names of the scalar parameters.
    pub(crate) fn scalars(&self) -> Vec<String> {
        let Some(voxel) = self.voxels.first() else { return Vec::new() };
        voxel.parameters.keys().filter(|n| !n.contains(".mu_") && *n != "r2").cloned().collect()
    }

    /// `[y, x]` of a function of the voxel.
    fn image(&self, value: impl Fn(&Voxel) -> f64) -> Vec<f32> {
        let Some([nx, ny, _]) = self.grid else { return Vec::new() };
        let mut out = vec![f32::NAN; nx * ny];
        for voxel in &self.voxels {
            if let Some([i, j, _]) = voxel.ijk {
                out[j as usize * nx + i as usize] = value(voxel) as f32;
            }
        }
        out
    }

    /// Maps of every scalar parameter.
    pub(crate) fn maps(&self) -> Vec<MapPair> {
        let Some([nx, ny, k]) = self.grid else { return Vec::new() };
        self.scalars()
            .into_iter()
            .map(|name| {
                let sd = self.image(|v| v.parameters.get(&name).map_or(f64::NAN, |e| e.sd));
                MapPair {
                    unit: unit(&name).into(),
                    slice: format!("k = {k}"),
                    nx,
                    ny,
                    mean: self.image(|v| v.mean(&name)),
                    sd: if sd.iter().any(|v| v.is_finite()) { sd } else { Vec::new() },
                    name,
                }
            })
            .collect()
    }

    /// Every scalar parameter over the voxels of an array.
    pub(crate) fn populations(&self) -> Vec<Population> {
        if self.grid.is_some() {
            return Vec::new();
        }
        let good: Vec<&Voxel> = self.voxels.iter().filter(|v| v.status == "converged").collect();
        self.scalars()
            .into_iter()
            .map(|name| {
                let sd: Vec<f64> = good
                    .iter()
                    .map(|v| v.parameters.get(&name).map_or(f64::NAN, |e| e.sd))
                    .collect();
                Population {
                    unit: unit(&name).into(),
                    mean: good.iter().map(|v| v.mean(&name)).collect(),
                    sd: if sd.iter().all(|v| v.is_finite()) { sd } else { Vec::new() },
                    name,
                }
            })
            .collect()
    }

    /// The direction of the first compartment that has one, times its fraction.
    pub(crate) fn directions(&self) -> Option<DirectionMap> {
        let [nx, ny, _] = self.grid?;
        let first = self.voxels.first()?;
        let name =
            first.parameters.keys().find(|n| n.ends_with(".mu_axis_x") || n.ends_with(".mu_x"))?;
        let stem = name.strip_suffix("_x")?.to_string();
        let compartment = stem.split_once(".mu")?.0.to_string();
        let part = |axis: &str| {
            self.image(|v| {
                v.mean(&format!("{stem}_{axis}")).abs() * v.mean(&format!("{compartment}.fraction"))
            })
        };
        let (x, y, z) = (part("x"), part("y"), part("z"));
        let byte =
            |v: f32| if v.is_finite() { (v.clamp(0.0, 1.0) * 255.0).round() as u8 } else { 0 };
        let rgb =
            x.iter().zip(&y).zip(&z).map(|((x, y), z)| [byte(*x), byte(*y), byte(*z)]).collect();
        Some(DirectionMap {
            name: format!("direction of {compartment} times its fraction"),
            nx,
            ny,
            rgb,
        })
    }

    /// R-hat, effective sample size and shrinkage of the worst parameter.
    pub(crate) fn quality(&self) -> Vec<QualityMap> {
        let Some([nx, ny, _]) = self.grid else { return Vec::new() };
        let worst = |voxel: &Voxel, get: &dyn Fn(&frame::Estimate) -> f64, largest: bool| {
            let values = voxel.parameters.values().map(get);
            values.fold(f64::NAN, if largest { f64::max } else { f64::min })
        };
        type Get = fn(&frame::Estimate) -> f64;
        let list: [(QualityKind, &str, Get, bool); 3] = [
            (QualityKind::RHat, "worst R-hat over parameters", |e| e.rhat, true),
            (QualityKind::EssBulk, "smallest effective sample size", |e| e.ess_bulk, false),
            (
                QualityKind::Shrinkage,
                "shrinkage of the least determined parameter",
                |e| 1.0 - (e.contraction * e.contraction).recip(),
                false,
            ),
        ];
        list.into_iter()
            .map(|(kind, name, get, largest)| {
                let values = self.image(|v| worst(v, &get, largest));
                QualityMap { kind, name: name.into(), unit: String::new(), nx, ny, values }
            })
            .filter(|m| m.values.iter().any(|v| v.is_finite()))
            .collect()
    }

    /// What became of each voxel.
    pub(crate) fn status(&self) -> Option<StatusMap> {
        let [nx, ny, _] = self.grid?;
        let mut labels = vec!["converged".to_string()];
        let mut codes = vec![StatusMap::OUTSIDE; nx * ny];
        for voxel in &self.voxels {
            let Some([i, j, _]) = voxel.ijk else { continue };
            let code = labels.iter().position(|l| *l == voxel.status).unwrap_or_else(|| {
                labels.push(voxel.status.clone());
                labels.len() - 1
            });
            codes[j as usize * nx + i as usize] = code as u8;
        }
        Some(StatusMap { nx, ny, codes, labels })
    }

    /// A converged voxel near the middle whose first fraction is not small.
    pub(crate) fn example(&self) -> Option<&Voxel> {
        let good: Vec<&Voxel> = self.voxels.iter().filter(|v| v.status == "converged").collect();
        let fraction = good
            .first()?
            .parameters
            .keys()
            .find(|n| n.ends_with(".mu_axis_x") || n.ends_with(".mu_x"));
        let fraction =
            fraction.and_then(|n| n.split_once(".mu")).map(|(c, _)| format!("{c}.fraction"));
        let Some(name) = fraction else { return good.get(good.len() / 2).copied() };
        let mut order: Vec<&&Voxel> = good.iter().collect();
        order.sort_by(|a, b| b.mean(&name).total_cmp(&a.mean(&name)));
        order.get(order.len() / 10).map(|v| **v)
    }
}

//! What streamlines connect and visit, over draws of the field.
//!
//! $$c_{ab}^{(d)} = \#\{\text{streamlines of draw } d \text{ with ends in } a \text{ and } b\},\qquad
//!   \operatorname{E}[c_{ab}] \approx \tfrac1D\sum_d c_{ab}^{(d)}$$
//!
//! The streamlines of one draw of the whole field are one draw from the posterior of every
//! count, so that means, standard deviations and quantiles over draws are those of the
//! posterior. The seeds are the same in every draw: how they fell is no part of the spread.
//!
//! Source: Behrens et al. 2007, doi:10.1016/j.neuroimage.2006.09.018 (draws of the field); Hagmann et
//! al. 2008, doi:10.1371/journal.pbio.0060159 (ends in parcels). Validated by
//! `draws_of_a_field_give_the_posterior_of_connections` in `tests/cli/track.rs`.

use super::TrackArgs;
use anyhow::{Context, bail};
use microtome_datasets::{ImageGeometry, MapWriter, Parcels, TractDensity, write_connectivity};
use microtome_inference::diagnostics::{Chains, Workspace, summarize};
use std::path::PathBuf;

/// Most numbers that matrices may hold in memory (4 GiB).
const MOST: usize = 1 << 29;

/// The results beside the streamlines.
pub(super) struct Connections {
    matrix: Option<(PathBuf, Matrix)>,
    /// The file is left out where a report alone asks for it.
    density: Option<(Option<PathBuf>, Density)>,
}

struct Matrix {
    parcels: Parcels,
    /// Counts of every draw, `[draw][a, b]`, both orders alike.
    counts: Vec<Vec<f64>>,
    /// Summed lengths, mm.
    lengths: Vec<f64>,
}

/// Visits of voxels: the present draw, and the moments over draws.
struct Density {
    geometry: ImageGeometry,
    now: TractDensity,
    streamlines: u64,
    draws: f64,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

fn fresh(flag: &str, path: &Option<PathBuf>, overwrite: bool) -> anyhow::Result<()> {
    match path {
        Some(path) if path.exists() && !overwrite => {
            bail!("{flag} {}: the file exists; give --overwrite to replace it", path.display())
        }
        _ => Ok(()),
    }
}

impl Connections {
    pub(super) fn new(
        args: &TrackArgs,
        grid: &ImageGeometry,
        draws: usize,
    ) -> anyhow::Result<Self> {
        fresh("--connectome", &args.connectome, args.common.overwrite)?;
        fresh("--density", &args.density, args.common.overwrite)?;
        let matrix = match (&args.connectome, &args.parcels) {
            (Some(path), Some(parcels)) => {
                let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
                if !matches!(ending.as_deref(), Some("csv" | "parquet")) {
                    bail!(
                        "--connectome {}: the name must end with .csv or .parquet",
                        path.display()
                    );
                }
                let names = args.parcel_names.as_deref();
                let parcels = Parcels::read(parcels, names).context("--parcels")?;
                let pairs = parcels.n_nodes() * parcels.n_nodes();
                if pairs * draws > MOST {
                    bail!(
                        "--connectome: {draws} matrices of {} parcels do not fit; take fewer --draws or parcels",
                        parcels.n_nodes()
                    );
                }
                let lengths = vec![0.0; pairs];
                Some((path.clone(), Matrix { parcels, counts: Vec::new(), lengths }))
            }
            (None, None) => None,
            _ => bail!("--connectome FILE and --parcels LABELS need each other"),
        };
        if let Some(path) = &args.density {
            let name = path.to_string_lossy().to_ascii_lowercase();
            if !name.ends_with(".nii.gz") && !name.ends_with(".nii") {
                bail!("--density {}: the name must end with .nii.gz or .nii", path.display());
            }
        }
        let density = if args.density.is_some() || args.report.is_some() {
            let zero = vec![0.0; grid.n_voxels()];
            let density = Density {
                geometry: grid.clone(),
                now: TractDensity::new(grid)?,
                streamlines: 0,
                draws: 0.0,
                mean: zero.clone(),
                squares: zero,
            };
            Some((args.density.clone(), density))
        } else {
            None
        };
        Ok(Self { matrix, density })
    }

    /// A draw begins.
    pub(super) fn begin(&mut self) -> anyhow::Result<()> {
        if let Some((_, m)) = &mut self.matrix {
            m.counts.push(vec![0.0; m.lengths.len()]);
        }
        if let Some((_, d)) = &mut self.density {
            d.now = TractDensity::new(&d.geometry)?;
            d.streamlines = 0;
        }
        Ok(())
    }

    pub(super) fn add(&mut self, points: &[[f32; 3]]) {
        if let Some((_, m)) = &mut self.matrix
            && let Some((a, b)) = m.parcels.ends(points)
            && let Some(counts) = m.counts.last_mut()
        {
            let length: f64 = points
                .windows(2)
                .map(|w| (0..3).map(|i| f64::from(w[1][i] - w[0][i]).powi(2)).sum::<f64>().sqrt())
                .sum();
            let n = m.parcels.n_nodes();
            for at in if a == b { vec![a * n + b] } else { vec![a * n + b, b * n + a] } {
                counts[at] += 1.0;
                m.lengths[at] += length;
            }
        }
        if let Some((_, d)) = &mut self.density {
            d.now.add(points);
            d.streamlines += 1;
        }
    }

    /// A draw ends.
    pub(super) fn end(&mut self) {
        if let Some((_, d)) = &mut self.density {
            // Welford's recurrence.
            d.draws += 1.0;
            for ((m, s), v) in d.mean.iter_mut().zip(&mut d.squares).zip(d.now.visits()) {
                let gap = f64::from(*v) - *m;
                *m += gap / d.draws;
                *s += gap * (f64::from(*v) - *m);
            }
        }
    }

    /// Writes what there is.
    pub(super) fn write(&self) -> anyhow::Result<()> {
        if let Some((path, m)) = &self.matrix {
            m.write(path)?;
        }
        if let Some((Some(path), d)) = &self.density {
            let mut image = MapWriter::create(path, &d.geometry, 2)?;
            for (voxel, (m, error)) in d.mean.iter().zip(d.errors()).enumerate() {
                image.push(voxel as i64, &[*m, error])?;
            }
            image.finish()?;
        }
        Ok(())
    }

    /// Mean visits of every voxel and their standard errors.
    pub(super) fn visits(&self) -> Option<(&[f64], Vec<f64>)> {
        self.density.as_ref().map(|(_, d)| (d.mean.as_slice(), d.errors()))
    }
}

impl Density {
    fn errors(&self) -> Vec<f64> {
        let n = self.streamlines.max(1) as f64;
        let error = |(m, s): (&f64, &f64)| {
            if self.draws > 1.0 {
                (s / (self.draws - 1.0) / self.draws).sqrt()
            } else {
                // Visits are binomial among the streamlines.
                (m * (1.0 - m / n)).max(0.0).sqrt()
            }
        };
        self.mean.iter().zip(&self.squares).map(error).collect()
    }
}

impl Matrix {
    fn write(&self, path: &std::path::Path) -> anyhow::Result<()> {
        let draws = self.counts.len();
        let nodes = self.parcels.names();
        let pairs = self.lengths.len();
        let total: Vec<f64> =
            (0..pairs).map(|at| self.counts.iter().map(|c| c[at]).sum::<f64>()).collect();
        let csv = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"));
        let mean: Vec<f64> = total.iter().map(|t| t / draws.max(1) as f64).collect();
        if csv {
            return Ok(write_connectivity(path, nodes, &[("streamlines", &mean)])?);
        }
        let length: Vec<f64> = self.lengths.iter().zip(&total).map(|(l, t)| l / t).collect();
        if draws < 2 {
            let columns: [(&str, &[f64]); 2] =
                [("streamlines", &mean), ("mean_length_mm", &length)];
            return Ok(write_connectivity(path, nodes, &columns)?);
        }
        let mut columns = vec![vec![0.0; pairs]; 6];
        let mut workspace = Workspace::new();
        for at in 0..pairs {
            let values: Vec<f64> = self.counts.iter().map(|c| c[at]).collect();
            let s = summarize(Chains::new(&values, 1, draws)?, &mut workspace);
            let positive = values.iter().filter(|v| **v > 0.0).count() as f64 / draws as f64;
            let constant = values.iter().all(|v| *v == values[0]);
            let mcse = if constant { 0.0 } else { s.mcse_mean };
            for (c, v) in columns.iter_mut().zip([s.sd, mcse, s.q05, s.q50, s.q95, positive]) {
                c[at] = v;
            }
        }
        let names = ["sd", "mcse", "q05", "q50", "q95", "p_positive"];
        let list: Vec<(&str, &[f64])> = [("mean", &mean[..])]
            .into_iter()
            .chain(names.into_iter().zip(columns.iter().map(Vec::as_slice)))
            .chain([("mean_length_mm", &length[..])])
            .collect();
        Ok(write_connectivity(path, nodes, &list)?)
    }
}

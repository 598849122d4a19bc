//! The file of the streamlines and its columns.
//!
//! Columns are single precision, which holds whole numbers up to 2²⁴: seeds are numbered in two
//! columns where there are more. Validated by `seeds_are_numbered_exactly` below and by
//! `tests/cli/track.rs`.

use anyhow::{Context, bail};
use microtome_datasets::ImageGeometry;
use microtome_datasets::tracts::{TractFormat, TractWriter, linearise};
use microtome_models::tract::Streamline;
use std::path::Path;

/// Longest segment of a linearised streamline, mm.
const LONGEST_SEGMENT_MM: f64 = 10.0;
/// Whole numbers below this are exact in single precision.
const EXACT: u64 = 1 << 24;

/// What the file holds beside points.
#[derive(Clone, Copy)]
pub(super) struct Content {
    /// Number of seeds of the run.
    pub(super) seeds: u64,
    /// Whether every streamline says of which draw it is.
    pub(super) draws: bool,
    /// Points within this distance of the line through the others are left out, mm.
    pub(super) tolerance_mm: Option<f64>,
}

impl Content {
    /// Names and widths of the columns of streamlines.
    fn columns(&self) -> Vec<(&'static str, usize)> {
        let mut out = vec![("seed", 1)];
        if self.seeds > EXACT {
            out.push(("seed_high", 1));
        }
        out.extend([("seed_point", 1), ("stop_first", 1), ("stop_last", 1)]);
        if self.draws {
            out.push(("draw", 1));
        }
        out
    }

    /// The values of the columns.
    fn values(&self, line: &Streamline, seed_point: usize, draw: usize) -> Vec<f32> {
        let mut out = vec![(line.seed % EXACT) as f32];
        if self.seeds > EXACT {
            out.push((line.seed / EXACT) as f32);
        }
        out.push(seed_point as f32);
        out.extend(line.stops.map(|s| f32::from(s as u8)));
        if self.draws {
            out.push(draw as f32);
        }
        out
    }
}

/// The file of the streamlines.
pub(super) struct Output {
    writer: TractWriter,
    columns: bool,
    content: Content,
    points: u64,
}

impl Output {
    pub(super) fn create(
        out: &Path,
        geometry: &ImageGeometry,
        content: Content,
        overwrite: bool,
    ) -> anyhow::Result<Self> {
        let format = TractFormat::of(out).context("--out")?;
        if out.is_dir() {
            bail!("--out {}: is a folder; a file is needed", out.display());
        }
        if out.exists() && !overwrite {
            bail!("--out {}: the file exists; give --overwrite to replace it", out.display());
        }
        if let Some(t) = content.tolerance_mm.filter(|t| !(t.is_finite() && *t > 0.0)) {
            bail!("--linearise-mm {t}: a length above 0 is needed");
        }
        let columns = format.has_columns();
        let own = if columns { content.columns() } else { Vec::new() };
        let points: &[_] = if columns { &[("amplitude", 1)] } else { &[] };
        let writer = TractWriter::create(out, geometry, points, &own)?;
        Ok(Self { writer, columns, content, points: 0 })
    }

    pub(super) fn push(&mut self, line: &Streamline, draw: usize) -> anyhow::Result<()> {
        let kept: Vec<usize> = match self.content.tolerance_mm {
            Some(tolerance) => linearise(&line.points, tolerance, LONGEST_SEGMENT_MM),
            None => (0..line.points.len()).collect(),
        };
        let points: Vec<[f32; 3]> = kept.iter().map(|i| line.points[*i]).collect();
        if self.columns {
            let seed_point = kept.iter().filter(|i| **i < line.seed_point as usize).count();
            let own = self.content.values(line, seed_point, draw);
            let amplitudes: Vec<f32> = kept.iter().map(|i| line.amplitudes[*i]).collect();
            self.writer.push(&points, &amplitudes, &own)?;
        } else {
            self.writer.push(&points, &[], &[])?;
        }
        self.points += points.len() as u64;
        Ok(())
    }

    /// Completes the file; the number of its points.
    pub(super) fn finish(self) -> anyhow::Result<u64> {
        self.writer.finish()?;
        Ok(self.points)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use microtome_models::tract::Stop;

    #[test]
    fn seeds_are_numbered_exactly() {
        let line = |seed| Streamline {
            points: vec![[0.0; 3]; 2],
            amplitudes: vec![1.0; 2],
            seed_point: 1,
            seed,
            stops: [Stop::Mask, Stop::Angle],
        };
        for (seeds, seed) in
            [(10, 9), (EXACT, EXACT - 1), (EXACT + 2, EXACT + 1), (1 << 28, 201_326_593)]
        {
            for draws in [false, true] {
                let content = Content { seeds, draws, tolerance_mm: None };
                let (names, values) = (content.columns(), content.values(&line(seed), 1, 7));
                assert_eq!(names.len(), values.len());
                let of =
                    |name: &str| names.iter().position(|n| n.0 == name).map(|i| values[i] as u64);
                let high = of("seed_high").unwrap_or(0);
                assert_eq!(high * EXACT + of("seed").unwrap(), seed);
                assert_eq!((of("stop_first"), of("stop_last")), (Some(2), Some(4)));
                assert_eq!(of("draw"), draws.then_some(7));
            }
        }
    }
}

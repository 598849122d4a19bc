//! Writes the same streamlines in every format, for `benches/validation/tracts.py`.
//!
//! `cargo run --release -p microtome-datasets --example tract_files -- DIR`
//!
//! For each of several grids: `GRID.trx`, `GRID.tck`, `GRID.trk`, `GRID.vtk` and
//! `GRID.half.trx`, and `GRID.csv` with streamline, x, y, z, the value `fod` and the three of
//! `tangent` of every point. `seed` of streamline s is s, `pair` is (s, -s / 2).

use std::fmt::Write as _;
use std::path::PathBuf;

use microtome_datasets::{ImageGeometry, TractWriter};

type Failure = Box<dyn std::error::Error>;

/// Numbers in [0, 1) by a linear congruence.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 40) as f64 / (1_u64 << 24) as f64
    }
}

fn main() -> Result<(), Failure> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("give a folder")?);
    std::fs::create_dir_all(&folder)?;
    let last = [0.0, 0.0, 0.0, 1.0];
    // Voxel sizes and places that float32 holds, so that TRK files are exact as well.
    let exact = [[-2.0, 0.0, 0.0, 90.0], [0.0, 2.0, 0.0, -126.0], [0.0, 0.0, 4.0, -72.0], last];
    let turned = [[0.0, 0.0, -0.5, 16.0], [2.0, 0.0, 0.0, -32.0], [0.0, 4.0, 0.0, 8.5], last];
    let oblique =
        [[1.9, 0.35, -0.1, -81.3], [-0.3, 2.1, 0.4, -90.7], [0.2, -0.45, 2.4, -55.9], last];
    let negative =
        [[-1.1, -0.2, 0.05, 71.3], [0.15, -1.3, 0.1, 80.7], [0.0, 0.1, -0.9, 60.4], last];
    for (name, affine) in
        [("exact", exact), ("turned", turned), ("oblique", oblique), ("negative", negative)]
    {
        let grid = ImageGeometry::new([91, 109, 40], affine);
        write(&folder, name, &grid)?;
    }
    Ok(())
}

fn write(folder: &std::path::Path, name: &str, grid: &ImageGeometry) -> Result<(), Failure> {
    let columns: [(&str, usize); 2] = [("fod", 1), ("tangent", 3)];
    let beside: [(&str, usize); 2] = [("seed", 1), ("pair", 2)];
    let file = |ending: &str| folder.join(format!("{name}.{ending}"));
    let mut all = vec![
        TractWriter::create(&file("trx"), grid, &columns, &beside)?,
        TractWriter::create(&file("trk"), grid, &columns, &beside)?,
        TractWriter::create(&file("vtk"), grid, &columns, &beside)?,
        TractWriter::create_half(&file("half.trx"), grid, &columns, &beside)?,
    ];
    let mut bare = TractWriter::create(&file("tck"), grid, &[], &[])?;
    let mut text = String::new();
    let mut numbers = Numbers(7);
    for s in 0..40_u8 {
        let n = 1 + (numbers.next() * 200.0) as usize;
        let mut p = [0, 1, 2].map(|_| numbers.next() * 120.0 - 60.0);
        let mut points = Vec::new();
        let mut values = Vec::new();
        for _ in 0..n {
            p = p.map(|v| v + 2.0 * numbers.next() - 1.0);
            // In 64ths of a mm, which the grids `exact` and `turned` keep to the bit.
            let point =
                p.map(|v| if matches!(name, "exact" | "turned") { (v * 64.0).round() / 64.0 } else { v } as f32);
            points.push(point);
            let row = [0; 4].map(|_| numbers.next() as f32);
            write!(text, "{s}")?;
            point.iter().chain(&row).try_for_each(|v| write!(text, ",{v}"))?;
            text.push('\n');
            values.extend(row);
        }
        let own = [f32::from(s), f32::from(s), -f32::from(s) / 2.0];
        for writer in &mut all {
            writer.push(&points, &values, &own)?;
        }
        bare.push(&points, &[], &[])?;
    }
    for mut writer in all {
        writer.group("first", vec![0, 1, 2])?;
        writer.finish()?;
    }
    bare.finish()?;
    std::fs::write(file("csv"), text)?;
    Ok(())
}

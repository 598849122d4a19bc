//! Nodes of connectomes: images of labels, and matrices between their labels.
//!
//! Every label above 0 of a NIfTI image is a node, in increasing order; 0 is no node. Names
//! come from a table `label,name` (CSV), else they are the numbers. A matrix is written as CSV
//! (a header of names, a name before each row) or as Parquet (one row a pair, with any number
//! of columns: a mean, a standard deviation, quantiles).
//!
//! Validated by `tests/files/tract_paths.rs` (`streamlines_connect_nodes`,
//! `matrices_of_nodes_come_back`).

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};

use crate::atomic::AtomicFile;
use crate::error::{DatasetError, Result};
use crate::geometry::ImageGeometry;
use crate::nifti_image::NiftiImage;
use crate::table::write_table;
use crate::text::read_text;
use crate::tracts::VoxelPath;

/// Most nodes that an image may have.
const NODES_MAX: usize = 1 << 14;

/// An image of labels.
#[derive(Debug, Clone)]
pub struct Parcels {
    place: VoxelPath,
    /// Node + 1 of each voxel, 0 for none.
    nodes: Vec<u32>,
    labels: Vec<u32>,
    names: Vec<String>,
}

impl Parcels {
    /// Reads labels, and names from a table `label,name` where one is given.
    ///
    /// # Errors
    /// Files that are missing or damaged; several volumes; numbers that are no labels; an
    /// image without labels or with more than 16384; a table that names a label twice, two
    /// labels alike, or leaves one without a name.
    pub fn read(image: &Path, names: Option<&Path>) -> Result<Self> {
        let file = NiftiImage::open(image)?;
        let wrong = |what: String| Err(DatasetError::format(image, what));
        if file.data.measurements != 1 {
            return wrong(format!("has {} volumes; labels are one", file.data.measurements));
        }
        let mut stored = Vec::new();
        let mut bad = None;
        file.data.for_each(|v| {
            if !(0.0..=f64::from(u32::MAX)).contains(&v) || v.fract() != 0.0 {
                bad.get_or_insert(v);
            }
            stored.push(v as u32);
        })?;
        if let Some(v) = bad {
            return wrong(format!("has the value {v}; labels are whole numbers from 0"));
        }
        let found: BTreeSet<u32> = stored.iter().copied().filter(|&l| l > 0).collect();
        if found.is_empty() || found.len() > NODES_MAX {
            return wrong(format!("has {} labels; 1 to {NODES_MAX} are read", found.len()));
        }
        let labels: Vec<u32> = found.into_iter().collect();
        let node = |label: &u32| labels.binary_search(label).map_or(0, |at| at as u32 + 1);
        let nodes = stored.iter().map(node).collect();
        let names = match names {
            Some(table) => named(table, image, &labels)?,
            None => labels.iter().map(u32::to_string).collect(),
        };
        Ok(Self { place: VoxelPath::new(&file.geometry)?, nodes, labels, names })
    }

    /// Number of nodes.
    pub fn n_nodes(&self) -> usize {
        self.labels.len()
    }

    /// Labels of the nodes, increasing.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Names of the nodes.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The grid of the image.
    pub fn geometry(&self) -> &ImageGeometry {
        self.place.geometry()
    }

    /// The node at a point in world mm (RAS+).
    pub fn node(&self, point: [f32; 3]) -> Option<usize> {
        let node = self.nodes[self.place.voxel(point)?];
        (node > 0).then(|| node as usize - 1)
    }

    /// The nodes at the two ends of a streamline.
    pub fn ends(&self, points: &[[f32; 3]]) -> Option<(usize, usize)> {
        Some((self.node(*points.first()?)?, self.node(*points.last()?)?))
    }
}

/// Names of labels from a table.
fn named(table: &Path, image: &Path, labels: &[u32]) -> Result<Vec<String>> {
    let text = read_text(table)?;
    let mut names = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        let number = at as u64 + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let bad = |what: &str| DatasetError::line(table, number, what);
        let (label, name) = line.split_once(',').ok_or_else(|| bad("a line is `label,name`"))?;
        let name = name.trim().trim_matches('"').to_owned();
        let Ok(label) = label.trim().parse::<u32>() else {
            if at == 0 {
                continue;
            }
            return Err(bad("the label is no whole number"));
        };
        if name.is_empty() || name.contains(['"', ',']) {
            return Err(bad("a name has at least one character and no comma or quote"));
        }
        if names.insert(label, name).is_some() {
            return Err(bad("the label stands there twice"));
        }
    }
    let mut out: Vec<String> = Vec::new();
    for label in labels {
        let name = names.get(label).cloned().ok_or_else(|| DatasetError::Mismatch {
            path: table.into(),
            found: format!("no name for the label {label}"),
            other: image.into(),
            expected: "voxels of it".into(),
        })?;
        if out.contains(&name) {
            return Err(DatasetError::format(table, format!("gives two labels the name `{name}`")));
        }
        out.push(name);
    }
    Ok(out)
}

/// Writes numbers between nodes: columns of `[node, node]` values, each with a name.
///
/// `.csv` takes one column and writes a square with the names of the nodes around it;
/// `.parquet` takes any number and has one row a pair: `node_a`, `node_b`, the columns.
///
/// # Errors
/// Another ending, another number of values than pairs, several columns for CSV, a folder
/// that cannot be written.
pub fn write_connectivity(path: &Path, nodes: &[String], columns: &[(&str, &[f64])]) -> Result<()> {
    let n = nodes.len();
    if let Some((name, values)) = columns.iter().find(|(_, v)| v.len() != n * n) {
        let what = format!("`{name}` has {} values for {n} x {n} nodes", values.len());
        return Err(DatasetError::format(path, what));
    }
    let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    match (ending.as_deref(), columns) {
        (Some("csv"), [(_, values)]) => square(path, nodes, values),
        (Some("csv"), _) => {
            let what = format!("a .csv holds one matrix, not {}; write .parquet", columns.len());
            Err(DatasetError::format(path, what))
        }
        (Some("parquet"), _) => pairs(path, nodes, columns),
        _ => Err(DatasetError::format(path, "a matrix of nodes ends with .csv or .parquet")),
    }
}

fn square(path: &Path, nodes: &[String], values: &[f64]) -> Result<()> {
    let write = |out: &mut BufWriter<AtomicFile>| -> std::io::Result<()> {
        writeln!(out, "node,{}", nodes.join(","))?;
        for (name, row) in nodes.iter().zip(values.chunks_exact(nodes.len().max(1))) {
            write!(out, "{name}")?;
            row.iter().try_for_each(|v| write!(out, ",{v:?}"))?;
            writeln!(out)?;
        }
        Ok(())
    };
    let mut out = BufWriter::new(AtomicFile::create(path)?);
    write(&mut out).map_err(DatasetError::io(path, "write"))?;
    let file = out.into_inner().map_err(|e| e.into_error());
    file.map_err(DatasetError::io(path, "write"))?.commit()
}

fn pairs(path: &Path, nodes: &[String], columns: &[(&str, &[f64])]) -> Result<()> {
    let n = nodes.len();
    let side = |pick: fn(usize, usize) -> usize| -> ArrayRef {
        let names = (0..n * n).map(|at| &nodes[pick(at, n)][..]);
        Arc::new(StringArray::from_iter_values(names))
    };
    let mut fields = vec![
        Field::new("node_a", DataType::Utf8, false),
        Field::new("node_b", DataType::Utf8, false),
    ];
    let mut arrays = vec![side(|at, n| at / n), side(|at, n| at % n)];
    for (name, values) in columns {
        fields.push(Field::new(*name, DataType::Float64, false));
        arrays.push(Arc::new(Float64Array::from(values.to_vec())));
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), arrays)
        .map_err(|e| DatasetError::format(path, e.to_string()))?;
    write_table(path, schema, &[batch])
}

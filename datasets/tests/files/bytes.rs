//! Builders of small files, independent of the code under test.

use std::io::Write;
use std::path::{Path, PathBuf};

/// Header fields and voxels of a NIfTI-1 image.
#[derive(Clone)]
pub(crate) struct Nifti {
    pub(crate) shape: Vec<usize>,
    pub(crate) datatype: i16,
    pub(crate) big_endian: bool,
    pub(crate) scale: (f32, f32),
    pub(crate) pixdim: [f32; 4],
    pub(crate) codes: (i16, i16),
    /// Quaternion, offset and srow.
    pub(crate) orientation: [f32; 18],
    /// Stored numbers in file order.
    pub(crate) stored: Vec<f64>,
}

impl Nifti {
    pub(crate) fn new(shape: &[usize], datatype: i16, stored: Vec<f64>) -> Self {
        let mut orientation = [0.0; 18];
        orientation[6..]
            .copy_from_slice(&[-2.0, 0.0, 0.0, 5.0, 0.0, 2.0, 0.0, -6.0, 0.0, 0.0, 3.0, 7.0]);
        Self {
            shape: shape.to_vec(),
            datatype,
            big_endian: false,
            scale: (0.0, 0.0),
            pixdim: [-1.0, 2.0, 2.0, 3.0],
            codes: (0, 1),
            orientation,
            stored,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut b = vec![0_u8; 352];
        let big = self.big_endian;
        let mut put = |at: usize, le: &[u8]| {
            let mut v = le.to_vec();
            if big {
                v.reverse();
            }
            b[at..at + v.len()].copy_from_slice(&v);
        };
        put(0, &348_i32.to_le_bytes());
        put(40, &(self.shape.len() as i16).to_le_bytes());
        for i in 0..7 {
            put(42 + 2 * i, &(self.shape.get(i).copied().unwrap_or(1) as i16).to_le_bytes());
        }
        put(70, &self.datatype.to_le_bytes());
        let bits: i16 = match self.datatype {
            2 | 256 => 8,
            4 | 512 => 16,
            8 | 768 | 16 => 32,
            _ => 64,
        };
        put(72, &bits.to_le_bytes());
        for (i, v) in self.pixdim.iter().enumerate() {
            put(76 + 4 * i, &v.to_le_bytes());
        }
        put(108, &352.0_f32.to_le_bytes());
        put(112, &self.scale.0.to_le_bytes());
        put(116, &self.scale.1.to_le_bytes());
        put(252, &self.codes.0.to_le_bytes());
        put(254, &self.codes.1.to_le_bytes());
        for (i, v) in self.orientation.iter().enumerate() {
            put(256 + 4 * i, &v.to_le_bytes());
        }
        b[344..348].copy_from_slice(b"n+1\0");
        for &v in &self.stored {
            let mut bytes = match self.datatype {
                2 => (v as u8).to_le_bytes().to_vec(),
                256 => (v as i8).to_le_bytes().to_vec(),
                4 => (v as i16).to_le_bytes().to_vec(),
                512 => (v as u16).to_le_bytes().to_vec(),
                8 => (v as i32).to_le_bytes().to_vec(),
                768 => (v as u32).to_le_bytes().to_vec(),
                1024 => (v as i64).to_le_bytes().to_vec(),
                1280 => (v as u64).to_le_bytes().to_vec(),
                16 => (v as f32).to_le_bytes().to_vec(),
                64 => v.to_le_bytes().to_vec(),
                other => panic!("data type {other}"),
            };
            if big {
                bytes.reverse();
            }
            b.extend(bytes);
        }
        b
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// A `.npy` with a header written by hand.
pub(crate) fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
    let mut b = b"\x93NUMPY\x01\x00".to_vec();
    b.extend((header.len() as u16).to_le_bytes());
    b.extend(header.as_bytes());
    b.extend(data);
    b
}

pub(crate) fn put(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Names in a folder, sorted.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

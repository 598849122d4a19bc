//! Number types of binary files, and their conversion to `f64`.

use std::path::Path;

use crate::error::{DatasetError, Result};

/// Type of one stored number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

/// Type and byte order of stored numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) kind: Kind,
    pub(crate) big_endian: bool,
}

macro_rules! convert {
    ($bytes:expr, $out:expr, $big:expr, $t:ty) => {
        for (value, bytes) in $out.iter_mut().zip($bytes.as_chunks::<{ size_of::<$t>() }>().0) {
            let stored =
                if $big { <$t>::from_be_bytes(*bytes) } else { <$t>::from_le_bytes(*bytes) };
            *value = stored as f64;
        }
    };
}

impl Sample {
    /// Bytes of one number.
    pub(crate) fn size(self) -> usize {
        match self.kind {
            Kind::U8 | Kind::I8 => 1,
            Kind::U16 | Kind::I16 => 2,
            Kind::U32 | Kind::I32 | Kind::F32 => 4,
            Kind::U64 | Kind::I64 | Kind::F64 => 8,
        }
    }

    /// Converts `bytes` into `out`, one number after the other.
    pub(crate) fn decode(self, bytes: &[u8], out: &mut [f64]) {
        let big = self.big_endian;
        match self.kind {
            Kind::U8 => convert!(bytes, out, big, u8),
            Kind::I8 => convert!(bytes, out, big, i8),
            Kind::U16 => convert!(bytes, out, big, u16),
            Kind::I16 => convert!(bytes, out, big, i16),
            Kind::U32 => convert!(bytes, out, big, u32),
            Kind::I32 => convert!(bytes, out, big, i32),
            Kind::U64 => convert!(bytes, out, big, u64),
            Kind::I64 => convert!(bytes, out, big, i64),
            Kind::F32 => convert!(bytes, out, big, f32),
            Kind::F64 => convert!(bytes, out, big, f64),
        }
    }

    /// From a NumPy type string such as `<f4`.
    pub(crate) fn from_numpy(path: &Path, descr: &str) -> Result<Self> {
        let (order, name) = descr.split_at_checked(1).unwrap_or((descr, ""));
        let kind = match name {
            "b1" | "u1" => Kind::U8,
            "i1" => Kind::I8,
            "u2" => Kind::U16,
            "i2" => Kind::I16,
            "u4" => Kind::U32,
            "i4" => Kind::I32,
            "u8" => Kind::U64,
            "i8" => Kind::I64,
            "f4" => Kind::F32,
            "f8" => Kind::F64,
            _ => {
                return Err(DatasetError::format(
                    path,
                    format!(
                        "numbers of type `{descr}` are not read; save the array as float32 or float64"
                    ),
                ));
            }
        };
        Ok(Self { kind, big_endian: order == ">" })
    }

    /// From the `datatype` of a NIfTI header.
    pub(crate) fn from_nifti(path: &Path, datatype: i16, big_endian: bool) -> Result<Self> {
        let kind = match datatype {
            2 => Kind::U8,
            256 => Kind::I8,
            512 => Kind::U16,
            4 => Kind::I16,
            768 => Kind::U32,
            8 => Kind::I32,
            1280 => Kind::U64,
            1024 => Kind::I64,
            16 => Kind::F32,
            64 => Kind::F64,
            _ => {
                return Err(DatasetError::format(
                    path,
                    format!(
                        "voxels of NIfTI data type {datatype} are not read (integers, float32 and float64 are)"
                    ),
                ));
            }
        };
        Ok(Self { kind, big_endian })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn both_byte_orders() {
        let p = Path::new("x.npy");
        let mut out = [0.0; 2];
        Sample::from_numpy(p, "<i2").unwrap().decode(&[0xfe, 0xff, 1, 0], &mut out);
        assert_eq!(out, [-2.0, 1.0]);
        Sample::from_numpy(p, ">f4").unwrap().decode(&[0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0], &mut out);
        assert_eq!(out, [1.0, -2.0]);
        assert!(Sample::from_numpy(p, "<c16").is_err());
        assert!(Sample::from_numpy(p, "").is_err());
        assert!(Sample::from_nifti(p, 128, false).is_err());
    }
}

//! NIfTI-1 images: header, affine, scaling, and voxels read from disk.
//!
//! Values are `scl_slope * stored + scl_inter` (no scaling when the slope is 0
//! or not finite). A `.nii.gz` is decompressed once into an unnamed temporary
//! file (in the folder that `TMPDIR` names), so memory does not grow with the
//! image. Whether a file is compressed is read from its first bytes, not its name.
//!
//! Source: NIfTI-1 data format (Cox et al. 2004). Validated by
//! `tests/files/images.rs` against the crate nifti and by `tests/files/real_data.rs`.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Mutex;

use flate2::read::MultiGzDecoder;
use nifti::{Endianness, NiftiHeader};

use crate::error::{DatasetError, Result};
use crate::geometry::{ImageGeometry, Orientation};
use crate::sample::Sample;
use crate::strided::{StridedFile, check_length};

const HEADER_BYTES: usize = 348;

/// An open image.
#[derive(Debug)]
pub(crate) struct NiftiImage {
    pub(crate) geometry: ImageGeometry,
    /// Rows are voxels in the order i + nx (j + ny k), measurements are volumes.
    pub(crate) data: StridedFile,
}

struct Layout {
    geometry: ImageGeometry,
    volumes: usize,
    sample: Sample,
    scale: Option<(f64, f64)>,
    offset: u64,
    end: Option<u64>,
}

impl NiftiImage {
    /// Opens a `.nii` or `.nii.gz`.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(DatasetError::io(path, "open"))?;
        let mut start = Vec::new();
        (&file)
            .take(HEADER_BYTES as u64)
            .read_to_end(&mut start)
            .map_err(DatasetError::io(path, "read"))?;
        let (layout, file) = if start.starts_with(&[0x1f, 0x8b]) {
            file.seek(SeekFrom::Start(0)).map_err(DatasetError::io(path, "read"))?;
            decompress(path, file)?
        } else {
            let layout = parse(path, &start)?;
            let found = file.metadata().map_err(DatasetError::io(path, "open"))?.len();
            check_length(path, layout.end, found)?;
            (layout, file)
        };
        let data = StridedFile {
            path: path.to_path_buf(),
            file: Mutex::new(file),
            offset: layout.offset,
            sample: layout.sample,
            rows: layout.geometry.n_voxels(),
            measurements: layout.volumes,
            row_major: layout.volumes == 1,
            scale: layout.scale,
        };
        Ok(Self { geometry: layout.geometry, data })
    }
}

/// Decompresses the voxels into an unnamed temporary file; the whole stream is
/// read, so that its checksum is verified.
fn decompress(path: &Path, file: File) -> Result<(Layout, File)> {
    let damaged = |source| DatasetError::Gzip { path: path.to_path_buf(), source };
    let mut stream = MultiGzDecoder::new(BufReader::with_capacity(1 << 18, file));
    let mut start = Vec::new();
    stream.by_ref().take(HEADER_BYTES as u64).read_to_end(&mut start).map_err(damaged)?;
    let layout = parse(path, &start)?;
    let folder = std::env::temp_dir();
    let mut store =
        tempfile::tempfile().map_err(DatasetError::io(&folder, "create a temporary file"))?;
    let keep = layout.end.unwrap_or(u64::MAX);
    let (mut found, mut chunk) = (0_u64, start);
    let mut buffer = vec![0; 1 << 18];
    loop {
        let wanted = (keep.saturating_sub(found)).min(chunk.len() as u64) as usize;
        store.write_all(&chunk[..wanted]).map_err(DatasetError::io(
            &folder,
            "write the decompressed image into a temporary file",
        ))?;
        found += chunk.len() as u64;
        let n = stream.read(&mut buffer).map_err(damaged)?;
        if n == 0 {
            break;
        }
        chunk.clear();
        chunk.extend_from_slice(&buffer[..n]);
    }
    check_length(path, layout.end, found)?;
    Ok((layout, store))
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Layout> {
    let wrong = |what: String| Err(DatasetError::format(path, what));
    if bytes.len() < HEADER_BYTES {
        return wrong(format!(
            "is not a NIfTI image: it has {} bytes, a header alone has {HEADER_BYTES}",
            bytes.len()
        ));
    }
    let size = [bytes[0], bytes[1], bytes[2], bytes[3]];
    if [540_u32.to_le_bytes(), 540_u32.to_be_bytes()].contains(&size) {
        return wrong(
            "is a NIfTI-2 image; convert it to NIfTI-1 (for example with `mrconvert` or nibabel)"
                .into(),
        );
    }
    let header = match NiftiHeader::from_reader(bytes) {
        Ok(header) if header.sizeof_hdr == HEADER_BYTES as i32 => header,
        _ => return wrong("is neither a NIfTI-1 image (.nii, .nii.gz) nor a .npy array".into()),
    };
    if header.magic != *b"n+1\0" {
        return wrong("is a header of a .hdr/.img pair; convert it to one .nii file".into());
    }
    let dims = match header.dim() {
        Ok(dims) if dims.iter().skip(4).all(|&d| d == 1) => dims,
        Ok(dims) => {
            return wrong(format!("has the shape {dims:?}; images of 3 or 4 dimensions are read"));
        }
        Err(e) => {
            return wrong(format!(
                "the dimensions {:?} of the header are invalid ({e})",
                header.dim
            ));
        }
    };
    let size = |axis: usize| usize::from(dims.get(axis).copied().unwrap_or(1));
    let sample = Sample::from_nifti(path, header.datatype, header.endianness == Endianness::Big)?;
    let offset = if header.vox_offset == 0.0 { 352.0 } else { header.vox_offset };
    if !(offset >= HEADER_BYTES as f32 && offset < 1e9) {
        return wrong(format!("the voxel offset {offset} of the header is invalid"));
    }
    let offset = offset as u64;
    let (slope, intercept) = (f64::from(header.scl_slope), f64::from(header.scl_inter));
    let scaled = slope.is_finite() && slope != 0.0;
    let orientation = Orientation {
        pixdim: [header.pixdim[0], header.pixdim[1], header.pixdim[2], header.pixdim[3]],
        qform_code: header.qform_code,
        sform_code: header.sform_code,
        quaternion: [header.quatern_b, header.quatern_c, header.quatern_d],
        offset: [header.quatern_x, header.quatern_y, header.quatern_z],
        srow: [header.srow_x, header.srow_y, header.srow_z],
    };
    let geometry = ImageGeometry::from_orientation([size(0), size(1), size(2)], orientation);
    let end = StridedFile::end(offset, geometry.n_voxels(), size(3), sample.size());
    Ok(Layout {
        geometry,
        volumes: size(3),
        sample,
        scale: scaled.then_some((slope, if intercept.is_finite() { intercept } else { 0.0 })),
        offset,
        end,
    })
}

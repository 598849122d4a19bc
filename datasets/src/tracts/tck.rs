//! TCK, the tracks of MRtrix: a text header, then triplets of numbers, world mm (RAS+).
//!
//! A triplet of NaN ends a streamline, a triplet of infinities ends the file. Float32 and
//! float64 of both byte orders are read, little-endian float32 is written. A `count` of 0
//! or none at all is taken as unknown; another must be the number of streamlines.
//!
//! Source: MRtrix3 documentation, "Tracks file format (.tck)" (Tournier et al. 2019,
//! doi:10.1016/j.neuroimage.2019.116137). Validated by `tests/files/tracts.rs`.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Result as IoResult, Seek, SeekFrom, Write};
use std::path::Path;

use super::{Tractogram, not_finite};
use crate::atomic::AtomicFile;
use crate::error::{DatasetError, Result};
use crate::sample::{Kind, Sample};
use crate::text::shorten;

/// First bytes of a file.
pub(crate) const MAGIC: &[u8] = b"mrtrix tracks";
/// Where the points begin in a file that is written here.
const OFFSET: usize = 128;
/// Longest header that is believed.
const HEADER_MAX: u64 = 1 << 24;
/// Triplets that are read at a time.
const TRIPLETS: usize = 1 << 13;

struct Header {
    sample: Sample,
    count: u64,
    offset: u64,
}

fn header(path: &Path, file: &File) -> Result<Header> {
    let wrong = |what: String| DatasetError::format(path, what);
    let mut text = BufReader::new(file.take(HEADER_MAX));
    let (mut number, mut read) = (0_u64, 0_u64);
    let (mut kind, mut count, mut offset) = (None, 0, None);
    let mut line = Vec::new();
    loop {
        line.clear();
        read += text.read_until(b'\n', &mut line).map_err(DatasetError::io(path, "read"))? as u64;
        number += 1;
        if line.last() != Some(&b'\n') && line != b"END" {
            return Err(wrong("is truncated: its header has no END".into()));
        }
        let words = String::from_utf8_lossy(&line);
        let words = words.trim();
        if words == "END" {
            break;
        }
        let bad =
            |what: &str| DatasetError::line(path, number, format!("{what}: {}", shorten(words)));
        match words.split_once(':').map(|(k, v)| (k.trim(), v.trim())) {
            Some(("datatype", value)) => {
                kind = Some(sample(value).ok_or_else(|| {
                    bad("points are Float32LE, Float32BE, Float64LE or Float64BE, not")
                })?)
            }
            Some(("count", value)) => {
                count = value.parse().map_err(|_| bad("the count is no number"))?;
            }
            Some(("file", value)) => {
                let place = value.strip_prefix('.').map(str::trim);
                let place = place.ok_or_else(|| bad("points in another file are not read"))?;
                offset = Some(place.parse().map_err(|_| bad("the offset of the points is none"))?);
            }
            _ => {}
        }
    }
    let sample = kind.ok_or_else(|| wrong("its header has no `datatype`".into()))?;
    let offset = offset.ok_or_else(|| wrong("its header has no `file: . OFFSET`".into()))?;
    if offset < read {
        let what = format!("its points would begin at byte {offset}, inside its header of {read}");
        return Err(wrong(what));
    }
    Ok(Header { sample, count, offset })
}

fn sample(name: &str) -> Option<Sample> {
    let (kind, big_endian) = match name.to_ascii_lowercase().as_str() {
        "float32le" => (Kind::F32, false),
        "float32be" => (Kind::F32, true),
        "float64le" => (Kind::F64, false),
        "float64be" => (Kind::F64, true),
        _ => return None,
    };
    Some(Sample { kind, big_endian })
}

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> Result<Tractogram> {
    let mut file = File::open(path).map_err(DatasetError::io(path, "open"))?;
    let found = file.metadata().map_err(DatasetError::io(path, "open"))?.len();
    let Header { sample, count, offset } = header(path, &file)?;
    if offset > found {
        return Err(DatasetError::Truncated { path: path.into(), expected: offset, found });
    }
    file.seek(SeekFrom::Start(offset)).map_err(DatasetError::io(path, "read"))?;
    let mut tracts = Tractogram { offsets: vec![0], ..Tractogram::default() };
    let size = 3 * sample.size();
    let mut bytes = Vec::with_capacity(TRIPLETS * size);
    let mut numbers = vec![0.0; 3 * TRIPLETS];
    loop {
        bytes.clear();
        (&file)
            .take((TRIPLETS * size) as u64)
            .read_to_end(&mut bytes)
            .map_err(DatasetError::io(path, "read"))?;
        let n = bytes.len() / size;
        sample.decode(&bytes[..n * size], &mut numbers[..3 * n]);
        for p in numbers[..3 * n].as_chunks::<3>().0 {
            if p.iter().all(|v| v.is_finite()) {
                tracts.points.push(p.map(|v| v as f32));
            } else if p.iter().all(|v| v.is_nan()) {
                tracts.offsets.push(tracts.points.len() as u64);
            } else if p.iter().all(|v| v.is_infinite()) {
                return ended(path, tracts, count);
            } else {
                let at = tracts.n_streamlines() as u64;
                let first = tracts.offsets.last().copied().unwrap_or(0) as usize;
                let point = tracts.points.len() - first;
                let what = not_finite(at, point, p.map(|v| v as f32));
                return Err(DatasetError::format(path, what));
            }
        }
        if n < TRIPLETS {
            let what = format!(
                "is truncated: it ends after {} streamlines and {} points without the triplet of infinities that ends a TCK file",
                tracts.n_streamlines(),
                tracts.points.len()
            );
            return Err(DatasetError::format(path, what));
        }
    }
}

/// The streamlines of a file that came to its end.
fn ended(path: &Path, tracts: Tractogram, count: u64) -> Result<Tractogram> {
    let n = tracts.n_streamlines() as u64;
    if tracts.offsets.last() != Some(&(tracts.points.len() as u64)) {
        let what = format!("streamline {n} has no end (a triplet of NaN) before the file ends");
        return Err(DatasetError::format(path, what));
    }
    if count != 0 && count != n {
        let what = format!("its header counts {count} streamlines, but there are {n}");
        return Err(DatasetError::format(path, what));
    }
    Ok(tracts)
}

/// A TCK file under construction.
pub(crate) struct TckSink {
    out: BufWriter<AtomicFile>,
    count: u64,
}

impl TckSink {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let mut out = BufWriter::with_capacity(1 << 16, AtomicFile::create(path)?);
        out.write_all(&head(0)).map_err(DatasetError::io(path, "write"))?;
        Ok(Self { out, count: 0 })
    }

    pub(crate) fn push(&mut self, points: &[[f32; 3]]) -> IoResult<()> {
        for v in points.iter().flatten() {
            self.out.write_all(&v.to_le_bytes())?;
        }
        self.count += 1;
        self.triplet(f32::NAN)
    }

    fn triplet(&mut self, v: f32) -> IoResult<()> {
        (0..3).try_for_each(|_| self.out.write_all(&v.to_le_bytes()))
    }

    fn end(&mut self) -> IoResult<()> {
        self.triplet(f32::INFINITY)?;
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&head(self.count))
    }

    pub(crate) fn stage(mut self) -> Result<AtomicFile> {
        let path = self.out.get_ref().path().to_path_buf();
        self.end().map_err(DatasetError::io(&path, "write"))?;
        let file = self.out.into_inner().map_err(|e| e.into_error());
        file.map_err(DatasetError::io(&path, "write"))
    }
}

/// The header, padded with zeros to its fixed length.
fn head(count: u64) -> Vec<u8> {
    let text =
        format!("mrtrix tracks\ncount: {count:020}\ndatatype: Float32LE\nfile: . {OFFSET}\nEND\n");
    let mut bytes = text.into_bytes();
    bytes.resize(OFFSET, 0);
    bytes
}

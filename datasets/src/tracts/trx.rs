//! TRX: a zip archive of arrays that can be mapped into memory, or the same as a folder.
//!
//! `header.json` (`VOXEL_TO_RASMM`, `DIMENSIONS`, `NB_STREAMLINES`, `NB_VERTICES`),
//! `positions.3.float32` (world mm, RAS+), `offsets.uint64`, columns `dpv/NAME.WIDTH.TYPE`
//! (per vertex) and `dps/NAME.WIDTH.TYPE` (per streamline), `groups/NAME.uint32`; all
//! little-endian. Entries are stored without compression and the positions begin at a
//! multiple of 64 bytes. Offsets are written with a last one, the number of points, as all
//! releases of trx-python want them; without it (N numbers) they are read too. Archives with
//! compressed entries are read, all number types become f32, and data per group (`dpg/`) are
//! left out.
//!
//! Source: TRX file format specification 1.0 (Rheault et al.), <https://tee-ar-ex.github.io>.
//! Validated by `tests/files/tracts.rs`.

use std::fs::File;
use std::io::{BufReader, Read, Result as IoResult};
use std::path::{Path, PathBuf};

use arrow_array::ArrowPrimitiveType;
use arrow_array::types::Float16Type;
use flate2::Crc;
use flate2::read::DeflateDecoder;
use serde::{Deserialize, Serialize};
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::{TractColumn, Tractogram, grid};
use crate::error::{DatasetError, Result};
use crate::sample::Sample;

pub(crate) type Half = <Float16Type as ArrowPrimitiveType>::Native;

/// Longest `header.json` that is believed.
const HEADER_MAX: u64 = 1 << 20;
/// Most files of an archive that is believed.
const ENTRIES_MAX: usize = 1 << 16;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) struct Header {
    pub(crate) dimensions: [u64; 3],
    pub(crate) voxel_to_rasmm: [[f64; 4]; 4],
    pub(crate) nb_vertices: u64,
    pub(crate) nb_streamlines: u64,
}

/// Where the arrays come from.
enum Store {
    Archive(Box<ZipArchive<BufReader<File>>>),
    Folder(PathBuf),
}

/// One array of a store.
struct Entry {
    name: String,
    bytes: u64,
    /// Its number in an archive.
    index: usize,
}

/// Type of stored numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Number {
    Half,
    Other(Sample),
}

impl Number {
    fn parse(name: &str) -> Option<Self> {
        let descr = match name {
            "float16" => return Some(Self::Half),
            "float32" => "<f4",
            "float64" => "<f8",
            "int8" => "<i1",
            "int16" => "<i2",
            "int32" => "<i4",
            "int64" => "<i8",
            "uint8" | "bit" | "bool" => "<u1",
            "uint16" => "<u2",
            "uint32" => "<u4",
            "uint64" => "<u8",
            _ => return None,
        };
        Sample::from_numpy(Path::new(""), descr).ok().map(Self::Other)
    }

    fn size(self) -> usize {
        match self {
            Self::Half => 2,
            Self::Other(sample) => sample.size(),
        }
    }

    fn decode(self, bytes: &[u8], out: &mut [f64]) {
        match self {
            Self::Half => {
                for (v, b) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *v = f64::from(Half::from_bits(u16::from_le_bytes(*b)).to_f32());
                }
            }
            Self::Other(sample) => sample.decode(bytes, out),
        }
    }
}

/// `name`, width and type of `name.width.type` or `name.type`.
fn parts(file: &str) -> Option<(&str, usize, Number)> {
    let words: Vec<&str> = file.split('.').collect();
    match words[..] {
        [name, kind] => Some((name, 1, Number::parse(kind)?)),
        [name, width, kind] => Some((name, width.parse().ok()?, Number::parse(kind)?)),
        _ => None,
    }
}

/// Reads an archive.
pub(crate) fn read_archive(path: &Path) -> Result<Tractogram> {
    let file = File::open(path).map_err(DatasetError::io(path, "open"))?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|e| {
        DatasetError::format(path, format!("is no whole TRX archive ({e}); is it cut short?"))
    })?;
    if archive.len() > ENTRIES_MAX {
        let what = format!("is an archive of {} files, which no TRX is", archive.len());
        return Err(DatasetError::format(path, what));
    }
    let mut entries = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(|e| zipped(path, e))?;
        let name = entry.name().map_err(|e| zipped(path, e))?.replace('\\', "/");
        entries.push(Entry { name, bytes: entry.size(), index });
    }
    read(path, &mut Store::Archive(Box::new(archive)), entries)
}

/// Reads a folder.
pub(crate) fn read_folder(path: &Path) -> Result<Tractogram> {
    let mut entries = Vec::new();
    for folder in ["", "dpv", "dps", "groups"] {
        let place = path.join(folder);
        if !place.is_dir() {
            continue;
        }
        let failed = || DatasetError::io(&place, "list");
        for file in std::fs::read_dir(&place).map_err(failed())? {
            let file = file.map_err(failed())?;
            let about = std::fs::metadata(file.path()).map_err(failed())?;
            if let (true, Ok(name)) = (about.is_file(), file.file_name().into_string()) {
                let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                entries.push(Entry { name, bytes: about.len(), index: 0 });
            }
        }
    }
    read(path, &mut Store::Folder(path.to_path_buf()), entries)
}

fn zipped(path: &Path, e: ZipError) -> DatasetError {
    DatasetError::format(path, format!("the archive is damaged: {e}"))
}

impl Store {
    /// Hands the bytes of an entry to `take`, and checks their sum in an archive.
    fn open<T>(
        &mut self,
        path: &Path,
        entry: &Entry,
        take: impl FnOnce(&mut dyn Read) -> Result<T>,
    ) -> Result<T> {
        let archive = match self {
            Store::Folder(folder) => {
                let file = folder.join(&entry.name);
                let mut open = File::open(&file).map_err(DatasetError::io(&file, "open"))?;
                return take(&mut open);
            }
            Store::Archive(archive) => archive,
        };
        let wrong = |what: String| Err(DatasetError::format(path, what));
        let raw = archive.by_index_raw(entry.index).map_err(|e| zipped(path, e))?;
        if raw.encrypted() {
            return wrong(format!("`{}` is encrypted", entry.name));
        }
        let (method, sum) = (raw.compression(), raw.crc32());
        let mut summed = if method == CompressionMethod::Stored {
            Summed { from: Box::new(raw) as Box<dyn Read>, crc: Crc::new() }
        } else if method == CompressionMethod::DEFLATE {
            Summed { from: Box::new(DeflateDecoder::new(raw)), crc: Crc::new() }
        } else {
            return wrong(format!(
                "`{}` is compressed by {method:?}, which is not read",
                entry.name
            ));
        };
        let out = take(&mut summed)?;
        if summed.crc.sum() != sum {
            return wrong(format!("`{}` is damaged: its checksum is wrong", entry.name));
        }
        Ok(out)
    }
}

/// Bytes whose sum is kept.
struct Summed<'a> {
    from: Box<dyn Read + 'a>,
    crc: Crc,
}

impl Read for Summed<'_> {
    fn read(&mut self, into: &mut [u8]) -> IoResult<usize> {
        let n = self.from.read(into)?;
        self.crc.update(&into[..n]);
        Ok(n)
    }
}

/// The numbers of an entry, some at a time.
fn numbers(
    path: &Path,
    store: &mut Store,
    entry: &Entry,
    number: Number,
    mut each: impl FnMut(&[f64]),
) -> Result<()> {
    const AT_ONCE: usize = 3 << 12;
    store.open(path, entry, |from| {
        let mut bytes = Vec::new();
        let mut out = vec![0.0; AT_ONCE];
        let mut found = 0_u64;
        loop {
            bytes.clear();
            let part = (AT_ONCE * number.size()) as u64;
            let read = from.take(part).read_to_end(&mut bytes);
            read.map_err(|e| {
                DatasetError::format(path, format!("`{}` cannot be read: {e}", entry.name))
            })?;
            found += bytes.len() as u64;
            let n = bytes.len() / number.size();
            number.decode(&bytes[..n * number.size()], &mut out[..n]);
            each(&out[..n]);
            if bytes.len() < part as usize || found > entry.bytes {
                break;
            }
        }
        if found == entry.bytes {
            return Ok(());
        }
        let what = format!("`{}` has {found} bytes, not {}", entry.name, entry.bytes);
        Err(DatasetError::format(path, what))
    })
}

fn read(path: &Path, store: &mut Store, mut entries: Vec<Entry>) -> Result<Tractogram> {
    let wrong = |what: String| Err(DatasetError::format(path, what));
    let Some(at) = entries.iter().position(|e| e.name == "header.json") else {
        return wrong("has no header.json, so it is no TRX".into());
    };
    let entry = entries.swap_remove(at);
    let text = store.open(path, &entry, |from| {
        let mut text = Vec::new();
        let read = from.take(HEADER_MAX).read_to_end(&mut text);
        read.map_err(DatasetError::io(path, "read header.json of"))?;
        Ok(text)
    })?;
    let header: Header = serde_json::from_slice(&text)
        .map_err(|e| DatasetError::format(path, format!("its header.json is wrong: {e}")))?;
    let geometry = grid(
        path,
        header.dimensions.map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
        header.voxel_to_rasmm,
    )?;
    let mut tracts = Tractogram { geometry: Some(geometry), ..Tractogram::default() };
    let (mut positions, mut offsets) = (None, None);
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    for entry in &entries {
        let (folder, file) = entry.name.rsplit_once('/').unwrap_or(("", &entry.name));
        if !matches!(folder, "" | "dpv" | "dps" | "groups") || file.is_empty() {
            continue;
        }
        let Some((name, width, number)) = parts(file) else {
            // Files that are no arrays are nobody's business, but a column is.
            if folder.is_empty() {
                continue;
            }
            return wrong(format!("`{}` is not named NAME.WIDTH.TYPE or NAME.TYPE", entry.name));
        };
        let rows = match (folder, name) {
            ("", "positions") if width == 3 => header.nb_vertices,
            ("", "positions") => return wrong(format!("`{}` is not 3 wide", entry.name)),
            ("", "offsets") => header.nb_streamlines,
            ("dpv", _) => header.nb_vertices,
            ("dps", _) => header.nb_streamlines,
            ("groups", _) => entry.bytes / number.size() as u64,
            _ => continue,
        };
        let wanted =
            rows.checked_mul(width as u64).and_then(|n| n.checked_mul(number.size() as u64));
        // Offsets with a last one.
        let more = folder.is_empty() && name == "offsets" && entry.bytes != wanted.unwrap_or(0);
        let last = if more { number.size() as u64 } else { 0 };
        if width == 0 || wanted.and_then(|n| n.checked_add(last)) != Some(entry.bytes) {
            return wrong(format!(
                "`{}` has {} bytes, but its header.json has {} points and {} streamlines",
                entry.name, entry.bytes, header.nb_vertices, header.nb_streamlines
            ));
        }
        let twice = || DatasetError::format(path, format!("has two arrays `{folder}/{name}`"));
        let mut values = Vec::new();
        match (folder, name) {
            ("", "positions") => {
                let mut points: Vec<[f32; 3]> = Vec::new();
                numbers(path, store, entry, number, |some| {
                    points.extend(some.as_chunks::<3>().0.iter().map(|p| p.map(|v| v as f32)));
                })?;
                if positions.replace(points).is_some() {
                    return Err(twice());
                }
            }
            ("", _) => {
                let mut whole: Vec<u64> = Vec::new();
                let mut good = true;
                numbers(path, store, entry, number, |some| {
                    // Beyond 2^53 a number is no offset of this world.
                    good &= some.iter().all(|v| (0.0..9e15).contains(v) && v.fract() == 0.0);
                    whole.extend(some.iter().map(|v| *v as u64));
                })?;
                if !good {
                    return wrong(format!("`{}` holds numbers that are no offsets", entry.name));
                }
                if offsets.replace(whole).is_some() {
                    return Err(twice());
                }
            }
            ("groups", _) => {
                let mut members: Vec<u32> = Vec::new();
                let mut good = width == 1;
                numbers(path, store, entry, number, |some| {
                    good &=
                        some.iter().all(|v| (0.0..4294967296.0).contains(v) && v.fract() == 0.0);
                    members.extend(some.iter().map(|v| *v as u32));
                })?;
                if !good {
                    return wrong(format!("`{}` holds no indices of streamlines", entry.name));
                }
                if tracts.groups.insert(name.to_owned(), members).is_some() {
                    return Err(twice());
                }
            }
            _ => {
                numbers(path, store, entry, number, |some| {
                    values.extend(some.iter().map(|v| *v as f32));
                })?;
                let columns = if folder == "dpv" {
                    &mut tracts.per_point
                } else {
                    &mut tracts.per_streamline
                };
                if columns.insert(name.to_owned(), TractColumn { width, values }).is_some() {
                    return Err(twice());
                }
            }
        }
    }
    let empty = header.nb_streamlines == 0 && header.nb_vertices == 0;
    tracts.points = match positions {
        Some(points) => points,
        None if empty => Vec::new(),
        None => return wrong("has no positions".into()),
    };
    tracts.offsets = match offsets {
        Some(offsets) => offsets,
        None if empty => Vec::new(),
        None => return wrong("has no offsets".into()),
    };
    if tracts.offsets.len() as u64 == header.nb_streamlines {
        tracts.offsets.push(header.nb_vertices);
    }
    Ok(tracts)
}

//! Images in TIFF files: pages of one file, a folder, or a pattern, in natural order.

use std::path::{Path, PathBuf};

use crate::error::{DatasetError, Result};
use crate::tiff_stack::{self, TiffPages};

/// The files of a stack, one of them open.
pub(super) struct Pages {
    files: Vec<PathBuf>,
    /// Whether the images are the pages of one file.
    of_one: bool,
    open: Option<(usize, TiffPages)>,
}

/// The files of a name, the shape of the stack, and whether it needs float64.
pub(super) fn open(path: &Path) -> Result<(Pages, [usize; 3], bool)> {
    let files = list(path)?;
    let Some(first) = files.first() else {
        return Err(DatasetError::format(path, "holds no file that ends in .tif or .tiff"));
    };
    let mut pages = TiffPages::open(first)?;
    let [nv, nu] = pages.size()?;
    let (_, wide) = pages.read()?;
    let of_one = files.len() == 1;
    let mut n = files.len();
    if of_one {
        n = 1;
        while pages.seek(n)? {
            check(first, n, pages.size()?, [nv, nu])?;
            n += 1;
        }
    }
    let open = of_one.then_some((0, pages));
    Ok((Pages { files, of_one, open }, [n, nv, nu], wide))
}

fn check(path: &Path, page: usize, found: [usize; 2], size: [usize; 2]) -> Result<()> {
    if found == size {
        return Ok(());
    }
    let what = format!(
        "page {page} has {} x {} pixels, but the first image has {} x {}",
        found[0], found[1], size[0], size[1]
    );
    Err(DatasetError::format(path, what))
}

impl Pages {
    pub(super) fn read(&mut self, at: usize, size: [usize; 2], out: &mut [f64]) -> Result<()> {
        let (file, page) = if self.of_one { (0, at) } else { (at, 0) };
        let path = &self.files[file];
        let mut pages = match self.open.take() {
            Some((k, pages)) if k == file => pages,
            _ => TiffPages::open(path)?,
        };
        if !pages.seek(page)? {
            return Err(DatasetError::format(path, format!("has no page {page}")));
        }
        check(path, page, pages.size()?, size)?;
        let (values, _) = pages.read()?;
        out.copy_from_slice(&values);
        self.open = Some((file, pages));
        Ok(())
    }
}

/// One file, those of a folder, or those of a pattern.
fn list(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_dir() {
        return tiff_stack::files(path);
    }
    let pattern = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    if path.exists() || !pattern.contains('*') {
        return Ok(vec![path.to_path_buf()]);
    }
    let found = tiff_stack::files(crate::atomic::folder(path))?;
    let fits = |p: &PathBuf| p.file_name().is_some_and(|n| matches(&pattern, &n.to_string_lossy()));
    Ok(found.into_iter().filter(fits).collect())
}

/// Whether a name fits a pattern in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, name, fits) in [
            ("p_*.tif", "p_001.tif", true),
            ("p_*.tif", "q_001.tif", false),
            ("*_*.tif", "a_b_c.tif", true),
            ("a*a.tif", "a.tif", false),
            ("*", "x.tif", true),
            ("p*q*r.tif", "pr.tif", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}

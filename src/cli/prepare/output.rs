//! Files that are written together, or not at all.

use anyhow::{Context, bail};
use microtome_datasets::atomic::AtomicFile;
use microtome_datasets::preview::stage_preview;
use microtome_datasets::{Array, ArrayFormat, StagedArray, Values, Window, stage_array};
use microtome_inference::prepare::{Centre, CentreMethod};
use std::io::Write;
use std::path::Path;

/// Number types of arrays on disk.
pub(super) trait Stored: Sized {
    fn values(of: Vec<Self>) -> Values;
}

impl Stored for f32 {
    fn values(of: Vec<Self>) -> Values {
        Values::F32(of)
    }
}

impl Stored for f64 {
    fn values(of: Vec<Self>) -> Values {
        Values::F64(of)
    }
}

/// `[view, v, u]`, or `[view, u]` of one row.
pub(super) fn array<T: Stored>([n, nv, nu]: [usize; 3], values: Vec<T>) -> Array {
    let shape = if nv == 1 { vec![n, nu] } else { vec![n, nv, nu] };
    Array { shape, values: T::values(values) }
}

/// Checks the name of an output before anything is read.
pub(super) fn check(flag: &'static str, path: &Path) -> anyhow::Result<()> {
    let ending = match flag {
        "--geometry-out" => "toml",
        "--centre-curve" => "csv",
        "--preview" => "png",
        _ => return ArrayFormat::of(path).map(|_| ()).context(flag),
    };
    if !path.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending)) {
        bail!("{flag} {}: the name must end in .{ending}", path.display());
    }
    if path.is_dir() {
        bail!("{flag} {}: is a folder; a file is needed", path.display());
    }
    Ok(())
}

/// Files that are complete but have no name yet.
pub(super) struct Files {
    overwrite: bool,
    staged: Vec<(&'static str, StagedArray)>,
}

impl Files {
    pub(super) fn new(overwrite: bool) -> Self {
        Self { overwrite, staged: Vec::new() }
    }

    fn add(&mut self, flag: &'static str, mut staged: StagedArray) -> anyhow::Result<()> {
        staged.check(self.overwrite).context(flag)?;
        self.staged.push((flag, staged));
        Ok(())
    }

    pub(super) fn array(
        &mut self,
        flag: &'static str,
        array: &Array,
        path: &Path,
    ) -> anyhow::Result<()> {
        self.add(flag, stage_array(array, None, path).context(flag)?)
    }

    pub(super) fn text(
        &mut self,
        flag: &'static str,
        text: &str,
        path: &Path,
    ) -> anyhow::Result<()> {
        let mut file = AtomicFile::create(path).context(flag)?;
        file.write_all(text.as_bytes()).with_context(|| format!("{flag} {}", path.display()))?;
        self.add(flag, StagedArray::File(file))
    }

    /// The sinogram of the middle row.
    pub(super) fn preview(&mut self, array: &Array, path: &Path) -> anyhow::Result<()> {
        let sinogram = match array.shape[..] {
            [n, nv, nu] => {
                let v = nv / 2;
                let part = |k: usize| (k * nv + v) * nu..(k * nv + v + 1) * nu;
                let values = match &array.values {
                    Values::F32(p) => {
                        Values::F32((0..n).flat_map(|k| p[part(k)].to_vec()).collect())
                    }
                    Values::F64(p) => {
                        Values::F64((0..n).flat_map(|k| p[part(k)].to_vec()).collect())
                    }
                };
                &Array { shape: vec![n, nu], values }
            }
            _ => array,
        };
        let file = stage_preview(sinogram, None, Window::Quantiles, path).context("--preview")?;
        self.add("--preview", StagedArray::File(file))
    }

    pub(super) fn commit(self) -> anyhow::Result<()> {
        for (flag, staged) in self.staged {
            staged.commit(self.overwrite).context(flag)?;
        }
        Ok(())
    }
}

/// The name of the method, or `given`.
pub(super) fn method(centre: &Centre) -> &'static str {
    match centre.method {
        CentreMethod::Auto => "given",
        CentreMethod::Mirror => "mirror",
        CentreMethod::Vo => "vo",
        CentreMethod::Moments => "moments",
    }
}

/// The misfits as a table.
pub(super) fn curve(centre: &Centre) -> String {
    let mut text = String::from("centre_px,misfit\n");
    for [c, e] in &centre.curve {
        text.push_str(&format!("{c},{e}\n"));
    }
    text
}

/// The set-up of a parallel beam whose axis is at the pixel found.
///
/// Pixel i is at (i - (n-1)/2) steps from the centre of the detector, so the centre stands
/// (n-1)/2 - c steps from the axis.
pub(super) fn geometry(
    [n, nv, nu]: [usize; 3],
    angles: &[f64],
    centre: &Centre,
    pixel: f64,
) -> String {
    let flat = nv == 1;
    let offset = (0.5 * (nu as f64 - 1.0) - centre.pixel) * pixel;
    let degrees: Vec<f64> = angles.iter().map(|a| a.to_degrees()).collect();
    let step = if n > 1 { (degrees[n - 1] - degrees[0]) / (n - 1) as f64 } else { 0.0 };
    let even = (0..n).all(|k| (degrees[k] - degrees[0] - step * k as f64).abs() < 1e-9);
    let list = |space: [String; 2], plane: &str| {
        if flat { format!("[{plane}]") } else { format!("[{}, {}]", space[0], space[1]) }
    };
    let both = |v: f64, u: f64| list([format!("{v:?}"), format!("{u:?}")], &format!("{u:?}"));
    let mut text = format!(
        "# The axis is at pixel {:?} of {nu}, standard deviation {:?} ({}).\nkind = \"{}\"\n\
         detector = {}\nprojector = \"joseph\"\n\n[volume]\n",
        centre.pixel,
        centre.sd,
        method(centre),
        if flat { "parallel2d" } else { "parallel3d" },
        list([nv.to_string(), nu.to_string()], &nu.to_string()),
    );
    if flat {
        text.push_str(&format!("shape = [{nu}, {nu}]\nvoxel_mm = [{pixel:?}, {pixel:?}]\n"));
    } else {
        text.push_str(&format!(
            "shape = [{nv}, {nu}, {nu}]\nvoxel_mm = [{pixel:?}, {pixel:?}, {pixel:?}]\n"
        ));
    }
    text.push_str(&format!(
        "\n[trajectory]\nkind = \"circular\"\nviews = {n}\npixel_mm = {}\n\
         detector_offset_mm = {}\n",
        both(pixel, pixel),
        both(0.0, offset)
    ));
    if even && n > 1 {
        text.push_str(&format!(
            "start_deg = {:?}\nrange_deg = {:?}\n",
            degrees[0],
            step * n as f64
        ));
    } else {
        let list: Vec<String> = degrees.iter().map(|d| format!("{d:?}")).collect();
        text.push_str(&format!("angles_deg = [{}]\n", list.join(", ")));
    }
    text
}

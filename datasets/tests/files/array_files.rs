//! Arrays as TIFF, NIfTI, PNG and NPY by the name of the file.

use microtome_datasets::tiff_stack;
use microtome_datasets::{Array, Values, Window, write_array, write_preview};
use microtome_models::ct::VolumeGrid;

fn array() -> Array {
    let values = (0..60).map(|i| (i * i) as f32 / 7.0 - 3.0).collect();
    Array { shape: vec![3, 4, 5], values: Values::F32(values) }
}

/// The float32 numbers of an array; none where it has others.
fn numbers(of: &Array) -> &[f32] {
    match &of.values {
        Values::F32(all) => all,
        _ => &[],
    }
}

#[test]
fn every_format_returns_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let a = array();
    for name in ["v.npy", "v.tif", "v.TIFF", "v.nii", "v.nii.gz"] {
        write_array(&a, None, &at(name), false).unwrap();
        // The same again is well, something else is not.
        write_array(&a, None, &at(name), false).unwrap();
        let mut b = array();
        if let Values::F32(v) = &mut b.values {
            v[7] = 99.0;
        }
        let error = write_array(&b, None, &at(name), false).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("--overwrite"), "{error}");
        write_array(&b, None, &at(name), true).unwrap();
        write_array(&a, None, &at(name), true).unwrap();
    }
    assert_eq!(Array::read(&at("v.npy")).unwrap(), a);
    assert_eq!(tiff_stack::read(&at("v.tif")).unwrap(), a);
    let flat = Array { shape: vec![12, 5], values: a.values.clone() };
    write_array(&flat, None, &at("flat.tif"), false).unwrap();
    assert_eq!(tiff_stack::read(&at("flat.tif")).unwrap().shape, [1, 12, 5]);
    // A folder of slices.
    let slices = format!("{}/slices/", folder.path().display());
    let slices = std::path::Path::new(&slices);
    write_array(&a, None, slices, false).unwrap();
    write_array(&a, None, slices, false).unwrap();
    let files = tiff_stack::files(slices).unwrap();
    assert_eq!(files.len(), 3);
    assert!(files[2].ends_with("slice_0002.tif"));
    assert_eq!(numbers(&tiff_stack::read(&files[1]).unwrap()), &numbers(&a)[20..40]);
    let two = Array { shape: vec![2, 5, 6], values: a.values.clone() };
    assert!(write_array(&two, None, slices, false).is_err());
    write_array(&two, None, slices, true).unwrap();
    assert_eq!(tiff_stack::files(slices).unwrap().len(), 2);
    // Nothing else is left: no temporary file or folder.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 7);
}

#[test]
fn nifti_images_have_the_affine_of_the_grid() {
    use nifti::{IntoNdArray, NiftiObject, ReaderOptions};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.nii.gz");
    let grid = VolumeGrid::new(&[3, 4, 5], &[2.0, 1.5, 0.5], &[10.0, 20.0, 30.0]).unwrap();
    write_array(&array(), Some(&grid), &path, false).unwrap();
    let image = ReaderOptions::new().read_file(&path).unwrap();
    let h = image.header();
    assert_eq!(h.srow_x, [0.5, 0.0, 0.0, 29.0]);
    assert_eq!(h.srow_y, [0.0, 1.5, 0.0, 17.75]);
    assert_eq!(h.srow_z, [0.0, 0.0, 2.0, 8.0]);
    assert_eq!(&h.pixdim[1..4], [0.5, 1.5, 2.0]);
    let volume = image.into_volume().into_ndarray::<f32>().unwrap();
    assert_eq!(volume.shape(), [5, 4, 3]);
    assert_eq!(volume[[1, 2, 2]], numbers(&array())[2 * 20 + 2 * 5 + 1]);
    let wrong = VolumeGrid::new(&[3, 4, 6], &[1.0; 3], &[0.0; 3]).unwrap();
    assert!(write_array(&array(), Some(&wrong), &folder.path().join("w.nii"), false).is_err());
}

#[test]
fn previews_show_the_window() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.png");
    let values = vec![0.0, 1.0, 2.0, 3.0, 4.0, f32::NAN];
    let a = Array { shape: vec![2, 3], values: Values::F32(values) };
    write_preview(&a, None, Window::Range(1.0, 3.0), &path).unwrap();
    let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut grey = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut grey).unwrap();
    assert_eq!((info.width, info.height), (3, 2));
    assert_eq!(grey, [0, 0, 128, 255, 255, 0]);
    write_preview(&array(), Some(2), Window::Quantiles, &path).unwrap();
    for (slice, window) in [(Some(3), Window::Quantiles), (None, Window::Range(1.0, 1.0))] {
        assert!(write_preview(&array(), slice, window, &path).is_err());
    }
}

#[test]
fn names_and_places_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let refused = |name: &str, text: &str| {
        let error = write_array(&array(), None, &at(name), false).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    refused("v.txt", ".tif");
    refused("v", ".npy");
    refused("no/v.tif", "no/v.tif");
    refused("no/v/", "no/v");
    std::fs::create_dir(at("d.tif")).unwrap();
    refused("d.tif", "is a folder");
    let line = Array { shape: vec![60], values: array().values };
    for name in ["l.tif", "l.nii"] {
        assert!(write_array(&line, None, &at(name), false).is_err());
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

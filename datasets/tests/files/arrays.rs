//! Arrays of any number of axes, and CT set-ups.

use microtome_datasets::{Array, Values, read_set_up};
use ndarray_npy::{ReadNpyExt, WriteNpyExt};

#[test]
fn arrays_equal_those_of_another_crate() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let shape = [3, 4, 5];
    let numbers =
        ndarray::Array3::from_shape_fn(shape, |(z, y, x)| (100 * z + 10 * y + x) as f32 / 7.0);
    // Ours read by the other.
    let ours =
        Array { shape: shape.to_vec(), values: Values::F32(numbers.iter().copied().collect()) };
    ours.write(&path).unwrap();
    let theirs = ndarray::Array3::<f32>::read_npy(std::fs::File::open(&path).unwrap()).unwrap();
    assert_eq!(theirs, numbers);
    // Theirs read by us, in both orders and types.
    numbers.write_npy(std::fs::File::create(&path).unwrap()).unwrap();
    assert_eq!(Array::read(&path).unwrap(), ours);
    let wide = numbers.mapv(f64::from);
    let mut turned = ndarray::Array3::zeros(ndarray::ShapeBuilder::f(shape));
    turned.assign(&wide);
    turned.write_npy(std::fs::File::create(&path).unwrap()).unwrap();
    let read = Array::read(&path).unwrap();
    assert_eq!(read.values, Values::F64(wide.iter().copied().collect()));
    assert_eq!(read.values.into_f32(), ours.values.clone().into_f32());
    // Integers are numbers too.
    let whole = ndarray::Array2::from_shape_fn([2, 3], |(i, j)| (3 * i + j) as i32);
    whole.write_npy(std::fs::File::create(&path).unwrap()).unwrap();
    let whole = Array::read(&path).unwrap();
    assert_eq!(whole.shape, [2, 3]);
    assert_eq!(whole.values, Values::F64(vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]));
}

#[test]
fn damaged_arrays_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let array = Array { shape: vec![7, 9], values: Values::F64(vec![1.0; 63]) };
    array.write(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
    let error = Array::read(&path).unwrap_err().to_string();
    assert!(error.contains("a.npy") && error.contains("truncated"), "{error}");
    std::fs::write(&path, b"hello").unwrap();
    assert!(Array::read(&path).is_err());
    assert!(array.write(&folder.path().join("no/such/a.npy")).is_err());
    // A staged file that is not committed leaves nothing.
    drop(array.stage(&folder.path().join("b.npy")).unwrap());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn set_ups_find_their_views() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let text = "kind = \"parallel2d\"\nviews = \"v.npy\"\ndetector = [5]\n\
                [volume]\nshape = [3, 4]\nvoxel_mm = [1.0, 1.0]\n";
    std::fs::write(at("g.toml"), text).unwrap();
    let error = read_set_up(&at("g.toml"), None).unwrap_err().to_string();
    assert!(error.contains("v.npy"), "{error}");
    let write = |shape: &[usize], row: &[f64]| {
        let values = Values::F64(row.repeat(shape[0]));
        Array { shape: shape.to_vec(), values }.write(&at("v.npy")).unwrap();
    };
    write(&[2, 6], &[0.0, -1.0, 0.0, 0.0, 1.0, 0.0]);
    let set_up = read_set_up(&at("g.toml"), Some("siddon")).unwrap();
    assert_eq!(set_up.geometry.n_views(), 2);
    assert_eq!(set_up.projector.name(), "siddon");
    let refused = |name: Option<&str>, texts: [&str; 2]| {
        let error = read_set_up(&at("g.toml"), name).unwrap_err().to_string();
        assert!(texts.iter().all(|t| error.contains(t)), "{error}");
    };
    refused(Some("x"), ["g.toml", "`x`"]);
    write(&[2, 6], &[0.0; 6]);
    refused(None, ["v.npy", "view 0"]);
    write(&[2, 5], &[0.0; 5]);
    refused(None, ["v.npy", "rows of 6 numbers"]);
    write(&[5], &[0.0]);
    refused(None, ["v.npy", "[view, column]"]);
}

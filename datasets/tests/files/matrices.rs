//! Matrices, against the crate ndarray-npy.

use microtome_datasets::{Matrix, MatrixWriter, read_matrix, write_matrix};
use ndarray::{Array1, Array2};

use crate::bytes::{names, put};

fn example() -> Matrix {
    let values = vec![1.0, -0.1, 1e-300, f64::MAX, 5e-324, std::f64::consts::PI];
    Matrix { rows: 2, columns: 3, values }
}

#[test]
fn npy_agrees_with_ndarray_npy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.npy");
    write_matrix(&path, &example()).unwrap();
    let theirs: Array2<f64> = ndarray_npy::read_npy(&path).unwrap();
    assert_eq!(theirs.shape(), [2, 3]);
    assert_eq!(theirs.into_raw_vec_and_offset().0, example().values);
    // The data begin at a multiple of 64 bytes, as NumPy writes them.
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 128 + 48);

    let a = Array2::from_shape_fn((3, 4), |(i, j)| (10 * i + j) as f32);
    ndarray_npy::write_npy(&path, &a).unwrap();
    let ours = read_matrix(&path).unwrap();
    assert_eq!((ours.rows, ours.columns), (3, 4));
    assert_eq!(ours.values[5], 11.0);
    ndarray_npy::write_npy(&path, &a.t()).unwrap();
    let ours = read_matrix(&path).unwrap();
    assert_eq!((ours.rows, ours.columns), (4, 3));
    assert_eq!(ours.values[..3], [0.0, 10.0, 20.0]);
    ndarray_npy::write_npy(&path, &Array1::from(vec![1_i32, 2, 3])).unwrap();
    assert_eq!(
        read_matrix(&path).unwrap(),
        Matrix { rows: 3, columns: 1, values: vec![1.0, 2.0, 3.0] }
    );
}

#[test]
fn csv_reads_back_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.csv");
    write_matrix(&path, &example()).unwrap();
    assert_eq!(read_matrix(&path).unwrap(), example());
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("1.0,-0.1,1e-300\n"), "{text}");
    let headed = put(dir.path(), "h.csv", "a,b\n1,2\n");
    assert_eq!(read_matrix(&headed).unwrap().values, [1.0, 2.0]);
}

#[test]
fn an_unfinished_matrix_does_not_appear() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.npy");
    let mut writer = MatrixWriter::create(&path, 2, 2).unwrap();
    assert!(writer.push(&[1.0]).is_err());
    writer.push(&[1.0, 2.0]).unwrap();
    assert!(writer.push(&[1.0; 4]).is_err());
    assert!(writer.finish().unwrap_err().to_string().contains("1 rows"));
    assert!(names(dir.path()).is_empty());
    assert!(write_matrix(&dir.path().join("m.txt"), &example()).is_err());
}

//! Parquet tables, parts, resume and join.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow_array::types::Float64Type;
use arrow_array::{Array, Float64Array, Int64Array, ListArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use microtome_datasets::{PartStore, TableReader, read_table, write_table};

use crate::bytes::names;

fn pairs(n: usize) -> HashMap<String, String> {
    (0..n).map(|i| (format!("key {i}"), format!("value {i}"))).collect()
}

fn schema() -> SchemaRef {
    let element = Field::new("element", DataType::Float64, true);
    Arc::new(Schema::new_with_metadata(
        vec![
            Field::new("voxel", DataType::Int64, false),
            Field::new("stick.lambda_par", DataType::Float64, true).with_metadata(pairs(9)),
            Field::new("status", DataType::Utf8, false),
            Field::new("draws", DataType::List(Arc::new(element)), true),
        ],
        pairs(20),
    ))
}

fn batch(from: i64, rows: usize) -> RecordBatch {
    let voxels: Vec<i64> = (from..from + rows as i64).collect();
    let values = voxels.iter().map(|&v| (v % 5 != 0).then_some((v as f64).sin()));
    let status = voxels.iter().map(|v| if v % 3 == 0 { "converged" } else { "singular" });
    let draws =
        voxels.iter().map(|&v| Some((0..v % 4).map(|d| Some((v + d) as f64)).collect::<Vec<_>>()));
    let list = ListArray::from_iter_primitive::<Float64Type, _, _>(draws.collect::<Vec<_>>());
    let DataType::List(element) = schema().field(3).data_type().clone() else { panic!() };
    let (_, offsets, items, nulls) = list.into_parts();
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(Int64Array::from(voxels.clone())),
            Arc::new(values.collect::<Float64Array>()),
            Arc::new(status.map(Some).collect::<StringArray>()),
            Arc::new(ListArray::new(element, offsets, items, nulls)),
        ],
    )
    .unwrap()
}

fn voxels(batches: &[RecordBatch]) -> Vec<i64> {
    batches
        .iter()
        .flat_map(|b| b.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec())
        .collect()
}

#[test]
fn a_table_keeps_all_metadata() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    write_table(&path, schema(), &[batch(0, 100)]).unwrap();
    let reader = TableReader::open(&path).unwrap();
    assert_eq!(reader.schema(), &schema());
    assert_eq!((reader.n_rows(), reader.n_row_groups()), (100, 1));
    let DataType::List(child) = reader.schema().field(3).data_type() else { panic!() };
    assert_eq!(child.name(), "element");
    assert_eq!(read_table(&path).unwrap(), [batch(0, 100)]);
    // The Parquet schema itself says `element`, too, and the pairs are plain.
    let file = std::fs::File::open(&path).unwrap();
    let footer =
        parquet::file::metadata::ParquetMetaDataReader::new().parse_and_finish(&file).unwrap();
    let footer = footer.file_metadata();
    assert_eq!(footer.schema_descr().column(3).path().string(), "draws.list.element");
    assert!(footer.created_by().unwrap().starts_with("microtome version "));
    let plain = footer.key_value_metadata().unwrap();
    assert!(plain.iter().any(|kv| kv.key == "key 7" && kv.value.as_deref() == Some("value 7")));
}

#[test]
fn equal_batches_make_equal_bytes() {
    let dir = tempfile::tempdir().unwrap();
    // Every schema() has hash maps with another iteration order.
    let bytes: Vec<Vec<u8>> = (0..6)
        .map(|i| {
            let store = PartStore::new(&dir.path().join(i.to_string()), "spec");
            std::fs::read(store.write("block 0", "fit", &[batch(0, 256)]).unwrap()).unwrap()
        })
        .collect();
    assert!(bytes.windows(2).all(|w| w[0] == w[1]));
    assert_eq!(&bytes[0][..4], b"PAR1");
}

#[test]
fn a_store_finds_its_own_complete_parts_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = PartStore::new(dir.path(), "spec A");
    assert!(!store.is_valid("0", "fit") && names(dir.path()).is_empty());
    let path = store.write("0", "fit", &[batch(0, 256), batch(256, 44)]).unwrap();
    assert!(store.is_valid("0", "fit"));
    assert_eq!(TableReader::open(&path).unwrap().n_row_groups(), 1);
    assert!(!store.is_valid("1", "fit") && !store.is_valid("0", "posterior"));
    let other = PartStore::new(dir.path(), "spec B");
    assert!(!other.is_valid("0", "fit"));
    assert_eq!(names(store.folder()), [path.file_name().unwrap().to_str().unwrap()]);
    // The bytes of another run under this name.
    let foreign = other.write("0", "fit", &[batch(0, 10)]).unwrap();
    std::fs::copy(&foreign, store.path("9", "fit")).unwrap();
    assert!(!store.is_valid("9", "fit"));
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 3, 4, 100, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(!store.is_valid("0", "fit"), "{length} of {} bytes", whole.len());
    }
    let mut flipped = whole.clone();
    let at = flipped.len() - 6;
    flipped[at] ^= 0x40;
    std::fs::write(&path, &flipped).unwrap();
    assert!(!store.is_valid("0", "fit"));
    store.write("0", "fit", &[batch(0, 256)]).unwrap();
    assert!(store.is_valid("0", "fit"));
}

#[test]
fn a_join_is_in_order_and_does_not_show_the_parts() {
    let dir = tempfile::tempdir().unwrap();
    let total = 70_000;
    let joined = |sizes: &[usize], name: &str| {
        let store = PartStore::new(&dir.path().join(name), "spec");
        let (mut from, mut keys) = (0, Vec::new());
        for size in sizes.iter().cycle() {
            let size = (*size).min(total - from);
            if size == 0 {
                break;
            }
            keys.push(format!("{from}"));
            store.write(&keys[keys.len() - 1], "fit", &[batch(from as i64, size)]).unwrap();
            from += size;
        }
        let out = dir.path().join(format!("{name}.parquet"));
        let metadata = [("specification".to_owned(), "{}".to_owned())];
        assert_eq!(store.join(&keys, "fit", &out, &metadata).unwrap(), total);
        out
    };
    let (a, b) = (joined(&[256], "a"), joined(&[20_000, 1, 333], "b"));
    assert_eq!(std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());
    let batches = read_table(&a).unwrap();
    assert!(voxels(&batches).into_iter().eq(0..total as i64));
    let mut wanted = schema().metadata().clone();
    wanted.insert("specification".to_owned(), "{}".to_owned());
    assert_eq!(batches[0].schema().metadata(), &wanted);
    assert_eq!(batches[0].schema().fields(), schema().fields());
    assert_eq!(names(dir.path()), ["a", "a.parquet", "b", "b.parquet"]);
}

#[test]
fn a_join_that_fails_leaves_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = PartStore::new(dir.path(), "spec");
    store.write("0", "fit", &[batch(0, 256)]).unwrap();
    let second = store.write("1", "fit", &[batch(256, 256)]).unwrap();
    let out = dir.path().join("fit.parquet");
    std::fs::write(&out, "old").unwrap();
    let fails = |keys: &[&str]| store.join(keys, "fit", &out, &[]).unwrap_err().to_string();
    assert!(fails(&["0", "2"]).contains(store.path("2", "fit").to_str().unwrap()));
    let whole = std::fs::read(&second).unwrap();
    std::fs::write(&second, &whole[..whole.len() - 20]).unwrap();
    assert!(fails(&["0", "1"]).contains(second.to_str().unwrap()));
    // A damaged page behind a good footer.
    let mut damaged = whole.clone();
    damaged[4..400].fill(0xff);
    std::fs::write(&second, &damaged).unwrap();
    assert!(fails(&["0", "1"]).contains(second.to_str().unwrap()));
    let narrow = batch(0, 5).project(&[0, 1]).unwrap();
    store.write("1", "fit", &[narrow]).unwrap();
    assert!(fails(&["0", "1"]).contains("columns voxel, stick.lambda_par"));
    assert!(fails(&[]).contains("no parts"));
    assert_eq!(std::fs::read(&out).unwrap(), b"old");
    assert_eq!(names(dir.path()), [".parts", "fit.parquet"]);
}

#[test]
fn an_unwritable_folder_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let blocked = dir.path().join("file");
    std::fs::write(&blocked, "").unwrap();
    let text =
        PartStore::new(&blocked, "s").write("0", "fit", &[batch(0, 1)]).unwrap_err().to_string();
    assert!(text.contains(blocked.join(".parts").to_str().unwrap()), "{text}");
    let text = write_table(Path::new("/nowhere/t.parquet"), schema(), &[]).unwrap_err().to_string();
    assert!(text.contains("/nowhere/t.parquet"), "{text}");
    // A batch of another schema fails after the temporary file was made.
    let path = dir.path().join("t.parquet");
    assert!(write_table(&path, schema(), &[batch(0, 5).project(&[0]).unwrap()]).is_err());
    assert_eq!(names(dir.path()), ["file"]);
}

#[cfg(unix)]
#[test]
fn files_have_the_usual_rights() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("plain"), "").unwrap();
    write_table(&dir.path().join("t.parquet"), schema(), &[batch(0, 1)]).unwrap();
    let mode = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
    assert_eq!(mode("t.parquet"), mode("plain"));
}

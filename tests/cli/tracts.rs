//! Files of streamlines: what they hold, other formats, damaged files.

use crate::bench::Bench;
use crate::track::{circles, mask, ring};
use microtome::datasets::tracts::read_tracts;
use microtome::datasets::{TableReader, read_table};
use microtome::models::HarmonicBasis;

/// Some streamlines in a file of columns.
fn bundle(bench: &Bench) {
    mask(bench, "seeds.nii.gz", ring);
    circles(bench, "fod.nii.gz", HarmonicBasis::Mrtrix3, |d| d);
    let line = "track --fod fod.nii.gz --basis mrtrix3 --seeds seeds.nii.gz --n-seeds 40 --rule peak --step-mm 1 \
                --max-length-mm 20 --min-length-mm 5 --out a.trx";
    bench.run(line).exits(0);
}

#[test]
fn files_of_streamlines_are_shown_and_turned_into_others() {
    let bench = Bench::new();
    bundle(&bench);
    let own = read_tracts(&bench.path("a.trx")).unwrap();
    let n = own.n_streamlines() as u64;
    let json = bench.run("info tracts a.trx --json").exits(0).json();
    assert_eq!(
        (json["streamlines"].as_u64(), json["points"].as_u64()),
        (Some(n), Some(own.points.len() as u64))
    );
    assert_eq!(json["grid"], serde_json::json!([16, 16, 7]));
    assert!(
        json["longest_mm"].as_f64().unwrap() < 20.001
            && json["shortest_mm"].as_f64().unwrap() > 4.9
    );
    let text = bench.run("info tracts a.trx").exits(0).stdout;
    assert!(text.contains("amplitude") && text.contains("seed_point"), "{text}");
    // There and back: TCK has the points alone, and needs a grid again.
    for (from, to) in
        [("a.trx", "b.tck"), ("a.trx", "b.trk"), ("a.trx", "b.vtk"), ("a.trx", "b.parquet")]
    {
        bench.run(&format!("info tracts {from} --write {to}")).exits(0);
        let again = bench.run(&format!("info tracts {from} --write {to}")).exits(1);
        assert!(
            again.stderr.contains("--overwrite") && again.stderr.contains(to),
            "{}",
            again.stderr
        );
        bench.run(&format!("info tracts {from} --write {to} --overwrite")).exits(0);
    }
    assert_eq!(read_tracts(&bench.path("b.tck")).unwrap().points, own.points);
    let rows: usize =
        read_table(&bench.path("b.parquet")).unwrap().iter().map(|b| b.num_rows()).sum();
    assert_eq!(rows as u64, n);
    assert!(
        TableReader::open(&bench.path("b.parquet"))
            .unwrap()
            .schema()
            .field_with_name("seed")
            .is_ok()
    );
    let bare = bench.run("info tracts b.tck --write c.trx").exits(1);
    assert!(bare.stderr.contains("--grid") && !bench.exists("c.trx"), "{}", bare.stderr);
    bench.run("info tracts b.tck --grid fod.nii.gz --write c.trx").exits(0);
    let back = read_tracts(&bench.path("c.trx")).unwrap();
    assert_eq!((back.points, back.offsets, back.geometry), (own.points, own.offsets, own.geometry));
}

/// Every damaged file is one message that names it, from the binary as from the library.
#[test]
fn damaged_files_of_streamlines_are_named() {
    let bench = Bench::new();
    bundle(&bench);
    bench.run("info tracts a.trx --write a.tck").exits(0);
    bench.run("info tracts a.trx --write a.trk").exits(0);
    let bytes = |name: &str| bench.read(name);
    let put = |name: &str, bytes: &[u8]| std::fs::write(bench.path(name), bytes).unwrap();
    let (trx, tck, trk) = (bytes("a.trx"), bytes("a.tck"), bytes("a.trk"));
    put("cut.trx", &trx[..trx.len() / 2]);
    put("cut.tck", &tck[..tck.len() / 2 / 4 * 4]);
    put("cut.trk", &trk[..trk.len() / 2]);
    put("head.trk", &trk[..500]);
    let text = String::from_utf8_lossy(&tck[..tck.len().min(400)]).into_owned();
    let at = text.find("count: ").unwrap() + 7;
    let digits = text[at..].find('\n').unwrap();
    let mut many = tck.clone();
    many[at..at + digits].fill(b'9');
    put("many.tck", &many);
    // The number of streamlines of a TRK header is the integer at byte 988.
    let mut many = trk.clone();
    many[988..992].copy_from_slice(&i32::MAX.to_le_bytes());
    put("many.trk", &many);
    put("empty.trx", b"");
    put("page.tck", b"<!doctype html><html>");
    for name in [
        "cut.trx",
        "cut.tck",
        "cut.trk",
        "head.trk",
        "many.tck",
        "many.trk",
        "empty.trx",
        "page.tck",
        "none.trx",
        "a.html",
    ] {
        let ended = bench.run(&format!("info tracts {name}")).exits(1);
        let text = &ended.stderr;
        assert!(text.starts_with("error: ") && text.contains(name), "{name}: {text}");
        assert!(text.lines().count() <= 4 && text.len() < 600, "{name}: {text}");
    }
}

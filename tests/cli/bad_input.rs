//! Wrong input: exit 1, one message that names what is at fault, nothing written.

use crate::bench::{Bench, MEASUREMENTS};
use microtome::datasets::demo;

struct Case {
    name: &'static str,
    line: &'static str,
    /// Words that the message must hold.
    words: &'static [&'static str],
}

const fn case(name: &'static str, line: &'static str, words: &'static [&'static str]) -> Case {
    Case { name, line, words }
}

const ACQ: &str = "--bval a.bval --bvec a.bvec";

/// `$A` stands for the acquisition.
const CASES: &[Case] = &[
    case("no verb of this name", "frobnicate", &["frobnicate"]),
    case("unknown flag", "fit $A --model ball --dwi a.npy --out o --colour red", &["--colour"]),
    case(
        "a preset in an expression",
        "fit $A --model 'stick + noddi' --dwi a.npy --out o",
        &["`noddi` is a preset", "zeppelin"],
    ),
    case("missing flag", "fit $A --dwi a.npy --out o", &["--model"]),
    case("missing file", "fit $A --model ball --dwi none.npy --out o", &["none.npy"]),
    case("no acquisition", "fit --model ball --dwi a.npy --out o", &["--bval", "--scheme"]),
    case("half an acquisition", "fit --bval a.bval --model ball --dwi a.npy --out o", &["--bvec"]),
    case(
        "two acquisitions",
        "fit $A --scheme s.csv --model ball --dwi a.npy --out o",
        &["--scheme"],
    ),
    case("no folder", "fit $A --model ball --dwi a.npy", &["--out"]),
    case(
        "wrong counts",
        "fit $A --model ball --dwi short.npy --out o",
        &["short.npy", "a.bval", "33", "34"],
    ),
    case(
        "image and scheme of other scans",
        "fit $A --model ball --dwi demo.nii.gz --out o",
        &["demo.nii.gz", "90", "34"],
    ),
    case(
        "bvec of another count",
        "fit --bval a.bval --bvec short.bvec --model ball --dwi a.npy --out o",
        &["short.bvec", "33"],
    ),
    case(
        "truncated gzip",
        "fit $A --model ball --dwi cut.nii.gz --out o",
        &["cut.nii.gz", "truncated"],
    ),
    case("damaged gzip", "fit $A --model ball --dwi bad.nii.gz --out o", &["bad.nii.gz"]),
    case("truncated npy", "fit $A --model ball --dwi cut.npy --out o", &["cut.npy", "truncated"]),
    case("not an image", "fit $A --model ball --dwi a.bval --out o", &["a.bval"]),
    case("empty file", "fit $A --model ball --dwi empty --out o", &["empty"]),
    case("folder as image", "fit $A --model ball --dwi . --out o", &["error: ."]),
    case(
        "bvals in SI",
        "fit --bval si.bval --bvec a.bvec --model ball --dwi a.npy --out o",
        &["si.bval", "unit"],
    ),
    case(
        "bvals in ms/um2",
        "fit --bval inside.bval --bvec a.bvec --model ball --dwi a.npy --out o",
        &["inside.bval", "unit"],
    ),
    case(
        "text in bvals",
        "fit --bval text.bval --bvec a.bvec --model ball --dwi a.npy --out o",
        &["text.bval", "abc"],
    ),
    case(
        "no b=0",
        "fit --bval weighted.bval --bvec weighted.bvec --model ball --dwi weighted.npy --out o",
        &["weighted.bval", "b=0", "s0"],
    ),
    case(
        "bvec not of length one",
        "fit --bval a.bval --bvec long.bvec --model ball --dwi a.npy --out o",
        &["long.bvec", "length"],
    ),
    case(
        "delta without Delta",
        "fit $A --delta-ms 10 --model ball --dwi a.npy --out o",
        &["Delta"],
    ),
    case(
        "negative delta",
        "fit $A --delta-ms=-1 --big-delta-ms 5 --model ball --dwi a.npy --out o",
        &["--delta-ms", "-1"],
    ),
    case("unknown kind", "fit $A --model 'stick + bal' --dwi a.npy --out o", &["`bal`"]),
    case("empty term", "fit $A --model 'stick +' --dwi a.npy --out o", &["stick +"]),
    case("missing model file", "fit $A --model none.toml --dwi a.npy --out o", &["none.toml"]),
    case(
        "unknown key of a model",
        "fit $A --model key.toml --dwi a.npy --out o",
        &["key.toml", "colour"],
    ),
    case(
        "unknown kind in a model",
        "fit $A --model kind.toml --dwi a.npy --out o",
        &["kind.toml", "balll"],
    ),
    case(
        "unknown link",
        "fit $A --model link.toml --dwi a.npy --out o",
        &["link.toml", "ball.lambda"],
    ),
    case(
        "circular links",
        "fit $A --model circle.toml --dwi a.npy --out o",
        &["circle.toml", "circle"],
    ),
    case("unknown noise", "fit $A --noise pink --model ball --dwi a.npy --out o", &["pink"]),
    case(
        "coils left out",
        "fit $A --noise nc_chi --model ball --dwi a.npy --out o",
        &["nc_chi", "--coils"],
    ),
    case(
        "too many coils",
        "fit $A --noise nc_chi --coils 65 --model ball --dwi a.npy --out o",
        &["coils = 65", "64"],
    ),
    case(
        "coils of other noise",
        "fit $A --noise rician --coils 4 --model ball --dwi a.npy --out o",
        &["--coils 4", "rician", "nc_chi"],
    ),
    case(
        "degrees of freedom of other noise",
        "sample $A --nu 4 --model ball --dwi a.npy --out o",
        &["--nu 4", "gaussian", "student_t"],
    ),
    case(
        "negative degrees of freedom",
        "fit $A --noise student_t --nu -2 --model ball --dwi a.npy --out o",
        &["nu = -2", "positive"],
    ),
    case(
        "coils left out of a model file",
        "fit $A --model coils.toml --dwi a.npy --out o",
        &["coils.toml", "nc_chi", "`coils`"],
    ),
    case(
        "unknown key of the noise",
        "fit $A --model colour.toml --dwi a.npy --out o",
        &["colour.toml", "colour"],
    ),
    case(
        "sigma of three b=0 images",
        "fit --bval few.bval --bvec short.bvec --sigma b0 --model ball --dwi short.npy --out o",
        &["--sigma b0", "few.bval", "3 b=0", "at least 4"],
    ),
    case("sigma of zero", "fit $A --sigma 0 --model ball --dwi a.npy --out o", &["--sigma"]),
    case(
        "sigma that is nothing",
        "fit $A --sigma loud --model ball --dwi a.npy --out o",
        &["loud"],
    ),
    case(
        "sigma of another count",
        "fit $A --sigma three.csv --model ball --dwi a.npy --out o",
        &["three.csv", "3"],
    ),
    case(
        "sigma with a zero",
        "fit $A --sigma zero.csv --model ball --dwi a.npy --out o",
        &["zero.csv", "row 2"],
    ),
    case(
        "mask of another count",
        "fit $A --mask three.npy --model ball --dwi a.npy --out o",
        &["three.npy", "3"],
    ),
    case(
        "empty mask",
        "fit $A --mask none_inside.npy --model ball --dwi a.npy --out o",
        &["none_inside.npy"],
    ),
    case("shard out of range", "fit $A --shard 3/2 --model ball --dwi a.npy --out o", &["3/2"]),
    case("shard of zero", "fit $A --shard 0/2 --model ball --dwi a.npy --out o", &["0/2"]),
    case("shard that is none", "fit $A --shard half --model ball --dwi a.npy --out o", &["half"]),
    case("threads of zero", "fit $A --threads 0 --model ball --dwi a.npy --out o", &["--threads"]),
    case(
        "unknown device",
        "fit $A --device gpu --model ball --dwi a.npy --out o",
        &["--device", "gpu"],
    ),
    case(
        "max-failed",
        "fit $A --max-failed 200 --model ball --dwi a.npy --out o",
        &["--max-failed"],
    ),
    case("seed", "fit $A --seed -1 --model ball --dwi a.npy --out o", &["--seed"]),
    case("no draws", "sample $A --draws 0 --model ball --dwi a.npy --out o", &["--draws"]),
    case(
        "unknown method",
        "sample $A --method hmc --model ball --dwi a.npy --out o",
        &["hmc", "auto", "psis", "nuts", "laplace"],
    ),
    case("file in the way", "fit $A --model ball --dwi a.npy --out three.csv", &["three.csv"]),
    case(
        "file above the folder",
        "fit $A --model ball --dwi a.npy --out three.csv/o",
        &["three.csv"],
    ),
    case(
        "full device as folder",
        "fit $A --model ball --dwi a.npy --out /dev/full",
        &["/dev/full"],
    ),
    case("missing configuration", "fit --config none.toml", &["none.toml"]),
    case("configuration that is no TOML", "fit --config a.bval", &["a.bval"]),
    case("unknown key", "fit --config unknown.toml", &["unknown.toml", "`colour`"]),
    case(
        "key of another verb",
        "fit --config other.toml",
        &["other.toml", "`algorithm`", "response"],
    ),
    case("key of a wrong type", "fit --config type.toml", &["type.toml", "`seed`"]),
    case("diagnose of nothing", "diagnose none", &["none"]),
    case("report of nothing", "report none", &["none"]),
    case("merge of nothing", "merge none", &["none"]),
    case("info of an unknown model", "info models gall", &["gall"]),
    case(
        "unwritable --save-config",
        "fit $A --model ball --dwi a.npy --out o --save-config none/c.toml",
        &["none/c.toml"],
    ),
];

fn bench() -> Bench {
    let bench = Bench::with_voxels(5);
    let matrix = |name: &str, rows, columns, value: f64| {
        let values = vec![value; rows * columns];
        microtome::datasets::write_matrix(
            &bench.path(name),
            &microtome::datasets::Matrix { rows, columns, values },
        )
        .unwrap();
    };
    matrix("short.npy", 5, MEASUREMENTS - 1, 1.0);
    matrix("weighted.npy", 5, 30, 1.0);
    matrix("three.npy", 3, 1, 1.0);
    matrix("none_inside.npy", 5, 1, 0.0);
    bench.put("three.csv", "1\n2\n3\n");
    bench.put("zero.csv", "1\n2\n0\n4\n5\n");
    bench.put("empty", "");
    bench.put("demo.nii.gz", demo::IMAGE);
    bench.put("cut.nii.gz", &demo::IMAGE[..demo::IMAGE.len() / 2]);
    let mut damaged = demo::IMAGE.to_vec();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 64].iter_mut().for_each(|b| *b ^= 0x5a);
    bench.put("bad.nii.gz", damaged);
    let npy = bench.read("a.npy");
    bench.put("cut.npy", &npy[..npy.len() - 100]);
    let bval = String::from_utf8(bench.read("a.bval")).unwrap();
    let scaled = |factor: f64| {
        let b: Vec<String> = bval
            .split_whitespace()
            .map(|b| (b.parse::<f64>().unwrap() * factor).to_string())
            .collect();
        b.join(" ")
    };
    bench.put("si.bval", scaled(1e6));
    bench.put("inside.bval", scaled(1e-3));
    bench.put("text.bval", bval.replace("2500", "abc"));
    bench.put("few.bval", bval.split_whitespace().skip(1).collect::<Vec<_>>().join(" "));
    bench.put("weighted.bval", bval.split_whitespace().skip(4).collect::<Vec<_>>().join(" "));
    let bvec = String::from_utf8(bench.read("a.bvec")).unwrap();
    let rows = |change: &dyn Fn(Vec<&str>) -> String| {
        bvec.lines().map(|l| change(l.split_whitespace().collect()) + "\n").collect::<String>()
    };
    bench.put("short.bvec", rows(&|w| w[1..].join(" ")));
    bench.put("weighted.bvec", rows(&|w| w[4..].join(" ")));
    bench.put("long.bvec", rows(&|w| w[..w.len() - 1].join(" ") + " 2"));
    let ball = "[[compartment]]\nkind = \"ball\"\n[noise]\nkind = ";
    bench.put("coils.toml", format!("{ball}\"nc_chi\"\n"));
    bench.put("colour.toml", format!("{ball}\"student_t\"\ncolour = 1\n"));
    bench.put("key.toml", "colour = 1\n[[compartment]]\nkind = \"ball\"\n");
    bench.put("kind.toml", "[[compartment]]\nkind = \"balll\"\n");
    bench.put(
        "link.toml",
        "[[compartment]]\nkind = \"ball\"\n[link]\n\"ball.lambda\" = { fixed = 1.0 }\n",
    );
    bench.put(
        "circle.toml",
        "[[compartment]]\nkind = \"stick\"\n[[compartment]]\nkind = \"ball\"\n[link]\n\
         \"stick.lambda_par\" = { equal = \"ball.lambda_iso\" }\n\"ball.lambda_iso\" = { equal = \"stick.lambda_par\" }\n",
    );
    bench.put("unknown.toml", "model = \"ball\"\ncolour = 3\n");
    bench.put("other.toml", "model = \"ball\"\nalgorithm = \"x\"\n");
    bench.put("type.toml", "seed = [1]\n");
    bench
}

#[test]
fn wrong_input_is_exit_1_with_the_reason() {
    let bench = bench();
    let before = bench.names(".");
    let mut faults = Vec::new();
    for case in CASES {
        let ended = bench.run(&case.line.replace("$A", ACQ));
        let mut wrong = Vec::new();
        if ended.code != 1 {
            wrong.push(format!("exit {}", ended.code));
        }
        if !ended.stderr.starts_with("error: ")
            || ended.stderr.contains("panicked")
            || ended.stderr.contains("internal")
        {
            wrong.push("the message does not begin with `error: `".into());
        }
        wrong.extend(
            case.words.iter().filter(|w| !ended.stderr.contains(**w)).map(|w| format!("no `{w}`")),
        );
        if bench.names(".") != before {
            wrong.push(format!("something is left: {:?}", bench.names(".")));
            let _ = std::fs::remove_dir_all(bench.path("o"));
        }
        if !wrong.is_empty() {
            faults.push(format!("{}: {}\n   {}", case.name, wrong.join(", "), ended.stderr.trim()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_cause_is_not_said_twice() {
    let bench = bench();
    let ended = bench.fit("--dwi none.npy --out o").exits(1);
    assert_eq!(ended.stderr.matches("No such file").count(), 1, "{}", ended.stderr);
}

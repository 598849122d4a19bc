//! From text to a model: what is refused, and with which words; how values and
//! columns are laid out.
#![allow(clippy::unwrap_used, clippy::panic)]

use crate::composed;

use microtome_models::{
    Acquisition, Chart, Evaluator, FreeKind, Lowered, Model, ModelSpec, PRESETS, PulseTiming,
    Tangent, Unit, compose_models,
};
use std::sync::Arc;

/// The error of a model file, as the user reads it.
fn refused(text: &str) -> String {
    let outcome = ModelSpec::from_toml(text).map_err(|e| e.to_string());
    match outcome.and_then(|spec| Model::new(spec).map_err(|e| e.to_string())) {
        Ok(_) => panic!("this was accepted:\n{text}"),
        Err(message) => message,
    }
}

/// Compartments of these kinds, then `rest`.
fn file(kinds: &[&str], rest: &str) -> String {
    let compartments: String =
        kinds.iter().map(|k| format!("[[compartment]]\nkind = \"{k}\"\n")).collect();
    compartments + rest
}

/// Each file is refused with a message that contains every word.
fn check(kinds: &[&str], table: &str, cases: &[(&str, &[&str])]) {
    for (line, words) in cases {
        let message = refused(&file(kinds, &format!("[{table}]\n{line}\n")));
        for word in *words {
            assert!(message.contains(word), "[{table}] {line}\ngave, without `{word}`: {message}");
        }
    }
}

#[test]
fn unknown_words_of_expressions_are_named() {
    for (expression, word) in [
        ("stik + ball", "`stik`"),
        ("ball_stik", "`ball_stik`"),
        ("stick ball", "`stick ball`"),
        ("Stick", "`Stick`"),
    ] {
        let message = ModelSpec::parse(expression).unwrap_err().to_string();
        for part in [word, "zeppelin", "ball_sticks_2", ".toml"] {
            assert!(message.contains(part), "{expression}: {message}");
        }
    }
    let message = ModelSpec::parse("ball_stick + ball").unwrap_err().to_string();
    for part in ["`ball_stick`", "preset", "stick + ball", "model file"] {
        assert!(message.contains(part), "{message}");
    }
    for expression in ["", " ", "stick +", "+ stick", "stick + + ball"] {
        let message = ModelSpec::parse(expression).unwrap_err().to_string();
        assert!(message.contains("missing beside a `+`"), "{expression}: {message}");
    }
    assert!(compose_models(["stick", "cube"]).unwrap_err().to_string().contains("`cube`"));
    assert!(compose_models([]).is_err());
}

#[test]
fn unknown_words_of_files_are_named() {
    for (text, word) in [
        ("[[compartment]]\nkind = \"stik\"\n", "`stik`"),
        ("[[compartment]]\nknd = \"stick\"\n", "knd"),
        ("[[compartments]]\nkind = \"stick\"\n", "compartments"),
        ("[[compartment]]\nkind = \"stick\"\ndisperson = \"watson\"\n", "disperson"),
        ("[[compartment]]\nkind = \"ball\"\n[links]\n", "links"),
        ("[[compartment]]\nkind = \"ball\"\n[noise]\nkind = \"rice\"\n", "rice"),
        ("[[compartment]]\nkind = \"ball\"\n[noise]\nkind = \"rician\"\nsigma = 3\n", "sigma"),
        ("[[compartment]]\nkind = \"ball\"\n[prior]\ns0 = { gamma = [1.0, 1.0] }\n", "gamma"),
        ("[[compartment]]\nkind = \"ball\"\n[link]\ns0 = { fix = 1.0 }\n", "fix"),
        ("[[compartment]]\nkind = \"ball\"\n[range]\ns0 = [1.0]\n", "s0"),
        ("compartment = []\n", "[[compartment]]"),
        ("kind = \"ball\"\n", "kind"),
        ("[[compartment]\n", "line 1"),
        ("", "compartment"),
    ] {
        let message = refused(text);
        assert!(message.contains(word), "{text}\ngave, without `{word}`: {message}");
    }
}

#[test]
fn links_that_cannot_be_followed_are_named() {
    check(
        &["stick", "zeppelin", "ball"],
        "link",
        &[
            (
                "\"stik.lambda_par\" = { fixed = 1.0 }",
                &["[link]", "`stik.lambda_par`", "stick.lambda_par"],
            ),
            ("\"stick.lambda_perp\" = { fixed = 1.0 }", &["`stick.lambda_perp`"]),
            ("\"ball.mu\" = { fixed = [0.0, 0.0, 1.0] }", &["`ball.mu`"]),
            ("\"stick.mu_x\" = { fixed = 1.0 }", &["`stick.mu_x`"]),
            ("sigma = { fixed = 1.0 }", &["`sigma`"]),
            (
                "\"zeppelin.lambda_par\" = { equal = \"stick.lambda\" }",
                &["`zeppelin.lambda_par`", "`stick.lambda`"],
            ),
            ("\"zeppelin.lambda_par\" = { equal = \"stick.mu\" }", &["`stick.mu`"]),
            ("\"zeppelin.mu\" = { equal = \"ball.mu\" }", &["`ball.mu`", "direction"]),
            (
                "\"zeppelin.mu\" = { equal = \"stick.lambda_par\" }",
                &["`stick.lambda_par`", "direction"],
            ),
            ("\"zeppelin.mu\" = { equal = \"zeppelin.mu\" }", &["`zeppelin.mu`", "circle"]),
            (
                "\"zeppelin.mu\" = { equal = \"stick.mu\" }\n\"stick.mu\" = { equal = \"zeppelin.mu\" }",
                &[".mu`", "circle"],
            ),
            ("\"zeppelin.mu\" = { fixed = 1.0 }", &["`zeppelin.mu`", "[x, y, z]"]),
            ("\"zeppelin.mu\" = { fixed = [0.0, 0.0, 2.0] }", &["`zeppelin.mu`", "length is 2"]),
            ("\"zeppelin.mu\" = { fixed = [nan, 0.0, 1.0] }", &["`zeppelin.mu`", "NaN"]),
            (
                "\"ball.lambda_iso\" = { fixed = [0.0, 0.0, 1.0] }",
                &["`ball.lambda_iso`", "three numbers"],
            ),
            ("\"ball.lambda_iso\" = { fixed = nan }", &["`ball.lambda_iso`", "NaN"]),
            ("\"ball.lambda_iso\" = { fixed = -3.0 }", &["`ball.lambda_iso`", "-3"]),
            ("s0 = { fixed = -1.0 }", &["`s0`", "-1"]),
            ("s0 = { equal = \"ball.lambda_iso\" }", &["`s0`", "fixed"]),
            (
                "\"ball.lambda_iso\" = { equal = \"ball.lambda_iso\" }",
                &["`ball.lambda_iso`", "circle"],
            ),
            (
                "\"ball.lambda_iso\" = { equal = \"stick.lambda_par\" }\n\"stick.lambda_par\" = { equal = \"ball.lambda_iso\" }",
                &["circle", ".lambda_"],
            ),
            (
                "\"zeppelin.lambda_par\" = { fractional = { of = \"zeppelin.lambda_perp\", factor_name = \"a\" } }\n\
             \"zeppelin.lambda_perp\" = { fractional = { of = \"zeppelin.lambda_par\", factor_name = \"b\" } }",
                &["circle", "zeppelin.lambda_p"],
            ),
            (
                "\"zeppelin.lambda_perp\" = { tortuosity = { lambda_par = \"zeppelin.lambda_perp\", \
             intra = \"stick.fraction\", extra = \"zeppelin.fraction\" } }",
                &["circle", "zeppelin.lambda_perp"],
            ),
            (
                "\"zeppelin.lambda_perp\" = { tortuosity = { lambda_par = \"zeppelin.lambda_par\", \
             intra = \"stik.fraction\", extra = \"zeppelin.fraction\" } }",
                &["`stik.fraction`", "`zeppelin.lambda_perp`"],
            ),
            (
                "\"zeppelin.lambda_perp\" = { tortuosity = { lambda_par = \"zeppelin.lambda_par\", \
             intr = \"stick.fraction\", extra = \"zeppelin.fraction\" } }",
                &["intr"],
            ),
            (
                "\"ball.lambda_iso\" = { fractional = { of = \"stick.lambda\", factor_name = \"r\" } }",
                &["`stick.lambda`"],
            ),
        ],
    );
}

#[test]
fn names_that_are_used_twice_are_named() {
    let two = "[[compartment]]\nname = \"a\"\nkind = \"stick\"\n[[compartment]]\nname = \"a\"\nkind = \"ball\"\n";
    assert!(refused(two).contains("`a`"));
    let numbered = "[[compartment]]\nkind = \"stick\"\n[[compartment]]\nkind = \"stick\"\n\
                    [[compartment]]\nname = \"stick_2\"\nkind = \"ball\"\n";
    assert!(refused(numbered).contains("`stick_2`"));
    let ratio = |name: &str, rest: &str| {
        refused(&file(
            &["zeppelin", "ball"],
            &format!(
                "[link]\n\"zeppelin.lambda_perp\" = {{ fractional = {{ of = \"zeppelin.lambda_par\", factor_name = \"{name}\" }} }}\n{rest}\n"
            ),
        ))
    };
    for name in [
        "zeppelin.lambda_par",
        "zeppelin.lambda_perp",
        "ball.lambda_iso",
        "ball.fraction",
        "zeppelin.mu",
        "s0",
        "sigma",
        "fractions",
    ] {
        let message = ratio(name, "");
        assert!(
            message.contains(&format!("`{name}`")) && message.contains("twice"),
            "{name}: {message}"
        );
    }
    let message = ratio(
        "r",
        "\"ball.lambda_iso\" = { fractional = { of = \"zeppelin.lambda_par\", factor_name = \"r\" } }",
    );
    assert!(message.contains("`r`") && message.contains("twice"), "{message}");
}

#[test]
fn fractions_that_do_not_fit_are_refused() {
    check(
        &["stick", "zeppelin", "ball"],
        "link",
        &[
            ("\"ball.fraction\" = { fixed = 1.2 }", &["`ball.fraction`", "between 0 and 1"]),
            ("\"ball.fraction\" = { fixed = -0.1 }", &["`ball.fraction`"]),
            ("\"ball.fraction\" = { fixed = nan }", &["`ball.fraction`"]),
            ("\"ball.fraction\" = { equal = \"stick.fraction\" }", &["`ball.fraction`", "fixed"]),
            ("\"ball.fraction\" = { fixed = \"f.npy\" }", &["`ball.fraction`"]),
            (
                "\"ball.fraction\" = { fixed = 0.7 }\n\"stick.fraction\" = { fixed = 0.7 }",
                &["fraction", "sum to 1.4"],
            ),
            (
                "\"ball.fraction\" = { fixed = 0.25 }\n\"stick.fraction\" = { fixed = 0.25 }\n\
             \"zeppelin.fraction\" = { fixed = 0.25 }",
                &["fraction", "sum to 0.75"],
            ),
            ("\"ball.fraction\" = { fixed = 1.0 }", &["fraction", "sum to 1", "stick.fraction"]),
        ],
    );
    // What does fit: the rest goes to the one that is left, also when it is nothing.
    for (fixed, rest) in [(0.25, 0.75), (1.0, 0.0)] {
        let text = file(
            &["stick", "ball"],
            &format!("[link]\n\"stick.fraction\" = {{ fixed = {fixed} }}\n"),
        );
        let model = Model::new(ModelSpec::from_toml(&text).unwrap()).unwrap();
        assert_eq!(
            model.value_names(),
            ["stick.mu_x", "stick.mu_y", "stick.mu_z", "stick.lambda_par", "ball.lambda_iso", "s0"]
        );
        let mut columns = vec![0.0; model.columns().len()];
        model.fill_columns(&[0.0, 0.0, 1.0, 1.0, 1.0, 1.0], &[], &mut columns);
        let at = model.columns().iter().position(|c| c.name == "ball.fraction").unwrap();
        assert_eq!(columns[at], rest);
        assert!(model.columns()[at].is_constant());
    }
    // Tenths that add to one but for rounding leave no negative rest.
    let tenths: String = ["stick", "zeppelin", "ball"]
        .iter()
        .zip([0.1, 0.2, 0.7])
        .map(|(c, f)| format!("\"{c}.fraction\" = {{ fixed = {f} }}\n"))
        .collect();
    let text = file(&["stick", "zeppelin", "ball", "dot"], &format!("[link]\n{tenths}"));
    let model = Model::new(ModelSpec::from_toml(&text).unwrap()).unwrap();
    let mut columns = vec![0.0; model.columns().len()];
    model.fill_columns(&vec![0.5; model.values()], &[], &mut columns);
    let rest = columns[model.columns().iter().position(|c| c.name == "dot.fraction").unwrap()];
    assert!((0.0..1e-12).contains(&rest), "{rest:e}");
}

#[test]
fn priors_that_are_none_are_named() {
    check(
        &["stick", "ball"],
        "prior",
        &[
            (
                "\"stick.lambda\" = { normal = [1.0, 0.1] }",
                &["[prior]", "`stick.lambda`", "stick.lambda_par"],
            ),
            ("\"ball.lambda_iso\" = { uniform = [3.0, 1.0] }", &["`ball.lambda_iso`", "proper"]),
            ("\"ball.lambda_iso\" = { uniform = [0.0, inf] }", &["`ball.lambda_iso`", "proper"]),
            ("\"ball.lambda_iso\" = { uniform = [-3.0, -1.0] }", &["`ball.lambda_iso`", "proper"]),
            ("\"ball.lambda_iso\" = { normal = [1.7, -0.3] }", &["`ball.lambda_iso`", "proper"]),
            ("\"ball.lambda_iso\" = { normal = [nan, 0.3] }", &["`ball.lambda_iso`", "proper"]),
            ("\"ball.lambda_iso\" = { normal = [-1e4, 0.3] }", &["`ball.lambda_iso`", "proper"]),
            ("\"ball.lambda_iso\" = { lognormal = [0.2, 0.0] }", &["`ball.lambda_iso`", "proper"]),
            ("\"ball.lambda_iso\" = { half_normal = -1.0 }", &["`ball.lambda_iso`", "proper"]),
            ("\"ball.lambda_iso\" = { dirichlet = [1.0, 1.0] }", &["`ball.lambda_iso`", "scalar"]),
            ("\"ball.lambda_iso\" = \"isotropic\"", &["`ball.lambda_iso`", "scalar"]),
            ("s0 = { lognormal = [0.0, -1.0] }", &["`s0`", "proper"]),
            ("sigma = { uniform = [2.0, 1.0] }", &["`sigma`", "proper"]),
            ("\"stick.mu\" = { normal = [0.0, 1.0] }", &["`stick.mu`", "isotropic"]),
            ("fractions = { dirichlet = [1.0, 1.0, 1.0] }", &["`fractions`", "2 positive"]),
            ("fractions = { dirichlet = [1.0, 0.0] }", &["`fractions`", "2 positive"]),
            ("fractions = { dirichlet = [1.0, inf] }", &["`fractions`", "2 positive"]),
            ("fractions = { normal = [1.0, 1.0] }", &["`fractions`", "dirichlet"]),
        ],
    );
}

#[test]
fn ranges_outside_the_domain_are_named() {
    check(
        &["stick", "ball"],
        "range",
        &[
            ("\"stick.lambda\" = [0.0, 1.0]", &["[range]", "`stick.lambda`"]),
            ("fractions = [0.0, 1.0]", &["`fractions`"]),
            ("\"ball.lambda_iso\" = [-1.0, 2.0]", &["`ball.lambda_iso`", "-1", "domain"]),
            ("\"ball.lambda_iso\" = [2.0, 1.0]", &["`ball.lambda_iso`", "[2, 1]"]),
            ("\"ball.lambda_iso\" = [1.0, 1.0]", &["`ball.lambda_iso`", "empty"]),
            ("\"ball.lambda_iso\" = [nan, 1.0]", &["`ball.lambda_iso`", "NaN"]),
            ("s0 = [-5.0, 1.0]", &["`s0`", "-5"]),
            ("s0 = [5.0, 6.0]\n[prior]\ns0 = { uniform = [1.0, 2.0] }", &["`s0`", "proper"]),
            ("sigma = [2.0, 1.0]\n[prior]\nsigma = { half_normal = 1.0 }", &["`sigma`"]),
        ],
    );
    // A range cuts the prior that it stands with.
    let text = file(
        &["ball"],
        "[range]\n\"ball.lambda_iso\" = [0.5, 1.5]\n[prior]\n\"ball.lambda_iso\" = { normal = [1.0, 1.0] }\n",
    );
    let model = Model::new(ModelSpec::from_toml(&text).unwrap()).unwrap();
    assert_eq!(model.free()[0].range, [0.5, 1.5]);
    // A prior alone replaces the default range.
    let text = file(&["ball"], "[prior]\n\"ball.lambda_iso\" = { normal = [1.0, 1.0] }\n");
    let model = Model::new(ModelSpec::from_toml(&text).unwrap()).unwrap();
    assert_eq!(model.free()[0].range, [0.0, f64::INFINITY]);
}

/// Zeppelins whose diffusivities are each a ratio of the one before.
fn chain(zeppelins: usize) -> String {
    let name =
        |i: usize| if i == 0 { "zeppelin".to_string() } else { format!("zeppelin_{}", i + 1) };
    let diffusivities: Vec<String> = (0..zeppelins)
        .flat_map(|i| ["lambda_par", "lambda_perp"].map(|p| format!("{}.{p}", name(i))))
        .collect();
    let links: String = diffusivities
        .windows(2)
        .enumerate()
        .map(|(i, w)| {
            format!(
                "\"{}\" = {{ fractional = {{ of = \"{}\", factor_name = \"r{i}\" }} }}\n",
                w[1], w[0]
            )
        })
        .collect();
    file(&vec!["zeppelin"; zeppelins], &format!("[link]\n{links}"))
}

#[test]
fn models_beyond_the_fixed_sizes_are_refused() {
    // The last of 7: 13 ratios, a diffusivity, a fraction and s0 make 16; of 8, 18.
    let model = Model::new(ModelSpec::from_toml(&chain(7)).unwrap()).unwrap();
    let directions = [[0.6, 0.0, 0.8]; 3];
    let acquisition = Acquisition::from_b(&[0.0, 1.0, 2.0], &directions, None, None).unwrap();
    let mut evaluator =
        Evaluator::new(&Lowered::new(Arc::new(model.clone()), &acquisition).unwrap());
    let x = composed::Uniform(1).values(&model, 0.1);
    assert!(evaluator.signal_and_jacobian(&x).1.iter().all(|v| v.is_finite()));
    let message = refused(&chain(8));
    for part in ["zeppelin_8", "18", "16"] {
        assert!(message.contains(part), "{message}");
    }
    // Sixteen free fractions, and one more.
    let model = Model::new(ModelSpec::from_toml(&file(&["ball"; 16], "")).unwrap()).unwrap();
    let x = composed::Uniform(2).values(&model, 0.1);
    let tangent = Tangent::new(&model);
    tangent.basis(&x, &mut Vec::new());
    let chart = Chart::new(&model, &x, |_| [0.0, 4.0], None);
    let mut z = vec![0.0; chart.dim()];
    chart.to_coordinates(&x, &mut z);
    assert!(z.iter().all(|v| v.is_finite()));
    let message = refused(&file(&["ball"; 17], ""));
    assert!(message.contains("17") && message.contains("16"), "{message}");
}

#[test]
fn cumulant_presets_are_what_they_say() {
    let preset = |name: &str| Model::new(ModelSpec::parse(name).unwrap()).unwrap();
    let names = |model: &Model| -> Vec<String> {
        model.measures().iter().map(|m| m.name.clone()).collect()
    };
    let (dti, dki, fwdti, ivim) = (preset("dti"), preset("dki"), preset("fwdti"), preset("ivim"));
    assert_eq!(dti.spec(), &ModelSpec::parse("tensor").unwrap());
    assert_eq!(names(&dti), ["fa", "md", "ad", "rd"]);
    assert_eq!(names(&fwdti), ["fa", "md", "ad", "rd"]);
    assert_eq!(names(&dki)[..8], ["fa", "md", "ad", "rd", "mk", "ak", "rk", "kfa"]);
    assert_eq!((names(&dki).len(), &*names(&dki)[22]), (23, "kurtosis.w_xyzz"));
    assert!(names(&ivim).is_empty());
    assert_eq!(dki.value_names(), dti.value_names());
    let free = |model: &Model, name: &str| model.free().iter().find(|f| f.name == name).cloned();
    assert!(free(&fwdti, "water.lambda_iso").is_none());
    let blood = free(&ivim, "blood.lambda_iso").unwrap();
    assert_eq!(blood.range, [3.0, 200.0]);
    // Starts are put about the middle of the logarithm of a range without the usual 1.
    assert!((blood.scale - 600_f64.sqrt()).abs() < 1e-12);
    assert_eq!(free(&ivim, "tissue.lambda_iso").unwrap().scale, 1.0);
    // Measures of several tensors have their names in front, and follow links.
    let two = Model::new(ModelSpec::parse("tensor + tensor").unwrap()).unwrap();
    assert_eq!(
        names(&two)[..5],
        ["tensor.fa", "tensor.md", "tensor.ad", "tensor.rd", "tensor_2.fa"]
    );
    let prolate =
        file(&["tensor"], "[link]\n\"tensor.lambda_3\" = { equal = \"tensor.lambda_2\" }");
    let prolate = Model::new(ModelSpec::from_toml(&prolate).unwrap()).unwrap();
    let mut x = vec![0.0; prolate.values()];
    let at = |name: &str| prolate.value_names().iter().position(|n| *n == name).unwrap();
    // The named order is not that of size.
    (x[at("tensor.lambda_1")], x[at("tensor.lambda_2")]) = (0.5, 2.0);
    let mut slope = vec![0.0; x.len()];
    let rd = prolate.measures()[3].evaluate(&prolate, &x, &[], &mut |k, d| slope[k] += d);
    assert_eq!(rd, 1.25);
    assert_eq!((slope[at("tensor.lambda_1")], slope[at("tensor.lambda_2")]), (0.5, 0.5));
}

#[test]
fn presets_have_these_values_and_columns() {
    let stick = ["stick.mu_x", "stick.mu_y", "stick.mu_z", "stick.lambda_par"];
    let second = ["stick_2.mu_x", "stick_2.mu_y", "stick_2.mu_z"];
    let third = ["stick_3.mu_x", "stick_3.mu_y", "stick_3.mu_z"];
    let expected: [(&str, Vec<&str>, Vec<&str>); 4] = [
        (
            "ball_stick",
            [&stick[..], &["ball.lambda_iso", "stick.fraction", "ball.fraction", "s0"]].concat(),
            [&stick[..], &["stick.fraction", "ball.lambda_iso", "ball.fraction", "s0"]].concat(),
        ),
        (
            "ball_sticks_2",
            [
                &stick[..],
                &second,
                &["ball.lambda_iso", "stick.fraction", "stick_2.fraction", "ball.fraction", "s0"],
            ]
            .concat(),
            [
                &stick[..],
                &["stick.fraction"],
                &second,
                &[
                    "stick_2.lambda_par",
                    "stick_2.fraction",
                    "ball.lambda_iso",
                    "ball.fraction",
                    "s0",
                ],
            ]
            .concat(),
        ),
        (
            "ball_sticks_3",
            [
                &stick[..],
                &second,
                &third,
                &[
                    "ball.lambda_iso",
                    "stick.fraction",
                    "stick_2.fraction",
                    "stick_3.fraction",
                    "ball.fraction",
                    "s0",
                ],
            ]
            .concat(),
            [
                &stick[..],
                &["stick.fraction"],
                &second,
                &["stick_2.lambda_par", "stick_2.fraction"],
                &third,
                &[
                    "stick_3.lambda_par",
                    "stick_3.fraction",
                    "ball.lambda_iso",
                    "ball.fraction",
                    "s0",
                ],
            ]
            .concat(),
        ),
        (
            "stick_zeppelin_ball",
            [
                &stick[..],
                &[
                    "zeppelin.lambda_perp",
                    "ball.lambda_iso",
                    "stick.fraction",
                    "zeppelin.fraction",
                    "ball.fraction",
                    "s0",
                ],
            ]
            .concat(),
            [
                &stick[..],
                &[
                    "stick.fraction",
                    "zeppelin.mu_x",
                    "zeppelin.mu_y",
                    "zeppelin.mu_z",
                    "zeppelin.lambda_par",
                ],
                &[
                    "zeppelin.lambda_perp",
                    "zeppelin.fraction",
                    "ball.lambda_iso",
                    "ball.fraction",
                    "s0",
                ],
            ]
            .concat(),
        ),
    ];
    for (preset, values, columns) in expected {
        let model = Model::new(ModelSpec::parse(preset).unwrap()).unwrap();
        assert_eq!(model.value_names(), values, "{preset}");
        assert_eq!(
            model.columns().iter().map(|c| c.name.as_str()).collect::<Vec<_>>(),
            columns,
            "{preset}"
        );
        // The columns hold the values, links followed.
        let x: Vec<f64> = (0..model.values()).map(|i| i as f64 + 0.5).collect();
        let mut filled = vec![0.0; model.columns().len()];
        model.fill_columns(&x, &[], &mut filled);
        let of = |name: &str| filled[columns.iter().position(|c| *c == name).unwrap()];
        for (name, x) in values.iter().zip(&x) {
            assert_eq!(of(name), *x, "{preset}, {name}");
        }
        for (linked, target) in [
            ("stick_2.lambda_par", "stick.lambda_par"),
            ("stick_3.lambda_par", "stick.lambda_par"),
            ("zeppelin.lambda_par", "stick.lambda_par"),
            ("zeppelin.mu_y", "stick.mu_y"),
        ] {
            if columns.contains(&linked) {
                assert_eq!(of(linked), of(target), "{preset}");
            }
        }
    }
}

#[test]
fn tensor_and_linked_models_have_these_columns() {
    let model = compose_models(["tensor"]).unwrap();
    let names = [
        "tensor.mu_x",
        "tensor.mu_y",
        "tensor.mu_z",
        "tensor.psi",
        "tensor.lambda_1",
        "tensor.lambda_2",
        "tensor.lambda_3",
        "s0",
    ];
    assert_eq!(model.value_names(), names);
    let columns: Vec<_> = model.columns().iter().map(|c| c.name.as_str()).collect();
    assert_eq!(columns, [&names[..7], &["tensor.fraction", "s0"]].concat());
    assert_eq!(model.columns()[3].unit, Unit::Radian);
    assert_eq!(model.columns()[4].unit, Unit::SquareMicrometrePerMillisecond);
    assert_eq!(model.columns()[8].unit, Unit::Signal);
    assert_eq!(model.degrees_of_freedom(), 7);
    assert_eq!(model.columns()[1].axis_part(), Some(("tensor", 1)));
    // An angle is periodic until the user cuts its range or gives it a prior.
    let kind = |rest: &str| {
        Model::new(ModelSpec::from_toml(&file(&["tensor"], rest)).unwrap()).unwrap().free()[1]
            .kind
            .clone()
    };
    assert_eq!(kind(""), FreeKind::Scalar { period: Some(std::f64::consts::PI) });
    assert_eq!(
        kind("[prior]\n\"tensor.psi\" = { normal = [0.5, 0.1] }\n"),
        FreeKind::Scalar { period: None }
    );
    assert_eq!(kind("[range]\n\"tensor.psi\" = [0.2, 0.4]\n"), FreeKind::Scalar { period: None });
    assert!(model.columns()[7].is_constant());

    let case = composed::cases().into_iter().find(|c| c.text.contains("tortuosity")).unwrap();
    let model = case.model();
    assert_eq!(
        model.value_names(),
        [
            "intra.mu_x",
            "intra.mu_y",
            "intra.mu_z",
            "intra.lambda_par",
            "extra_ratio",
            "intra.fraction",
            "extra.fraction",
            "csf.fraction",
            "s0",
        ]
    );
    let columns: Vec<_> = model.columns().iter().map(|c| c.name.as_str()).collect();
    assert_eq!(
        columns,
        [
            "intra.mu_x",
            "intra.mu_y",
            "intra.mu_z",
            "intra.lambda_par",
            "intra.fraction",
            "extra.mu_x",
            "extra.mu_y",
            "extra.mu_z",
            "extra.lambda_par",
            "extra.lambda_perp",
            "extra.fraction",
            "csf.lambda_iso",
            "csf.fraction",
            "still.fraction",
            "extra_ratio",
            "s0",
        ]
    );
    assert!(model.is_nonlinear_in_fractions());
    assert_eq!(model.degrees_of_freedom(), 2 + 1 + 1 + 2 + 1);
    let total = model.free().iter().find_map(|f| match &f.kind {
        FreeKind::Fractions { total, .. } => Some(*total),
        _ => None,
    });
    assert_eq!(total, Some(0.9));
}

#[test]
fn a_written_specification_reads_back() {
    for case in composed::cases() {
        let spec = case.spec();
        let text = toml::to_string(&spec).unwrap();
        assert_eq!(ModelSpec::from_toml(&text).unwrap(), spec, "{text}");
    }
    for preset in PRESETS {
        assert!(preset.reference.contains("doi:"));
        let model = Model::new(ModelSpec::parse(preset.name).unwrap());
        assert!(model.is_ok(), "{}: {}", preset.name, model.unwrap_err());
    }
}

#[test]
fn exchangeable_sticks_are_ordered_by_fraction() {
    let model = Model::new(ModelSpec::parse("ball_sticks_2").unwrap()).unwrap();
    let names = model.value_names();
    let at = |name: &str| names.iter().position(|n| *n == name).unwrap();
    let mut x = vec![1.0; model.values()];
    x[at("stick.mu_x")..at("stick.mu_x") + 3].copy_from_slice(&[0.6, 0.0, 0.8]);
    x[at("stick_2.mu_x")..at("stick_2.mu_x") + 3].copy_from_slice(&[0.0, 0.8, 0.6]);
    (x[at("stick.fraction")], x[at("stick_2.fraction")], x[at("ball.fraction")]) = (0.2, 0.5, 0.3);
    model.canonicalise(&mut x);
    assert_eq!(
        (x[at("stick.fraction")], x[at("stick_2.fraction")], x[at("ball.fraction")]),
        (0.5, 0.2, 0.3)
    );
    assert_eq!(x[at("stick.mu_x")..at("stick.mu_x") + 3], [0.0, 0.8, 0.6]);
    let model = Model::new(ModelSpec::parse("ball_sticks_3").unwrap()).unwrap();
    let names = model.value_names();
    let fractions: Vec<usize> =
        (0..names.len()).filter(|&k| names[k].ends_with("fraction")).collect();
    let mut x = vec![1.0; model.values()];
    for (k, f) in fractions.iter().zip([0.1, 0.2, 0.3, 0.4]) {
        x[*k] = f;
    }
    model.canonicalise(&mut x);
    assert_eq!(fractions.iter().map(|&k| x[k]).collect::<Vec<_>>(), [0.3, 0.2, 0.1, 0.4]);
    // A zeppelin follows the first stick: changing places would change the signal.
    let followed = "[[compartment]]\nkind = \"stick\"\n[[compartment]]\nkind = \"stick\"\n\
                    [[compartment]]\nkind = \"zeppelin\"\n[link]\n\"zeppelin.mu\" = { equal = \"stick.mu\" }\n";
    let model = Model::new(ModelSpec::from_toml(followed).unwrap()).unwrap();
    let names = model.value_names();
    let at = |name: &str| names.iter().position(|n| *n == name).unwrap();
    let mut x = vec![1.0; model.values()];
    (x[at("stick.fraction")], x[at("stick_2.fraction")]) = (0.2, 0.5);
    model.canonicalise(&mut x);
    assert_eq!((x[at("stick.fraction")], x[at("stick_2.fraction")]), (0.2, 0.5));
}

/// The order of exchangeable compartments is that of higher prior density.
#[test]
fn exchangeable_fractions_follow_their_concentrations() {
    for (concentration, expected) in [
        ("[1.0, 0.1, 1.0]", [0.5, 0.2, 0.3]),
        ("[0.1, 1.0, 1.0]", [0.2, 0.5, 0.3]),
        ("[2.0, 2.0, 1.0]", [0.5, 0.2, 0.3]),
    ] {
        let prior = format!("[prior]\nfractions = {{ dirichlet = {concentration} }}\n");
        let text = file(&["stick", "stick", "ball"], &prior);
        let model = Model::new(ModelSpec::from_toml(&text).unwrap()).unwrap();
        let names = model.value_names();
        let at: Vec<usize> = (0..names.len()).filter(|&k| names[k].ends_with("fraction")).collect();
        for given in [[0.5, 0.2, 0.3], [0.2, 0.5, 0.3]] {
            let mut x = vec![1.0; model.values()];
            at.iter().zip(given).for_each(|(&k, f)| x[k] = f);
            model.canonicalise(&mut x);
            let found: Vec<f64> = at.iter().map(|&k| x[k]).collect();
            assert_eq!(found, expected, "{concentration} from {given:?}");
        }
    }
}

/// The signals of a model at `x`.
fn signals(model: &Model, x: &[f64]) -> Vec<f64> {
    let g = [[0.6, 0.0, 0.8], [0.0, 0.6, -0.8], [0.48, 0.6, 0.64], [1.0, 0.0, 0.0]];
    let acquisition = Acquisition::from_b(&[1.0, 2.0, 3.0, 1.5], &g, None, None).unwrap();
    let lowered = Lowered::new(Arc::new(model.clone()), &acquisition).unwrap();
    Evaluator::new(&lowered).predict(x)
}

#[test]
fn the_canonical_form_of_linked_models_keeps_the_signal() {
    for (kinds, link) in [
        (&["tensor"][..], "\"tensor.psi\" = { fixed = 0.7 }"),
        (&["tensor", "tensor"], "\"tensor_2.psi\" = { equal = \"tensor.psi\" }"),
        (&["tensor", "ball"], "\"ball.lambda_iso\" = { equal = \"tensor.lambda_1\" }"),
        (
            &["zeppelin", "zeppelin", "ball"],
            "\"zeppelin.lambda_perp\" = { equal = \"zeppelin.lambda_par\" }\n\
             \"zeppelin_2.lambda_perp\" = { equal = \"zeppelin_2.lambda_par\" }",
        ),
    ] {
        let text = file(kinds, &format!("[link]\n{link}\n"));
        let model = Model::new(ModelSpec::from_toml(&text).unwrap()).unwrap();
        let mut x: Vec<f64> = (0..model.values()).map(|i| 0.3 + 0.21 * i as f64).collect();
        for free in model.free() {
            match free.kind {
                FreeKind::Axis => x[free.at..free.at + 3].copy_from_slice(&[-0.6, 0.48, -0.64]),
                FreeKind::Fractions { .. } => {
                    x[free.at..free.at + free.len].copy_from_slice(&[0.2, 0.7, 0.1][..free.len])
                }
                _ => {}
            }
        }
        let before = signals(&model, &x);
        model.canonicalise(&mut x);
        for (p, q) in before.iter().zip(signals(&model, &x)) {
            assert!((p - q).abs() < 1e-12, "{link}: {p} became {q}");
        }
    }
}

/// Two exchanging pairs of other water have equal parameters, but not equal signals.
#[test]
fn other_exchanging_pairs_do_not_change_places() {
    let pair = |of: &str| format!("[[compartment]]\nkind = \"karger\"\nof = {of}\n");
    let text = pair("[\"stick\", \"dot\"]") + &pair("[\"dot\", \"stick\"]");
    let model = Model::new(ModelSpec::from_toml(&text).unwrap()).unwrap();
    let names = model.value_names();
    let at = |name: &str| names.iter().position(|n| *n == name).unwrap();
    let mut x = vec![0.4; model.values()];
    (x[at("karger.fraction")], x[at("karger_2.fraction")]) = (0.2, 0.8);
    x[at("karger.intra_fraction")] = 0.9;
    x[at("karger.exchange_time_ms")] = 20.0;
    x[at("karger_2.exchange_time_ms")] = 70.0;
    let timing = PulseTiming { delta_ms: vec![5.0; 4], big_delta_ms: vec![30.0; 4] };
    let g = [[0.6, 0.0, 0.8], [0.0, 0.6, -0.8], [0.48, 0.6, 0.64], [1.0, 0.0, 0.0]];
    let a = Acquisition::from_b(&[1.0, 2.0, 3.0, 1.5], &g, Some(timing), None).unwrap();
    let lowered = Lowered::new(Arc::new(model.clone()), &a).unwrap();
    let before = Evaluator::new(&lowered).predict(&x);
    model.canonicalise(&mut x);
    for (p, q) in before.iter().zip(Evaluator::new(&lowered).predict(&x)) {
        assert!((p - q).abs() < 1e-12, "{p} became {q}");
    }
}

#[test]
fn priors_and_ranges_without_effect_are_named() {
    check(
        &["stick", "ball"],
        "prior",
        &[
            ("\"ball.fraction\" = { uniform = [0.0, 0.5] }", &["`ball.fraction`", "`fractions`"]),
            (
                "s0 = { uniform = [1.0, 2.0] }\n[link]\ns0 = { fixed = 1.0 }",
                &["[prior]", "`s0`", "not free"],
            ),
        ],
    );
    check(
        &["stick", "ball"],
        "range",
        &[
            ("\"ball.fraction\" = [0.0, 0.5]", &["[range]", "`ball.fraction`", "no effect"]),
            ("\"stick.mu\" = [0.0, 0.5]", &["`stick.mu`", "direction"]),
            ("sigma = [0.0, 0.5]", &["`sigma`", "prior"]),
            ("sigma = [-0.5, 0.5]\n[prior]\nsigma = { half_normal = 1.0 }", &["`sigma`", "-0.5"]),
        ],
    );
    check(
        &["tensor"],
        "range",
        &[(
            "\"tensor.psi\" = [-inf, 3.0]\n[prior]\n\"tensor.psi\" = { normal = [0.0, 1.0] }",
            &["`tensor.psi`", "open below"],
        )],
    );
}

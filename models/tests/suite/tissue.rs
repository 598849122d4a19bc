//! Walks in ellipsoids, capped cylinders, nested and packed walls and meshes against what is
//! known of them: exact signals, diffusivities, rates of exchange, equilibria.
#![allow(clippy::unwrap_used, clippy::panic)]

use microtome_kernels::simd::SimdLevel;
use microtome_kernels::walk::{NodeWeight, Protocol, Reading, Shape, Walk, walk, walk_at};
use microtome_models::substrate::{
    Files, Sequence, Signals, Simulation, Substrate, SubstrateSpec, Triangles, exact_signals,
};

const GAMMA: f64 = 0.267_522_187_44;

fn built(toml: &str, files: Files) -> Substrate {
    SubstrateSpec::from_toml(toml).unwrap().build_with(files).unwrap()
}

/// Two pulses along a direction.
fn pulses(g: [f64; 3], delta: f64, big: f64, dt: f64) -> Sequence {
    let times = ((big + delta) / dt).round() as usize;
    let sign = |t: f64| f64::from(u8::from(t < delta)) - f64::from(u8::from(t > big));
    let samples: Vec<f64> =
        (0..times).flat_map(|k| g.map(|g| g * sign((k as f64 + 0.5) * dt))).collect();
    Sequence::from_waveforms(&samples, times, dt).unwrap()
}

fn run(substrate: Substrate, sequence: &Sequence, step: Option<f64>, walkers: u64) -> Signals {
    let found = Simulation::new(substrate, sequence, step, walkers, 11).unwrap().run(|_| true);
    assert_eq!((found.escaped, found.stopped), (0, 0));
    found
}

/// Ends of all walkers in the world, and their starts.
fn ends(substrate: &Substrate, time: f64, step: f64, walkers: u64) -> Vec<[[f64; 3]; 2]> {
    let sequence = Sequence::from_waveforms(&[0.0; 3], 1, time).unwrap();
    let run = Simulation::new(substrate.clone(), &sequence, Some(step), walkers, 5).unwrap();
    let points = run.paths(&[0, run.steps()], 0..walkers);
    points.chunks(2).map(|p| [p[0], p[1]]).collect()
}

/// The mean lies within 3.5 standard errors of what is wanted.
fn agrees(name: &str, values: impl Iterator<Item = f64>, wanted: f64) {
    let values: Vec<f64> = values.collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let error = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n * (n - 1.0))).sqrt();
    assert!((mean - wanted).abs() < 3.5 * error, "{name}: {mean} +- {error}, wanted {wanted}");
}

fn close(name: &str, found: &Signals, row: usize, wanted: f64) {
    let s = found.rows[row].signal;
    let z = (s.real - wanted) / s.se_real;
    assert!(z.abs() < 3.5, "{name}: {} +- {}, wanted {wanted}", s.real, s.se_real);
}

/// The exact twin has the golden signals: nine figures in cylinders and spheres; planes
/// there are made by finite differences, good to 1e-5.
#[test]
fn exact_twin() {
    let golden = include_str!("../../../tests/golden/simulation.csv");
    for line in golden.lines().skip(1) {
        let part: Vec<&str> = line.split(',').collect();
        let number = |k: usize| part[k].parse::<f64>().unwrap();
        let size = if part[0] == "planes" { "separation_um" } else { "radius_um" };
        let mut toml = format!(
            "[substrate]\nkind = \"{}\"\n{size} = {:?}\n[intra]\ndiffusivity_um2_per_ms = {:?}\n\
             surface_relaxivity_um_per_ms = {:?}\nt2_ms = 70\n",
            part[0],
            number(1),
            number(2),
            number(3)
        );
        if !part[4].is_empty() {
            toml += &format!(
                "[[membrane]]\nposition_um = {:?}\npermeability_um_per_ms = {:?}\n",
                number(4),
                number(5)
            );
        }
        // Across a cylinder and to planes; free along the axis of the cylinder.
        let (g, delta, big) = (number(6), number(7), number(8));
        let along = if part[0] == "planes" { [0.0, 0.0, g] } else { [0.6 * g, 0.8 * g, 0.0] };
        let found = exact_signals(&built(&toml, Files::default()), &pulses(along, delta, big, 5.0));
        let relaxed = (-(big + delta) / 70.0).exp();
        let s = found.unwrap().rows[0].signal;
        let error = if part[0] == "planes" { 1e-5 } else { 2e-9 };
        assert!((s.real / relaxed - number(9)).abs() < error, "{line}: {}", s.real / relaxed);
        assert_eq!(s.se_real, 0.0);
    }
    // A capped cylinder is a product; along it alone, planes of its length.
    let toml = "[substrate]\nkind = \"capped_cylinder\"\nradius_um = 2.0\nlength_um = 8.0\n\
        [intra]\ndiffusivity_um2_per_ms = 1.0\n";
    let found =
        exact_signals(&built(toml, Files::default()), &pulses([0.0, 0.0, 0.1], 10.0, 30.0, 5.0));
    let planes = toml.replace("capped_cylinder", "planes").replace("radius_um = 2.0\n", "");
    let planes = planes.replace("length_um", "separation_um");
    let alone =
        exact_signals(&built(&planes, Files::default()), &pulses([0.0, 0.0, 0.1], 10.0, 30.0, 5.0));
    let (a, b) = (found.unwrap().rows[0].signal.real, alone.unwrap().rows[0].signal.real);
    assert!((a - b).abs() < 1e-12 && (a - 0.785_714_992).abs() < 1e-5);
    let sphere = "[substrate]\nkind = \"sphere\"\nradius_um = 2.0\n[intra]\n\
        diffusivity_um2_per_ms = 1.0\n";
    // Turning there, too: a strong gradient needs more modes than there are.
    let turning = |g: f64| Sequence::from_waveforms(&[g, 0.0, 0.0, 0.0, g, 0.0], 2, 20.0).unwrap();
    let found = exact_signals(&built(sphere, Files::default()), &turning(0.02)).unwrap();
    assert!((found.rows[0].signal.real - 1.0).abs() < 0.1);
    let found = exact_signals(&built(sphere, Files::default()), &turning(9.0)).unwrap_err();
    assert!(found.to_string().contains("turns"), "{found}");
}

const WATER: &str = "[intra]\ndiffusivity_um2_per_ms = 2.0\n";

/// Equal semi-axes are the sphere of `golden_rows`.
#[test]
fn an_ellipsoid_of_equal_axes_is_a_sphere() {
    let toml =
        format!("[substrate]\nkind = \"ellipsoid\"\nsemi_axes_um = [2.0, 2.0, 2.0]\n{WATER}");
    let sequence = pulses([0.0, 0.6, 0.0], 10.0, 30.0, 5.0);
    let found = run(built(&toml, Files::default()), &sequence, None, 6000);
    close("sphere", &found, 0, 0.835_093_151);
    let relaxing = "[substrate]\nkind = \"ellipsoid\"\nsemi_axes_um = [5.0, 5.0, 5.0]\n[intra]\n\
        diffusivity_um2_per_ms = 2.0\nsurface_relaxivity_um_per_ms = 0.2\n";
    let sequence = pulses([0.0; 3], 5.0, 15.0, 5.0);
    let found = run(built(relaxing, Files::default()), &sequence, None, 6000);
    close("relaxing sphere", &found, 0, 0.113_309_728);
}

/// Uniform stays uniform at steps of a third of the smallest semi-axis, and positions are
/// forgotten in the end.
#[test]
fn ellipsoids_stay_uniform() {
    let semi = [1.5, 2.0, 5.0];
    let toml = format!("[substrate]\nkind = \"ellipsoid\"\nsemi_axes_um = {semi:?}\n{WATER}");
    let found = ends(&built(&toml, Files::default()), 40.0, 0.06, 10_000);
    for a in 0..3 {
        let scaled = |p: &[f64; 3]| (p[a] / semi[a]).powi(2);
        agrees("uniform", found.iter().map(|p| scaled(&p[1])), 0.2);
        let moved = found.iter().map(|p| ((p[1][a] - p[0][a]) / semi[a]).powi(2));
        agrees("forgotten", moved, 0.4);
        agrees("fourth", found.iter().map(|p| scaled(&p[1]).powi(2)), 3.0 / 35.0);
    }
}

/// A capped cylinder is a cylinder times planes.
#[test]
fn a_capped_cylinder_is_a_product() {
    let toml = "[substrate]\nkind = \"capped_cylinder\"\nradius_um = 2.0\nlength_um = 8.0\n[intra]\n\
        diffusivity_um2_per_ms = 1.0\n";
    let along = pulses([0.0, 0.0, 0.1], 10.0, 30.0, 5.0);
    let found = run(built(toml, Files::default()), &along, None, 6000);
    close("planes of 8 um", &found, 0, 0.785_714_992);
    let toml = toml.replace("per_ms = 1.0", "per_ms = 2.0").replace("8.0", "3.0");
    let across = pulses([0.3, 0.0, 0.0], 10.0, 30.0, 5.0);
    let found = run(built(&toml, Files::default()), &across, None, 6000);
    close("cylinder of 2 um", &found, 0, 0.931_629_487);
}

/// The inside of a cylinder in a cell is that of the cylinder alone, with a relaxing wall too.
#[test]
fn walls_in_cells_have_the_signals_of_walls_alone() {
    let text = |kind: &str, radius: f64, rho: f64| {
        format!(
            "[substrate]\nkind = \"{kind}\"\nradius_um = {radius:?}\ncell_um = 14.0\n[intra]\n\
             diffusivity_um2_per_ms = 2.0\nsurface_relaxivity_um_per_ms = {rho}\n"
        )
    };
    for (kind, radius, rho, g, delta, big, wanted) in [
        ("cylinder", 2.0, 0.0, 0.3, 10.0, 30.0, 0.931_629_487),
        ("sphere", 2.0, 0.0, 0.6, 10.0, 30.0, 0.835_093_151),
        ("cylinder", 5.0, 0.2, 0.0, 5.0, 15.0, 0.241_558_676),
        ("sphere", 5.0, 0.2, 0.0, 5.0, 15.0, 0.113_309_728),
    ] {
        let sequence = pulses([0.0, g, 0.0], delta, big, 5.0);
        let toml = text(kind, radius, rho);
        let found = run(built(&toml, Files::default()), &sequence, None, 6000);
        assert_eq!(found.rows[0].compartment, "intra");
        close(kind, &found, 0, wanted);
    }
}

/// Diffusion far around a square array of cylinders: the series of Perrins, McKenzie &
/// McPhedran 1979, doi:10.1098/rspa.1979.0160, for cylinders that nothing enters.
#[test]
fn diffusion_around_cylinders() {
    let toml = "[substrate]\nkind = \"cylinder\"\nradius_um = 4.0\ncell_um = 10.0\n[intra]\n\
        diffusivity_um2_per_ms = 2.0\n[extra]\ndiffusivity_um2_per_ms = 2.0\n[start]\n\
        where = \"extra\"\n";
    let f = std::f64::consts::PI * 16.0 / 100.0;
    let inner =
        1.0 + f - 0.305_827 * f.powi(4) / (1.0 - 1.402_958 * f.powi(8)) - 0.013_362 * f.powi(8);
    let wanted = 2.0 * (1.0 - 2.0 * f / inner) / (1.0 - f);
    let substrate = built(toml, Files::default());
    for step in [0.1, 0.4] {
        let sequence = Sequence::from_waveforms(&[0.0; 3], 1, 240.0).unwrap();
        let walkers = 2000;
        let run = Simulation::new(substrate.clone(), &sequence, Some(step), walkers, 3).unwrap();
        let n = run.steps();
        let points = run.paths(&[0, n / 4, n], 0..walkers);
        let slope = |a: usize| {
            points.chunks(3).map(move |p| {
                let square = |q: [f64; 3]| (q[a] - p[0][a]).powi(2);
                (square(p[2]) - square(p[1])) / (2.0 * 180.0)
            })
        };
        agrees("around", slope(0).zip(slope(1)).map(|(x, y)| 0.5 * (x + y)), wanted);
        agrees("along", slope(2), 2.0);
        let extra = points.chunks(3).all(|p| substrate.shape().compartment(p[2]) == Some(1));
        assert!(extra);
    }
}

fn fraction_in(substrate: &Substrate, points: &[[[f64; 3]; 2]], medium: usize) -> Vec<f64> {
    let inside = |p: &[f64; 3]| substrate.shape().compartment(*p) == Some(medium);
    points.iter().map(|p| f64::from(u8::from(inside(&p[1])))).collect()
}

/// Walls let through what κ says at any step, also between different diffusivities: the
/// equilibrium is uniform and the first exchange is κ S/V.
#[test]
fn exchange_between_media() {
    for (kind, d_extra, cell) in
        [("cylinder", 2.0, 9.0), ("cylinder", 0.7, 9.0), ("sphere", 2.5, 8.0)]
    {
        let text = |kappa: f64, place: &str| {
            format!(
                "[substrate]\nkind = \"{kind}\"\nradius_um = 3.0\ncell_um = {cell:?}\n[intra]\n\
                 diffusivity_um2_per_ms = 1.5\n[extra]\ndiffusivity_um2_per_ms = {d_extra:?}\n\
                 [wall]\npermeability_um_per_ms = {kappa:?}\n[start]\nwhere = \"{place}\"\n"
            )
        };
        let (share, per_um) = match kind {
            "cylinder" => (std::f64::consts::PI * 9.0 / (cell * cell), 2.0 / 3.0),
            _ => (36.0 * std::f64::consts::PI / (cell * cell * cell), 1.0),
        };
        for step in [0.02, 0.1] {
            let equal = built(&text(0.4, "all"), Files::default());
            let found = ends(&equal, 10.0, step, 8_000);
            let inside = fraction_in(&equal, &found, 0);
            agrees(kind, inside.into_iter(), share);
            let leaving = built(&text(0.02, "intra"), Files::default());
            let time = 1.0;
            let found = ends(&leaving, time, step, 20_000);
            let outside = fraction_in(&leaving, &found, 1);
            // Those who come back are of second order.
            let rate = 0.02 * per_um * time;
            let back = 0.5 * rate * rate / (1.0 - share);
            let mean = outside.iter().sum::<f64>() / outside.len() as f64;
            let error = (mean / outside.len() as f64).sqrt();
            assert!((mean - rate + back).abs() < 3.5 * error + 0.03 * rate, "{kind} {mean} {rate}");
        }
    }
}

/// Compartments relax by their own T2; together where exchange is fast.
#[test]
fn compartments_relax_by_their_own_times() {
    let text = |kappa: f64| {
        format!(
            "[substrate]\nkind = \"annuli\"\nradii_um = [2.0, 3.0]\ncell_um = 7.0\n[intra]\n\
             diffusivity_um2_per_ms = 2.0\nt2_ms = 80\n[myelin]\ndiffusivity_um2_per_ms = 0.5\n\
             t2_ms = 15\n[extra]\ndiffusivity_um2_per_ms = 1.0\nt2_ms = 60\n[wall]\n\
             permeability_um_per_ms = [{kappa:?}, {kappa:?}]\n[start]\nwhere = \"all\"\n"
        )
    };
    let sequence = Sequence::from_waveforms(&[0.0; 3], 1, 20.0).unwrap();
    let found = run(built(&text(0.0), Files::default()), &sequence, None, 3000);
    assert_eq!(found.rows.len(), 4);
    let pi = std::f64::consts::PI;
    let shares = [4.0 * pi / 49.0, 5.0 * pi / 49.0, 1.0 - 9.0 * pi / 49.0];
    for (row, (name, t2)) in [("intra", 80.0), ("myelin", 15.0), ("extra", 60.0)].iter().enumerate()
    {
        assert_eq!(found.rows[row].compartment, *name);
        let wanted = f64::exp(-20.0 / t2);
        assert!((found.rows[row].signal.real - wanted).abs() < 1e-12);
        let n = found.rows[row].walkers as f64;
        let error = (3000.0 * shares[row] * (1.0 - shares[row])).sqrt();
        assert!((n - 3000.0 * shares[row]).abs() < 4.0 * error);
    }
    // With walls that hardly hold, the mean rate of the whole cell.
    let found = run(built(&text(20.0), Files::default()), &sequence, Some(0.01), 2000);
    let rate: f64 = shares.iter().zip([80.0, 15.0, 60.0]).map(|(s, t2)| s / t2).sum();
    let s = found.rows[3].signal;
    assert!((s.real - (-20.0 * rate).exp()).abs() < 0.02 * s.real, "{} {rate}", s.real);
}

const PACKED: &str = "[substrate]\nkind = \"cylinders\"\ncount = 60\nvolume_fraction = 0.65\n\
    gamma_shape = 4.0\ngamma_scale_um = 0.5\nmin_radius_um = 0.4\n[intra]\n\
    diffusivity_um2_per_ms = 2.0\n[extra]\ndiffusivity_um2_per_ms = 2.0\n[start]\nwhere = \"all\"\n";

/// Parts of a packing add up; nothing leaks; spheres and sheaths too.
#[test]
fn packings_hold_their_walkers() {
    let sequence = pulses([0.05, 0.0, 0.02], 8.0, 20.0, 4.0);
    for (from, to) in [
        ("", ""),
        ("\"cylinders\"", "\"spheres\""),
        ("0.65", "0.5"),
        ("[intra]", "g_ratio = 0.7\n[myelin]\ndiffusivity_um2_per_ms = 0.3\n[intra]"),
    ] {
        let mut toml = PACKED.replace(from, to);
        if to.contains("spheres") {
            toml = toml.replace("0.65", "0.45");
        }
        if from.is_empty() {
            toml = PACKED.into();
        }
        let substrate = built(&toml, Files::default());
        let Shape::Rounds(rounds) = substrate.shape() else { panic!() };
        assert!(rounds.walls().len() >= 60);
        let found = run(substrate, &sequence, None, 3000);
        let total = found.rows.last().unwrap();
        assert_eq!(total.compartment, "all");
        let parts = &found.rows[..found.rows.len() - 1];
        let sum: f64 = parts.iter().map(|r| r.signal.real * r.walkers as f64).sum();
        assert!((sum / 3000.0 - total.signal.real).abs() < 1e-12);
        assert_eq!(parts.iter().map(|r| r.walkers).sum::<u64>(), 3000);
    }
}

/// A box of twelve triangles, turned by a rotation about z.
fn cube(edge: f64, angle: f64) -> Triangles {
    let (s, c) = angle.sin_cos();
    let vertices = (0..8)
        .map(|i| {
            let [x, y, z] = [i & 1, i >> 1 & 1, i >> 2].map(|b| edge * (f64::from(b) - 0.5));
            [c * x - s * y, s * x + c * y, z]
        })
        .collect();
    let sides =
        [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]];
    let faces = sides.iter().flat_map(|q| [[q[0], q[1], q[2]], [q[0], q[2], q[3]]]).collect();
    Triangles { vertices, faces }
}

/// A ball of 8 * 4^n triangles.
fn ball(radius: f64, n: usize) -> Triangles {
    let mut vertices: Vec<[f64; 3]> = vec![
        [1.0, 0.0, 0.0],
        [-1.0, 0.0, 0.0],
        [0.0, 1.0, 0.0],
        [0.0, -1.0, 0.0],
        [0.0, 0.0, 1.0],
        [0.0, 0.0, -1.0],
    ];
    let mut faces = Vec::new();
    for x in [0, 1] {
        for y in [2, 3] {
            for z in [4, 5] {
                faces.push([x, y, z]);
            }
        }
    }
    for _ in 0..n {
        let mut middles = std::collections::HashMap::new();
        let mut next = Vec::new();
        for [a, b, c] in faces {
            let mut middle = |i: usize, j: usize| {
                *middles.entry((i.min(j), i.max(j))).or_insert_with(|| {
                    let sum = [0, 1, 2].map(|k: usize| vertices[i][k] + vertices[j][k]);
                    let size = sum.iter().map(|v| v * v).sum::<f64>().sqrt();
                    vertices.push(sum.map(|v| v / size));
                    vertices.len() - 1
                })
            };
            let (ab, bc, ca) = (middle(a, b), middle(b, c), middle(c, a));
            next.extend([[a, ab, ca], [b, bc, ab], [c, ca, bc], [ab, bc, ca]]);
        }
        faces = next;
    }
    Triangles { vertices: vertices.into_iter().map(|v| v.map(|c| radius * c)).collect(), faces }
}

fn with_mesh(mesh: Triangles) -> Files {
    Files { mesh: Some(mesh), ..Files::default() }
}

const MESH: &str = "[substrate]\nkind = \"mesh\"\nfile = \"given\"\n[intra]\n\
    diffusivity_um2_per_ms = 1.0\n";

/// A box is planes across each of its directions, however it is turned.
#[test]
fn a_mesh_of_a_box_has_the_signal_of_planes() {
    for angle in [0.0, 0.5] {
        let (s, c) = f64::sin_cos(angle);
        let sequence = pulses([0.1 * c, 0.1 * s, 0.0], 10.0, 30.0, 5.0);
        for step in [0.1, 1.0] {
            let substrate = built(MESH, with_mesh(cube(8.0, angle)));
            let found = run(substrate, &sequence, Some(step), 4000);
            close("box", &found, 0, 0.785_714_992);
        }
    }
}

/// 8192 triangles are a sphere but for a thousandth, inside and around.
#[test]
fn a_mesh_of_a_ball_is_a_sphere() {
    let mesh = ball(5.0, 5);
    let toml = MESH.replace("per_ms = 1.0", "per_ms = 2.0\nsurface_relaxivity_um_per_ms = 0.02");
    let sequence = pulses([0.0; 3], 5.0, 15.0, 5.0);
    let found = run(built(&toml, with_mesh(mesh.clone())), &sequence, None, 3000);
    let s = found.rows[0].signal;
    assert!((s.real - 0.788_473_657).abs() < 3.5 * s.se_real + 5e-4, "{}", s.real);
    // Through its wall and back: uniform in the cell.
    let toml = "[substrate]\nkind = \"mesh\"\nfile = \"x\"\ncell_um = 11.0\n[intra]\n\
        diffusivity_um2_per_ms = 2.0\n[extra]\ndiffusivity_um2_per_ms = 1.0\n[wall]\n\
        permeability_um_per_ms = 0.5\n[start]\nwhere = \"all\"\n";
    let substrate = built(toml, with_mesh(mesh));
    let Shape::Mesh(shape) = substrate.shape() else { panic!() };
    let share = shape.volume_and_area()[0] / 1331.0;
    let found = ends(&substrate, 6.0, 0.05, 6000);
    agrees("uniform", fraction_in(&substrate, &found, 0).into_iter(), share);
    let sequence = pulses([0.02, 0.0, 0.0], 2.0, 4.0, 1.0);
    run(substrate, &sequence, None, 2000);
}

#[test]
fn wrong_objects_are_refused() {
    let says = |toml: &str, files: Files, text: &str| {
        let found = SubstrateSpec::from_toml(toml).and_then(|s| s.build_with(files));
        let found = found.unwrap_err().to_string();
        assert!(found.contains(text), "{found}");
    };
    let none = Files::default;
    let mut open = cube(8.0, 0.0);
    open.faces.pop();
    says(MESH, with_mesh(open), "not closed");
    let mut crossing = cube(8.0, 0.0);
    crossing.vertices[0] = [9.0, 5.0, 3.0];
    says(MESH, with_mesh(crossing), "intersects itself");
    // Two boxes, edges of one through diagonals of faces of the other.
    let mut boxes = cube(8.0, 0.0);
    let other = cube(8.0, 0.0);
    boxes.faces.extend(other.faces.iter().map(|f| f.map(|v| v + 8)));
    boxes.vertices.extend(other.vertices.iter().map(|v| v.map(|c| c + 4.0)));
    says(MESH, with_mesh(boxes), "intersects itself");
    let mut flat = cube(8.0, 0.0);
    flat.faces[0] = [0, 0, 1];
    says(MESH, with_mesh(flat), "no area");
    let mut nan = cube(8.0, 0.0);
    nan.vertices[3][1] = f64::NAN;
    says(MESH, with_mesh(nan), "not finite");
    // A box in a box.
    let mut two = cube(8.0, 0.0);
    let inner = cube(3.0, 0.2);
    two.faces.extend(inner.faces.iter().map(|f| f.map(|v| v + 8)));
    two.vertices.extend(inner.vertices);
    says(MESH, with_mesh(two), "within another");
    says(&MESH.replace("file", "cell_um = 7.0\nfile"), with_mesh(cube(8.0, 0.0)), "does not fit");
    says(&PACKED.replace("0.65", "0.9"), none(), "substrate.volume_fraction");
    says(&PACKED.replace("count = 60\n", ""), none(), "substrate.count");
    says(&PACKED.replace("[extra]\ndiffusivity_um2_per_ms = 2.0\n", ""), none(), "extra");
    let listed = "[substrate]\nkind = \"cylinders\"\nobjects = \"x.csv\"\ncell_um = 10.0\n[intra]\n\
        diffusivity_um2_per_ms = 2.0\n";
    let objects = |list: &[[f64; 4]]| Files { objects: Some(list.to_vec()), ..none() };
    says(listed, objects(&[[0.0, 0.0, 0.0, 2.0], [3.0, 0.0, 0.0, 1.5]]), "overlap by 0.5");
    says(listed, objects(&[[4.5, 0.0, 0.0, 1.0], [-4.5, 0.0, 0.0, 1.0]]), "overlap by 1.0");
    says(listed, objects(&[[0.0, 0.0, 0.0, 6.0]]), "its own image");
    says(
        "[substrate]\nkind = \"cylinder\"\nradius_um = 2.0\n[intra]\ndiffusivity_um2_per_ms = 2.0\n[extra]\ndiffusivity_um2_per_ms = 2.0\n[start]\nwhere = \"all\"\n",
        none(),
        "substrate.cell_um",
    );
    let given = "[substrate]\nkind = \"sphere\"\nradius_um = 2.0\n[intra]\n\
        diffusivity_um2_per_ms = 2.0\n[start]\nwhere = \"given\"\npositions = \"p.npy\"\n";
    let at = |x: f64| Files { positions: Some(vec![[0.0; 3], [x, 0.0, 0.0]]), ..none() };
    says(given, at(2.0), "walker 1");
    says(given, at(2.0 - 1e-12), "starts in a wall");
    says(given, at(3.0), "outside");
    says(given, at(f64::NAN), "not finite");
    assert!(SubstrateSpec::from_toml(given).unwrap().build_with(at(1.0)).is_ok());
}

/// Given starts are where walkers begin, in the world.
#[test]
fn given_walkers_start_where_they_are_told() {
    let toml = "[substrate]\nkind = \"cylinder\"\nradius_um = 2.0\naxis = [1, 0, 0]\n[intra]\n\
        diffusivity_um2_per_ms = 2.0\n[start]\nwhere = \"given\"\npositions = \"p.npy\"\n";
    let points = vec![[7.0, 1.0, 0.5], [-3.0, 0.0, -1.9]];
    let files = Files { positions: Some(points.clone()), ..Files::default() };
    let found = ends(&built(toml, files), 1.0, 0.1, 5);
    for (i, p) in found.iter().enumerate() {
        for (a, b) in p[0].iter().zip(points[i % 2]) {
            assert!((a - b).abs() < 1e-12);
        }
    }
}

#[test]
fn threads_and_levels_change_no_bit() {
    let steps = 40;
    let weight = |k: usize| f64::from(u8::from(k < 20)) - f64::from(u8::from(k >= 20));
    let protocol = Protocol {
        steps: vec![0.05; steps],
        nodes: (0..=steps).map(|k| vec![NodeWeight { profile: 0, weight: weight(k) }]).collect(),
        profiles: 1,
        readings: vec![Reading {
            node: steps,
            profiles: 0..1,
            measurements: vec![0],
            amplitudes: vec![[GAMMA, 0.05, 0.02]],
        }],
        measurements: 1,
    };
    let walls = "[wall]\npermeability_um_per_ms = 0.2\n";
    let mesh = "[substrate]\nkind = \"mesh\"\nfile = \"x\"\ncell_um = 9.0\n[intra]\n\
        diffusivity_um2_per_ms = 2.0\n[extra]\ndiffusivity_um2_per_ms = 1.0\n";
    for (toml, files) in [
        (format!("{PACKED}{walls}"), Files::default()),
        (format!("{mesh}{walls}"), with_mesh(cube(8.0, 0.0))),
        (
            format!("[substrate]\nkind = \"ellipsoid\"\nsemi_axes_um = [1, 2, 3]\n{WATER}"),
            Files::default(),
        ),
    ] {
        let substrate = built(&toml, files);
        let of = |m: &microtome_models::substrate::Medium| microtome_kernels::walk::Medium {
            diffusivity: m.diffusivity,
            relaxivity: m.relaxivity,
            relaxation: 0.01,
        };
        let media: Vec<_> = substrate.media().iter().map(of).collect();
        let spec = Walk {
            shape: substrate.shape(),
            media: &media,
            start: substrate.start(),
            protocol: &protocol,
            seed: 9,
            walkers: 1203,
        };
        let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        let one = pool(1).install(|| walk(&spec, |_| true));
        assert_eq!(one, pool(3).install(|| walk(&spec, |_| true)));
        for level in SimdLevel::available().into_iter().filter(|l| l.name() != "scalar") {
            assert_eq!(walk_at(level, &spec, |_| true), one, "{}", level.name());
        }
    }
}

//! A drawing of a CT set-up as SVG: the plan, and in space the two elevations.
//!
//! Points are put straight onto two of the axes x, y, z; all panels have one scale, so
//! lengths may be measured. Drawn are the box of the volume, the path of the source (of
//! the ray's tail for parallel beams), and for some views the detector (all of its edge,
//! so that a curved one is seen as such) with the rays to its corners.
//!
//! Validated by `a_drawing_shows_what_is_there` below.

use microtome_kernels::ray::{Beam, Panel, View};
use microtome_models::ct::SetUp;
use std::fmt::Write;

/// Width and height of a panel, and what is left free about the scene, pixels.
const SIDE: f64 = 440.0;
const MARGIN: f64 = 56.0;
/// Points of an edge of a detector.
const EDGE: usize = 24;
/// Most points of the path.
const PATH: usize = 720;
/// Views that are drawn, and their colours (Okabe and Ito).
const COLOURS: [&str; 3] = ["#D55E00", "#009E73", "#CC79A7"];
const VOLUME: &str = "#0072B2";
const AXES: [&str; 3] = ["x", "y", "z"];

type Point = [f64; 3];

/// What is drawn of a view.
struct Drawn {
    number: usize,
    edge: Vec<Point>,
    rays: Vec<[Point; 2]>,
    /// The source; none of a parallel beam.
    source: Option<Point>,
}

/// Everything in the world.
struct Scene {
    boxed: Vec<[Point; 2]>,
    path: Vec<Point>,
    views: Vec<Drawn>,
    flat: bool,
}

fn along(p: Point, d: Point, t: f64) -> Point {
    std::array::from_fn(|k| p[k] + t * d[k])
}

fn length(a: Point) -> f64 {
    a.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// The edges of the volume.
fn edges(set_up: &SetUp) -> Vec<[Point; 2]> {
    let volume = &set_up.volume;
    let d = volume.dimensions();
    let (shape, voxel, centre) = (volume.shape(), volume.voxel_mm(), volume.centre_mm());
    let axes = volume.axes();
    // Lists of the volume are z before y before x.
    let half = |k: usize| shape[d - 1 - k] as f64 * voxel[d - 1 - k] / 2.0;
    let middle: Point = std::array::from_fn(|k| if k < d { centre[d - 1 - k] } else { 0.0 });
    let corner = |at: usize| {
        let signed = |k: usize| if at >> k & 1 == 1 { half(k) } else { -half(k) };
        (0..d).fold(middle, |p, k| along(p, axes[k], signed(k)))
    };
    let ends = (0..1_usize << d).flat_map(|a| (0..d).map(move |k| (a, a | 1 << k)));
    ends.filter(|(a, b)| a != b).map(|(a, b)| [corner(a), corner(b)]).collect()
}

impl Scene {
    fn new(set_up: &SetUp) -> Self {
        let geometry = &set_up.geometry;
        let flat = geometry.kind().dimensions() == 2;
        let boxed = edges(set_up);
        let [nv, nu] = geometry.detector();
        let panel = Panel { nu, nv, surface: geometry.surface() };
        let views = geometry.views();
        // Tails and heads of parallel rays are this far from the volume.
        let corners = || boxed.iter().flatten();
        let middle: Point = std::array::from_fn(|k| {
            corners().map(|p| p[k]).sum::<f64>() / corners().count() as f64
        });
        let apart = |p: &Point| length(std::array::from_fn(|k| p[k] - middle[k]));
        let reach = 1.6 * corners().map(apart).fold(0.0, f64::max);
        let tail = |ray: Point, p: Point| {
            let unit = ray.map(|x| x / length(ray));
            let to = (0..3).map(|k| (middle[k] - p[k]) * unit[k]).sum::<f64>();
            [along(p, unit, to - reach), along(p, unit, to + reach)]
        };
        let start = |view: &View| match view.beam {
            Beam::Source(source) => source,
            Beam::Parallel(ray) => tail(ray, middle)[0],
        };
        let step = views.len().div_ceil(PATH);
        let mut path: Vec<Point> = views.iter().step_by(step).map(start).collect();
        path.extend(views.last().map(start));
        let number = |k: usize| k * views.len() / COLOURS.len();
        let mut numbers: Vec<usize> = (0..COLOURS.len()).map(number).collect();
        numbers.dedup();
        let (us, vs) = ([-0.5, nu as f64 - 0.5], [-0.5, nv as f64 - 0.5]);
        let drawn = |number: usize| {
            let view = &views[number];
            let pixel = |iu: f64, iv: f64| view.pixel(panel, iu, if flat { 0.0 } else { iv });
            let share = |k: usize| us[0] + (us[1] - us[0]) * k as f64 / EDGE as f64;
            let mut edge: Vec<Point> = (0..=EDGE).map(|k| pixel(share(k), vs[0])).collect();
            let mut corners = vec![pixel(us[0], vs[0]), pixel(us[1], vs[0])];
            if !flat {
                edge.extend((0..=EDGE).rev().map(|k| pixel(share(k), vs[1])));
                edge.push(edge[0]);
                corners.extend([pixel(us[1], vs[1]), pixel(us[0], vs[1])]);
            }
            let ray = |p: Point| match view.beam {
                Beam::Source(source) => [source, p],
                Beam::Parallel(ray) => tail(ray, p),
            };
            let source = match view.beam {
                Beam::Source(source) => Some(source),
                Beam::Parallel(_) => None,
            };
            Drawn { number, edge, rays: corners.into_iter().map(ray).collect(), source }
        };
        Self { boxed, path, views: numbers.into_iter().map(drawn).collect(), flat }
    }

    fn points(&self) -> impl Iterator<Item = Point> {
        let views = self.views.iter();
        let of_views =
            views.flat_map(|v| v.edge.iter().copied().chain(v.rays.iter().flatten().copied()));
        self.boxed.iter().flatten().chain(&self.path).copied().chain(of_views)
    }
}

/// A step of 1, 2 or 5 times a power of ten, for about five marks.
fn mark(span: f64) -> f64 {
    let raw = span / 5.0;
    let power = 10_f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|f| f * power >= raw).unwrap_or(10.0);
    factor * power
}

/// A panel: which axes go right and up, and where it is.
struct Sheet<'a> {
    axes: [usize; 2],
    left: f64,
    middle: Point,
    scale: f64,
    out: &'a mut String,
}

impl Sheet<'_> {
    fn at(&self, p: Point) -> [f64; 2] {
        let [a, b] = self.axes;
        let right = (p[a] - self.middle[a]) * self.scale;
        let up = (p[b] - self.middle[b]) * self.scale;
        [self.left + SIDE / 2.0 + right, SIDE / 2.0 - up]
    }

    fn line(&mut self, points: &[Point], colour: &str, width: f64, more: &str) {
        let text: Vec<String> = points
            .iter()
            .map(|p| {
                let [x, y] = self.at(*p);
                format!("{x:.2},{y:.2}")
            })
            .collect();
        let _ = writeln!(
            self.out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"{more}/>",
            text.join(" ")
        );
    }

    fn dot(&mut self, p: Point, radius: f64, colour: &str) {
        let [x, y] = self.at(p);
        let _ = writeln!(
            self.out,
            "<circle cx=\"{x:.2}\" cy=\"{y:.2}\" r=\"{radius}\" fill=\"{colour}\"/>"
        );
    }

    fn text(&mut self, [x, y]: [f64; 2], anchor: &str, text: &str, colour: &str) {
        let _ = writeln!(
            self.out,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{text}</text>"
        );
    }

    /// Frame, marks in mm and the names of the axes.
    fn frame(&mut self, name: &str, span: f64) {
        let (low, high) = (MARGIN - 12.0, SIDE - MARGIN + 12.0);
        let (left, size) = (self.left, high - low);
        let _ = writeln!(
            self.out,
            "<rect x=\"{:.1}\" y=\"{low:.1}\" width=\"{size:.1}\" height=\"{size:.1}\" \
             fill=\"none\" stroke=\"#bbb\"/>",
            left + low
        );
        let step = mark(span);
        let [a, b] = self.axes;
        let half = size / 2.0 / self.scale;
        let places = |middle: f64| {
            let first = ((middle - half) / step).ceil() as i64;
            let last = ((middle + half) / step).floor() as i64;
            (first..=last).map(move |k| k as f64 * step)
        };
        let label = |v: f64| format!("{}", (v * 1e6).round() / 1e6 + 0.0);
        for v in places(self.middle[a]) {
            let mut p = self.middle;
            p[a] = v;
            let [x, _] = self.at(p);
            let _ = writeln!(self.out, "<path d=\"M{x:.1} {high:.1}v4\" stroke=\"#888\"/>");
            self.text([x, high + 16.0], "middle", &label(v), "#555");
        }
        for v in places(self.middle[b]) {
            let mut p = self.middle;
            p[b] = v;
            let [_, y] = self.at(p);
            let _ =
                writeln!(self.out, "<path d=\"M{:.1} {y:.1}h-4\" stroke=\"#888\"/>", left + low);
            self.text([left + low - 6.0, y + 4.0], "end", &label(v), "#555");
        }
        self.text([left + SIDE / 2.0, high + 34.0], "middle", &format!("{} (mm)", AXES[a]), "#222");
        self.text([left + low - 6.0, low - 10.0], "end", &format!("{} (mm)", AXES[b]), "#222");
        self.text([left + SIDE / 2.0, low - 10.0], "middle", name, "#222");
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The drawing of a set-up.
pub(super) fn svg(set_up: &SetUp, title: &str) -> String {
    let scene = Scene::new(set_up);
    let (mut low, mut high) = ([f64::INFINITY; 3], [f64::NEG_INFINITY; 3]);
    for p in scene.points().chain([[0.0; 3]]) {
        for k in 0..3 {
            (low[k], high[k]) = (low[k].min(p[k]), high[k].max(p[k]));
        }
    }
    let span = (0..3).map(|k| high[k] - low[k]).fold(0.0, f64::max).max(1e-9);
    let middle: Point = std::array::from_fn(|k| (low[k] + high[k]) / 2.0);
    let panels: &[([usize; 2], &str)] = if scene.flat {
        &[([0, 1], "plan")]
    } else {
        &[
            ([0, 1], "from above (along z)"),
            ([0, 2], "from the front (along y)"),
            ([1, 2], "from the side (along x)"),
        ]
    };
    let width = (SIDE * panels.len() as f64).max(640.0);
    let height = SIDE + 62.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <title>{}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        escaped(title)
    );
    for (k, (axes, name)) in panels.iter().enumerate() {
        let left = SIDE * k as f64;
        let scale = (SIDE - 2.0 * MARGIN) / span;
        let mut sheet = Sheet { axes: *axes, left, middle, scale, out: &mut out };
        sheet.frame(name, span);
        for view in &scene.views {
            let colour =
                COLOURS[scene.views.iter().position(|v| v.number == view.number).unwrap_or(0)];
            for ray in &view.rays {
                sheet.line(ray, colour, 0.8, " stroke-opacity=\"0.6\"");
            }
        }
        sheet.line(&scene.path, "#777", 1.2, " stroke-dasharray=\"4 3\"");
        for edge in &scene.boxed {
            sheet.line(edge, VOLUME, 1.8, "");
        }
        for (view, colour) in scene.views.iter().zip(COLOURS) {
            sheet.line(&view.edge, colour, 2.6, " stroke-linejoin=\"round\"");
            if let Some(source) = view.source {
                sheet.dot(source, 4.0, colour);
            }
        }
        sheet.dot([0.0; 3], 1.8, "#000");
    }
    let mut x = 16.0;
    let mut entry = |out: &mut String, colour: &str, text: &str| {
        let _ = writeln!(
            out,
            "<path d=\"M{x:.1} {:.1}h18\" stroke=\"{colour}\" stroke-width=\"3\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#222\">{}</text>",
            SIDE + 36.0,
            x + 24.0,
            SIDE + 40.0,
            escaped(text)
        );
        x += 44.0 + 6.2 * text.len() as f64;
    };
    let [nv, nu] = set_up.geometry.detector();
    entry(&mut out, VOLUME, "volume");
    let parallel = set_up.geometry.kind().is_parallel();
    entry(&mut out, "#777", if parallel { "path of the beam" } else { "path of the source" });
    for (view, colour) in scene.views.iter().zip(COLOURS) {
        entry(&mut out, colour, &format!("view {}", view.number));
    }
    let pixels = if scene.flat { format!("{nu} pixels") } else { format!("{nv} x {nu} pixels") };
    let what = format!(
        "{}, {} views, {pixels}: {}",
        set_up.geometry.kind().name(),
        set_up.geometry.n_views(),
        title
    );
    let _ = writeln!(
        out,
        "<text x=\"16\" y=\"{:.1}\" fill=\"#222\" font-size=\"13\">{}</text>\n</svg>",
        SIDE + 14.0,
        escaped(&what)
    );
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use microtome_models::ct::SetUpSpec;

    fn drawn(kind: &str, detector: &str, volume: &str, path: &str) -> (SetUp, String) {
        let text = format!(
            "kind = \"{kind}\"\ndetector = {detector}\n{volume}\n[trajectory]\nkind = \"circular\"\n\
             views = 12\n{path}"
        );
        let set_up = SetUpSpec::from_toml(&text).unwrap().build(None).unwrap();
        let svg = svg(&set_up, "a <b> & c.toml");
        (set_up, svg)
    }

    /// All points are on the sheet, the corners of the volume where the scale puts them.
    #[test]
    fn a_drawing_shows_what_is_there() {
        let plane = "[volume]\nshape = [30, 40]\nvoxel_mm = [1, 1]";
        let space = "[volume]\nshape = [20, 30, 40]\nvoxel_mm = [1, 1, 1]\ncentre_mm = [0, 0, 5]";
        let from = "source_to_axis_mm = 100\naxis_to_detector_mm = 50\n";
        for (kind, detector, volume, path, panels) in [
            ("parallel2d", "[64]", plane, "pixel_mm = [1]\n".to_string(), 1),
            ("fan2d", "[64]", plane, format!("pixel_mm = [1]\n{from}"), 1),
            ("parallel3d", "[32, 64]", space, "pixel_mm = [1, 1]\n".to_string(), 3),
            ("cone3d", "[32, 64]", space, format!("pixel_mm = [1, 1]\n{from}"), 3),
        ] {
            let (set_up, svg) = drawn(kind, detector, volume, &path);
            assert!(svg.contains("a &lt;b&gt; &amp; c.toml") && svg.ends_with("</svg>\n"));
            assert_eq!(svg.matches("<rect x=").count(), panels);
            assert!(svg.contains("12 views") && svg.contains("(mm)") && svg.contains("view 8"));
            let boxes = if panels == 1 { 4 } else { 12 * panels };
            assert_eq!(svg.matches(VOLUME).count(), boxes + 1, "{kind}");
            let mut seen = 0;
            for line in svg.lines().filter(|l| l.starts_with("<polyline")) {
                let points = line.split('"').nth(1).unwrap();
                for point in points.split(' ') {
                    let (x, y) = point.split_once(',').unwrap();
                    let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
                    assert!((0.0..=SIDE * 3.0).contains(&x) && (0.0..=SIDE).contains(&y), "{line}");
                    seen += 1;
                }
            }
            assert!(seen > 50);
            let scene = Scene::new(&set_up);
            let widths = scene.boxed.iter().map(|[a, b]| length(along(*a, *b, -1.0)));
            let mut widths: Vec<f64> = widths.collect();
            widths.sort_by(f64::total_cmp);
            assert_eq!(widths.first(), Some(&if panels == 1 { 30.0 } else { 20.0 }));
            assert_eq!(widths.last(), Some(&40.0));
            if kind == "fan2d" {
                // A circle of 100 mm; the rays end at the ends of the detector.
                assert!(scene.path.iter().all(|p| (length(*p) - 100.0).abs() < 1e-9));
                let [from, to] = scene.views[0].rays[0];
                assert!((length(along(from, to, -1.0)) - 32_f64.hypot(150.0)).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn marks_are_round() {
        for (span, expected) in [(5.0, 1.0), (6.0, 2.0), (24.0, 5.0), (300.0, 100.0), (0.8, 0.2)] {
            assert!((mark(span) - expected).abs() < 1e-12 * expected, "{span}");
        }
    }
}

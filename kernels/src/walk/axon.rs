//! A tube along z that swells and winds: beaded and undulating axons.
//!
//! $$F(x, y, z) = r(z)^2 - (x - c(z))^2 - y^2 \ge 0,\qquad
//!   r(z) = r_0\Bigl(1 + a\cos\frac{2\pi z}{L_r}\Bigr),\qquad
//!   c(z) = A\sin\frac{2\pi z}{L_c}$$
//!
//! Cross-sections at constant z are circles. A flight $p + tv$ finds its first hit from inside
//! by steps that can't pass one: with $|F''| \le M$ along the flight, F stays positive up to the
//! root of its minorant,
//!
//! $$h = \frac{F' + \sqrt{F'^2 + 2MF}}{M},$$
//!
//! which converges as Newton's method does. The slide of `wall.rs` is made with the normal
//! curvature $k = -T\cdot\nabla\nabla F\,T/|\nabla F||T|^2$ along the tangential part T of the
//! displacement; where k differs from place to place densities stay uniform but for terms of
//! $\sigma^4$. A walker with distance $r - \rho$ to the wall within its cross-section has a free
//! ball of radius $(r - \rho)/\sqrt{1 + (\max|r'| + \max|c'|)^2}$.
//!
//! | symbol | unit |
//! |---|---|
//! | x, y, z, r, c, A, L | µm |
//! | a | none |
//!
//! Source: the shape as in Nilsson et al. 2012, doi:10.1002/nbm.2795 (undulation), and Budde &
//! Frank 2010, doi:10.1073/pnas.1004841107 (beading). Validated by `models/tests/suite/axons.rs`.

use super::medium::Fate;
use super::scene::{Flight, Scene, Walker};
use crate::vector::{dot, norm};

/// Most parts of a flight, and most steps to a hit.
const PARTS: u32 = 2000;
const STEPS: u32 = 100;
/// F at a hit, in squares of the radius.
const CLOSE: f64 = 1e-13;
/// Shortest step of the search away from the wall, in flights.
const LEAST: f64 = 1e-9;
/// Most beads in the stretch that walkers start in.
const BEADS: u32 = 64;

/// A tube along z.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axon {
    radius: f64,
    /// a and 2π over its period.
    beading: [f64; 2],
    /// A and 2π over its period.
    undulation: [f64; 2],
}

/// Radius or centre line at a place: value and two derivatives by z.
type Course = [f64; 3];

impl Axon {
    /// Mean radius (µm), relative amplitude (0 to below 1) and period (µm) of the beads,
    /// amplitude and period of the undulation (µm); periods are of no matter where the
    /// amplitude is 0.
    pub fn new(radius: f64, beading: f64, bead_um: f64, undulation: f64, wave_um: f64) -> Self {
        let tau = std::f64::consts::TAU;
        let of = |amplitude: f64, period: f64| {
            if amplitude == 0.0 { [0.0; 2] } else { [amplitude, tau / period] }
        };
        Self { radius, beading: of(beading, bead_um), undulation: of(undulation, wave_um) }
    }

    fn radius(&self, z: f64) -> Course {
        let [a, k] = self.beading;
        let (s, c) = (k * z).sin_cos();
        let ra = self.radius * a;
        [self.radius + ra * c, -ra * k * s, -ra * k * k * c]
    }

    fn centre(&self, z: f64) -> Course {
        let [a, k] = self.undulation;
        let (s, c) = (k * z).sin_cos();
        [a * s, a * k * c, -a * k * k * s]
    }

    /// Largest radius, |r'|, |r''|, |c'|, |c''|.
    fn bounds(&self) -> [f64; 5] {
        let ([a, k], [b, q]) = (self.beading, self.undulation);
        let ra = self.radius * a;
        [self.radius + ra, ra * k, ra * k * k, b * q, b * q * q]
    }

    /// The smallest length that walkers have to see: radius of the necks, or of the bends, µm.
    pub fn smallest_size(&self) -> f64 {
        let [_, _, bead, _, wave] = self.bounds();
        (self.radius * (1.0 - self.beading[0])).min(1.0 / (bead + wave))
    }

    /// A length after which the shape repeats, µm; of many beads where none up to 64 beads does,
    /// 0 where the tube is straight.
    pub fn period(&self) -> f64 {
        let tau = std::f64::consts::TAU;
        let of = |[_, k]: [f64; 2]| if k > 0.0 { tau / k } else { 0.0 };
        let (bead, wave) = (of(self.beading), of(self.undulation));
        if bead == 0.0 || wave == 0.0 {
            return bead.max(wave);
        }
        let whole = |n: &u32| {
            let waves = f64::from(*n) * bead / wave;
            waves > 0.5 && (waves - waves.round()).abs() < 1e-9 * waves
        };
        let beads = (1..=BEADS).find(whole).unwrap_or(BEADS);
        (f64::from(beads) * bead).max(wave)
    }

    /// Half of the edges of a box that holds a period.
    pub(super) fn reach(&self) -> [f64; 3] {
        let widest = self.bounds()[0];
        [widest + self.undulation[0], widest, 0.5 * self.period()]
    }

    /// Whether the tube holds a point.
    pub fn contains(&self, x: [f64; 3]) -> bool {
        self.value(&x) > 0.0
    }

    fn value(&self, x: &[f64; 3]) -> f64 {
        let (r, c) = (self.radius(x[2])[0], self.centre(x[2])[0]);
        r * r - (x[0] - c) * (x[0] - c) - x[1] * x[1]
    }

    fn gradient(&self, x: &[f64; 3]) -> [f64; 3] {
        let (r, c) = (self.radius(x[2]), self.centre(x[2]));
        let from = x[0] - c[0];
        [-2.0 * from, -2.0 * x[1], 2.0 * (r[0] * r[1] + from * c[1])]
    }

    /// T' ∇∇F T.
    fn bend(&self, x: &[f64; 3], t: &[f64; 3]) -> f64 {
        let (r, c) = (self.radius(x[2]), self.centre(x[2]));
        let along = r[1] * r[1] + r[0] * r[2] - c[1] * c[1] + (x[0] - c[0]) * c[2];
        -2.0 * (t[0] * t[0] + t[1] * t[1]) + 4.0 * c[1] * t[0] * t[2] + 2.0 * along * t[2] * t[2]
    }

    /// Where a flight from inside first comes to the wall, and whether that is a hit; a search
    /// that takes long ends before the wall.
    fn first(&self, x: &[f64; 3], v: &[f64; 3]) -> Option<(f64, bool)> {
        let [widest, slope, bow, lean, wave] = self.bounds();
        let z = v[2] * v[2];
        let across = (v[0].abs() + lean * v[2].abs()).powi(2) + v[1] * v[1];
        // |F''| where F >= 0, and a little beyond.
        let most = 2.0 * ((slope * slope + widest * (bow + wave)) * z * 1.01 + across);
        let close = CLOSE * self.radius * self.radius;
        let mut t = 0.0;
        for _ in 0..STEPS {
            let p = [0, 1, 2].map(|a: usize| x[a] + t * v[a]);
            let (f, df) = (self.value(&p).max(0.0), dot(self.gradient(&p), *v));
            if f <= close && df <= 0.0 {
                return Some((t, true));
            }
            let h = (df + (df * df + 2.0 * most * f).sqrt()) / most;
            // On the wall and on its way in a walker moves.
            t += if df > 0.0 { h.max(LEAST) } else { h };
            if t >= 1.0 || t.is_nan() {
                return None;
            }
        }
        Some((t, false))
    }

    /// The point of the wall in the cross-section of a point, a part in 1e15 inside.
    fn on_wall(&self, x: [f64; 3]) -> [f64; 3] {
        let (r, c) = (self.radius(x[2])[0], self.centre(x[2])[0]);
        let from = [x[0] - c, x[1]];
        let scale = r * (1.0 - 4e-16) / from[0].hypot(from[1]);
        [c + from[0] * scale, from[1] * scale, x[2]]
    }

    fn outward(&self, x: &[f64; 3]) -> ([f64; 3], f64) {
        let g = self.gradient(x);
        let steep = norm(g);
        (g.map(|v| -v / steep), steep)
    }
}

/// A tube with walkers inside.
pub(crate) struct AxonScene(pub(crate) Axon);

impl Scene for AxonScene {
    const DIMENSIONS: usize = 3;

    fn region(&self, _: [f64; 3]) -> u32 {
        0
    }

    fn medium(&self, _: u32) -> usize {
        0
    }

    fn settle(&self, w: &mut Walker) {
        let axon = &self.0;
        let [_, slope, _, lean, _] = axon.bounds();
        let (r, c) = (axon.radius(w.x[2])[0], axon.centre(w.x[2])[0]);
        let room = r - (w.x[0] - c).hypot(w.x[1]);
        let square = 1.0 + (slope + lean) * (slope + lean);
        w.centre = w.x;
        w.safe = if room > 0.0 { room * room / square } else { 0.0 };
    }

    fn fly(&self, w: &mut Walker, displacement: [f64; 3], flight: &Flight<'_>) -> bool {
        let axon = &self.0;
        let medium = &flight.media[0];
        let (mut full, mut left) = (displacement, 1.0);
        for part in 0..PARTS {
            let v = full.map(|v| v * left);
            let Some((t, hit)) = axon.first(&w.x, &v) else {
                w.x = [0, 1, 2].map(|a: usize| w.x[a] + v[a]);
                self.settle(w);
                return true;
            };
            w.x = [0, 1, 2].map(|a: usize| w.x[a] + t * v[a]);
            left -= left * t;
            if !hit {
                continue;
            }
            let (n, steep) = axon.outward(&w.x);
            let s = dot(n, full);
            let fate =
                medium.meets(medium, 0.0, s.abs(), flight.duration, || (flight.chance)(part));
            if let Fate::Mirrored(lasts) = fate {
                w.weight *= lasts;
            }
            let along = [0, 1, 2].map(|a: usize| full[a] - s * n[a]);
            let across = dot(along, along);
            if across > 0.0 {
                let k = -axon.bend(&w.x, &along) / (steep * across);
                let shift = -s * k * left * (1.0 - left);
                w.x = axon.on_wall([0, 1, 2].map(|a: usize| w.x[a] + shift * along[a]));
                let (n, _) = axon.outward(&w.x);
                let lean = dot(n, along);
                let turned = [0, 1, 2].map(|a: usize| along[a] - lean * n[a]);
                let keep = (across / dot(turned, turned)).sqrt();
                full = [0, 1, 2].map(|a: usize| turned[a] * keep - s * n[a]);
            } else {
                w.x = axon.on_wall(w.x);
                full = n.map(|v| -s * v);
            }
        }
        self.settle(w);
        false
    }

    fn agrees(&self, w: &Walker) -> bool {
        self.0.value(&w.x) >= -1e-9 * self.0.radius * self.0.radius
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_lie_on_the_wall_and_nothing_is_passed() {
        let axon = Axon::new(1.0, 0.4, 5.0, 0.8, 8.0);
        assert!((axon.period() - 40.0).abs() < 1e-9);
        let mut hits = 0;
        for i in 0..4000 {
            let turn = |k: f64| (f64::from(i) * k).fract() - 0.5;
            let z = 40.0 * turn(0.618_033_988_75);
            let (r, c) = (axon.radius(z)[0], axon.centre(z)[0]);
            let x = [c + 1.2 * r * turn(0.414_213_562), 1.2 * r * turn(0.732_050_807), z];
            let v = [turn(0.236_067_977), turn(0.645_751_311), turn(0.316_624_79)].map(|v| 9.0 * v);
            let at = |t: f64| axon.value(&[0, 1, 2].map(|a: usize| x[a] + t * v[a]));
            assert!(at(0.0) > 0.0);
            let end = match axon.first(&x, &v) {
                Some((t, true)) => {
                    hits += 1;
                    assert!(at(t).abs() < 1e-12, "{i}: {}", at(t));
                    t
                }
                Some((t, false)) => t,
                None => 1.0,
            };
            assert!((0..1000).all(|k| at(end * f64::from(k) / 1000.0) > -1e-12), "{i}");
        }
        assert!(hits > 3000, "{hits}");
    }

    /// First and second derivatives of F by differences.
    #[test]
    fn slopes_and_bends_are_differences() {
        let axon = Axon::new(1.3, 0.3, 6.0, 0.5, 9.0);
        let (x, t, e) = ([0.4, -0.7, 1.9], [0.3, 0.8, -0.6], 1e-4);
        let at = |h: f64| axon.value(&[0, 1, 2].map(|a: usize| x[a] + h * t[a]));
        let slope = (at(e) - at(-e)) / (2.0 * e);
        assert!((dot(axon.gradient(&x), t) - slope).abs() < 1e-7);
        let bend = (at(e) - 2.0 * at(0.0) + at(-e)) / (e * e);
        assert!((axon.bend(&x, &t) - bend).abs() < 1e-6);
    }
}

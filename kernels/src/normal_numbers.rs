//! Standard normal numbers of eight counters at once, from the Philox of `philox.rs`: those of
//! eight walkers, or of eight blocks of one generator.
//!
//! A group of [`GROUP`] steps of a walk takes three blocks a walker: key = seed, counter = (draw 0
//! to 2, group, walker, [`STEPS`]). Two words $w_0, w_1$ make a pair by Box & Muller 1958,
//! doi:10.1214/aoms/1177706645:
//!
//! $$r = \sqrt{-2\ln\frac{w_0 + 1/2}{2^{32}}},\quad
//!   x = \frac\pi4\frac{(w_1 \bmod 2^{30}) - 2^{29}}{2^{29}},\quad
//!   (n_0, n_1) = \frac{r}{\sqrt2}(\pm(\cos x - \sin x), \pm(\cos x + \sin x))$$
//!
//! with the two high bits of $w_1$ as signs: the angle $x + \pi/4$ lies in the first
//! quadrant and the signs choose among four. The largest magnitude is 6.76. Logarithm, sine
//! and cosine are Chebyshev interpolants of relative error 2e-10 and less
//! (`tests/golden/make_walk_coefficients.py`): steps of a walk, not functions for others.
//!
//! Validated by `words_are_those_of_philox` and `moments` below.

use crate::lanes::{Lanes, horner};
use crate::philox::{MULTIPLIERS, Philox, ROUNDS, WEYL};

/// Steps that share three blocks.
pub(crate) const GROUP: usize = 4;
/// Normal numbers of a group: three a step.
pub(crate) const NORMALS: usize = 3 * GROUP;
/// Stream of the displacements.
pub(crate) const STEPS: u8 = 0;

const LOG: [f64; 12] = [
    1.000000000048012,
    -0.5000000030845538,
    0.3333333084628052,
    -0.24999936585814816,
    0.2000016963794254,
    -0.16670383652377296,
    0.14283798395270253,
    -0.12410885665961421,
    0.11042736039719009,
    -0.10898112577877182,
    0.10636542375579953,
    -0.058456713350896375,
];
pub(crate) const SINE: [f64; 5] = [
    0.9999999999956731,
    -0.16666666631591165,
    0.00833332878245888,
    -0.000198392022122311,
    2.7173456841089953e-06,
];
pub(crate) const COSINE: [f64; 6] = [
    0.9999999999999444,
    -0.49999999999351113,
    0.04166666654391119,
    -0.0013888880393776424,
    2.4798928755323667e-05,
    -2.717342984102282e-07,
];

/// 2^52, whose low bits take an integer.
const SHIFT: f64 = 4_503_599_627_370_496.0;
const LOW: u64 = 0xffff_ffff;
const SIGN: u64 = 1 << 63;

/// The keys of the ten rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys([[u64; 2]; ROUNDS]);

impl Keys {
    pub(crate) fn new(seed: u64) -> Self {
        Self::of(Philox::new(seed))
    }

    /// The keys of a generator.
    pub(crate) fn of(philox: Philox) -> Self {
        let [mut a, mut b] = philox.key();
        let mut keys = [[0; 2]; ROUNDS];
        for round in &mut keys {
            *round = [u64::from(a), u64::from(b)];
            (a, b) = (a.wrapping_add(WEYL[0]), b.wrapping_add(WEYL[1]));
        }
        Self(keys)
    }
}

/// The counter words of eight neighbouring items that hold the item.
#[derive(Clone, Copy)]
pub(crate) struct Items<L> {
    low: L,
    high: L,
}

impl<L: Lanes> Items<L> {
    /// Items `first` to `first + 7` of a stream.
    #[inline(always)]
    pub(crate) fn new(first: u64, stream: u8) -> Self {
        let (mut low, mut high) = ([0.0; 8], [0.0; 8]);
        for l in 0..8 {
            let [_, _, a, b] = crate::philox::counter(0, 0, first + l as u64, stream);
            low[l] = f64::from_bits(u64::from(a));
            high[l] = f64::from_bits(u64::from(b));
        }
        Self { low: L::load(&low), high: L::load(&high) }
    }
}

/// Four words a lane, in the low halves; the high halves hold anything.
#[inline(always)]
pub(crate) fn words<L: Lanes>(keys: &Keys, draw: u32, step: u32, items: Items<L>) -> [L; 4] {
    rounds(keys, [L::word(u64::from(draw)), L::word(u64::from(step)), items.low, items.high])
}

/// The ten rounds of eight counters, whose words and results stand in the low halves.
#[inline(always)]
pub(crate) fn rounds<L: Lanes>(keys: &Keys, mut c: [L; 4]) -> [L; 4] {
    let m = [L::word(u64::from(MULTIPLIERS[0])), L::word(u64::from(MULTIPLIERS[1]))];
    let mut round = 0;
    while round < ROUNDS {
        let [k0, k1] = keys.0[round];
        let (a, b) = (m[0].word_product(c[0]), m[1].word_product(c[2]));
        c = [
            b.word_shr_32().word_xor(c[1]).word_xor(L::word(k0)),
            b,
            a.word_shr_32().word_xor(c[3]).word_xor(L::word(k1)),
            a,
        ];
        round += 1;
    }
    c
}

/// Two independent standard normal numbers a lane from two words.
#[inline(always)]
pub(crate) fn pair<L: Lanes>(w0: L, w1: L) -> [L; 2] {
    let half_range = L::splat(std::f64::consts::FRAC_PI_4 * 2f64.powi(-29));
    // w + 1/2 in [1/2, 2^32 - 1/2].
    let number = w0.word_and(L::word(LOW)).word_or(L::splat(SHIFT));
    let u = number.sub(L::splat(SHIFT - 0.5));
    let minus_half_log = minus_log_over_32(u);
    let r = minus_half_log.sqrt();
    // The angle from the low 30 bits.
    let bits = w1.word_and(L::word((1 << 30) - 1)).word_or(L::splat(SHIFT));
    let x = bits.sub(L::splat(SHIFT + 2f64.powi(29))).mul(half_range);
    let z = x.mul(x);
    let (sine, cosine) = (x.mul(horner(&SINE, z)), horner(&COSINE, z));
    let high = w1.word_shl_32();
    let sign = [high.word_and(L::word(SIGN)), high.word_add(high).word_and(L::word(SIGN))];
    [r.mul(cosine.sub(sine)).word_xor(sign[0]), r.mul(cosine.add(sine)).word_xor(sign[1])]
}

/// $-\ln(u/2^{32})$ for u from 1/2 to $2^{32} - 1/2$.
#[inline(always)]
fn minus_log_over_32<L: Lanes>(u: L) -> L {
    // Mantissa in [sqrt(1/2), sqrt 2).
    let offset = L::word(0x3fe6_a09e_667f_3bcd);
    let k = u.word_sub(offset).word_shr_52();
    let m = u.word_sub(k.word_shl_52());
    let t = m.sub(L::splat(1.0));
    // k is 4095, that is -1, for u below sqrt(1/2).
    let k = k.word_add(L::word(1)).word_and(L::word(0x7ff)).word_or(L::splat(SHIFT));
    let k = k.sub(L::splat(SHIFT + 33.0));
    let ln2 = L::splat(std::f64::consts::LN_2);
    L::splat(0.0).sub(k.madd(ln2, t.mul(horner(&LOG, t))))
}

/// The normal numbers of a group of steps: number `3 s + axis` of step s.
#[inline(always)]
pub(crate) fn normals<L: Lanes>(keys: &Keys, group: u32, items: Items<L>, out: &mut [L; NORMALS]) {
    for draw in 0..3 {
        let w = words(keys, draw, group, items);
        let (a, b) = (pair(w[0], w[1]), pair(w[2], w[3]));
        let at = 4 * draw as usize;
        out[at] = a[0];
        out[at + 1] = a[1];
        out[at + 2] = b[0];
        out[at + 3] = b[1];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::dispatch;
    use crate::simd::{Block, SimdLevel};

    fn words_body<L: Lanes>(seed: u64, item: u64, out: &mut [Block; 4]) {
        let w = words(&Keys::new(seed), 3, 70_000, Items::<L>::new(item, 9));
        for (w, out) in w.iter().zip(out) {
            w.store(out);
        }
    }
    dispatch! { fn words_at / words_body(seed: u64, item: u64, out: &mut [Block; 4]) }

    #[test]
    fn words_are_those_of_philox() {
        for level in SimdLevel::available() {
            for item in [0, (1 << 32) - 3, 1 << 40] {
                let mut out = [[0.0; 8]; 4];
                words_at(level, 0x1234_5678_9abc_def0, item, &mut out);
                for l in 0..8 {
                    let found = out.map(|w| w[l].to_bits() as u32);
                    let wanted =
                        Philox::new(0x1234_5678_9abc_def0).block(3, 70_000, item + l as u64, 9);
                    assert_eq!(found, wanted);
                }
            }
        }
    }

    fn moments_body<L: Lanes>(groups: u32, moments: &mut [f64; 8], products: &mut [f64; 3]) {
        let (keys, items) = (Keys::new(5), Items::<L>::new(80, STEPS));
        let mut n = [L::splat(0.0); NORMALS];
        for group in 0..groups {
            normals(&keys, group, items, &mut n);
            for n in n {
                let mut power = L::splat(1.0);
                for m in moments.iter_mut() {
                    power = power.mul(n);
                    *m += power.tree_sum();
                }
            }
            for (s, p) in products.iter_mut().enumerate() {
                *p += n[2 * s].mul(n[2 * s + 1]).tree_sum() + n[s].mul(n[s + 3]).tree_sum();
            }
        }
    }
    dispatch! {
        fn moments_at / moments_body(groups: u32, moments: &mut [f64; 8], products: &mut [f64; 3])
    }

    /// Eight moments of 1.9 million numbers within five standard errors.
    #[test]
    fn moments() {
        let groups = 20_000;
        let n = f64::from(groups) * 8.0 * NORMALS as f64;
        for level in SimdLevel::available() {
            let (mut sums, mut products) = ([0.0; 8], [0.0; 3]);
            moments_at(level, groups, &mut sums, &mut products);
            let double = |k: usize| (1..=k).map(|i| (2 * i - 1) as f64).product::<f64>();
            for (k, sum) in sums.iter().enumerate() {
                let k = k + 1;
                let mean = if k % 2 == 0 { double(k / 2) } else { 0.0 };
                let error = ((double(k) - mean * mean) / n).sqrt();
                assert!((sum / n - mean).abs() < 5.0 * error, "moment {k}: {}", sum / n);
            }
            for p in products {
                assert!(p.abs() < 5.0 * (2.0 * f64::from(groups) * 8.0).sqrt(), "{p}");
            }
        }
    }

    fn pair_body<L: Lanes>(words: [u32; 2], out: &mut [f64; 2]) {
        let p = pair(L::word(u64::from(words[0])), L::word(u64::from(words[1])));
        *out = [p[0].first(), p[1].first()];
    }
    dispatch! { fn pair_at / pair_body(words: [u32; 2], out: &mut [f64; 2]) }

    #[test]
    fn pairs_follow_the_formula() {
        for level in SimdLevel::available() {
            for i in 0..20_000_u32 {
                let w =
                    [i.wrapping_mul(2_654_435_761), i.wrapping_mul(2_246_822_519).rotate_left(7)];
                let w = match i {
                    0 => [0, 0],
                    1 => [u32::MAX, u32::MAX],
                    2 => [1, 1 << 30],
                    3 => [1 << 31, 3 << 29],
                    _ => w,
                };
                let mut found = [0.0; 2];
                pair_at(level, w, &mut found);
                let r = (-2.0 * ((f64::from(w[0]) + 0.5) / 2f64.powi(32)).ln()).sqrt();
                let angle =
                    std::f64::consts::FRAC_PI_2 * f64::from(w[1] & 0x3fff_ffff) / 2f64.powi(30);
                let sign = [w[1] >> 31, w[1] >> 30 & 1].map(|s| 1.0 - 2.0 * f64::from(s));
                let wanted = [sign[0] * r * angle.cos(), sign[1] * r * angle.sin()];
                for (a, b) in found.iter().zip(wanted) {
                    assert!((a - b).abs() < 2e-9 * (1e-4 + r), "{i}: {found:?} {wanted:?}");
                }
            }
        }
    }
}

//! The one random number generator: Philox4x32-10, a function of key and counter.
//!
//! Ten rounds, each with two 32x32-bit products
//!
//! $$c' = (\mathrm{hi}(M_1c_2)\oplus c_1\oplus k_0,\ \mathrm{lo}(M_1c_2),\
//!   \mathrm{hi}(M_0c_0)\oplus c_3\oplus k_1,\ \mathrm{lo}(M_0c_0))$$
//!
//! and $k_0, k_1$ raised by the Weyl constants between rounds. For a fixed key it
//! is a permutation of the $2^{128}$ counters, so two different counters never share
//! a block. The layout, the same on every device:
//!
//! | word | holds |
//! |---|---|
//! | key 0, key 1 | low and high half of the seed |
//! | counter 0 | draw |
//! | counter 1 | step |
//! | counter 2 | low 32 bits of the global item (voxel, walker, streamline) |
//! | counter 3 | stream (what the numbers are for) in the low 8 bits, bits 32 to 55 of the item above them |
//!
//! Uniform numbers take 53 bits of two words, low word first. Normal pairs are
//! those of Box & Muller 1958, doi:10.1214/aoms/1177706645, with a logarithm, sine and
//! cosine of our own without fused multiply-add: equal to the bit at every SIMD level.
//! Many normal numbers at once are those of `normal_numbers.rs` ([`PhiloxRng::normals`]).
//!
//! Source: Salmon et al. 2011, doi:10.1145/2063384.2063405, section 3.3. Validated
//! by `known_answers` (the vectors published with Random123) and the tests below.

use crate::lanes::{Lanes, dispatch};
use crate::log::log_plain;
use crate::normal_numbers::{Keys, pair, rounds};
use crate::simd::{Block, LANES, level};
use rand::TryRng;
use rand::rand_core::{Infallible, utils::fill_bytes_via_next_word};
use std::array::from_fn;

pub(crate) const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
pub(crate) const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
pub(crate) const ROUNDS: usize = 10;
/// Bits of a global item that the counter holds.
pub const ITEM_BITS: u32 = 56;

/// The block of four random words at a counter.
///
/// # Example
/// ```
/// use microtome_kernels::philox::philox4x32_10;
/// assert_eq!(philox4x32_10([0; 2], [0; 4])[0], 0x6627_e8d5);
/// ```
#[inline(always)]
pub fn philox4x32_10(mut key: [u32; 2], mut ctr: [u32; 4]) -> [u32; 4] {
    let mut round = 0;
    while round < ROUNDS {
        let a = u64::from(MULTIPLIERS[0]) * u64::from(ctr[0]);
        let b = u64::from(MULTIPLIERS[1]) * u64::from(ctr[2]);
        ctr = [
            (b >> 32) as u32 ^ ctr[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ ctr[3] ^ key[1],
            a as u32,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        round += 1;
    }
    ctr
}

/// The counter words of a draw and step of one stream of one global item.
///
/// `item` must be below $2^{56}$ ([`ITEM_BITS`]); higher bits are left out.
pub fn counter(draw: u32, step: u32, item: u64, stream: u8) -> [u32; 4] {
    debug_assert!(item >> ITEM_BITS == 0, "item {item} needs more than {ITEM_BITS} bits");
    [draw, step, item as u32, u32::from(stream) | ((item >> 32) as u32) << 8]
}

/// A seeded Philox: random words as a function of (draw, step, item, stream).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Philox {
    key: [u32; 2],
}

impl Philox {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32] }
    }

    /// The two halves of the seed.
    pub(crate) fn key(self) -> [u32; 2] {
        self.key
    }

    /// Four random words; see [`counter`].
    #[inline(always)]
    pub fn block(self, draw: u32, step: u32, item: u64, stream: u8) -> [u32; 4] {
        philox4x32_10(self.key, counter(draw, step, item, stream))
    }
}

/// The two uniform numbers of a block, in [0, 1), multiples of $2^{-53}$.
///
/// # Example
/// ```
/// use microtome_kernels::philox::uniform_pair;
/// assert_eq!(uniform_pair([0, 0x8000_0000, 0, 0x4000_0000]), [0.5, 0.25]);
/// ```
#[inline(always)]
pub fn uniform_pair(words: [u32; 4]) -> [f64; 2] {
    let number = |low: u32, high: u32| {
        ((u64::from(high) << 32 | u64::from(low)) >> 11) as f64 * 2f64.powi(-53)
    };
    [number(words[0], words[1]), number(words[2], words[3])]
}

/// The two independent standard normal numbers of a block (Box & Muller 1958).
///
/// $\sqrt{-2\ln(1-u_0)}\,(\cos 2\pi u_1, \sin 2\pi u_1)$ with the uniform pair $u$; the
/// largest magnitude is $\sqrt{106\ln 2} = 8.57$.
pub fn normal_pair(words: [u32; 4]) -> [f64; 2] {
    let [u, v] = uniform_pair(words);
    // 1 - u is exact, and never zero.
    let radius = (-2.0 * log_plain(1.0 - u)).sqrt();
    let [sine, cosine] = sine_cosine_of_turns(v);
    [radius * cosine, radius * sine]
}

/// $(-1)^j/(2j+1)!$ and $(-1)^j/(2j)!$; the first terms left out are below 5e-17 at π/4.
const SINE: [f64; 8] = factorials(1);
const COSINE: [f64; 9] = factorials(0);

const fn factorials<const N: usize>(first: usize) -> [f64; N] {
    let mut c = [0.0; N];
    let mut factorial = 1.0;
    let mut j = 0;
    while j < N {
        c[j] = if j % 2 == 0 { 1.0 / factorial } else { -1.0 / factorial };
        factorial *= ((2 * j + first + 1) * (2 * j + first + 2)) as f64;
        j += 1;
    }
    c
}

/// sin 2πv and cos 2πv for v in [0, 1).
fn sine_cosine_of_turns(v: f64) -> [f64; 2] {
    let quarters = 4.0 * v;
    let nearest = (quarters + 0.5).floor();
    let x = (quarters - nearest) * std::f64::consts::FRAC_PI_2;
    let z = x * x;
    let sine = x * SINE.iter().rev().fold(0.0, |p, c| p * z + c);
    let cosine = COSINE.iter().rev().fold(0.0, |p, c| p * z + c);
    match nearest as u32 % 4 {
        0 => [sine, cosine],
        1 => [cosine, -sine],
        2 => [-sine, -cosine],
        _ => [-cosine, sine],
    }
}

/// The blocks of one (seed, item, stream) one after another, as a generator for
/// `rand` and `rand_distr`.
///
/// Block n has the counter (draw, step) = (low, high half of `first + n`), where `first`
/// is 0 for [`PhiloxRng::new`]: $2^{64}$ blocks before it repeats. Item and stream
/// stand in other words of the counter, so generators that differ in one of them never
/// share a block. Words come in the order of the block; a `u64` takes two, low first.
///
/// # Example
/// ```
/// use microtome_kernels::philox::PhiloxRng;
/// use rand::RngExt;
/// let mut voxel_7 = PhiloxRng::new(42, 7, 0);
/// let u: f64 = voxel_7.random();
/// assert!((0.0..1.0).contains(&u));
/// assert_eq!(u, PhiloxRng::new(42, 7, 0).random::<f64>());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhiloxRng {
    philox: Philox,
    item: u64,
    stream: u8,
    /// Draw and step of the next block.
    next: u64,
    words: [u32; 4],
    used: usize,
}

impl PhiloxRng {
    /// The generator of one stream of one global item (below $2^{56}$).
    pub fn new(seed: u64, item: u64, stream: u8) -> Self {
        Self::at_step(seed, 0, item, stream)
    }

    /// The same, starting at draw 0 of `step`. After $2^{32}$ blocks it goes on into
    /// the next step.
    pub fn at_step(seed: u64, step: u32, item: u64, stream: u8) -> Self {
        let next = u64::from(step) << 32;
        Self { philox: Philox::new(seed), item, stream, next, words: [0; 4], used: 4 }
    }

    /// Fills `out` with standard normal numbers, four a block by the pairs of
    /// `normal_numbers.rs` (relative error 2e-10, largest magnitude 6.76), from the next
    /// block on. Eight blocks are made at once; numbers of theirs that `out` has no room
    /// for are not used by others.
    pub fn normals(&mut self, out: &mut [f64]) {
        normals_at(level(), self, out);
        let blocks = LANES * out.len().div_ceil(NORMALS);
        self.next = self.next.wrapping_add(blocks as u64);
        self.used = 4;
    }

    fn word(&mut self) -> u32 {
        if self.used == 4 {
            let (draw, step) = (self.next as u32, (self.next >> 32) as u32);
            self.words = self.philox.block(draw, step, self.item, self.stream);
            self.next = self.next.wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }
}

/// Normal numbers of eight blocks.
const NORMALS: usize = 4 * LANES;

#[inline(always)]
fn normals_body<L: Lanes>(rng: &PhiloxRng, out: &mut [f64]) {
    let keys = Keys::of(rng.philox);
    let [_, _, low, high] = counter(0, 0, rng.item, rng.stream).map(u64::from);
    let mut first = rng.next;
    for out in out.chunks_mut(NORMALS) {
        let number = |l: usize| first.wrapping_add(l as u64);
        let draw: Block = from_fn(|l| f64::from_bits(number(l) & u64::from(u32::MAX)));
        let step: Block = from_fn(|l| f64::from_bits(number(l) >> 32));
        let [draw, step] = [L::load(&draw), L::load(&step)];
        first = first.wrapping_add(LANES as u64);
        let w = rounds(&keys, [draw, step, L::word(low), L::word(high)]);
        let (a, b) = (pair(w[0], w[1]), pair(w[2], w[3]));
        let mut numbers: [Block; 4] = [[0.0; LANES]; 4];
        for (n, block) in [a[0], a[1], b[0], b[1]].into_iter().zip(&mut numbers) {
            n.store(block);
        }
        out.copy_from_slice(&numbers.as_flattened()[..out.len()]);
    }
}

dispatch! {
    fn normals_at / normals_body(rng: &PhiloxRng, out: &mut [f64])
}

impl TryRng for PhiloxRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.word())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let low = u64::from(self.word());
        Ok(u64::from(self.word()) << 32 | low)
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        fill_bytes_via_next_word(dst, || self.try_next_u32())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::{Rng, RngExt};
    use std::collections::HashSet;

    /// The file `kat_vectors` of Random123, lines `philox4x32 10`.
    #[test]
    fn known_answers() {
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (pi, [0xa409_3822, 0x299f_31d0], [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]),
        ];
        for (ctr, key, words) in cases {
            assert_eq!(philox4x32_10(key, ctr), words);
        }
        let seed = 0x299f_31d0_a409_3822;
        let item = 0x03_7073_1319_8a2e;
        assert_eq!(Philox::new(seed).block(pi[0], pi[1], item, 0x44), cases[2].2);
    }

    #[test]
    fn counters_are_distinct() {
        let edges = [0, 1, 255, 256, u32::MAX - 1, u32::MAX];
        let items = [0, 1, 255, 1 << 24, 1 << 32, (1 << 32) + 1, 1 << 40, (1 << 56) - 1];
        let mut seen = HashSet::new();
        for draw in edges {
            for step in edges {
                for item in items {
                    for stream in [0, 1, 255] {
                        assert!(seen.insert(counter(draw, step, item, stream)));
                    }
                }
            }
        }
    }

    #[test]
    fn the_generator_walks_the_blocks() {
        let mut rng = PhiloxRng::at_step(9, 3, 1 << 40, 5);
        let first = Philox::new(9).block(0, 3, 1 << 40, 5);
        let second = Philox::new(9).block(1, 3, 1 << 40, 5);
        assert_eq!(rng.next_u32(), first[0]);
        assert_eq!(rng.next_u64(), u64::from(first[2]) << 32 | u64::from(first[1]));
        // A u64 across two blocks.
        assert_eq!(rng.next_u64(), u64::from(second[0]) << 32 | u64::from(first[3]));
        let mut bytes = [0; 5];
        rng.fill_bytes(&mut bytes);
        assert_eq!(bytes[..4], second[1].to_le_bytes());
        assert_eq!(bytes[4], second[2].to_le_bytes()[0]);

        // Carry of the draw into the step.
        let mut rng = PhiloxRng::new(9, 2, 0);
        rng.next = u64::from(u32::MAX);
        rng.next_u32();
        rng.used = 4;
        assert_eq!(rng.next_u32(), Philox::new(9).block(0, 1, 2, 0)[0]);
    }

    #[test]
    fn streams_differ_and_repeat() {
        let start = |seed, item, stream| PhiloxRng::new(seed, item, stream).next_u64();
        let here = start(1, 2, 3);
        assert_eq!(here, start(1, 2, 3));
        for other in [
            start(2, 2, 3),
            start(1 + (1 << 32), 2, 3),
            start(1, 3, 3),
            start(1, 2 + (1 << 32), 3),
            start(1, 2, 4),
        ] {
            assert_ne!(here, other);
        }
    }

    #[test]
    fn uniform_numbers_have_53_bits() {
        assert_eq!(uniform_pair([u32::MAX; 4]), [1.0 - 2f64.powi(-53); 2]);
        assert_eq!(uniform_pair([1 << 11, 0, 0, 0]), [2f64.powi(-53), 0.0]);
        // The same mapping as `rand`.
        let words = Philox::new(4).block(0, 0, 8, 1);
        let mut rng = PhiloxRng::new(4, 8, 1);
        assert_eq!(uniform_pair(words), [rng.random::<f64>(), rng.random::<f64>()]);
    }

    #[test]
    fn sine_and_cosine_are_right() {
        for i in 0..100_000 {
            let v = f64::from(i) / 100_000.0;
            let [s, c] = sine_cosine_of_turns(v);
            let angle = std::f64::consts::TAU * v;
            // The angle of the right side itself is rounded: 4.4e-16 at 2π.
            assert!((s - angle.sin()).abs() < 1e-15, "sin 2π {v}");
            assert!((c - angle.cos()).abs() < 1e-15, "cos 2π {v}");
        }
        assert_eq!(sine_cosine_of_turns(0.25), [1.0, 0.0]);
    }

    /// Moments of 400,000 normal and uniform numbers, each within five standard errors.
    #[test]
    fn moments() {
        let pairs = 200_000;
        let n = f64::from(2 * pairs);
        let (mut m, mut products, mut u_mean) = ([0.0; 4], 0.0, 0.0);
        for draw in 0..pairs as u32 {
            let words = Philox::new(7).block(draw, 0, 0, 0);
            let [a, b] = normal_pair(words);
            for v in [a, b] {
                for (k, m) in m.iter_mut().enumerate() {
                    *m += v.powi(k as i32 + 1) / n;
                }
            }
            products += a * b / f64::from(pairs);
            u_mean += uniform_pair(words).iter().sum::<f64>() / n;
        }
        // Variances of v, v², v³, v⁴: 1, 2, 15, 96.
        for (m, (mean, variance)) in
            m.iter().zip([(0.0, 1.0), (1.0, 2.0), (0.0, 15.0), (3.0, 96.0)])
        {
            assert!((m - mean).abs() < 5.0 * f64::sqrt(variance / n), "moment {m}, not {mean}");
        }
        assert!(products.abs() < 5.0 / f64::from(pairs).sqrt());
        assert!((u_mean - 0.5).abs() < 5.0 / (12.0 * n).sqrt());
    }

    /// Every number is that of the words of its block, whatever the length asked for, and
    /// later numbers come from later blocks.
    #[test]
    fn normals_are_those_of_the_blocks() {
        let first = u64::from(u32::MAX) - 5;
        let mut rng = PhiloxRng::new(17, 1 << 40, 3);
        rng.next = first;
        let mut out = vec![0.0; 75];
        rng.normals(&mut out);
        assert_eq!((rng.next, rng.used), (first + 24, 4));
        for (i, found) in out.iter().enumerate() {
            let n = first + (i / 32 * 8 + i % 8) as u64;
            let w = Philox::new(17).block(n as u32, (n >> 32) as u32, 1 << 40, 3);
            let [u, v] = if i % 32 < 16 { [w[0], w[1]] } else { [w[2], w[3]] };
            let r = (-2.0 * ((f64::from(u) + 0.5) / 2f64.powi(32)).ln()).sqrt();
            let angle = std::f64::consts::FRAC_PI_2 * f64::from(v & 0x3fff_ffff) / 2f64.powi(30);
            let [sine, cosine] = [angle.sin(), angle.cos()];
            let wanted = if i % 16 < 8 {
                r * cosine * if v >> 31 == 1 { -1.0 } else { 1.0 }
            } else {
                r * sine * if v >> 30 & 1 == 1 { -1.0 } else { 1.0 }
            };
            assert!((found - wanted).abs() < 2e-9 * (1e-4 + r), "{i}: {found} {wanted}");
        }
        let mut short = vec![0.0; 5];
        let mut again = PhiloxRng::new(17, 1 << 40, 3);
        again.next = first;
        again.normals(&mut short);
        assert_eq!(short, out[..5]);
    }

    #[test]
    fn extreme_words_give_finite_normals() {
        for words in [[0; 4], [u32::MAX; 4], [u32::MAX, u32::MAX, 0, 0]] {
            assert!(normal_pair(words).iter().all(|v| v.abs() < 8.58));
        }
        assert_eq!(normal_pair([0; 4]), [0.0, 0.0]);
    }

    #[test]
    fn distributions_of_rand_distr_accept_it() {
        let mut rng = PhiloxRng::new(11, 0, 0);
        let n = 50_000;
        let sum: f64 = (0..n).map(|_| rng.sample::<f64, _>(rand_distr::StandardNormal)).sum();
        assert!((sum / f64::from(n)).abs() < 5.0 / f64::from(n).sqrt());
    }
}

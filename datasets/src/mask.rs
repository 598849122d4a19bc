//! A bit mask over voxels that finds the n-th voxel inside.

/// Words between two stored counts.
const STEP: usize = 64;

/// One bit a voxel, and the count of set bits before every 4096th voxel.
#[derive(Debug, Clone)]
pub(crate) struct Mask {
    words: Vec<u64>,
    before: Vec<usize>,
    inside: usize,
}

impl Mask {
    /// From 64 flags a word, lowest bit first; bits past the last voxel are zero.
    pub(crate) fn new(words: Vec<u64>) -> Self {
        let mut inside = 0;
        let mut before = Vec::with_capacity(words.len().div_ceil(STEP));
        for group in words.chunks(STEP) {
            before.push(inside);
            inside += group.iter().map(|w| w.count_ones() as usize).sum::<usize>();
        }
        Self { words, before, inside }
    }

    /// Number of voxels inside.
    pub(crate) fn inside(&self) -> usize {
        self.inside
    }

    /// Indices of the voxels inside, from the `start`-th on.
    pub(crate) fn indices_from(&self, start: usize) -> impl Iterator<Item = usize> + '_ {
        let group = self.before.partition_point(|&n| n <= start).saturating_sub(1);
        let skip = start - self.before.get(group).copied().unwrap_or(0);
        let first = group * STEP;
        self.words[first.min(self.words.len())..]
            .iter()
            .enumerate()
            .flat_map(move |(w, &word)| Bits { word, base: (first + w) * 64 })
            .skip(skip)
    }
}

struct Bits {
    word: u64,
    base: usize,
}

impl Iterator for Bits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.word == 0 {
            return None;
        }
        let bit = self.word.trailing_zeros() as usize;
        self.word &= self.word - 1;
        Some(self.base + bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_a_plain_list_finds() {
        let flag = |i: usize| (i * 2_654_435_761) % 7 < 2 && !(5000..14_000).contains(&i);
        for n in [0, 1, 64, 4096, 4097, 40_003] {
            let plain: Vec<usize> = (0..n).filter(|&i| flag(i)).collect();
            let mut words = vec![0_u64; n.div_ceil(64)];
            plain.iter().for_each(|i| words[i / 64] |= 1 << (i % 64));
            let mask = Mask::new(words);
            assert_eq!(mask.inside(), plain.len());
            for start in (0..=plain.len()).step_by(97) {
                assert!(mask.indices_from(start).eq(plain[start..].iter().copied()), "{n} {start}");
            }
        }
    }
}

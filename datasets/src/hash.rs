//! Content hashes: the first 128 bits of SHA-256, as 32 hexadecimal digits, and of
//! BLAKE3 for the signals themselves, which are many.
//!
//! Every piece is preceded by its length, so that ("a", "bc") and ("ab", "c")
//! differ. Source: FIPS 180-4; O'Connor et al. 2020, BLAKE3 specification. Validated
//! by the tests below.

use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// The hash of a list of pieces, the same on every platform.
///
/// # Example
/// ```
/// use microtome_datasets::content_hash;
/// assert_ne!(content_hash(&[b"a", b"bc"]), content_hash(&[b"ab", b"c"]));
/// ```
pub fn content_hash(pieces: &[&[u8]]) -> String {
    let mut state = Sha256::new();
    for piece in pieces {
        state.update((piece.len() as u64).to_le_bytes());
        state.update(piece);
    }
    state.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The hash of many numbers by their bits, the same on every platform.
pub fn numbers_hash(values: &[f64]) -> [u8; 16] {
    let mut out = [0; 16];
    let hash = blake3::hash(&little_endian(values));
    out.copy_from_slice(&hash.as_bytes()[..16]);
    out
}

/// The bytes of numbers as files have them; a copy only where the processor has another order.
pub(crate) fn little_endian(values: &[f64]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        Cow::Borrowed(bytemuck::cast_slice(values))
    } else {
        Cow::Owned(values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_a_number_counts() {
        let values: Vec<f64> = (0..3000).map(|i| f64::from(i).sin()).collect();
        let hash = numbers_hash(&values);
        for i in (0..3000).step_by(97) {
            let mut other = values.clone();
            other[i] = f64::from_bits(other[i].to_bits() ^ 1);
            assert_ne!(numbers_hash(&other), hash);
        }
        assert_ne!(numbers_hash(&[0.0]), numbers_hash(&[-0.0]));
        assert_ne!(numbers_hash(&values[1..]), hash);
        assert_eq!(&*little_endian(&[1.5, -2.0]), [1.5_f64, -2.0].map(f64::to_le_bytes).concat());
    }

    #[test]
    fn values_are_pinned() {
        // sha256(b"") and sha256((3).to_bytes(8, "little") + b"abc") of Python's hashlib.
        assert_eq!(content_hash(&[]), "e3b0c44298fc1c149afbf4c8996fb924");
        assert_eq!(content_hash(&[b"abc"]), "ce91dc5eec0139adf091900d225971d6");
    }
}

//! The order of scores: as numbers, -0 and +0 alike, NaN above everything.

/// An integer that orders as its number does.
#[inline(always)]
pub(crate) fn key(x: f32) -> u32 {
    let bits = x.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    let ordered = if bits >> 31 == 0 { bits | 0x8000_0000 } else { !bits };
    let ordered = if magnitude == 0 { 0x8000_0000 } else { ordered };
    if magnitude > 0x7f80_0000 { u32::MAX } else { ordered }
}

/// The number of a key; NaN for the greatest.
pub(crate) fn value(key: u32) -> f32 {
    match key {
        u32::MAX => f32::NAN,
        key if key >> 31 == 1 => f32::from_bits(key & 0x7fff_ffff),
        key => f32::from_bits(!key),
    }
}

/// The digits of a radix selection: 11, 11 and 10 bits from the top.
const DIGITS: [(u32, u32); 3] = [(21, 11), (10, 11), (0, 10)];
const BUCKETS: usize = 2048;

/// The key at index `rank` of the sorted keys, and how many keys are below it. Destroys the keys.
///
/// # Panics
/// `rank` is not below the number of keys.
pub(crate) fn select(keys: &mut [u32], rank: usize) -> (u32, usize) {
    assert!(rank < keys.len(), "a rank among the keys");
    let (mut found, mut below, mut count) = (0, 0, keys.len());
    for (shift, bits) in DIGITS {
        let digit = |key: u32| (key >> shift) as usize & ((1 << bits) - 1);
        // Two histograms, so that equal neighbours do not wait for each other.
        let mut histograms = [[0u32; BUCKETS]; 2];
        let [even, odd] = &mut histograms;
        let (pairs, rest) = keys[..count].as_chunks::<2>();
        for pair in pairs {
            even[digit(pair[0])] += 1;
            odd[digit(pair[1])] += 1;
        }
        for key in rest {
            even[digit(*key)] += 1;
        }
        let mut bucket = 0;
        loop {
            let size = (even[bucket] + odd[bucket]) as usize;
            if below + size > rank {
                break;
            }
            below += size;
            bucket += 1;
        }
        found |= (bucket as u32) << shift;
        // Keep the bucket's keys; written without a branch, which would be mispredicted often.
        let mut kept = 0;
        for i in 0..count {
            let key = keys[i];
            keys[kept] = key;
            kept += usize::from(digit(key) == bucket);
        }
        count = kept;
    }
    (found, below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_order_as_numbers() {
        let order = [f32::NEG_INFINITY, -1.0, -1e-40, 0.0, 1e-40, 1.0, f32::MAX, f32::INFINITY, f32::NAN];
        for pair in order.windows(2) {
            assert!(key(pair[0]) < key(pair[1]), "{pair:?}");
        }
        for x in order {
            assert!(value(key(x)) == x || x.is_nan(), "{x}");
        }
        assert_eq!(key(-0.0), key(0.0));
        assert_eq!(key(-f32::NAN), key(f32::NAN));
    }

    proptest! {
        #[test]
        fn select_agrees_with_a_sort(
            keys in proptest::collection::vec(prop_oneof![any::<u32>(), 0u32..4], 1..300), rank in 0usize..300
        ) {
            let rank = rank % keys.len();
            let mut sorted = keys.clone();
            sorted.sort_unstable();
            let below = sorted.partition_point(|key| *key < sorted[rank]);
            prop_assert_eq!(select(&mut keys.clone(), rank), (sorted[rank], below));
        }
    }
}

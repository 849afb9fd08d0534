// Radix selection: the key at a place of the sorted ones is found digit by digit of eight bits. For every digit, keys
// that share the digits found so far are counted by its value; an invocation for every value then sees whether the
// place is among its keys. Digits are named by their shift: 24, 16, 8 and 0.

var<workgroup> histogram: array<atomic<u32>, SIZE>;

// Counts a key.
fn count_digit(key: u32, found: u32, shift: u32) {
    // A shift by 32 would be no shift.
    let above = select(0xffffffffu << ((shift + 8u) & 31u), 0u, shift == 24u);
    if (key & above) == found {
        atomicAdd(&histogram[(key >> shift) & 255u], 1u);
    }
}

// The bits of the number with this key.
fn value(key: u32) -> u32 {
    if key == 0xffffffffu { return 0x7fc00000u; }
    return select(~key, key & 0x7fffffffu, key >= 0x80000000u);
}

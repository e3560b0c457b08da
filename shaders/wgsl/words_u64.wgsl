// Words of 32 bits where the adapter has 64-bit integers. They stay in registers: loads and stores of
// 64-bit integers are less portable than the arithmetic.

/// `a + b · c + d` as (low, high). At most (2^32 − 1)² + 2 · (2^32 − 1) = 2^64 − 1, so nothing is lost.
fn mul_add(a: u32, b: u32, c: u32, d: u32) -> vec2<u32> {
    let sum = u64(a) + u64(b) * u64(c) + u64(d);
    return vec2<u32>(u32(sum & 0xfffffffflu), u32(sum >> 32u));
}

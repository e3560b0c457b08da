// Words of 32 bits for every adapter: WGSL has neither a wide product nor a carry.

/// `a + b · c + d` as (low, high). At most (2^32 − 1)² + 2 · (2^32 − 1) = 2^64 − 1, so nothing is lost.
///
/// The product is assembled from halves of 16 bits. `middle` is at most (2^16 − 1)² + 2^16 − 1 and
/// `cross` at most (2^16 − 1)² + 2^16 − 1, both below 2^32.
fn mul_add(a: u32, b: u32, c: u32, d: u32) -> vec2<u32> {
    let b_low = b & 0xffffu;
    let b_high = b >> 16u;
    let c_low = c & 0xffffu;
    let c_high = c >> 16u;
    let lowest = b_low * c_low;
    let middle = b_high * c_low + (lowest >> 16u);
    let cross = b_low * c_high + (middle & 0xffffu);
    let product = (cross << 16u) | (lowest & 0xffffu);
    let high = b_high * c_high + (middle >> 16u) + (cross >> 16u);
    let with_a = product + a;
    let with_d = with_a + d;
    return vec2<u32>(with_d, high + select(0u, 1u, with_a < a) + select(0u, 1u, with_d < d));
}

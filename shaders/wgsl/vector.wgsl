#import params
#import fr
#import field

// Scans and element-wise work over Fr. Bindings mean the same in every entry point: `out` is written,
// the others are read. Elements are two vectors of four words.

@group(0) @binding(1) var<storage, read_write> out: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> source: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> second: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> third: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> fourth: array<vec4<u32>>;

fn store(i: u32, x: Element) {
    out[2u * i] = low(x);
    out[2u * i + 1u] = high(x);
}

fn load(i: u32) -> Element {
    return element(source[2u * i], source[2u * i + 1u]);
}

// out[i] = the field element of the i-th of the small values packed two in a word.
// Launched by `upload_small`, one thread per value.
// Twin: none; the law `msm_small_columns` compares small columns with full ones.
@compute @workgroup_size(WORKGROUP)
fn widen(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = thread_number(workgroup, local);
    if (i >= widen_count()) {
        return;
    }
    let packed = source[i >> 3u][(i >> 1u) & 3u];
    var small = zero();
    small.words[0] = (packed >> (16u * (i & 1u))) & 0xffffu;
    store(i, mul(small, Element(R_SQUARED)));
}

// out[i] = Σ factor_k · source_k[i], plus out[i] where `accumulate` is set. Sources that are too short count as zero.
// Launched by `linear_combination`, one thread per element of the result, once per four sources.
// Twin: none; the law `linear_combinations_match` computes it term by term.
@compute @workgroup_size(WORKGROUP)
fn combine(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = thread_number(workgroup, local);
    if (i >= combine_count()) {
        return;
    }
    var sum = zero();
    if (combine_accumulate() == 1u) {
        sum = element(out[2u * i], out[2u * i + 1u]);
    }
    for (var k = 0u; k < combine_sources(); k++) {
        if (i >= combine_len(k)) {
            continue;
        }
        var x: Element;
        switch k {
            case 0u: { x = load(i); }
            case 1u: { x = element(second[2u * i], second[2u * i + 1u]); }
            case 2u: { x = element(third[2u * i], third[2u * i + 1u]); }
            default: { x = element(fourth[2u * i], fourth[2u * i + 1u]); }
        }
        sum = add(sum, mul(x, combine_factor(k)));
    }
    store(i, sum);
}

/// One step of a scan: `running · x`, `running + x`, or `running · point + x`.
fn advance(mode: u32, running: Element, x: Element, point: Element) -> Element {
    if (mode == SUM) {
        return add(running, x);
    }
    var factor = point;
    if (mode == PRODUCT) {
        factor = x;
    }
    let product = mul(running, factor);
    if (mode == PRODUCT) {
        return product;
    }
    return add(product, x);
}

// Totals of segments: products, sums, or values at `point` of the segments as polynomials.
// Launched by `fold`, one thread per segment.
// Twin: `horner` of `algebra/src/field.rs` for mode HORNER, in the law `polynomials_match`; the others
// are the first part of a scan, see `spread`.
@compute @workgroup_size(WORKGROUP)
fn fold(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = thread_number(workgroup, local);
    if (t >= fold_count()) {
        return;
    }
    let mode = fold_mode();
    let start = t * fold_segment();
    let count = min(fold_segment(), fold_len() - start);
    let point = fold_point();
    var running = zero();
    if (mode == PRODUCT) {
        running = one();
    }
    for (var k = 0u; k < count; k++) {
        let i = start + select(k, count - 1u - k, mode == HORNER);
        running = advance(mode, running, load(i), point);
    }
    store(fold_first_total() + t, running);
}

// Exclusive scans of segments from the start values in `second`: forwards for products and sums, and from the
// top for Horner's rule, which is a division by X − point.
// Launched by `scan`, one thread per segment.
// Twin: `prefix_product` and `prefix_sum` of `algebra/src/plain.rs`, in the law `scans_match`; for mode
// HORNER the law `polynomials_match`.
@compute @workgroup_size(WORKGROUP)
fn spread(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = thread_number(workgroup, local);
    if (t >= spread_count()) {
        return;
    }
    let mode = spread_mode();
    let start = t * spread_segment();
    let count = min(spread_segment(), spread_len() - start);
    let point = spread_point();
    let at = spread_first_start() + t;
    var running = element(second[2u * at], second[2u * at + 1u]);
    for (var k = 0u; k < count; k++) {
        let i = start + select(k, count - 1u - k, mode == HORNER);
        store(i, running);
        running = advance(mode, running, load(i), point);
    }
}

/// `x^(P − 2)`: the inverse of x. One product site, used for squares and for products.
fn inverse(x: Element) -> Element {
    var power = one();
    for (var bit = 254u; bit > 0u; bit--) {
        let at = bit - 1u;
        power = mul(power, power);
        // P ends in …0001, so P − 2 borrows within its lowest word.
        let word = select(P[at >> 5u], P[0] - 2u, at < 32u);
        if (((word >> (at & 31u)) & 1u) == 1u) {
            power = mul(power, x);
        }
    }
    return power;
}

// out[i] = 1 / source[i], and 0 where that is 0: Montgomery's trick over the elements of a thread,
// which are `invert_count()` apart so that neighbouring threads read neighbouring elements. `out` has the
// prefix products in between.
// Launched by `invert`, one thread for up to 64 elements.
// Twin: `invert` of `algebra/src/plain.rs`, in the law `inverses_match`.
@compute @workgroup_size(WORKGROUP)
fn invert(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = thread_number(workgroup, local);
    let threads = invert_count();
    if (t >= threads) {
        return;
    }
    let count = (invert_len() - t + threads - 1u) / threads;
    var running = one();
    for (var k = 0u; k < count; k++) {
        let i = t + k * threads;
        let x = load(i);
        store(i, running);
        if (!is_zero(x)) {
            running = mul(running, x);
        }
    }
    running = inverse(running);
    for (var k = count; k > 0u; k--) {
        let i = t + (k - 1u) * threads;
        let x = load(i);
        if (is_zero(x)) {
            store(i, zero());
            continue;
        }
        store(i, mul(running, element(out[2u * i], out[2u * i + 1u])));
        running = mul(running, x);
    }
}

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

const PRODUCT = 0u;
const SUM = 1u;
const HORNER = 2u;

fn store(i: u32, x: Element) {
    out[2u * i] = low(x);
    out[2u * i + 1u] = high(x);
}

fn load(i: u32) -> Element {
    return element(source[2u * i], source[2u * i + 1u]);
}

/// The field element that eight words of the params hold.
fn param_element(at: u32) -> Element {
    return element(
        vec4<u32>(param(at), param(at + 1u), param(at + 2u), param(at + 3u)),
        vec4<u32>(param(at + 4u), param(at + 5u), param(at + 6u), param(at + 7u)),
    );
}

// out[i] = the field element of the i-th of the small values packed two in a word.
// Params: 0 threads.
// Launched by `upload_small`, one thread per value.
// Twin: none; the law `msm_small_columns` compares small columns with full ones.
@compute @workgroup_size(WORKGROUP)
fn widen(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = thread_number(workgroup, workgroups, local);
    if (i >= param(0u)) {
        return;
    }
    let packed = source[i >> 3u][(i >> 1u) & 3u];
    var small = zero();
    small.words[0] = (packed >> (16u * (i & 1u))) & 0xffffu;
    store(i, mul(small, Element(R_SQUARED)));
}

// out[i] = Σ factor_k · source_k[i], where sources that are too short count as zero.
// Params: 0 threads, 1 number of sources (at most 4), 2 whether to add to what `out` holds,
// 4 .. 8 lengths, 8 .. 40 factors.
// Launched by `linear_combination`, one thread per element of the result, once for four sources.
// Twin: none; the law `linear_combinations_match` computes it term by term.
@compute @workgroup_size(WORKGROUP)
fn combine(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = thread_number(workgroup, workgroups, local);
    if (i >= param(0u)) {
        return;
    }
    var sum = zero();
    if (param(2u) == 1u) {
        sum = element(out[2u * i], out[2u * i + 1u]);
    }
    for (var k = 0u; k < param(1u); k++) {
        if (i >= param(4u + k)) {
            continue;
        }
        var x: Element;
        switch k {
            case 0u: { x = load(i); }
            case 1u: { x = element(second[2u * i], second[2u * i + 1u]); }
            case 2u: { x = element(third[2u * i], third[2u * i + 1u]); }
            default: { x = element(fourth[2u * i], fourth[2u * i + 1u]); }
        }
        sum = add(sum, mul(x, param_element(8u + 8u * k)));
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

// Totals of pieces, one thread per chunk: products, sums, or values at `point` of the pieces taken as
// polynomials. Params: 0 threads, 1 length of a piece, 2 length of the source, 3 mode,
// 4 place of the first total, 8 .. 16 point.
// Launched by `fold`, one thread per piece.
// Twin: `horner` of `algebra/src/field.rs` for mode HORNER, in the law `polynomials_match`; the others
// are the first part of a scan, see `spread`.
@compute @workgroup_size(WORKGROUP)
fn fold(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = thread_number(workgroup, workgroups, local);
    if (t >= param(0u)) {
        return;
    }
    let mode = param(3u);
    let start = t * param(1u);
    let count = min(param(1u), param(2u) - start);
    let point = param_element(8u);
    var running = zero();
    if (mode == PRODUCT) {
        running = one();
    }
    for (var k = 0u; k < count; k++) {
        let i = start + select(k, count - 1u - k, mode == HORNER);
        running = advance(mode, running, load(i), point);
    }
    store(param(4u) + t, running);
}

// Scans of pieces, one thread per chunk, from the values in `second`, each before its step: forwards for
// products and sums, and from the top for Horner's rule, which is a division by X − point.
// Params: as for `fold`, where 4 is the place of the first start.
// Launched by `scan`, one thread per piece.
// Twin: `prefix_product` and `prefix_sum` of `algebra/src/plain.rs`, in the law `scans_match`; for mode
// HORNER the law `polynomials_match`.
@compute @workgroup_size(WORKGROUP)
fn spread(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = thread_number(workgroup, workgroups, local);
    if (t >= param(0u)) {
        return;
    }
    let mode = param(3u);
    let start = t * param(1u);
    let count = min(param(1u), param(2u) - start);
    let point = param_element(8u);
    let at = param(4u) + t;
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
// which lie `threads` apart so that neighbours read neighbours. `out` holds the products meanwhile.
// Params: 0 threads, 2 length of the source.
// Launched by `invert`, one thread for up to 64 elements.
// Twin: `invert` of `algebra/src/plain.rs`, in the law `inverses_match`.
@compute @workgroup_size(WORKGROUP)
fn invert(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = thread_number(workgroup, workgroups, local);
    let threads = param(0u);
    if (t >= threads) {
        return;
    }
    let count = (param(2u) - t + threads - 1u) / threads;
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

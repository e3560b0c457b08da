#import params
#import fr
#import field

// Number-theoretic transforms by decimation in time: a reordering, then passes of up to eight layers
// in workgroup memory, then, for transforms longer than one buffer, single layers between buffers.
//
// `tables` contains, for a root w of order n: 128 powers of the root of order 256, then 2^split powers
// w^i, then n / 2^split powers w^(i · 2^split). A scale s has the same two-level form without the 128.

@group(0) @binding(1) var<storage, read_write> values: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> tables: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> source: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> upper: array<vec4<u32>>;

var<workgroup> shared_low: array<vec4<u32>, 256>;
var<workgroup> shared_high: array<vec4<u32>, 256>;

fn table(i: u32) -> Element {
    return element(tables[2u * i], tables[2u * i + 1u]);
}

/// The power `exponent` from a two-level table that starts at `start`.
fn power(start: u32, split: u32, exponent: u32) -> Element {
    let fine = table(start + (exponent & ((1u << split) - 1u)));
    return mul(table(start + (1u << split) + (exponent >> split)), fine);
}

/// The lowest `bits` bits of x in reverse; 0 of 0 bits.
fn reversed(x: u32, bits: u32) -> u32 {
    return select(reverseBits(x) >> (32u - bits), 0u, bits == 0u);
}

// values[i] = source[rev(i)], times scale^rev(i) if `scaled` is set, for the i of one output buffer whose place
// in the source falls into one source buffer.
// Launched by `transform`, one thread per element that moves between these two buffers.
// Twin: none; that of the whole transform is `dft` of `algebra/src/plain.rs`, in the law
// `ntt_matches_its_twin`.
@compute @workgroup_size(WORKGROUP)
fn reorder(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = thread_number(workgroup, local);
    if (t >= reorder_count()) {
        return;
    }
    // The lowest bits of the place here are the number of the source buffer in reverse.
    let outer = reorder_log_n() - reorder_log_buffer();
    let i = (t << outer) | reversed(reorder_from(), outer);
    let from_all = reversed((reorder_to() << reorder_log_buffer()) | i, reorder_log_n());
    let from_here = from_all & ((1u << reorder_log_buffer()) - 1u);
    var x = element(source[2u * from_here], source[2u * from_here + 1u]);
    if (reorder_scaled() == 1u) {
        x = mul(x, power(0u, reorder_split(), from_all));
    }
    values[2u * i] = low(x);
    values[2u * i + 1u] = high(x);
}

// values[i] *= scale^(start + i).
// Launched by `transform`, one thread per element of a buffer.
// Twin: none; that of the whole transform is `dft` of `algebra/src/plain.rs`, in the law
// `ntt_matches_its_twin`.
@compute @workgroup_size(WORKGROUP)
fn scale(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = thread_number(workgroup, local);
    if (i >= scale_count()) {
        return;
    }
    let x = mul(element(values[2u * i], values[2u * i + 1u]), power(0u, scale_split(), scale_start() + i));
    values[2u * i] = low(x);
    values[2u * i + 1u] = high(x);
}

// The layers first .. first + bits of one buffer, bits ≤ 8. A group is the 2^bits elements that are
// 2^first apart; a workgroup has 256 elements, so 2^(8 − bits) groups. The elements of a group are
// multiplied by the twiddle factors between the earlier layers and these, then transformed as 2^bits values.
// Launched by `transform`, one workgroup of 128 threads for 256 elements.
// Twin: none; that of the whole transform is `dft` of `algebra/src/plain.rs`, in the law
// `ntt_matches_its_twin`.
@compute @workgroup_size(128)
fn pass_layers(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let first = pass_layers_first();
    let bits = pass_layers_bits();
    let slots = workgroup_number(workgroup) * 256u;
    for (var half = 0u; half < 2u; half++) {
        let slot = local + 128u * half;
        let i = place(slots + slot, first, bits);
        if (slots + slot < pass_layers_count()) {
            var x = element(values[2u * i], values[2u * i + 1u]);
            if (first > 0u) {
                let member = slot & ((1u << bits) - 1u);
                let low_part = i & ((1u << first) - 1u);
                let exponent = (low_part * reversed(member, bits)) << (pass_layers_log_n() - first - bits);
                x = mul(x, power(SMALL_ROOTS, pass_layers_split(), exponent));
            }
            shared_low[slot] = low(x);
            shared_high[slot] = high(x);
        }
    }
    for (var layer = 0u; layer < bits; layer++) {
        workgroupBarrier();
        let within = local & ((1u << layer) - 1u);
        let a = ((local >> layer) << (layer + 1u)) | within;
        let b = a + (1u << layer);
        if (slots + b < pass_layers_count()) {
            let x = element(shared_low[a], shared_high[a]);
            var y = element(shared_low[b], shared_high[b]);
            y = mul(y, table(within << (7u - layer)));
            let sum = add(x, y);
            let difference = sub(x, y);
            shared_low[a] = low(sum);
            shared_high[a] = high(sum);
            shared_low[b] = low(difference);
            shared_high[b] = high(difference);
        }
    }
    workgroupBarrier();
    for (var half = 0u; half < 2u; half++) {
        let slot = local + 128u * half;
        let i = place(slots + slot, first, bits);
        if (slots + slot < pass_layers_count()) {
            values[2u * i] = shared_low[slot];
            values[2u * i + 1u] = shared_high[slot];
        }
    }
}

/// Where slot `slot` of a pass lies in the buffer.
fn place(slot: u32, first: u32, bits: u32) -> u32 {
    let member = slot & ((1u << bits) - 1u);
    let group = slot >> bits;
    let low_part = group & ((1u << first) - 1u);
    return ((group >> first) << (first + bits)) | (member << first) | low_part;
}

// One layer between two buffers: (values, upper) = (values + w · upper, values − w · upper).
// Launched by `transform`, one thread per element of a buffer.
// Twin: none; that of the whole transform is `dft` of `algebra/src/plain.rs`, in the law
// `ntt_matches_its_twin`.
@compute @workgroup_size(WORKGROUP)
fn across(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = thread_number(workgroup, local);
    if (i >= across_count()) {
        return;
    }
    let exponent = (across_place() + i) << (across_log_n() - across_layer() - 1u);
    let x = element(values[2u * i], values[2u * i + 1u]);
    let y = mul(
        element(upper[2u * i], upper[2u * i + 1u]),
        power(SMALL_ROOTS, across_split(), exponent),
    );
    let sum = add(x, y);
    let difference = sub(x, y);
    values[2u * i] = low(sum);
    values[2u * i + 1u] = high(sum);
    upper[2u * i] = low(difference);
    upper[2u * i + 1u] = high(difference);
}

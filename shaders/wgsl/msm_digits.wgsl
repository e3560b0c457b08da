#import params
#import fr
#import field

// Scalars to digits, digits to buckets. A scalar above (r − 1) / 2 counts as negative, so a magnitude
// has at most 253 bits. Adding 2^(c − 1) in every window once turns the windows' bits into signed
// digits without carries: a digit is its window's bits less 2^(c − 1).
//
// Bucket w · 2^(c − 1) + m − 1 takes the entries whose digit in window w is m or −m. An entry is the
// base's number times two, plus one if it is subtracted. Where an entry lands within its
// bucket depends on the run; the sum does not.

@group(0) @binding(1) var<storage, read> scalars: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> bases: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> counts: array<atomic<u32>>;
@group(0) @binding(4) var<storage, read_write> entries: array<u32>;

struct Folded {
    magnitude: Element,
    negative: bool,
}

/// A scalar as sign and magnitude, which is its smaller one.
fn folded(i: u32) -> Folded {
    var plain = number(element(scalars[2u * i], scalars[2u * i + 1u]));
    // r − plain, and whether that is smaller: the borrow of (r − 1) / 2 − plain.
    var opposite: Element;
    var borrow = 0u;
    var half_borrow = 0u;
    for (var k = 0u; k < 8u; k++) {
        let word = plain.words[k];
        let once = P[k] - word;
        opposite.words[k] = once - borrow;
        borrow = select(0u, 1u, P[k] < word) | select(0u, 1u, once < borrow);
        let half_once = HALF[k] - word;
        half_borrow = select(0u, 1u, HALF[k] < word) | select(0u, 1u, half_once < half_borrow);
    }
    if (half_borrow == 1u) {
        return Folded(opposite, true);
    }
    return Folded(plain, false);
}

// counts[slot] = the most bits that a magnitude has; `counts` is zero before.
// Launched by `widest`, one thread per scalar.
// Twin: none; that of the whole MSM is `msm` of `algebra/src/plain.rs`, in the law `msm_sizes`.
@compute @workgroup_size(WORKGROUP)
fn widest(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = thread_number(workgroup, local);
    if (i >= widest_count()) {
        return;
    }
    var scalar = folded(widest_first_scalar() + i);
    var bits = 0u;
    for (var k = 0u; k < 8u; k++) {
        if (scalar.magnitude.words[k] != 0u) {
            bits = 32u * (k + 1u) - countLeadingZeros(scalar.magnitude.words[k]);
        }
    }
    if (bits > 0u) {
        atomicMax(&counts[widest_slot()], bits);
    }
}

/// The magnitude with `addend`, which is 2^(c − 1) in every window. Windows end within the nine words.
fn shifted(magnitude: Element) -> array<u32, 9> {
    var x = magnitude;
    var sum: array<u32, 9>;
    var carry = 0u;
    for (var k = 0u; k < 8u; k++) {
        let once = x.words[k] + digits_addend(k);
        let both = once + carry;
        carry = select(0u, 1u, once < x.words[k]) | select(0u, 1u, both < once);
        sum[k] = both;
    }
    sum[8] = digits_addend(8u) + carry;
    return sum;
}

// Counts the entries of every bucket or, if `write` is set, writes them to their places, where `counts`
// has the next free place of each bucket. Zero digits and identities make no entry.
// Launched by `msm_chunk`, one thread per scalar, twice.
// Twin: none; that of the whole MSM is `msm` of `algebra/src/plain.rs`, in the law `msm_sizes`.
@compute @workgroup_size(WORKGROUP)
fn digits(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = thread_number(workgroup, local);
    if (i >= digits_count()) {
        return;
    }
    // The identity is (0, 0), and no point has y = 0.
    if (digits_identities() == 1u && all((bases[4u * i + 2u] | bases[4u * i + 3u]) == vec4<u32>())) {
        return;
    }
    let scalar = folded(digits_first_scalar() + i);
    var bits = shifted(scalar.magnitude);
    let c = digits_c();
    let half_window = 1u << (c - 1u);
    for (var window = 0u; window < digits_windows(); window++) {
        let at = window * c;
        let word = at >> 5u;
        var digit = bits[word] >> (at & 31u);
        if ((at & 31u) + c > 32u) {
            digit |= bits[word + 1u] << (32u - (at & 31u));
        }
        digit &= (1u << c) - 1u;
        if (digit == half_window) {
            continue;
        }
        let below = digit < half_window;
        let magnitude = select(digit - half_window, half_window - digit, below);
        let bucket = window * half_window + magnitude - 1u;
        let at_place = atomicAdd(&counts[bucket], 1u);
        if (digits_write() == 1u) {
            entries[at_place] = 2u * i + select(0u, 1u, below != scalar.negative);
        }
    }
}

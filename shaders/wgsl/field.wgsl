#import words

// A prime field in Montgomery form, R = 2^256: eight words, the lowest first, as in arkworks.
// Every value in memory and between functions is below P. The importing kernel chooses the field by
// importing `fr` or `fq`, which define P, HALF, P_INVERSE, ONE and R_SQUARED.
//
// Bounds: P is below 2^254, so a sum of two elements and every row of a product is below 2^255 and
// fits eight words.

struct Element {
    words: array<u32, 8>,
}

fn element(low: vec4<u32>, high: vec4<u32>) -> Element {
    return Element(array<u32, 8>(low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w));
}

fn low(x: Element) -> vec4<u32> {
    return vec4<u32>(x.words[0], x.words[1], x.words[2], x.words[3]);
}

fn high(x: Element) -> vec4<u32> {
    return vec4<u32>(x.words[4], x.words[5], x.words[6], x.words[7]);
}

fn zero() -> Element {
    return Element(array<u32, 8>(0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u));
}

fn one() -> Element {
    return Element(ONE);
}

fn is_zero(x: Element) -> bool {
    return all((low(x) | high(x)) == vec4<u32>());
}

/// `x − P` where that is not negative, else `x`. Takes values below 2 P.
fn reduce(x: Element) -> Element {
    var kept = x;
    var less: Element;
    var borrow = 0u;
    for (var i = 0u; i < 8u; i++) {
        let a = kept.words[i];
        let once = a - P[i];
        less.words[i] = once - borrow;
        borrow = select(0u, 1u, a < P[i]) | select(0u, 1u, once < borrow);
    }
    if (borrow == 1u) {
        return kept;
    }
    return less;
}

fn add(x: Element, y: Element) -> Element {
    var a = x;
    var b = y;
    var sum: Element;
    var carry = 0u;
    for (var i = 0u; i < 8u; i++) {
        let once = a.words[i] + b.words[i];
        let both = once + carry;
        carry = select(0u, 1u, once < a.words[i]) | select(0u, 1u, both < once);
        sum.words[i] = both;
    }
    return reduce(sum);
}

fn sub(x: Element, y: Element) -> Element {
    var a = x;
    var b = y;
    var difference: Element;
    var borrow = 0u;
    for (var i = 0u; i < 8u; i++) {
        let once = a.words[i] - b.words[i];
        difference.words[i] = once - borrow;
        borrow = select(0u, 1u, a.words[i] < b.words[i]) | select(0u, 1u, once < borrow);
    }
    // P is added back where the difference was negative.
    let mask = 0u - borrow;
    var carry = 0u;
    for (var i = 0u; i < 8u; i++) {
        let once = difference.words[i] + (P[i] & mask);
        let both = once + carry;
        carry = select(0u, 1u, once < difference.words[i]) | select(0u, 1u, both < once);
        difference.words[i] = both;
    }
    return difference;
}

/// `x · y / R`. One row per word of y: the row is added and, in the same pass, the multiple of P that
/// clears the lowest word; both carries fit their words because P has two bits to spare.
///
/// Source: Koç, Acar and Kaliski, "Analyzing and comparing Montgomery multiplication algorithms",
/// 1996, the form that interleaves by operand (CIOS), with one word less for a short modulus.
fn mul(x: Element, y: Element) -> Element {
    var a = x;
    var b = y;
    var t = array<u32, 8>(0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u);
    for (var i = 0u; i < 8u; i++) {
        let digit = b.words[i];
        var row = mul_add(t[0], a.words[0], digit, 0u);
        let factor = row.x * P_INVERSE;
        var cleared = mul_add(row.x, factor, P[0], 0u);
        for (var j = 1u; j < 8u; j++) {
            row = mul_add(t[j], a.words[j], digit, row.y);
            cleared = mul_add(row.x, factor, P[j], cleared.y);
            t[j - 1u] = cleared.x;
        }
        t[7] = row.y + cleared.y;
    }
    return reduce(Element(t));
}

/// The number below P that a Montgomery form represents.
fn number(x: Element) -> Element {
    return mul(x, Element(array<u32, 8>(1u, 0u, 0u, 0u, 0u, 0u, 0u, 0u)));
}

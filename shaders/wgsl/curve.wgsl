#import fq
#import field

// Points of BN254's G1, y² = x³ + 3, in homogeneous coordinates: (X : Y : Z) represents (X/Z, Y/Z) and
// (0 : 1 : 0) for the identity. The formulas are complete on a curve of odd order: equal points,
// opposite points and the identity need no separate case, so all inputs take one path.
//
// Source: Renes, Costello and Batina, "Complete addition formulas for prime order elliptic curves",
// 2015, algorithms 7 and 8, <https://eprint.iacr.org/2015/1060>.

struct Point {
    x: Element,
    y: Element,
    z: Element,
}

fn identity() -> Point {
    return Point(zero(), one(), zero());
}

/// `3 · b · x` for the curve's b = 3.
fn nine_times(x: Element) -> Element {
    let two = add(x, x);
    let four = add(two, two);
    return add(add(four, four), x);
}

/// The sum from the products of coordinates: xx is x₁x₂, xy is x₁y₂ + x₂y₁, and so on.
fn from_products(
    xx: Element, yy: Element, zz: Element, xy: Element, yz: Element, xz: Element,
) -> Point {
    let three_xx = add(add(xx, xx), xx);
    let nine_zz = nine_times(zz);
    let nine_xz = nine_times(xz);
    let minus = sub(yy, nine_zz);
    let plus = add(yy, nine_zz);
    return Point(
        sub(mul(xy, minus), mul(yz, nine_xz)),
        add(mul(minus, plus), mul(three_xx, nine_xz)),
        add(mul(yz, plus), mul(three_xx, xy)),
    );
}

/// `p + q`, any points. Cost: 12 products.
fn add_points(p: Point, q: Point) -> Point {
    let xx = mul(p.x, q.x);
    let yy = mul(p.y, q.y);
    let zz = mul(p.z, q.z);
    let xy = sub(mul(add(p.x, p.y), add(q.x, q.y)), add(xx, yy));
    let yz = sub(mul(add(p.y, p.z), add(q.y, q.z)), add(yy, zz));
    let xz = sub(mul(add(p.x, p.z), add(q.x, q.z)), add(xx, zz));
    return from_products(xx, yy, zz, xy, yz, xz);
}

/// `p + (x, y)`, any point and any affine point, which is never the identity. Cost: 11 products.
fn add_affine(p: Point, x: Element, y: Element) -> Point {
    let xx = mul(p.x, x);
    let yy = mul(p.y, y);
    let xy = sub(mul(add(p.x, p.y), add(x, y)), add(xx, yy));
    let yz = add(mul(y, p.z), p.y);
    let xz = add(mul(x, p.z), p.x);
    return from_products(xx, yy, p.z, xy, yz, xz);
}

//! BN254's G1 inside a circuit: affine addition and doubling, unchecked points, tables of multiples.
//!
//! Every operation here is *incomplete*: an addition of two points with equal x coordinates leaves the
//! slope unconstrained. Each use explains why that cannot happen (see [`super::straus`] and [`Table`]).
//!
//! An operation constrains the limbs of its first operand's x, of its slope and of its result's y. The x of its
//! result is constrained by the operation that uses it, or at the end by [`settle_point`]. Rows: 20 for an addition,
//! 22 for a doubling, of which 1 and 3 can take loose arithmetic rows.

use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::Field;
use rollmill_algebra::{Fq, G1Affine, G1Projective};
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::layout::FixedRow;

use super::nonnative::{Element, Groups, Quotient, ROWS, Tape};
use super::slopes::{At, Slopes, Step, sum_on_line};
use crate::weaken::gone;

/// An affine point, not the identity.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    pub x: Element,
    pub y: Element,
    pub(crate) at: At,
}

/// A row that reads a table: it appends the digit to a running number and looks up the second operand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Read {
    pub(crate) table: Var,
    pub(crate) digit: Var,
    pub(crate) before: Var,
    pub(crate) after: Var,
}

impl Point {
    fn unchecked(b: &mut Builder, x: Fq, y: Fq) -> Self {
        Self { x: Element::unchecked(b, x), y: Element::unchecked(b, y), at: (x, y) }
    }

    /// An unchecked point, with all constraints: limbs in range, coordinates below q, on the curve. So it is not the
    /// identity (which has no affine coordinates on the curve), and it has order r (the cofactor is one).
    pub fn fresh(b: &mut Builder, point: &G1Affine) -> Self {
        // The identity is laid out as (0, 0), which no constraint of a point accepts.
        let (x, y) = point.xy().unwrap_or_default();
        let this = Self::unchecked(b, x, y);
        this.constrain(b);
        this
    }

    /// A point with these limbs as coordinates, with the constraints of [`Self::fresh`].
    pub(crate) fn from_limbs(b: &mut Builder, x: [Var; 4], y: [Var; 4]) -> Self {
        let (x, y) = (Element::from_limbs(b, x), Element::from_limbs(b, y));
        let at = (fq_of(&x), fq_of(&y));
        let this = Self { x, y, at };
        this.constrain(b);
        this
    }

    /// A constant point.
    ///
    /// # Panics
    /// When it is the identity, which has no affine coordinates.
    pub fn constant(b: &mut Builder, point: &G1Affine) -> Self {
        let (x, y) = point.xy().expect("a constant point is finite");
        Self { x: Element::constant(b, x), y: Element::constant(b, y), at: (x, y) }
    }

    /// The point's value in this witness.
    pub fn value(&self) -> G1Affine {
        G1Affine::new_unchecked(self.at.0, self.at.1)
    }

    /// New variables for the entry that a row reads. They are not the entry's own: which entry is read depends on the
    /// witness, and the wiring must not.
    pub(crate) fn read_again(&self, b: &mut Builder) -> Self {
        Self { x: self.x.read_again(b), y: self.y.read_again(b), at: self.at }
    }

    /// The coordinates modulo r, as a transcript takes them. They must be constrained below q.
    pub fn absorbed(&self, b: &mut Builder) -> [Var; 2] {
        [self.x.mod_r(b), self.y.mod_r(b)]
    }

    fn constrain(&self, b: &mut Builder) {
        let mut tape = Tape::new(b);
        if !gone("gadgets.point.x") {
            tape.range(&self.x);
        }
        if !gone("gadgets.point.y") {
            tape.range(&self.y);
        }
        if !gone("gadgets.point.curve") {
            self.on_curve(&mut tape);
        }
        tape.end();
        if !gone("gadgets.point.canonical_x") {
            self.x.assert_canonical(b);
        }
        if !gone("gadgets.point.canonical_y") {
            self.y.assert_canonical(b);
        }
    }

    /// `x² = t` and `y² − 3 = t · x`, 14 rows. Limbs must be in range.
    fn on_curve(&self, tape: &mut Tape<'_>) {
        let t = Element::unchecked(tape.b, self.at.0.square());
        let three = Element::constant(tape.b, Fq::from(3u64));
        let q = Quotient::of(self.x.integer().times(self.x.integer()).minus(t.integer()));
        let v = Groups::product(tape.b, &self.x, &self.x, &t, &q);
        let carries = v.carries(&[]);
        tape.settle();
        tape.row_with(self.x.limbs, &ROWS.square, q.cells[0]);
        tape.row_with(t.limbs, &ROWS.blank, q.cells[1]);
        tape.row_with(v.vars, &ROWS.carry, carries[0]);
        tape.row_with(self.x.limbs, &ROWS.blank, carries[1]);
        if !gone("gadgets.point.x_squared") {
            tape.range(&t);
        }

        // y² − 3 − t·x = (y² − 3 − Q·q) − (t·x − 0·q).
        let square = self.y.integer().times(self.y.integer()).minus(three.integer());
        let q1 = Quotient::of(square.minus(t.integer().times(self.x.integer())));
        let q2 = Quotient::new(super::wide::Wide::ZERO);
        let v1 = Groups::product(tape.b, &self.y, &self.y, &three, &q1);
        let v2 = Groups::product(tape.b, &t, &self.x, &Element::ZERO, &q2);
        let v = v1.combine(tape.b, 1, &v2, -1);
        let carries = v.carries(&[]);
        tape.filler();
        tape.row_with(self.y.limbs, &ROWS.square, q1.cells[0]);
        tape.row_with(three.limbs, &ROWS.blank, q1.cells[1]);
        tape.row(v1.vars, &ROWS.difference);
        tape.row_with(v.vars, &ROWS.carry, carries[0]);
        tape.row_with(v2.vars, &ROWS.blank, carries[1]);
        tape.row_with(t.limbs, &ROWS.product, q2.cells[0]);
        tape.row_with(self.x.limbs, &ROWS.blank, q2.cells[1]);
        tape.row(v2.vars, &ROWS.blank);
    }
}

fn fq_of(e: &Element) -> Fq {
    let words = e.integer().words();
    words.iter().rev().fold(Fq::from(0u64), |acc, w| acc * Fq::from(1u128 << 64) + Fq::from(*w))
}

/// This row, or in a weakened build one without a gate.
fn unless(name: &str, row: &'static FixedRow) -> &'static FixedRow {
    if gone(name) { &ROWS.blank } else { row }
}

/// Reads a table's entry. Three rows.
pub(crate) fn read_only(tape: &mut Tape<'_>, entry: &Point, read: Read) {
    let Read { table, digit, before, after } = read;
    let row = tape.row([digit, before, after, table], &ROWS.read_digit);
    tape.b.note_read(row, table, digit);
    tape.row(entry.y.limbs, &ROWS.blank);
    tape.row(entry.x.limbs, &ROWS.blank);
}

/// The values that a prover chooses for an addition or a doubling.
#[derive(Debug, Clone, Copy)]
struct Claim {
    slope: Fq,
    /// The result.
    at: At,
    /// The difference of the operands' x in an addition, if it is to differ from the true one.
    dx: Option<Fq>,
    /// Whether the tangent of a doubling is computed from its operands; if not, it is zero.
    tangent: bool,
}

impl Claim {
    /// An honest choice, except for the slope.
    fn of(p: At, q: At, slope: Fq) -> Self {
        Self { slope, at: sum_on_line(p, q, slope), dx: None, tangent: true }
    }
}

/// `p + q`, with q from a table when there is a `read`. The x coordinates must differ. The slope comes from
/// [`Slopes`], which computes many at once.
///
/// With slope λ: `λ(x_q − x_p) = y_q − y_p`, `λ² = x_p + x_q + x`, `λ(x_q − x) = y_q + y`.
pub(crate) fn add(
    tape: &mut Tape<'_>,
    p: &Point,
    q: &Point,
    read: Option<Read>,
    slope: Fq,
) -> Point {
    add_given(tape, p, q, read, Claim::of(p.at, q.at, slope))
}

/// [`add`] with the prover's choices.
fn add_given(tape: &mut Tape<'_>, p: &Point, q: &Point, read: Option<Read>, claim: Claim) -> Point {
    let sum = Point::unchecked(tape.b, claim.at.0, claim.at.1);
    let lambda = Element::unchecked(tape.b, claim.slope);
    let dx = match claim.dx {
        Some(dx) => Element::unchecked(tape.b, dx),
        None => q.x.less(tape.b, &p.x),
    };
    let dx3 = q.x.less(tape.b, &sum.x);
    let l = lambda.integer();

    let q1 = Quotient::of(l.times(dx.integer()).minus(q.y.integer()).plus(p.y.integer()));
    let v1 = Groups::product(tape.b, &dx, &lambda, &Element::ZERO, &q1);
    let c1 = v1.carries(&[(-1, &q.y), (1, &p.y)]);
    let sum_x = p.x.integer().plus(q.x.integer()).plus(sum.x.integer());
    let q2 = Quotient::of(l.times(l).minus(sum_x));
    let v2 = Groups::product(tape.b, &lambda, &lambda, &p.x, &q2);
    let c2 = v2.carries(&[(-1, &q.x), (-1, &sum.x)]);
    let q3 = Quotient::of(l.times(dx3.integer()).minus(q.y.integer()).minus(sum.y.integer()));
    let v3 = Groups::product(tape.b, &dx3, &lambda, &Element::ZERO, &q3);
    let c3 = v3.carries(&[(-1, &q.y), (-1, &sum.y)]);

    match read {
        Some(Read { table, digit, before, after }) => {
            let row = tape.row([digit, before, after, table], &ROWS.read_digit);
            tape.b.note_read(row, table, digit);
        }
        None => tape.settle(),
    }
    tape.row_packing(q.y.limbs, unless("gadgets.sum.x", &ROWS.pack_ahead), &p.x);
    tape.row(q.x.limbs, unless("gadgets.sum.dx", &ROWS.difference));
    tape.row(p.x.limbs, &ROWS.blank);
    tape.row_with(dx.limbs, &ROWS.product, q1.cells[0]);
    tape.row_with(lambda.limbs, &ROWS.blank, q1.cells[1]);
    tape.row_with(v1.vars, unless("gadgets.sum.slope", &ROWS.carry_less_plus), c1[0]);
    tape.row_with(q.y.limbs, &ROWS.blank, c1[1]);
    tape.row_packing(p.y.limbs, unless("gadgets.sum.slope_range", &ROWS.pack_ahead), &lambda);
    tape.filler();
    tape.row_with(lambda.limbs, &ROWS.square, q2.cells[0]);
    tape.row_with(p.x.limbs, &ROWS.blank, q2.cells[1]);
    tape.row_with(v2.vars, unless("gadgets.sum.square", &ROWS.carry_less_both), c2[0]);
    tape.row_with(q.x.limbs, &ROWS.difference, c2[1]);
    tape.row(sum.x.limbs, &ROWS.blank);
    tape.row_with(dx3.limbs, &ROWS.product, q3.cells[0]);
    tape.row_with(lambda.limbs, &ROWS.blank, q3.cells[1]);
    tape.row_with(v3.vars, unless("gadgets.sum.line", &ROWS.carry_less_both), c3[0]);
    tape.row_with(q.y.limbs, &ROWS.blank, c3[1]);
    tape.row_packing(sum.y.limbs, unless("gadgets.sum.y", &ROWS.pack), &sum.y);
    sum
}

/// `2p`. Always defined: the group's order is odd, so no point of the curve has y = 0. The slope comes from
/// [`Slopes`].
///
/// With slope λ: `2λy = 3x²`, `λ² = 2x + x'`, `λ(x − x') = y + y'`.
pub(crate) fn double(tape: &mut Tape<'_>, p: &Point, slope: Fq) -> Point {
    double_given(tape, p, Claim::of(p.at, p.at, slope))
}

/// [`double`] with the prover's choices.
fn double_given(tape: &mut Tape<'_>, p: &Point, claim: Claim) -> Point {
    let sum = Point::unchecked(tape.b, claim.at.0, claim.at.1);
    let lambda = Element::unchecked(tape.b, claim.slope);
    let dx3 = p.x.less(tape.b, &sum.x);
    let l = lambda.integer();

    // 3(x² − a·q) − 2(λy − c·q) with 3a − 2c = Q and a = Q mod 2, so that c is whole.
    let (square, chord) = (p.x.integer().times(p.x.integer()), l.times(p.y.integer()));
    let quotient = square.scaled(3).minus(chord.scaled(2)).divided_by_modulus();
    let odd = super::wide::Wide::from_words([u64::from(quotient.is_odd()), 0, 0, 0]);
    let qa = Quotient::new(odd);
    let qc = Quotient::new(odd.scaled(3).minus(quotient).half());
    let va = Groups::product(tape.b, &p.x, &p.x, &Element::ZERO, &qa);
    let vc = Groups::product(tape.b, &lambda, &p.y, &Element::ZERO, &qc);
    let (three, two) = if claim.tangent { (3, -2) } else { (0, 0) };
    let v1 = va.combine(tape.b, three, &vc, two);
    let c1 = v1.carries(&[]);
    let q2 = Quotient::of(l.times(l).minus(p.x.integer().scaled(2)).minus(sum.x.integer()));
    let v2 = Groups::product(tape.b, &lambda, &lambda, &p.x, &q2);
    let c2 = v2.carries(&[(-1, &p.x), (-1, &sum.x)]);
    let q3 = Quotient::of(l.times(dx3.integer()).minus(p.y.integer()).minus(sum.y.integer()));
    let v3 = Groups::product(tape.b, &dx3, &lambda, &Element::ZERO, &q3);
    let c3 = v3.carries(&[(-1, &p.y), (-1, &sum.y)]);

    tape.settle();
    tape.row_packing(
        [Builder::ZERO; 4],
        unless("gadgets.double.slope_range", &ROWS.pack_ahead),
        &lambda,
    );
    tape.filler();
    tape.row_with(lambda.limbs, &ROWS.product, qc.cells[0]);
    tape.row_with(p.y.limbs, &ROWS.blank, qc.cells[1]);
    tape.row_packing(vc.vars, unless("gadgets.double.x", &ROWS.pack_ahead), &p.x);
    tape.filler();
    tape.row_with(p.x.limbs, &ROWS.square, qa.cells[0]);
    tape.row_with([Builder::ZERO; 4], &ROWS.blank, qa.cells[1]);
    tape.row(va.vars, unless("gadgets.double.tangent", &ROWS.tangent));
    tape.row_with(v1.vars, unless("gadgets.double.slope", &ROWS.carry), c1[0]);
    tape.row_with(vc.vars, &ROWS.blank, c1[1]);
    tape.row_with(lambda.limbs, &ROWS.square, q2.cells[0]);
    tape.row_with(p.x.limbs, &ROWS.blank, q2.cells[1]);
    tape.row_with(v2.vars, unless("gadgets.double.square", &ROWS.carry_less_both), c2[0]);
    tape.row_with(p.x.limbs, &ROWS.difference, c2[1]);
    tape.row(sum.x.limbs, &ROWS.blank);
    tape.row_with(dx3.limbs, &ROWS.product, q3.cells[0]);
    tape.row_with(lambda.limbs, &ROWS.blank, q3.cells[1]);
    tape.row_with(v3.vars, unless("gadgets.double.line", &ROWS.carry_less_both), c3[0]);
    tape.row_with(p.y.limbs, &ROWS.blank, c3[1]);
    tape.row_packing(sum.y.limbs, unless("gadgets.double.y", &ROWS.pack), &sum.y);
    sum
}

/// Ends a sequence of operations: constrains the x of its last result.
pub(crate) fn settle_point(tape: &mut Tape<'_>, p: &Point) {
    if !gone("gadgets.sum.last_x") {
        tape.range(&p.x);
    }
    tape.settle();
}

/// Digits of a table: entry `d` holds `(2d − 15)·P`.
pub(crate) const ENTRIES: usize = 16;

/// The odd multiples `±P, ±3P, …, ±15P` of a point, written into the ROM.
///
/// They are computed from P alone, as `kP + 2P` with k odd below 15. The operands' x would be equal only if
/// `(k ± 2)P` were the identity, but P has order r.
#[derive(Debug, Clone)]
pub struct Table {
    pub(crate) id: Var,
    pub(crate) entries: [Point; ENTRIES],
    /// The point itself.
    pub point: Point,
}

/// Odd multiples of a point that its table contains.
const ODD: usize = ENTRIES / 2;

/// A point with the slopes of its table: that of the tangent, then those of the chords.
#[derive(Debug, Clone)]
pub struct Planned {
    point: Point,
    slopes: [Fq; ODD],
}

impl Planned {
    /// Plans tables with two field inversions in all.
    pub fn all<'a>(points: impl IntoIterator<Item = &'a Point>) -> Vec<Self> {
        let points: Vec<Point> = points.into_iter().copied().collect();
        let mut tangents = Slopes::default();
        points.iter().for_each(|point| tangents.chain(point.at, [Step::Double]));
        let tangents = tangents.finish();
        let mut chords = Slopes::default();
        for (point, tangent) in points.iter().zip(&tangents) {
            let twice = sum_on_line(point.at, point.at, *tangent);
            let first = std::iter::once(Step::Add(point.at));
            chords.chain(twice, first.chain([Step::Add(twice); ODD - 2]));
        }
        let chords = chords.finish();
        let slopes = tangents.iter().zip(chords.chunks(ODD - 1)).map(|(tangent, chords)| {
            std::array::from_fn(|k| if k == 0 { *tangent } else { chords[k - 1] })
        });
        points.iter().zip(slopes).map(|(point, slopes)| Self { point: *point, slopes }).collect()
    }
}

impl Table {
    /// The table of a point that [`Point::fresh`] or an operation has constrained.
    pub fn new(b: &mut Builder, point: &Point) -> Self {
        // One plan for one point.
        Self::of(b, &Planned::all([point])[0])
    }

    /// [`Self::new`] for a point that was planned with others.
    pub fn of(b: &mut Builder, planned: &Planned) -> Self {
        let Planned { point, slopes } = planned;
        let id = b.new_table();
        let addresses: [Var; ENTRIES] = std::array::from_fn(|d| b.constant_u64(d as u64));
        let mut tape = Tape::new(b);
        let mut entries = [*point; ENTRIES];
        let twice = double(&mut tape, point, slopes[0]);
        let mut odd = *point;
        for (k, slope) in slopes.iter().enumerate() {
            if k == 1 {
                // The first operand's x gets its range check here.
                odd = add(&mut tape, &twice, &odd, None, *slope);
            } else if k > 1 {
                odd = add(&mut tape, &odd, &twice, None, *slope);
            }
            let (high, low) = (ODD + k, ODD - 1 - k);
            entries[high] = odd;
            entries[low] = write_both(&mut tape, id, &odd, addresses[high], addresses[low]);
        }
        settle_point(&mut tape, &odd);
        Self { id, entries, point: *point }
    }

    /// The table of a constant point.
    pub fn constant(b: &mut Builder, point: &G1Affine) -> Self {
        let id = b.new_table();
        let at = Point::constant(b, point);
        let mut entries = [at; ENTRIES];
        let twice = G1Projective::from(*point) + point;
        let odd: Vec<G1Projective> =
            std::iter::successors(Some((*point).into()), |k| Some(twice + k)).take(ODD).collect();
        let odd = G1Projective::normalize_batch(&odd);
        for (d, entry) in entries.iter_mut().enumerate() {
            let multiple = odd[d.max(ENTRIES - 1 - d) - ODD].xy();
            let (x, y) = multiple.expect("the order is above every odd multiple taken here");
            let element = Element::constant(b, x);
            // Two entries share half of the limbs.
            *entry = match d < ODD {
                true => Point { x: element, y: Element::constant_negative(b, y), at: (x, -y) },
                false => Point { x: element, y: Element::constant(b, y), at: (x, y) },
            };
            let address = b.constant_u64(d as u64);
            b.rom_write(id, address, entry.y.limbs, entry.x.limbs);
        }
        Self { id, entries, point: at }
    }
}

/// Writes P at `positive` and −P at `negative`; returns −P. Seven rows.
fn write_both(tape: &mut Tape<'_>, id: Var, p: &Point, positive: Var, negative: Var) -> Point {
    let opposite = Point { x: p.x, y: p.y.negative(tape.b), at: (p.at.0, -p.at.1) };
    tape.row(p.y.limbs, unless("gadgets.table.opposite", &ROWS.opposite));
    for (address, point) in [(negative, &opposite), (positive, p)] {
        let row = tape.row([address, Builder::ZERO, Builder::ZERO, id], &ROWS.write);
        tape.b.note_write(row, id, address);
        tape.row(point.y.limbs, &ROWS.blank);
        tape.row(point.x.limbs, &ROWS.blank);
    }
    opposite
}

#[cfg(test)]
mod tests {
    use ark_ff::PrimeField;
    use rollmill_algebra::Fr;
    use rollmill_plonk::check::check;

    use super::super::wide::{MODULUS, Wide};
    use super::*;

    /// Attack: a coordinate given as itself plus q, which the transcript would absorb as another number.
    #[test]
    fn a_coordinate_above_the_modulus_is_rejected() {
        let (x, y) = G1Affine::generator().xy().expect("not the identity");
        for (shift_x, shift_y) in [(0, 0), (1, 0), (0, 1)] {
            let mut b = Builder::new(0, 16);
            let mut limbs = |v: Fq, shift: i64| {
                let words = Wide::from_words(v.into_bigint().0).plus(MODULUS.scaled(shift)).words();
                [0, 1, 2, 3].map(|i| b.witness(Fr::from(words[i])))
            };
            let (x, y) = (limbs(x, shift_x), limbs(y, shift_y));
            Point::from_limbs(&mut b, x, y);
            let (layout, witness) = b.finish(None).expect("fits");
            assert_eq!(check(&layout, &witness).is_ok(), shift_x + shift_y == 0);
        }
    }

    /// What differs from the honest claim. Each lie satisfies every equation except the one that it is named after.
    type Lie = (&'static str, fn(&mut Claim, At, At));

    fn outcome(lay_out: impl Fn(&mut Tape<'_>, [&Point; 2], [At; 2]) -> Point) -> bool {
        let g = G1Affine::generator();
        let points = [5u64, 9].map(|k| (g * Fr::from(k)).into_affine());
        let mut b = Builder::new(0, 16);
        let [p, q] = points.map(|point| Point::fresh(&mut b, &point));
        let mut tape = Tape::new(&mut b);
        let sum = lay_out(&mut tape, [&p, &q], [p.at, q.at]);
        settle_point(&mut tape, &sum);
        tape.end();
        let (layout, witness) = b.finish(None).expect("fits");
        check(&layout, &witness).is_ok()
    }

    /// The second coordinate that the line through q leads to.
    fn on_line(claim: &mut Claim, q: At) {
        claim.at.1 = claim.slope * (q.0 - claim.at.0) - q.1;
    }

    #[test]
    fn an_addition_that_breaks_one_equation_is_rejected() {
        let added = |lie: fn(&mut Claim, At, At)| {
            outcome(|tape, [p, q], [at, to]| {
                let slope = (to.1 - at.1) * (to.0 - at.0).inverse().expect("they differ");
                let mut claim = Claim::of(at, to, slope);
                lie(&mut claim, at, to);
                add_given(tape, p, q, None, claim)
            })
        };
        assert!(added(|_, _, _| ()));
        let lies: [Lie; 4] = [
            ("slope", |claim, p, q| *claim = Claim::of(p, q, claim.slope + Fq::from(1u64))),
            ("dx", |claim, p, q| {
                *claim = Claim::of(p, q, claim.slope + Fq::from(1u64));
                claim.dx = claim.slope.inverse().map(|inverse| (q.1 - p.1) * inverse);
            }),
            ("square", |claim, _, q| {
                claim.at.0 += Fq::from(1u64);
                on_line(claim, q);
            }),
            ("line", |claim, _, _| claim.at.1 += Fq::from(1u64)),
        ];
        for (name, lie) in lies {
            assert!(!added(lie), "{name}");
        }
    }

    #[test]
    fn a_doubling_that_breaks_one_equation_is_rejected() {
        let doubled = |lie: fn(&mut Claim, At, At)| {
            outcome(|tape, [p, _], [at, _]| {
                let two_y = (at.1 + at.1).inverse().expect("not zero");
                let mut claim = Claim::of(at, at, at.0.square() * Fq::from(3u64) * two_y);
                lie(&mut claim, at, at);
                double_given(tape, p, claim)
            })
        };
        assert!(doubled(|_, _, _| ()));
        let lies: [Lie; 4] = [
            ("slope", |claim, p, _| *claim = Claim::of(p, p, claim.slope + Fq::from(1u64))),
            ("tangent", |claim, p, _| {
                *claim = Claim::of(p, p, claim.slope + Fq::from(1u64));
                claim.tangent = false;
            }),
            ("square", |claim, p, _| {
                claim.at.0 += Fq::from(1u64);
                on_line(claim, p);
            }),
            ("line", |claim, _, _| claim.at.1 += Fq::from(1u64)),
        ];
        for (name, lie) in lies {
            assert!(!doubled(lie), "{name}");
        }
    }
}

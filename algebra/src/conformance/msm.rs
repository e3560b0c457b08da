//! Laws of multi-scalar multiplication.

use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{AdditiveGroup, Field, PrimeField};

use super::{Laws, Stream, number, points, power_of_two};
use crate::device::{Device, DeviceError, HostColumn};
use crate::{Fr, G1Affine, plain};

pub(super) fn run<D: Device>(laws: &Laws<'_, D>) {
    let bases = points(laws.seed, 700);
    laws.group("sizes of MSMs", |laws| laws.msm_sizes(&bases));
    laws.group("MSMs of special scalars", |laws| laws.msm_special_scalars(&bases));
    laws.group("MSMs of skewed scalars", |laws| laws.msm_skew(&bases));
    laws.group("MSMs over special bases", |laws| laws.msm_special_bases(&bases));
    laws.group("MSMs of small columns", |laws| laws.msm_small_columns(&bases));
    laws.group("batches of MSMs", |laws| laws.msm_batches(&bases));
    laws.group("MSMs of the host's columns", |laws| laws.msm_host_columns(&bases));
    laws.group("long MSMs", |laws| laws.msm_long(&bases));
    laws.group("shapes of MSMs", |laws| laws.msm_shapes(&bases));
}

impl<D: Device> Laws<'_, D> {
    fn commit_one(&self, bases: &[G1Affine], scalars: &[Fr]) -> G1Affine {
        let bases = self.device.register_bases(bases).expect("register_bases");
        let column = self.upload(scalars);
        self.device.commit(&bases, &[&column]).expect("commit")[0]
    }

    #[track_caller]
    fn check_msm(&self, law: &str, bases: &[G1Affine], scalars: &[Fr]) {
        let holds = self.commit_one(bases, scalars) == plain::msm(bases, scalars);
        self.check(holds, law, format!("{} scalars, {} bases", scalars.len(), bases.len()));
    }

    fn msm_sizes(&self, bases: &[G1Affine]) {
        for n in [0, 1, 2, 3, 7, 8, 9, 31, 64, 100, 257, 700] {
            let scalars = self.frs("msm sizes", n);
            self.check_msm("commit is the sum of products", &bases[..n], &scalars);
        }
        let scalars = self.frs("msm short", 10);
        self.check_msm("a short column uses the first bases", bases, &scalars);
    }

    /// Scalars at the ends of the field, of the sign fold, and of every digit of every window.
    fn msm_special_scalars(&self, bases: &[G1Affine]) {
        let half = number(Fr::MODULUS_MINUS_ONE_DIV_TWO.0);
        for (name, scalar) in [
            ("0", Fr::ZERO),
            ("1", Fr::ONE),
            ("r − 1", -Fr::ONE),
            ("(r − 1) / 2", half),
            ("(r + 1) / 2", half + Fr::ONE),
        ] {
            for n in [1, 2, 50] {
                self.check_msm(&format!("commit of scalars {name}"), &bases[..n], &vec![scalar; n]);
            }
        }
        let mut scalars = Vec::new();
        for k in 0..254 {
            let power = power_of_two(k);
            scalars.extend([power, power - Fr::ONE, -power]);
        }
        for (scalars, bases) in scalars.chunks(700).zip([bases, bases]) {
            self.check_msm("commit of 2^k, 2^k − 1 and −2^k", &bases[..scalars.len()], scalars);
        }
        // All digits equal to half the window: the place where signed digits carry.
        for c in 2..18 {
            let mut scalar = Fr::ZERO;
            for window in 0..252 / c {
                scalar += power_of_two(c * window + c - 1);
            }
            let scalars = [scalar, scalar - Fr::ONE, scalar + Fr::ONE, -scalar];
            self.check_msm(&format!("commit of half digits of {c} bits"), &bases[..4], &scalars);
        }
    }

    fn msm_skew(&self, bases: &[G1Affine]) {
        let [a, b] = [self.fr("skew a"), self.fr("skew b")];
        let n = bases.len();
        self.check_msm("one bucket contains every entry", bases, &vec![a; n]);
        let two: Vec<Fr> = (0..n).map(|i| if i % 3 == 0 { a } else { b }).collect();
        self.check_msm("two values", bases, &two);
        let mut lone = vec![Fr::ZERO; n];
        lone[n / 2] = a;
        self.check_msm("one scalar that is not zero", bases, &lone);
        let mut stream = Stream::new(self.seed, "skew bits");
        let bits: Vec<Fr> = (0..n).map(|_| Fr::from(stream.u16() & 1)).collect();
        self.check_msm("bits", bases, &bits);
        let mut mixed = bits;
        for i in (0..n).step_by(97) {
            mixed[i] = stream.fr();
        }
        self.check_msm("a few large scalars among bits", bases, &mixed);
        let negative: Vec<Fr> = (0..n).map(|_| -Fr::from(stream.u16())).collect();
        self.check_msm("small negative scalars", bases, &negative);
        for bits in [17, 31, 48, 59, 60, 61, 62, 63, 64, 65, 127, 128, 192] {
            let mask = power_of_two(bits) - Fr::ONE;
            let scalars = [mask, -mask, mask - Fr::ONE, Fr::ZERO, Fr::ONE];
            let law = format!("scalars of {bits} bits");
            self.check_msm(&law, &bases[..scalars.len()], &scalars);
        }
    }

    fn msm_special_bases(&self, bases: &[G1Affine]) {
        let scalars = self.frs("special bases", 200);
        let same = vec![bases[0]; 200];
        self.check_msm("all bases equal", &same, &scalars);
        self.check_msm("all bases equal, all scalars equal", &same, &vec![scalars[0]; 200]);
        self.check_msm("all bases equal, all scalars 1", &same, &vec![Fr::ONE; 200]);
        self.check_msm("P + P", &same[..2], &[scalars[0]; 2]);

        let opposite: Vec<G1Affine> =
            (0..200).map(|i| if i % 2 == 0 { bases[i] } else { -bases[i - 1] }).collect();
        self.check_msm("opposite bases", &opposite, &scalars);
        self.check_msm("opposite bases that cancel", &opposite, &vec![scalars[0]; 200]);
        self.check_msm("P − P", &opposite[..2], &[scalars[0]; 2]);
        let cancelled = self.commit_one(&opposite[..2], &[scalars[0]; 2]);
        self.check(cancelled.is_zero(), "P − P is the identity", 2);
        // Within one bucket: sums that cancel in a later round, beside ones that do not.
        let (p, q) = (bases[0], bases[1]);
        let late = [p, q, -p, -q, p, p, -p, -p, q, p, -q];
        self.check_msm("cancellation in later rounds", &late, &[Fr::ONE; 11]);

        let holes: Vec<G1Affine> =
            (0..200).map(|i| if i % 3 == 0 { G1Affine::identity() } else { bases[i] }).collect();
        self.check_msm("bases with identities", &holes, &scalars);
        self.check_msm("bases with identities, equal scalars", &holes, &vec![scalars[0]; 200]);
        self.check_msm("only identities", &[G1Affine::identity(); 9], &scalars[..9]);

        let multiples: Vec<G1Affine> =
            (0..200u64).map(|i| (bases[0] * Fr::from(i % 5)).into_affine()).collect();
        self.check_msm("small multiples of one base", &multiples, &vec![Fr::ONE; 200]);
        self.check_msm("small multiples of one base, scalars", &multiples, &scalars);
    }

    fn msm_small_columns(&self, bases: &[G1Affine]) {
        let registered = self.device.register_bases(bases).expect("register_bases");
        let mut stream = Stream::new(self.seed, "small columns");
        let random: Vec<u16> = (0..bases.len()).map(|_| stream.u16()).collect();
        let bytes: Vec<u16> = random.iter().map(|value| value & 0xff).collect();
        let cases = [
            ("random", random),
            ("bytes", bytes),
            ("zeros", vec![0; 100]),
            ("ones", vec![1; 100]),
            ("largest", vec![u16::MAX; 700]),
            ("high bit", vec![1 << 15; 3]),
            ("low half", vec![(1 << 15) - 1; 3]),
            ("empty", Vec::new()),
        ];
        for (name, small) in cases {
            let full: Vec<Fr> = small.iter().map(|value| Fr::from(*value)).collect();
            let column = self.device.upload_u16(&small).expect("upload_u16");
            let sums =
                self.device.commit(&registered, &[&column, &self.upload(&full)]).expect("commit");
            let expected = plain::msm(bases, &full);
            self.check(sums[0] == expected, "commit of small values", name);
            self.check(sums[1] == expected, "commit of small values in full form", name);
        }
    }

    fn msm_batches(&self, bases: &[G1Affine]) {
        let registered = self.device.register_bases(bases).expect("register_bases");
        let none = self.device.commit(&registered, &[]).expect("commit");
        self.check(none.is_empty(), "a batch of no columns returns no points", 0);
        let columns: Vec<Vec<Fr>> =
            [700, 0, 1, 64, 333].map(|n| self.frs(&format!("batch {n}"), n)).into();
        let buffers: Vec<D::Buffer> = columns.iter().map(|column| self.upload(column)).collect();
        let refs: Vec<&D::Buffer> = buffers.iter().collect();
        let sums = self.device.commit(&registered, &refs).expect("commit");
        for (column, sum) in columns.iter().zip(&sums) {
            let holds = *sum == plain::msm(bases, column);
            self.check(holds, "a batch commits to each column", column.len());
        }
        self.check(sums[1].is_zero(), "an empty column commits to the identity", 0);

        let [a, b] = [&columns[0], &columns[4]];
        let factor = self.fr("factor");
        let sum: Vec<Fr> =
            (0..a.len()).map(|i| a[i] * factor + b.get(i).copied().unwrap_or(Fr::ZERO)).collect();
        let expected = (sums[0] * factor + sums[4]).into_affine();
        self.check(self.commit_one(bases, &sum) == expected, "commit is linear", a.len());
    }

    /// Columns that are uploaded and committed to in one call. More than one, so that a device can sum some of them
    /// while others travel, and each is other than its neighbours.
    fn msm_host_columns(&self, bases: &[G1Affine]) {
        let registered = self.device.register_bases(bases).expect("register_bases");
        let cases = [
            (700, 697, 3),
            (0, 0, 0),
            (333, 0, 0),
            (64, 64, 5),
            (1, 0, 1),
            (500, 100, 7),
            (0, 0, 4),
        ];
        let parts = cases.map(|(n, start, rest)| {
            let values = self.frs(&format!("host {n} {start}"), n);
            (values, start, self.frs(&format!("host rest {n} {rest}"), rest))
        });
        let columns: Vec<HostColumn<'_>> = parts
            .iter()
            .map(|(values, start, rest)| HostColumn { values, start: *start, rest })
            .collect();
        let outcome = self.device.upload_and_commit(&registered, &columns);
        let (buffers, sums) = outcome.expect("upload_and_commit");
        let counts = [buffers.len(), sums.len()];
        self.check(counts == [cases.len(); 2], "a buffer and a point for each column", cases.len());
        for ((column, buffer), sum) in columns.iter().zip(&buffers).zip(&sums) {
            let mut expected = column.values.to_vec();
            expected.resize(column.elements(), Fr::ZERO);
            expected[column.start..column.start + column.rest.len()].copy_from_slice(column.rest);
            let case = format!(
                "{} values, {} from {}",
                column.values.len(),
                column.rest.len(),
                column.start
            );
            let holds = self.download(buffer) == expected;
            self.check(holds, "upload_and_commit uploads each column", &case);
            let holds = *sum == plain::msm(bases, &expected);
            self.check(holds, "upload_and_commit commits to each column", &case);
        }
        let (none, points) =
            self.device.upload_and_commit(&registered, &[]).expect("upload_and_commit");
        self.check(none.is_empty() && points.is_empty(), "upload_and_commit of no columns", 0);
    }

    /// Sizes where devices cut their work, which the plain twin is too slow for: bases that repeat
    /// with a period turn a long sum into a short one.
    fn msm_long(&self, bases: &[G1Affine]) {
        let n = 20_000;
        let period = bases.len();
        let long: Vec<G1Affine> = (0..n).map(|i| bases[i % period]).collect();
        let registered = self.device.register_bases(&long).expect("register_bases");
        let mut stream = Stream::new(self.seed, "long");
        let small: Vec<Fr> = (0..n).map(|_| Fr::from(stream.u16())).collect();
        let equal = vec![self.fr("long equal"); n];
        for (name, scalars) in
            [("full", self.frs("long full", n)), ("small", small), ("equal", equal)]
        {
            let mut folded = vec![Fr::ZERO; period];
            for (i, scalar) in scalars.iter().enumerate() {
                folded[i % period] += scalar;
            }
            let sum =
                self.device.commit(&registered, &[&self.upload(&scalars)]).expect("commit")[0];
            self.check(sum == plain::msm(bases, &folded), "a long sum over repeated bases", name);
        }
    }

    fn msm_shapes(&self, bases: &[G1Affine]) {
        let registered = self.device.register_bases(&bases[..4]).expect("register_bases");
        let outcome = self.device.commit(&registered, &[&self.upload(&self.frs("too long", 5))]);
        let rejected = matches!(outcome, Err(DeviceError::Shape { .. }));
        self.check(rejected, "a column longer than the bases is rejected", 5);
        let values = self.frs("host shapes", 4);
        for (start, rest, law) in [
            (4, 1, "a column of the host longer than the bases is rejected"),
            (5, 0, "a column of the host with a gap is rejected"),
        ] {
            let rest = &values[..rest];
            let column = HostColumn { values: &values, start, rest };
            let outcome = self.device.upload_and_commit(&registered, &[column]);
            let rejected = matches!(outcome, Err(DeviceError::Shape { .. }));
            self.check(rejected, law, start);
        }
    }
}

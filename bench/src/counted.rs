//! A device that counts its work: calls, seconds, and the operations and bytes of the floor.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};
use rollmill_algebra::device::{
    Coeff, Column, Committed, Coset, DeviceBuffer, DeviceError, HostColumn, Lagrange, Memory, Msm,
    Ntt, RowKernel, Vector, upload_then_commit,
};
use rollmill_algebra::graph::{Cell, Graph, Node, Operation};
use rollmill_algebra::{Fr, G1Affine};

use crate::floor::{self, Bits, Work};

/// Totals of one kind of operation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Account {
    pub calls: u64,
    /// From the call until its work is done, if the device's queue can be waited for; else until it returns.
    pub seconds: f64,
    pub work: Work,
}

/// Accounts by kind of operation.
pub type Accounts = BTreeMap<&'static str, Account>;

/// A device between the prover and `inner`.
#[derive(Debug)]
pub struct Counted<D> {
    inner: D,
    /// Waits for what the device has queued.
    wait: fn(&D) -> Result<(), DeviceError>,
    /// Of all sessions; present while a call is counted.
    accounts: Arc<Mutex<Option<Accounts>>>,
}

impl<D: Memory> Counted<D> {
    /// Forwards every call to `inner`. Only calls through [`Self::account`] are counted.
    pub fn new(inner: D) -> Self {
        Self::waiting(inner, |_| Ok(()))
    }

    /// As [`Self::new`], on a device that only queues work: `wait` waits for it, so that the seconds of a call are
    /// those of its work and not of the next call that returns values.
    pub fn waiting(inner: D, wait: fn(&D) -> Result<(), DeviceError>) -> Self {
        Self { inner, wait, accounts: Arc::default() }
    }

    /// What `run` requests from the device, by kind of operation. Counting reads every scalar of every
    /// MSM, so time and memory must be measured in another run.
    pub fn account<T>(&self, run: impl FnOnce() -> T) -> (T, Accounts) {
        *self.accounts() = Some(Accounts::new());
        let result = run();
        (result, self.accounts().take().unwrap_or_default())
    }

    fn accounts(&self) -> MutexGuard<'_, Option<Accounts>> {
        self.accounts.lock()
    }

    /// `work` is evaluated before the call, and only if it is counted.
    fn count<T>(
        &self,
        kind: &'static str,
        work: impl FnOnce() -> Work,
        call: impl FnOnce() -> T,
    ) -> T {
        if self.accounts().is_none() {
            return call();
        }
        let work = work();
        // A failure is of earlier work, and the next call returns it.
        let wait = || (self.wait)(&self.inner).ok();
        wait();
        let started = Instant::now();
        let result = call();
        wait();
        let seconds = started.elapsed().as_secs_f64();
        if let Some(accounts) = &mut *self.accounts() {
            let account = accounts.entry(kind).or_default();
            account.calls += 1;
            account.seconds += seconds;
            account.work += work;
        }
        result
    }

    fn transforms<S: rollmill_algebra::device::Basis>(columns: &[&Column<D::Buffer, S>]) -> Work {
        let mut work = Work::default();
        columns.iter().for_each(|column| work += floor::ntt(column.buffer.len() as u64));
        work
    }
}

/// `products` products for each of `n` elements, which are read and written once.
fn per_element(n: usize, products: u64) -> Work {
    floor::rows(n as u64, 1, 1, products)
}

/// One product for each of `n` terms of long sums. Terms may share their reductions, which are about
/// half of a product.
fn per_term(n: usize) -> Work {
    let work = floor::rows(n as u64, 1, 0, 1);
    Work { products: work.products / 2.0, ..work }
}

impl<D: Memory> Memory for Counted<D> {
    type Buffer = D::Buffer;

    fn name(&self) -> String {
        self.inner.name()
    }
    fn memory_bytes(&self) -> Option<u64> {
        self.inner.memory_bytes()
    }
    fn session(&self, work: rollmill_algebra::device::Work) -> Result<Option<Self>, DeviceError> {
        let session = self.inner.session(work)?;
        let (wait, accounts) = (self.wait, Arc::clone(&self.accounts));
        Ok(session.map(|inner| Self { inner, wait, accounts }))
    }
    fn keep(&self, buffers: &[&D::Buffer]) -> bool {
        self.inner.keep(buffers)
    }
    fn upload(&self, values: &[Fr]) -> Result<D::Buffer, DeviceError> {
        self.count("upload", || per_element(values.len(), 0), || self.inner.upload(values))
    }
    fn upload_u16(&self, values: &[u16]) -> Result<D::Buffer, DeviceError> {
        self.count("upload", || per_element(values.len(), 0), || self.inner.upload_u16(values))
    }
    fn upload_vec(&self, values: Vec<Fr>) -> Result<D::Buffer, DeviceError> {
        let n = values.len();
        self.count("upload", || per_element(n, 0), || self.inner.upload_vec(values))
    }
    fn write(
        &self,
        buffer: &mut D::Buffer,
        start: usize,
        values: &[Fr],
    ) -> Result<(), DeviceError> {
        self.count(
            "upload",
            || per_element(values.len(), 0),
            || self.inner.write(buffer, start, values),
        )
    }
    fn download(&self, buffer: &D::Buffer) -> Result<Vec<Fr>, DeviceError> {
        self.count("download", || per_element(buffer.len(), 0), || self.inner.download(buffer))
    }
}

impl<D: Msm> Msm for Counted<D> {
    type Bases = D::Bases;

    fn register_bases(&self, bases: &[G1Affine]) -> Result<D::Bases, DeviceError> {
        self.inner.register_bases(bases)
    }
    fn commit(
        &self,
        bases: &D::Bases,
        columns: &[&D::Buffer],
    ) -> Result<Vec<G1Affine>, DeviceError> {
        let work = || {
            let mut work = Work::default();
            // A column that cannot be read fails the call as well.
            let read = |column: &&D::Buffer| self.inner.download(column).ok();
            columns
                .iter()
                .filter_map(read)
                .for_each(|column| work += floor::msm(&Bits::of(&column)));
            work
        };
        self.count("commit", work, || self.inner.commit(bases, columns))
    }
    /// One after the other while they are counted, since the time of what overlaps belongs to neither.
    fn upload_and_commit(
        &self,
        bases: &D::Bases,
        columns: &[HostColumn<'_>],
    ) -> Result<Committed<D::Buffer>, DeviceError> {
        let is_counted = self.accounts().is_some();
        if is_counted {
            return upload_then_commit(self, bases, columns);
        }
        self.inner.upload_and_commit(bases, columns)
    }
}

type Columns<D, S> = Result<Vec<Column<<D as Memory>::Buffer, S>>, DeviceError>;

impl<D: Ntt> Ntt for Counted<D> {
    fn to_lagrange(&self, columns: &[&Column<D::Buffer, Coeff>]) -> Columns<D, Lagrange> {
        let work = || Self::transforms(columns);
        self.count("transform", work, || self.inner.to_lagrange(columns))
    }
    fn to_coeff(&self, columns: &[&Column<D::Buffer, Lagrange>]) -> Columns<D, Coeff> {
        let work = || Self::transforms(columns);
        self.count("transform", work, || self.inner.to_coeff(columns))
    }
    fn to_coset(&self, columns: &[&Column<D::Buffer, Coeff>], shift: Fr) -> Columns<D, Coset> {
        let work = || Self::transforms(columns);
        self.count("transform", work, || self.inner.to_coset(columns, shift))
    }
    fn from_coset(&self, columns: &[&Column<D::Buffer, Coset>], shift: Fr) -> Columns<D, Coeff> {
        let work = || Self::transforms(columns);
        self.count("transform", work, || self.inner.from_coset(columns, shift))
    }
}

impl<D: Vector> Vector for Counted<D> {
    fn rows<K: RowKernel>(
        &self,
        kernel: &K,
        columns: &[&D::Buffer],
    ) -> Result<Vec<D::Buffer>, DeviceError> {
        let work = || {
            let n = columns.first().map_or(0, |column| column.len() as u64);
            // Sums share the reductions of their products, which are half of each.
            let halves = floor::rows(n, columns.len(), kernel.outputs(), products_of(kernel));
            Work { products: 0.0, row_products: halves.products / 2.0, ..halves }
        };
        self.count("rows", work, || self.inner.rows(kernel, columns))
    }
    fn invert(&self, buffer: &mut D::Buffer) -> Result<(), DeviceError> {
        // Three products per element share one inversion.
        let n = buffer.len();
        self.count("invert", || per_element(n, 3), || self.inner.invert(buffer))
    }
    fn invert_all(&self, buffers: &mut [&mut D::Buffer]) -> Result<(), DeviceError> {
        let n: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        self.count("invert", || per_element(n, 3), || self.inner.invert_all(buffers))
    }
    fn prefix_product(&self, buffer: &D::Buffer) -> Result<D::Buffer, DeviceError> {
        self.count("prefix", || per_element(buffer.len(), 1), || self.inner.prefix_product(buffer))
    }
    fn prefix_sum(&self, buffer: &D::Buffer) -> Result<D::Buffer, DeviceError> {
        self.count("prefix", || per_element(buffer.len(), 0), || self.inner.prefix_sum(buffer))
    }
    fn evaluate(
        &self,
        columns: &[&Column<D::Buffer, Coeff>],
        point: Fr,
    ) -> Result<Vec<Fr>, DeviceError> {
        let work = || per_term(columns.iter().map(|column| column.buffer.len()).sum());
        self.count("evaluate", work, || self.inner.evaluate(columns, point))
    }
    fn evaluate_all(
        &self,
        claims: &[(&Column<D::Buffer, Coeff>, Fr)],
    ) -> Result<Vec<Fr>, DeviceError> {
        let work = || per_term(claims.iter().map(|(column, _)| column.buffer.len()).sum());
        self.count("evaluate", work, || self.inner.evaluate_all(claims))
    }
    fn divide_by_linear(
        &self,
        column: &Column<D::Buffer, Coeff>,
        point: Fr,
    ) -> Result<Column<D::Buffer, Coeff>, DeviceError> {
        let work = || per_element(column.buffer.len(), 1);
        self.count("divide", work, || self.inner.divide_by_linear(column, point))
    }
    fn divide_all(
        &self,
        claims: &[(&Column<D::Buffer, Coeff>, Fr)],
    ) -> Result<Vec<Column<D::Buffer, Coeff>>, DeviceError> {
        let n: usize = claims.iter().map(|(column, _)| column.buffer.len()).sum();
        self.count("divide", || per_element(n, 1), || self.inner.divide_all(claims))
    }
    fn linear_combination(&self, terms: &[(&D::Buffer, Fr)]) -> Result<D::Buffer, DeviceError> {
        let work = || per_term(terms.iter().map(|(buffer, _)| buffer.len()).sum());
        self.count("combine", work, || self.inner.linear_combination(terms))
    }
}

/// Distinct products that a kernel makes in one row, those by a constant like any other.
pub fn products_of<K: RowKernel>(kernel: &K) -> u64 {
    let is_product = |node: &&Node<Cell>| matches!(node, Node::Binary(Operation::Mul, ..));
    Graph::record(kernel).nodes().iter().filter(is_product).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollmill_algebra::CpuDevice;
    use rollmill_algebra::device::{Expr, Row};

    struct Cube;

    impl RowKernel for Cube {
        type Constants<E: Expr> = E;
        fn constants<E: Expr>(&self) -> E {
            E::constant(Fr::from(5u64)).square()
        }
        fn outputs(&self) -> usize {
            2
        }
        fn eval<E: Expr, R: Row<E>>(&self, five: &E, row: &R, out: &mut [E]) {
            let x = row.cell(0, 0);
            out[0] = x.square() * x.clone() + five.clone();
            out[1] = row.cell(1, 1).scale(Fr::from(3u64)) - x;
        }
    }

    #[test]
    fn products_of_a_row_are_counted_and_those_of_constants_are_not() {
        assert_eq!(products_of(&Cube), 3);
    }

    #[test]
    fn counting_changes_no_result_and_misses_no_call() {
        let plain = CpuDevice::scalar(1);
        let counted = Counted::new(CpuDevice::scalar(1));
        let values: Vec<Fr> = (1..=8u64).map(Fr::from).collect();
        let run = || {
            let column = counted.upload(&values).unwrap();
            let got = counted.rows(&Cube, &[&column, &column]).unwrap();
            let ours = plain.upload(&values).unwrap();
            let expected = plain.rows(&Cube, &[&ours, &ours]).unwrap();
            for (got, expected) in got.iter().zip(&expected) {
                assert_eq!(counted.download(got).unwrap(), plain.download(expected).unwrap());
            }
            let coefficients = Column::<_, Coeff>::new(column);
            counted.to_lagrange(&[&coefficients, &coefficients]).unwrap();
        };
        // What runs before is not counted.
        run();
        let ((), accounts) = counted.account(run);
        assert_eq!(accounts["rows"].work.row_products, 12.0);
        assert_eq!(accounts["transform"].work.products, 2.0 * 12.0);
        assert_eq!(accounts["download"].calls, 2);
        assert!(counted.accounts().is_none(), "no longer counted");
    }

    /// Otherwise the work that a device only queued is counted for the call that waits for it.
    #[test]
    fn a_counted_call_waits_for_its_work_and_for_what_was_queued_before() {
        use std::sync::atomic::{AtomicU64, Ordering};
        static WAITS: AtomicU64 = AtomicU64::new(0);
        let wait = |_: &CpuDevice| {
            WAITS.fetch_add(1, Ordering::Relaxed);
            Ok::<(), DeviceError>(())
        };
        let counted = Counted::waiting(CpuDevice::scalar(1), wait);
        let upload = || counted.upload(&[Fr::from(1u64)]).unwrap();
        upload();
        assert_eq!(WAITS.load(Ordering::Relaxed), 0, "nothing is counted");
        counted.account(upload);
        assert_eq!(WAITS.load(Ordering::Relaxed), 2);
    }

    /// If the setting were lost on the way, proofs would be the same.
    #[test]
    fn checked_msms_are_one_more_for_each_batch_of_a_proof() {
        use rollmill_plonk::key::{Bases, ProvingKey, setup};
        use rollmill_plonk::prover::{Blinding, prove};
        use rollmill_plonk::{conformance, srs::Srs, transcript::TranscriptKind};

        let (layout, witness) = conformance::circuit(8, None);
        let srs = Srs::development(layout.shape.log_n);
        let lagrange = srs.lagrange(layout.shape.log_n).unwrap();
        let columns = layout.fixed_columns();
        let counted = Counted::new(CpuDevice::new(1));
        let calls = [false, true].map(|check_msms| {
            let bases = Bases::new(&counted, &srs, &lagrange).unwrap();
            let bases = bases.with_checked_msms(check_msms);
            let vk = setup(&counted, &bases, srs.id(), layout.shape, &columns).unwrap();
            let key = ProvingKey::new(&counted, vk, &columns).unwrap();
            let kind = TranscriptKind::Poseidon2;
            let once = || prove(&counted, &key, &bases, kind, &witness, Blinding::Off).unwrap();
            counted.account(once).1["commit"].calls
        });
        assert_eq!(calls, [5, 10]);
    }
}

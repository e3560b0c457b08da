//! Operations that a device passes on to another device.

/// Writes methods of a device trait that call the same method of another device, which `self` holds in a field.
///
/// Use it inside an `impl` of [`Memory`](crate::device::Memory), [`Msm`](crate::device::Msm),
/// [`Ntt`](crate::device::Ntt) or [`Vector`](crate::device::Vector), with the field's name and either the trait's
/// name, for all its methods, or the names of some. Both devices need the same types of buffers (and of bases, for
/// `Msm`), as an associated type of the `impl`. To replace an operation, list the others and write that one
/// yourself.
///
/// `name` and `session` are never passed on, since they return what only the outer device knows: a name of its
/// own, and a session as its own type.
///
/// # Example
/// A device that evaluates polynomials by Horner's rule and leaves the rest to the CPU:
/// ```
/// use rollmill_algebra::cpu::{CpuBuffer, CpuDevice};
/// use rollmill_algebra::device::{Coeff, Column, DeviceError, Memory, Msm, Ntt, Vector};
/// use rollmill_algebra::{Fr, field::horner, forward};
///
/// #[derive(Debug, Default)]
/// struct Horner {
///     cpu: CpuDevice,
/// }
///
/// impl Memory for Horner {
///     type Buffer = CpuBuffer;
///     fn name(&self) -> String {
///         format!("horner+{}", self.cpu.name())
///     }
///     forward!(cpu: Memory);
/// }
/// impl Msm for Horner {
///     type Bases = <CpuDevice as Msm>::Bases;
///     forward!(cpu: Msm);
/// }
/// impl Ntt for Horner {
///     forward!(cpu: Ntt);
/// }
/// impl Vector for Horner {
///     fn evaluate(
///         &self,
///         columns: &[&Column<CpuBuffer, Coeff>],
///         point: Fr,
///     ) -> Result<Vec<Fr>, DeviceError> {
///         Ok(columns.iter().map(|column| horner(column.buffer.as_slice(), point)).collect())
///     }
///     forward!(cpu: rows, invert, prefix_product, prefix_sum, divide_by_linear, linear_combination);
/// }
///
/// let device = Horner::default();
/// let column = Column::new(device.upload(&[1u64, 2, 3].map(Fr::from))?);
/// assert_eq!(device.evaluate(&[&column], Fr::from(10u64))?, [Fr::from(321u64)]);
/// # Ok::<(), DeviceError>(())
/// ```
#[macro_export]
macro_rules! forward {
    ($to:ident: Memory) => {
        $crate::forward!($to: keep, memory_bytes, upload, upload_vec, upload_u16, download, write);
    };
    ($to:ident: Msm) => {
        $crate::forward!($to: register_bases, commit, upload_and_commit);
    };
    ($to:ident: Ntt) => {
        $crate::forward!($to: to_lagrange, to_coeff, to_coset, from_coset);
    };
    ($to:ident: Vector) => {
        $crate::forward!(
            $to: rows, invert, invert_all, prefix_product, prefix_sum, evaluate, evaluate_all,
            divide_by_linear, divide_all, linear_combination
        );
    };
    ($to:ident: $($method:ident),+ $(,)?) => {
        $($crate::forward!(@ $method $to);)+
    };

    (@ keep $to:ident) => {
        fn keep(&self, buffers: &[&Self::Buffer]) -> bool {
            $crate::device::Memory::keep(&self.$to, buffers)
        }
    };
    (@ memory_bytes $to:ident) => {
        fn memory_bytes(&self) -> Option<u64> {
            $crate::device::Memory::memory_bytes(&self.$to)
        }
    };
    (@ upload $to:ident) => {
        fn upload(&self, values: &[$crate::Fr]) -> Result<Self::Buffer, $crate::device::DeviceError> {
            $crate::device::Memory::upload(&self.$to, values)
        }
    };
    (@ upload_vec $to:ident) => {
        fn upload_vec(
            &self,
            values: Vec<$crate::Fr>,
        ) -> Result<Self::Buffer, $crate::device::DeviceError> {
            $crate::device::Memory::upload_vec(&self.$to, values)
        }
    };
    (@ upload_u16 $to:ident) => {
        fn upload_u16(&self, values: &[u16]) -> Result<Self::Buffer, $crate::device::DeviceError> {
            $crate::device::Memory::upload_u16(&self.$to, values)
        }
    };
    (@ download $to:ident) => {
        fn download(
            &self,
            buffer: &Self::Buffer,
        ) -> Result<Vec<$crate::Fr>, $crate::device::DeviceError> {
            $crate::device::Memory::download(&self.$to, buffer)
        }
    };
    (@ write $to:ident) => {
        fn write(
            &self,
            buffer: &mut Self::Buffer,
            start: usize,
            values: &[$crate::Fr],
        ) -> Result<(), $crate::device::DeviceError> {
            $crate::device::Memory::write(&self.$to, buffer, start, values)
        }
    };

    (@ register_bases $to:ident) => {
        fn register_bases(
            &self,
            bases: &[$crate::G1Affine],
        ) -> Result<Self::Bases, $crate::device::DeviceError> {
            $crate::device::Msm::register_bases(&self.$to, bases)
        }
    };
    (@ commit $to:ident) => {
        fn commit(
            &self,
            bases: &Self::Bases,
            columns: &[&Self::Buffer],
        ) -> Result<Vec<$crate::G1Affine>, $crate::device::DeviceError> {
            $crate::device::Msm::commit(&self.$to, bases, columns)
        }
    };
    (@ upload_and_commit $to:ident) => {
        fn upload_and_commit(
            &self,
            bases: &Self::Bases,
            columns: &[$crate::device::HostColumn<'_>],
        ) -> Result<$crate::device::Committed<Self::Buffer>, $crate::device::DeviceError> {
            $crate::device::Msm::upload_and_commit(&self.$to, bases, columns)
        }
    };

    (@ to_lagrange $to:ident) => {
        $crate::forward!(@transform $to to_lagrange Coeff Lagrange);
    };
    (@ to_coeff $to:ident) => {
        $crate::forward!(@transform $to to_coeff Lagrange Coeff);
    };
    (@ to_coset $to:ident) => {
        $crate::forward!(@transform $to to_coset Coeff Coset shift);
    };
    (@ from_coset $to:ident) => {
        $crate::forward!(@transform $to from_coset Coset Coeff shift);
    };
    (@transform $to:ident $method:ident $from:ident $into:ident $($shift:ident)?) => {
        fn $method(
            &self,
            columns: &[&$crate::device::Column<Self::Buffer, $crate::device::$from>],
            $($shift: $crate::Fr,)?
        ) -> Result<
            Vec<$crate::device::Column<Self::Buffer, $crate::device::$into>>,
            $crate::device::DeviceError,
        > {
            $crate::device::Ntt::$method(&self.$to, columns $(, $shift)?)
        }
    };

    (@ rows $to:ident) => {
        fn rows<K: $crate::device::RowKernel>(
            &self,
            kernel: &K,
            columns: &[&Self::Buffer],
        ) -> Result<Vec<Self::Buffer>, $crate::device::DeviceError> {
            $crate::device::Vector::rows(&self.$to, kernel, columns)
        }
    };
    (@ invert $to:ident) => {
        fn invert(&self, buffer: &mut Self::Buffer) -> Result<(), $crate::device::DeviceError> {
            $crate::device::Vector::invert(&self.$to, buffer)
        }
    };
    (@ invert_all $to:ident) => {
        fn invert_all(
            &self,
            buffers: &mut [&mut Self::Buffer],
        ) -> Result<(), $crate::device::DeviceError> {
            $crate::device::Vector::invert_all(&self.$to, buffers)
        }
    };
    (@ prefix_product $to:ident) => {
        fn prefix_product(
            &self,
            buffer: &Self::Buffer,
        ) -> Result<Self::Buffer, $crate::device::DeviceError> {
            $crate::device::Vector::prefix_product(&self.$to, buffer)
        }
    };
    (@ prefix_sum $to:ident) => {
        fn prefix_sum(
            &self,
            buffer: &Self::Buffer,
        ) -> Result<Self::Buffer, $crate::device::DeviceError> {
            $crate::device::Vector::prefix_sum(&self.$to, buffer)
        }
    };
    (@ evaluate $to:ident) => {
        fn evaluate(
            &self,
            columns: &[&$crate::device::Column<Self::Buffer, $crate::device::Coeff>],
            point: $crate::Fr,
        ) -> Result<Vec<$crate::Fr>, $crate::device::DeviceError> {
            $crate::device::Vector::evaluate(&self.$to, columns, point)
        }
    };
    (@ evaluate_all $to:ident) => {
        fn evaluate_all(
            &self,
            claims: &[(
                &$crate::device::Column<Self::Buffer, $crate::device::Coeff>,
                $crate::Fr,
            )],
        ) -> Result<Vec<$crate::Fr>, $crate::device::DeviceError> {
            $crate::device::Vector::evaluate_all(&self.$to, claims)
        }
    };
    (@ divide_by_linear $to:ident) => {
        fn divide_by_linear(
            &self,
            column: &$crate::device::Column<Self::Buffer, $crate::device::Coeff>,
            point: $crate::Fr,
        ) -> Result<
            $crate::device::Column<Self::Buffer, $crate::device::Coeff>,
            $crate::device::DeviceError,
        > {
            $crate::device::Vector::divide_by_linear(&self.$to, column, point)
        }
    };
    (@ divide_all $to:ident) => {
        fn divide_all(
            &self,
            claims: &[(
                &$crate::device::Column<Self::Buffer, $crate::device::Coeff>,
                $crate::Fr,
            )],
        ) -> Result<
            Vec<$crate::device::Column<Self::Buffer, $crate::device::Coeff>>,
            $crate::device::DeviceError,
        > {
            $crate::device::Vector::divide_all(&self.$to, claims)
        }
    };
    (@ linear_combination $to:ident) => {
        fn linear_combination(
            &self,
            terms: &[(&Self::Buffer, $crate::Fr)],
        ) -> Result<Self::Buffer, $crate::device::DeviceError> {
            $crate::device::Vector::linear_combination(&self.$to, terms)
        }
    };
}

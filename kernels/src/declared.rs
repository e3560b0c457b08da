//! The table of kernels: what each takes, and what it may cost.
//!
//! A kernel is declared once, here. Three things are checked against the table: every launch; the emulator's
//! build of the kernels, when it is opened; and what the compiler reported about the image (`kernels.json`),
//! when that image is opened on a card.

use rollmill_algebra::device::DeviceError;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::arena::At;
use crate::device::CudaDevice;
use crate::driver::Launch;
use crate::error::CudaError;
use crate::launch::{Argument, List};

/// What the compiler reported about [`crate::COMPILED`], by kernel and architecture.
pub(crate) const REPORT: &str = include_str!("../kernels.json");

/// What a parameter of a kernel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Pointer,
    U32,
    U64,
    /// A structure of so many addresses.
    Places(usize),
}

impl Kind {
    /// Size of the parameter in bytes.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::U32 => 4,
            Self::Pointer | Self::U64 => 8,
            Self::Places(count) => 8 * count,
        }
    }
}

/// A kernel as the host knows it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    pub(crate) name: &'static str,
    /// Threads of a block, which is the kernel's launch bound.
    pub(crate) block: u32,
    /// Fewest threads of a block; below `block` for a kernel that needs fewer for short columns.
    pub(crate) block_min: u32,
    /// Most bytes of shared memory that a launch adds to those of the kernel.
    pub(crate) shared_bytes_max: u32,
    /// Most registers of a thread on any architecture. Where it is below 255, so many blocks have to run on a
    /// multiprocessor at a time.
    pub(crate) registers_max: u32,
    /// Most bytes that a thread may spill.
    pub(crate) spill_bytes_max: u32,
    pub(crate) parameters: &'static [Kind],
}

/// A row of the table for a kernel without shared memory of the launch and without spills.
const fn row(
    name: &'static str,
    block: u32,
    registers_max: u32,
    parameters: &'static [Kind],
) -> Kernel {
    Kernel {
        name,
        block,
        block_min: block,
        shared_bytes_max: 0,
        registers_max,
        spill_bytes_max: 0,
        parameters,
    }
}

const P: Kind = Kind::Pointer;
const N32: Kind = Kind::U32;
const N64: Kind = Kind::U64;

/// What the host passes for a parameter: `In` is read by the kernel, `Out` is written and perhaps read.
macro_rules! host {
    ($a:lifetime In) => { At<$a> };
    ($a:lifetime Out) => { At<$a> };
    ($a:lifetime Through) => { &$a List<$a> };
    ($a:lifetime U32) => { u32 };
    ($a:lifetime U64) => { u64 };
}

/// What the kernel takes for it.
macro_rules! kind {
    (U32) => {
        Kind::U32
    };
    (U64) => {
        Kind::U64
    };
    ($pointer:ident) => {
        Kind::Pointer
    };
}

/// Rows of the table, each with its block size and its most registers, and a function for each that returns the
/// kernel with its arguments.
macro_rules! kernels {
    ($($name:ident($block:literal, $registers:literal)($($value:ident: $kind:ident),*);)*) => {
        const TYPED: &[Kernel] = &[
            $(row(stringify!($name), $block, $registers, &[$(kind!($kind)),*]),)*
        ];
        $(
            #[allow(clippy::too_many_arguments, reason = "as many as the kernel has")]
            pub(crate) fn $name<'a>($($value: host!('a $kind)),*) -> Call<'a> {
                let arguments = vec![$(Argument::$kind($value)),*];
                Call { kernel: stringify!($name), block: $block, arguments }
            }
        )*
    };
}

kernels! {
    msm_classify(256, 64)(columns: Through, lengths: Out);
    msm_count(256, 64)(columns: Through, counts: Out);
    msm_fold_counts(256, 64)(out: Out, counts: In, n: U64);
    msm_scan_folds(256, 64)(values: Out, n: U32);
    msm_scan_counts(256, 64)(offsets: Out, cursors: Out, counts: In, folds: In, n: U64);
    msm_sizes(256, 64)(offsets: In, keys: U32, length: U32, bins: Out);
    msm_order(256, 64)(
        offsets: In, keys: U32, length: U32, bins: Out, found: Out, pieces: Out, cuts: Out
    );
    msm_scatter(256, 64)(columns: Through, cursors: Out, entries: Out);
    msm_bins(256, 64)(columns: Through, shift: U32, bins: Out);
    msm_partition(256, 64)(columns: Through, shift: U32, bins: Out, pairs: Out);
    msm_tile_count(256, 64)(pairs: In, total: In, shift: U32, counts: Out);
    msm_tile_scatter(256, 64)(pairs: In, total: In, shift: U32, cursors: Out, entries: Out);
    msm_accumulate(128, 128)(pieces: In, total: In, entries: In, bases: In, sums: Out);
    msm_merge(128, 255)(cuts: In, found: In, sums: Out);
    msm_reduce(128, 255)(
        sums: In, offsets: In, windows: Through, count: U32, log_segment: U32, groups: U32,
        totals: Out, weighted: Out
    );
    msm_finish(128, 255)(
        totals: In, weighted: In, windows: Through, count: U32, log_segment: U32, out: Out
    );
    msm_multiples(128, 255)(bases: In, n: U64, bits: U32, out: Out);
}

/// A kernel with its arguments.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    kernel: &'static str,
    block: u32,
    arguments: Vec<Argument<'a>>,
}

impl CudaDevice {
    /// Runs a kernel in a grid of blocks of its own size.
    pub(crate) fn run(
        &self,
        operation: &'static str,
        call: Call<'_>,
        [x, y]: [u32; 2],
    ) -> Result<(), DeviceError> {
        self.launch_grid(operation, call.kernel, [x, y, 1], call.block, 0, call.arguments)
    }
}

/// The other kernels, by name.
const KERNELS: &[Kernel] = &[
    row("measure_product_fq", 256, 255, &[P, P, P, N64]),
    row("measure_product_fr", 256, 255, &[P, P, P, N64]),
    row("measure_products", 256, 255, &[P, P, N64, N32]),
    row("measure_square_fq", 256, 255, &[P, P, N64]),
    row("measure_square_fr", 256, 255, &[P, P, N64]),
    row("measure_sum_fq", 256, 255, &[P, P, P, N64]),
    row("measure_wide", 256, 255, &[P, P, N64, N32]),
    // A thread has eight values, so that a short transform has fewer threads than a block can have.
    Kernel {
        block_min: 1,
        shared_bytes_max: 32 << 10,
        ..row("ntt_pass", 128, 255, &[Kind::Places(32), N32, N32, N32, N32, N32, P, P, P, N32])
    },
    row("ntt_table", 256, 255, &[P, P, P, P, N32, N32]),
    row("rows_run", 128, 255, &[P, P, P, P, N32, P, N64]),
    row("vector_combine", 256, 255, &[P, P, N32, N64]),
    row("vector_divide", 256, 255, &[P, N32]),
    row("vector_evaluate", 256, 255, &[P, N32]),
    row("vector_fold", 256, 255, &[P, P, N64, N32]),
    row("vector_from_u16", 256, 255, &[P, P, N64]),
    row("vector_invert_chunks", 128, 255, &[P, N32]),
    row("vector_invert_each", 128, 255, &[P, N32]),
    row("vector_products", 128, 255, &[P, N32]),
    row("vector_scan", 256, 255, &[P, P, P, N64, N32]),
];

/// The generated kernels of row programs, whose names end in a digest of the program.
const ROWS: Kernel = row("rows_", 128, 255, &[P, P, P, N64]);

/// Every kernel with a name of its own.
pub(crate) fn all() -> impl Iterator<Item = &'static Kernel> {
    TYPED.iter().chain(KERNELS)
}

/// The row of a kernel.
pub(crate) fn find(name: &str) -> Option<&'static Kernel> {
    let own = all().find(|kernel| kernel.name == name);
    own.or_else(|| name.starts_with(ROWS.name).then_some(&ROWS))
}

/// Rejects a launch that is not as the kernel is declared.
pub(crate) fn check(launch: &Launch<'_>, device: &str) -> Result<(), CudaError> {
    let sizes: Vec<usize> = launch.arguments.iter().map(|argument| argument.size()).collect();
    let declared = find(launch.kernel);
    let fits = declared.is_some_and(|kernel| {
        (kernel.block_min..=kernel.block).contains(&launch.block)
            && launch.shared_bytes <= kernel.shared_bytes_max
            && sizes.iter().copied().eq(kernel.parameters.iter().map(|kind| kind.bytes()))
    });
    if fits {
        return Ok(());
    }
    let reason = format!(
        "kernel {} with {} threads, {} B of shared memory and arguments of {sizes:?} B is declared as {declared:?}",
        launch.kernel, launch.block, launch.shared_bytes
    );
    Err(CudaError::Call { call: "launch", device: device.to_owned(), reason })
}

/// Rejects an image in which a kernel is not as declared, by what the compiler reported when it was made. An image
/// of which there is no report, given by `--cuda-image`, is not checked.
pub(crate) fn check_image(image: &[u8]) -> Result<(), CudaError> {
    let reject = |reason: String| Err(CudaError::Image { reason });
    let report: Value = match serde_json::from_str(REPORT) {
        Ok(report) => report,
        Err(error) => return reject(format!("kernels.json: {error}")),
    };
    let digest: String = Sha256::digest(image).iter().map(|byte| format!("{byte:02x}")).collect();
    if report["image_sha256"].as_str() != Some(&digest) {
        return Ok(());
    }
    match all().find_map(|kernel| fault(kernel, &report["kernels"][kernel.name])) {
        Some(reason) => reject(reason),
        None => Ok(()),
    }
}

/// What of a kernel is not as declared on some architecture.
fn fault(kernel: &Kernel, costs: &Value) -> Option<String> {
    let name = kernel.name;
    let Some(costs) = costs.as_object().filter(|costs| !costs.is_empty()) else {
        return Some(format!("there is no kernel {name}"));
    };
    costs.iter().find_map(|(arch, cost)| {
        let number = |field: &str| cost[field].as_u64().unwrap_or(u64::MAX);
        let (threads, registers, spilled) =
            (number("threads"), number("registers"), number("spill_bytes"));
        if threads != u64::from(kernel.block) {
            let block = kernel.block;
            return Some(format!(
                "{name} is launched in blocks of {block}, its bound is {threads}"
            ));
        }
        let most = (kernel.registers_max, kernel.spill_bytes_max);
        (registers > u64::from(most.0) || spilled > u64::from(most.1)).then(|| {
            format!(
                "{name} takes {registers} registers and spills {spilled} B on {arch}, \
                 at most {} and {} B are declared",
                most.0, most.1
            )
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::driver::Argument;

    #[test]
    fn every_kernel_of_the_image_is_as_declared() {
        let report: Value = serde_json::from_str(REPORT).unwrap();
        for kernel in all() {
            assert_eq!(fault(kernel, &report["kernels"][kernel.name]), None);
        }
        let names = report["kernels"].as_object().unwrap().keys();
        let undeclared: Vec<_> = names.filter(|name| find(name).is_none()).collect();
        assert!(undeclared.is_empty(), "not in the table of kernels: {undeclared:?}");
    }

    #[test]
    fn a_kernel_with_another_bound_more_registers_or_spills_is_a_fault() {
        let kernel = find("msm_accumulate").unwrap();
        let with = |threads: u32, registers: u32, spilled: u32| {
            let cost = json!({"threads": threads, "registers": registers, "spill_bytes": spilled});
            fault(kernel, &json!({"sm_90": cost}))
        };
        assert_eq!(with(128, 128, 0), None);
        assert!(with(256, 128, 0).unwrap().contains("blocks of 128, its bound is 256"));
        assert!(with(128, 129, 0).unwrap().contains("129 registers"));
        assert!(with(128, 128, 4).unwrap().contains("spills 4 B"));
        assert!(fault(kernel, &json!({})).unwrap().contains("no kernel"));
        assert!(fault(kernel, &Value::Null).unwrap().contains("no kernel"));
    }

    #[test]
    fn a_launch_with_another_block_or_other_arguments_is_rejected() {
        let launch = |kernel, block, arguments: Vec<Argument>| {
            let grid = [1, 1, 1];
            check(&Launch { kernel, grid, block, shared_bytes: 0, arguments }, "card")
        };
        let three = || vec![Argument::Pointer(0), Argument::Pointer(0), Argument::U64(1)];
        assert_eq!(launch("vector_from_u16", 256, three()), Ok(()));
        assert!(launch("vector_from_u16", 128, three()).is_err());
        assert!(launch("vector_from_u16", 512, three()).is_err());
        assert!(launch("vector_from_u16", 256, three()[1..].to_vec()).is_err());
        assert!(launch("vector_from_u17", 256, three()).is_err());
        // A pass of a short transform has fewer threads, none has more.
        let pass = |block| {
            let mut arguments = vec![Argument::Words(vec![0; 32])];
            arguments.extend((0..5).map(|_| Argument::U32(1)));
            arguments.extend((0..3).map(|_| Argument::Pointer(0)));
            arguments.push(Argument::U32(0));
            launch("ntt_pass", block, arguments)
        };
        assert_eq!((pass(1), pass(128)), (Ok(()), Ok(())));
        assert!(pass(256).is_err() && pass(0).is_err());
        // The generated kernels: columns, outputs, constants, rows.
        let mut rows = three();
        rows.insert(0, Argument::Pointer(0));
        assert_eq!(launch("rows_0123456789abcdef", 128, rows), Ok(()));
    }
}

//! The report on a device that breaks several laws, and the calls that `forward!` writes.

use std::collections::BTreeSet;

use rollmill_algebra::cpu::CpuBuffer;
use rollmill_algebra::device::{DeviceBuffer, DeviceError, Memory, Msm, Ntt, Vector, check_start};
use rollmill_algebra::{CpuDevice, Fr, conformance, forward};

/// The CPU device with four mistakes of different kinds, in operations that no other law depends on.
#[derive(Debug)]
struct Broken {
    cpu: CpuDevice,
}

fn broken() -> Broken {
    Broken { cpu: CpuDevice::scalar(1) }
}

impl Memory for Broken {
    type Buffer = CpuBuffer;
    fn name(&self) -> String {
        "broken".to_owned()
    }
    /// Fills a gap instead of rejecting it.
    fn write(
        &self,
        buffer: &mut CpuBuffer,
        start: usize,
        values: &[Fr],
    ) -> Result<(), DeviceError> {
        let start = start.min(buffer.len());
        check_start(start, buffer.len())?;
        self.cpu.write(buffer, start, values)
    }
    forward!(cpu: keep, memory_bytes, upload, upload_vec, upload_u16, download);
}
impl Msm for Broken {
    type Bases = <CpuDevice as Msm>::Bases;
    forward!(cpu: Msm);
}
impl Ntt for Broken {
    forward!(cpu: Ntt);
}
impl Vector for Broken {
    /// Off by one from the second element on.
    fn prefix_sum(&self, buffer: &CpuBuffer) -> Result<CpuBuffer, DeviceError> {
        let mut sums = self.cpu.prefix_sum(buffer)?.as_slice().to_vec();
        sums.iter_mut().skip(1).for_each(|sum| *sum += Fr::from(1u64));
        self.cpu.upload_vec(sums)
    }
    /// Fails.
    fn linear_combination(&self, terms: &[(&CpuBuffer, Fr)]) -> Result<CpuBuffer, DeviceError> {
        let reason = format!("{} terms", terms.len());
        Err(DeviceError::Failed { device: self.name(), reason })
    }
    /// Panics.
    fn invert(&self, _: &mut CpuBuffer) -> Result<(), DeviceError> {
        panic!("no inverses today")
    }
    forward!(cpu: rows, prefix_product, evaluate, divide_by_linear);
}

#[test]
fn every_broken_law_is_named_and_the_others_hold() {
    let broken_laws = conformance::broken_laws(&broken(), 1);
    let report: Vec<(&str, usize)> =
        broken_laws.iter().map(|law| (law.law.as_str(), law.more)).collect();
    assert_eq!(
        report,
        [
            ("write rejects an offset that leaves a gap", 0),
            ("inverses: every operation succeeds", 9),
            ("prefix_sum", 8),
            ("scans take one step at a time", 0),
            ("linear combinations: every operation succeeds", 0),
            ("linear_combination rejects an empty list of terms", 0),
            ("batches of vectors: every operation succeeds", 0),
            ("one buffer many times: every operation succeeds", 0),
            ("outputs become inputs: every operation succeeds", 0),
        ]
    );
    let sums = &broken_laws[2];
    let at = sums.at.expect("the law's line");
    assert!(at.file().ends_with("conformance/vector.rs"), "{at}");
    assert_eq!(sums.to_string(), format!("`prefix_sum`: 2, and 8 more ({at})"));
    assert!(broken_laws[1].case.contains("no inverses today"), "{}", broken_laws[1]);
    assert!(broken_laws[4].case.contains("3 terms"), "{}", broken_laws[4]);
}

/// A device that is lost.
#[derive(Debug, Default)]
struct Lost {
    cpu: CpuDevice,
}

impl Lost {
    fn error<T>(&self) -> Result<T, DeviceError> {
        Err(DeviceError::Lost { device: self.name(), reason: "unplugged".to_owned() })
    }
}

impl Memory for Lost {
    type Buffer = CpuBuffer;
    fn name(&self) -> String {
        "lost".to_owned()
    }
    fn upload(&self, _: &[Fr]) -> Result<CpuBuffer, DeviceError> {
        self.error()
    }
    fn upload_u16(&self, _: &[u16]) -> Result<CpuBuffer, DeviceError> {
        self.error()
    }
    fn download(&self, _: &CpuBuffer) -> Result<Vec<Fr>, DeviceError> {
        self.error()
    }
}
impl Msm for Lost {
    type Bases = <CpuDevice as Msm>::Bases;
    forward!(cpu: Msm);
}
impl Ntt for Lost {
    forward!(cpu: Ntt);
}
impl Vector for Lost {
    forward!(cpu: Vector);
}

#[test]
fn run_all_panics_with_the_whole_list() {
    let outcome = std::panic::catch_unwind(|| conformance::run_all(&Lost::default(), 7));
    let text = *outcome.unwrap_err().downcast::<String>().expect("a formatted message");
    let mut lines = text.lines();
    let (head, laws) = (lines.next().expect("a line"), lines.collect::<Vec<_>>());
    assert_eq!(head, format!("device lost breaks {} of the laws, with seed 7:", laws.len()));
    // One for each group of laws, from the first to the last.
    for group in
        ["memory", "small values", "long MSMs", "transforms", "rows", "outputs become inputs"]
    {
        let line = format!("- `{group}: every operation succeeds`: ");
        let found = laws.iter().find(|law| law.starts_with(&line)).expect(group);
        assert!(found.contains("unplugged"), "{found}");
    }
    assert!(laws.len() > 20, "{text}");
}

/// Goal: a method that a device trait gets is passed on too. Method: the names in the two source files.
#[test]
fn forward_covers_every_method_of_the_device_traits() {
    let traits = include_str!("../src/device.rs");
    let mut methods = BTreeSet::new();
    for name in ["Memory", "Msm", "Ntt", "Vector"] {
        let (_, body) = traits.split_once(&format!("pub trait {name}: ")).expect("the trait");
        let (body, _) = body.split_once("\n}").expect("its end");
        let names = body.lines().filter_map(|line| line.strip_prefix("    fn "));
        methods.extend(names.map(|line| line.split(['(', '<']).next().expect("a name")));
    }
    // See the macro's documentation.
    for own in ["name", "session"] {
        assert!(methods.remove(own), "{own}");
    }
    let arms: BTreeSet<&str> = include_str!("../src/forward.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("    (@ ")?.split(' ').next())
        .collect();
    assert_eq!(arms, methods);
}

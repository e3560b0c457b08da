//! What goes wrong is one error each, with one line, and nothing is computed elsewhere instead.

mod common;

use rollmill_algebra::device::{Coeff, Column, DeviceError, Memory, Msm, Ntt, Vector};
use rollmill_algebra::{Fr, G1Affine};
use rollmill_shaders::{
    AdapterChoice, Field, LimbForm, OpenError, Options, Pipelines, Place, Rows, WgpuDevice,
    adapters,
};

use ark_ec::AffineRepr;

fn device() -> WgpuDevice {
    common::open(&common::any_form())
}

#[test]
fn an_unknown_adapter_is_rejected_with_those_there_are() {
    for choice in [AdapterChoice::Index(99), AdapterChoice::Name("no such card".into())] {
        let error = WgpuDevice::open(&Options::new(choice.clone())).unwrap_err();
        assert!(matches!(error, OpenError::UnknownAdapter { .. }), "{error}");
        let line = error.to_string();
        assert!(line.starts_with("SHD-002") && line.contains(&choice.to_string()), "{line}");
        assert!(line.contains(&adapters()[0].name) && !line.contains('\n'), "{line}");
    }
}

/// The child is this test program again, which searches for drivers where there are none.
#[test]
fn a_machine_without_adapters_gets_a_plain_error() {
    const CHILD: &str = "ROLLMILL_TEST_WITHOUT_ADAPTERS";
    if std::env::var_os(CHILD).is_some() {
        let error = WgpuDevice::open(&Options::new(AdapterChoice::Index(0))).unwrap_err();
        assert_eq!(error, OpenError::NoAdapter);
        assert!(error.to_string().starts_with("SHD-001: no graphics adapter found; install"));
        println!("rejected as it should be");
        return;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_machine_without_adapters_gets_a_plain_error", "--nocapture"])
        .env(CHILD, "1")
        .env("VK_DRIVER_FILES", "/nonexistent")
        .env("VK_ICD_FILENAMES", "/nonexistent")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("rejected as it should be"), "{text}");
}

/// Goal: a run that is meant for a GPU cannot pass without it. Method: one test again, in a child that asks for an
/// adapter that is missing, or for a GPU on the software adapter.
#[test]
fn a_run_that_is_meant_for_a_gpu_fails_without_one() {
    let run = |adapter: &str, required: &str| {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "memory_is_released_when_buffers_are_dropped", "--nocapture"])
            .env("ROLLMILL_ADAPTER", adapter)
            .env("REQUIRE_GPU", required)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    };
    let (passed, text) = run("no such card", "0");
    assert!(!passed && text.contains("SHD-002"), "{text}");
    let (passed, text) = run("software", "1");
    // A machine may have no software adapter when its tests run on a GPU.
    assert!(!passed && (text.contains("REQUIRE_GPU=1, but") || text.contains("SHD-00")), "{text}");
    if std::env::var_os("ROLLMILL_ADAPTER").is_none() {
        assert!(
            run("software", "0").0,
            "the software adapter is no failure where no GPU is required"
        );
    }
}

#[test]
fn a_chunk_that_is_no_power_of_two_is_rejected() {
    for elements in [0, 100, 300, 128] {
        let options = Options { chunk_elements: Some(elements), ..common::options(LimbForm::U32) };
        let line = WgpuDevice::open(&options).unwrap_err().to_string();
        assert!(line.starts_with("SHD-006: option chunk_elements"), "{line}");
    }
}

#[test]
fn more_memory_than_allowed_is_rejected_with_the_number_and_the_device_goes_on() {
    let limit = 1 << 16;
    let options = Options { memory_bytes_max: Some(limit), ..common::any_form() };
    let device = common::open(&options);
    let large = Column::<_, Coeff>::new(device.upload(&vec![Fr::from(3u64); 1 << 12]).unwrap());
    let error = device.to_lagrange(&[&large]).unwrap_err();
    let DeviceError::Memory { needed_bytes, free_bytes, .. } = error else { panic!("{error}") };
    assert_eq!((needed_bytes, free_bytes <= limit), (32 << 12, true));
    assert!(error.to_string().starts_with("DEV-002"), "{error}");
    let small = Column::<_, Coeff>::new(device.upload(&[Fr::from(3u64); 4]).unwrap());
    let out = device.to_lagrange(&[&small]).unwrap();
    assert_eq!(device.download(&out[0].buffer).unwrap()[0], Fr::from(12u64));
}

/// Goal: a start reads the pipelines of the one before, and a file of no use costs only the time to compile. Method:
/// the file is damaged, cut off, and marked as one of another version.
#[test]
fn compiled_pipelines_are_kept_and_a_file_of_no_use_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("pipelines");
    let run = || {
        let options = Options { pipelines_dir: Some(dir.clone()), ..common::any_form() };
        let device = common::open(&options);
        let two = [[2, 0, 0, 0]; 5];
        let sums = device.field_sums(Field::Fr, &two, &two).unwrap();
        assert_eq!((sums[0], sums[1]), ([4, 0, 0, 0], [0; 4]));
        device.pipelines().clone()
    };
    match run() {
        Pipelines::Unsupported => {
            println!("left out: the adapter has no pipelines to keep");
            return;
        }
        state => assert_eq!(state, Pipelines::New),
    }
    let files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|it| it.unwrap().path()).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    assert_eq!(run(), Pipelines::Loaded);
    let whole = std::fs::read(file).unwrap();
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let mut foreign = whole.clone();
    // The first byte after the head is of adapter, driver and sources.
    foreign[whole.iter().position(|byte| *byte == b'\n').unwrap() + 1] ^= 1;
    let cut_off = whole[..whole.len() / 2].to_vec();
    for (bytes, expected) in [
        (damaged, "damaged"),
        (foreign, "another driver"),
        (cut_off, ""),
        (b"a".to_vec(), "no file"),
    ] {
        std::fs::write(file, bytes).unwrap();
        let Pipelines::Ignored { path, reason } = run() else { panic!("{expected}: not ignored") };
        assert!(path == *file && reason.contains(expected), "{reason}");
        assert_eq!(run(), Pipelines::Loaded, "it is written again");
    }
    assert_eq!(*common::open(&common::any_form()).pipelines(), Pipelines::Off);
}

/// Goal: a budget on the adapter's memory reaches the agent, which plans with it, and half of it is left to proofs.
#[test]
fn a_budget_is_reported_and_keys_keep_half_of_it() {
    let options = Options { memory_bytes_max: Some(1 << 20), ..common::any_form() };
    let device = common::open(&options);
    assert_eq!(device.memory_bytes(), Some(1 << 20));
    let held = |n: usize| {
        let column = Column::<_, Coeff>::new(device.upload(&vec![Fr::from(3u64); n]).unwrap());
        let on_h = device.to_lagrange(&[&column]).unwrap().remove(0);
        (column, on_h)
    };
    let small = held(1 << 10);
    assert!(device.keep(&[&small.0.buffer, &small.1.buffer]));
    let large = held(1 << 13);
    assert!(device.used_bytes() > 1 << 19);
    assert!(!device.keep(&[&large.0.buffer, &large.1.buffer]));
}

#[test]
fn memory_is_released_when_buffers_are_dropped() {
    let device = device();
    let column = Column::<_, Coeff>::new(device.upload(&vec![Fr::from(3u64); 1 << 10]).unwrap());
    drop(device.to_lagrange(&[&column]).unwrap());
    let before = device.used_bytes();
    for _ in 0..20 {
        drop(device.to_lagrange(&[&column]).unwrap());
    }
    assert_eq!(device.used_bytes(), before);
}

/// Goal: queued work keeps what it reads. Method: drop every source as soon as its reader is queued.
#[test]
fn buffers_may_go_while_queued_work_still_reads_them() {
    let device = device();
    let values: Vec<Fr> = (0..4096u64).map(Fr::from).collect();
    let mut column = Column::<_, Coeff>::new(device.upload(&values).unwrap());
    for _ in 0..10 {
        let on_h = device.to_lagrange(&[&column]).unwrap().remove(0);
        drop(column);
        column = device.to_coeff(&[&on_h]).unwrap().remove(0);
        drop(on_h);
    }
    assert_eq!(device.download(&column.buffer).unwrap(), values);
}

#[test]
fn a_lost_device_says_so_in_every_operation() {
    let device = device();
    let point = G1Affine::generator();
    let bases = device.register_bases(&[point; 4]).unwrap();
    let mut buffer = device.upload(&[Fr::from(3u64); 4]).unwrap();
    let column = Column::<_, Coeff>::new(buffer.clone());
    let on_adapter = device.to_lagrange(&[&column]).unwrap().remove(0);
    device.close();
    let outcomes = [
        device.upload(&[]).err(),
        device.upload_u16(&[1]).err(),
        device.download(&on_adapter.buffer).err(),
        device.register_bases(&[point]).err(),
        device.commit(&bases, &[&buffer]).err(),
        device.to_lagrange(&[&column]).err(),
        device.to_coeff(&[&on_adapter]).err(),
        device.invert(&mut buffer).err(),
        device.prefix_product(&buffer).err(),
        device.prefix_sum(&buffer).err(),
        device.evaluate(&[&column], Fr::from(2u64)).err(),
        device.divide_by_linear(&column, Fr::from(2u64)).err(),
        device.linear_combination(&[(&buffer, Fr::from(2u64))]).err(),
    ];
    for (i, outcome) in outcomes.into_iter().enumerate() {
        let lost = matches!(&outcome, Some(DeviceError::Lost { .. }));
        assert!(lost, "operation {i}: {outcome:?}");
        let line = outcome.map(|error| error.to_string()).unwrap_or_default();
        assert!(line.starts_with("DEV-003") && !line.contains('\n'), "{line}");
    }
}

#[test]
fn the_name_and_the_report_say_what_runs_where() {
    for form in common::forms() {
        let limbs = if form == LimbForm::U64 { "u64 limbs" } else { "u32 limbs" };
        for rows in [Rows::Host, Rows::Interpreted, Rows::Generated] {
            let device = common::open(&Options { rows, ..common::options(form) });
            assert_eq!((device.limbs(), device.row_kernels()), (form, rows));
            let name = device.name();
            assert!(name.contains(limbs) && name.contains(&device.adapter().name), "{name}");
            let on_host: Vec<&str> = device
                .report()
                .into_iter()
                .filter_map(|(operation, place)| (place == Place::Host).then_some(operation))
                .collect();
            if rows == Rows::Host {
                assert!(name.starts_with("hybrid(wgpu(") && name.contains("+cpu"), "{name}");
                assert_eq!(on_host, ["rows"]);
            } else {
                assert!(name.starts_with("wgpu("), "{name}");
                assert!(on_host.is_empty(), "{on_host:?}");
            }
        }
    }
}

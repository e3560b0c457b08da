//! Checks an installed ICICLE against every device law and the CPU's proof:
//! `ROLLMILL_ICICLE_DIR=/opt/icicle/lib cargo run -p rollmill-icicle --example check -- [DEVICE]`.

use rollmill_algebra::conformance;
use rollmill_algebra::device::Memory;
use rollmill_icicle::{IcicleDevice, IcicleError, Options, devices};
use rollmill_plonk::conformance::proof_is_the_cpus;

fn main() -> Result<(), IcicleError> {
    for (number, device) in devices(None)?.iter().enumerate() {
        println!("icicle:{number}\t{device}");
    }
    let asked = std::env::args().nth(1).unwrap_or_else(|| "0".to_owned());
    let device = IcicleDevice::open(&asked, &Options::default())?;
    println!("{} passed its test when opened", device.name());
    conformance::run_all(&device, 1);
    println!("every law holds");
    proof_is_the_cpus(&device);
    println!("key and proof are byte-equal to the CPU's");
    Ok(())
}

//! Provers that cheat, and statements that are false in one place.
//!
//! A cheat rewrites the columns of the arguments so that one equation alone is violated; everything after
//! it is the real prover. A lie changes cells that no gate reads, so that only the arguments detect it.

use rollmill_algebra::cpu::CpuDevice;
use rollmill_algebra::device::{DeviceError, Memory};
use rollmill_algebra::field::batch_invert;
use rollmill_algebra::{Fr, device};
use rollmill_plonk::layout::{Layout, Witness};
use rollmill_plonk::prover::{ARGUMENT_COLUMNS, Probe};
use rollmill_plonk::shape::{LIMBS, ROUTED, fixed};

/// What a prover does to the columns of the arguments. `e` is the first blinding row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cheat {
    /// Nothing: an honest prover, of a false statement.
    None,
    /// Shifts the bus sum so that it ends at 0: it starts elsewhere.
    ShiftSum,
    /// Sends a bus sum of 0 everywhere: its steps are wrong.
    ZeroSum,
    /// Adds what is missing to a helper in row 0.
    PushHelper(usize),
    /// Scales the permutation product so that it ends at 1: it starts elsewhere.
    ScaleProduct,
    /// Sends a product of 1 everywhere: its steps are wrong.
    OneProduct,
}

impl Cheat {
    /// Cheats that make a false lookup pass everything but one equation.
    pub const OF_THE_BUS: [Self; 4] =
        [Self::ShiftSum, Self::ZeroSum, Self::PushHelper(0), Self::PushHelper(1)];
    /// The same of a cut tie.
    pub const OF_THE_PERMUTATION: [Self; 2] = [Self::ScaleProduct, Self::OneProduct];
}

/// A probe that makes one cheat.
pub struct Cheater {
    pub cheat: Cheat,
    /// The first blinding row.
    pub end: usize,
}

impl Probe<CpuDevice> for Cheater {
    fn arguments(
        &mut self,
        device: &CpuDevice,
        columns: &mut [<CpuDevice as device::Memory>::Buffer; ARGUMENT_COLUMNS],
    ) -> Result<(), DeviceError> {
        let mut values = Vec::new();
        for column in columns.iter() {
            values.push(device.download(column)?);
        }
        let (z_end, s_end) = (values[0][self.end], values[3][self.end]);
        match self.cheat {
            Cheat::None => {}
            Cheat::ShiftSum => values[3].iter_mut().for_each(|s| *s -= s_end),
            Cheat::ZeroSum => values[3].fill(Fr::from(0u64)),
            Cheat::PushHelper(i) => {
                values[1 + i][0] -= s_end;
                values[3][1..].iter_mut().for_each(|s| *s -= s_end);
            }
            Cheat::ScaleProduct => {
                let mut factor = [z_end];
                batch_invert(&mut factor);
                values[0].iter_mut().for_each(|z| *z *= factor[0]);
            }
            Cheat::OneProduct => values[0].fill(Fr::from(1u64)),
        }
        for (column, values) in columns.iter_mut().zip(values) {
            *column = device.upload_vec(values)?;
        }
        Ok(())
    }
}

/// What is false in a witness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// A limb cell of this column is outside the range table.
    Limb(usize),
    /// A routed cell of this column differs from the cells it is tied to.
    Tie(usize),
    /// One place of a ROM read is not what was written: 0 the table, 1 the address, then the values.
    Rom(usize),
    /// A ROM read of nothing that is written, whose tuple without its tag equals a value of the range table.
    Untagged,
    /// A multiplicity differs from the number of lookups of its value.
    Multiplicity,
}

/// Places of a ROM tuple.
pub const ROM_PLACES: usize = 10;

impl Lie {
    /// Puts the lie into a witness. `read` is the row of a ROM read whose cells nothing else ties.
    pub fn tell(self, layout: &Layout, witness: &mut Witness, read: Option<usize>) {
        // Past the used rows, where no gate reads.
        let free = layout.rows_used + 2;
        assert!(free + 1 < layout.shape.usable_rows(), "the circuit leaves no row free");
        let one = Fr::from(1u64);
        let read = || read.expect("the circuit has a read of its own");
        match self {
            Self::Limb(column) => {
                assert!(column < LIMBS);
                witness.wires[ROUTED + column][free] =
                    Fr::from((1u64 << layout.shape.cell_bits) + 44);
            }
            Self::Tie(column) => witness.wires[column][free] += one,
            Self::Rom(place) => {
                let (column, row) = rom_cell(place, read());
                witness.wires[column][row] += one;
            }
            Self::Untagged => {
                let value = 5u64;
                for place in 0..ROM_PLACES {
                    let (column, row) = rom_cell(place, read());
                    witness.wires[column][row] = Fr::from(0u64);
                }
                witness.wires[rom_cell(0, read()).0][read()] = Fr::from(value);
                let columns = layout.fixed_columns();
                let holds = |column: usize, value: u64| {
                    let found = columns[column].iter().position(|v| *v == Fr::from(value));
                    found.expect("the column contains the value")
                };
                let writes = |row: usize| {
                    columns[fixed::WRITE][row] == one && columns[fixed::READ][row] != one
                };
                let write = (0..layout.rows_used).find(|row| writes(*row)).expect("a write");
                witness.m[holds(fixed::TABLE, value)] += one;
                witness.m[write] -= one;
            }
            Self::Multiplicity => witness.m[3] += one,
        }
    }
}

/// Column and row of one place of the tuple that the row `read` reads.
fn rom_cell(place: usize, read: usize) -> (usize, usize) {
    match place {
        0 => (3, read),
        1 => (0, read),
        _ => ((place - 2) % ROUTED, read + 1 + (place - 2) / ROUTED),
    }
}

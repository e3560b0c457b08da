//! Arguments of kernels: places in blocks instead of addresses, so that a launch knows what it uses.

use parking_lot::Mutex;
use rollmill_algebra::device::DeviceError;

use crate::arena::{At, Block};
use crate::driver;
use crate::order::{Access, Uses};

/// An argument, and what the kernel does with it.
#[derive(Debug, Clone)]
pub(crate) enum Argument<'a> {
    Null,
    /// Read by the kernel.
    In(At<'a>),
    /// Written, and perhaps read.
    Out(At<'a>),
    /// Words in device memory with addresses among them.
    Through(&'a List<'a>),
    /// A structure of addresses.
    Places(Vec<Argument<'a>>),
    U32(u32),
    U64(u64),
}

type Used<'a> = (&'a Mutex<Uses>, Access);

impl<'a> Argument<'a> {
    /// Converts to the driver's form; adds the blocks that it represents to `uses`.
    pub(crate) fn resolve(&self, uses: &mut Vec<Used<'a>>) -> driver::Argument {
        let address = match self {
            Self::U32(number) => return driver::Argument::U32(*number),
            Self::U64(number) => return driver::Argument::U64(*number),
            Self::Places(places) => {
                let words = places.iter().map(|place| match place.resolve(uses) {
                    driver::Argument::Pointer(address) => address,
                    _ => 0,
                });
                return driver::Argument::Words(words.collect());
            }
            Self::Null => 0,
            Self::In(at) => {
                uses.push(at.used(Access::Read));
                at.address()
            }
            Self::Out(at) => {
                uses.push(at.used(Access::Write));
                at.address()
            }
            Self::Through(list) => {
                uses.push(list.block.start().used(Access::Read));
                uses.extend(&list.uses);
                list.block.start().address()
            }
        };
        driver::Argument::Pointer(address)
    }
}

/// A word of a [`List`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Word<'a> {
    Number(u64),
    /// The address of what the kernel reads, or nothing.
    In(Option<At<'a>>),
    /// The address of what it writes.
    Out(Option<At<'a>>),
}

/// Words in device memory with addresses among them, and the blocks of those addresses.
#[derive(Debug)]
pub(crate) struct List<'a> {
    block: Block,
    uses: Vec<Used<'a>>,
}

impl<'a> List<'a> {
    pub(crate) fn new(
        words: Vec<Word<'a>>,
        upload: impl FnOnce(&[u64]) -> Result<Block, DeviceError>,
    ) -> Result<Self, DeviceError> {
        let mut uses = Vec::new();
        let numbers: Vec<u64> = words
            .into_iter()
            .map(|word| {
                let (at, access) = match word {
                    Word::Number(number) => return number,
                    Word::In(at) => (at, Access::Read),
                    Word::Out(at) => (at, Access::Write),
                };
                uses.extend(at.map(|at| at.used(access)));
                at.map_or(0, At::address)
            })
            .collect();
        Ok(Self { block: upload(&numbers)?, uses })
    }
}

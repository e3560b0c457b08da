//! The sort of many digits: by bins of keys first, then by tiles of neighbouring digits, which have few keys. So
//! counters are added to in shared memory, and in the card's memory once for each key of a tile.

use rollmill_algebra::device::DeviceError;

use super::{Batch, OP, grid};
use crate::arena::{At, Block};
use crate::declared;
use crate::device::CudaDevice;
use crate::sizes::{BINS, PAIR, PARTITION_DIGITS, SCALARS, Sizes, TILE};

/// The digits of a batch, bin by bin.
#[derive(Debug)]
pub(super) struct Partition {
    pairs: Block,
    /// Where each bin ends.
    bins: Block,
    shift: u32,
}

impl Partition {
    fn pairs(&self) -> At<'_> {
        self.pairs.start()
    }

    /// How many digits there are.
    fn total(&self) -> At<'_> {
        self.bins.start().plus(4 * (BINS - 1))
    }
}

impl Sizes {
    /// A block for so many scalars of the longest column, a row per column.
    pub(crate) fn grid_of_partition(&self) -> [u32; 2] {
        [grid(self.longest, SCALARS)[0], self.load.columns as u32]
    }

    /// A block for each tile that there can be.
    pub(crate) fn grid_of_tiles(&self) -> [u32; 2] {
        grid(self.load.digits.max(1), TILE)
    }
}

impl CudaDevice {
    /// Partitions the digits of a batch; `None` where there are too few.
    pub(super) fn partition(&self, batch: &Batch<'_>) -> Result<Option<Partition>, DeviceError> {
        let sizes = &batch.sizes;
        let least = self.card.options.partition_digits.unwrap_or(PARTITION_DIGITS);
        if sizes.load.digits < least.max(1) {
            return Ok(None);
        }
        let (shift, by_scalars) = (sizes.shift(), sizes.grid_of_partition());
        let bins = self.zeroed(OP, 4 * BINS)?;
        let pairs = self.take_scratch(OP, 1, PAIR * sizes.load.digits)?;
        self.run(OP, declared::msm_bins(&batch.columns, shift, bins.start()), by_scalars)?;
        self.scan_in_place(bins.start(), BINS as u32)?;
        let call = declared::msm_partition(&batch.columns, shift, bins.start(), pairs.start());
        self.run(OP, call, by_scalars)?;
        Ok(Some(Partition { pairs, bins, shift }))
    }

    /// As `count_digits`.
    pub(super) fn count_tiles(
        &self,
        sizes: &Sizes,
        partition: &Partition,
        counts: At<'_>,
    ) -> Result<(), DeviceError> {
        let (pairs, total) = (partition.pairs(), partition.total());
        let call = declared::msm_tile_count(pairs, total, partition.shift, counts);
        self.run(OP, call, sizes.grid_of_tiles())
    }

    /// As `scatter`.
    pub(super) fn scatter_tiles(
        &self,
        sizes: &Sizes,
        partition: &Partition,
        [cursors, entries]: [At<'_>; 2],
    ) -> Result<(), DeviceError> {
        let (pairs, total) = (partition.pairs(), partition.total());
        let call = declared::msm_tile_scatter(pairs, total, partition.shift, cursors, entries);
        self.run(OP, call, sizes.grid_of_tiles())
    }
}

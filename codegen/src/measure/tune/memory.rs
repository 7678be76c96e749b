//! What pieces of a program work on while they are timed.
//!
//! Buffers have the sizes of the program's and keep their addresses from run to run, so they are in the cache, as the results
//! of the previous layer are in a network. Weights are not: each run reads other bytes, until the runs have read as much as all
//! constants of the program take. All numbers are zeros: the time of a kernel depends on shapes alone.

use std::collections::BTreeMap;

use crate::kernel::Call;
use crate::program::Program;
use crate::view::{Storage, View};

/// More bytes of constants than caches of today hold.
const FAR: usize = 128 << 20;

/// Bytes for all that a piece touches.
pub(super) struct Memory {
    blocks: BTreeMap<Storage, Vec<u8>>,
    /// Weights of many runs, one after the other.
    weights: Vec<u8>,
    /// Bytes of all constants of the program.
    constants: usize,
    /// Where the next run's weights begin.
    next: usize,
}

impl Memory {
    /// Memory for pieces of `program`.
    pub(super) fn of(program: &Program) -> Memory {
        let constants = program.consts.iter().map(|constant| constant.bytes.len()).sum::<usize>().min(FAR);
        Memory { blocks: BTreeMap::new(), weights: Vec::new(), constants, next: 0 }
    }

    /// Makes room for what these calls touch, and for runs that read at most `weights` bytes of weights. Addresses that were
    /// given before are invalid afterwards.
    pub(super) fn make_room<'c>(&mut self, program: &Program, calls: impl Iterator<Item = &'c Call>, weights: usize) {
        for view in calls.flat_map(|call| call.operands.iter().chain([&call.output])) {
            let size = match view.storage {
                Storage::Buffer(id) => program.buffers[id.0].byte_size,
                // Packed constants may be larger than those of the program.
                Storage::Const(id) => {
                    let end = (view.offset + view.grid.elements()) * view.dtype.byte_size();
                    end.max(program.consts[id.0].bytes.len())
                }
            };
            let room = size + 4 * Program::SLACK + program.target.vector_bits;
            let block = self.blocks.entry(view.storage).or_default();
            block.resize(room.max(block.len()), 0);
        }
        let room = self.constants + weights + Program::SLACK + Program::ARENA_ALIGN;
        // Written, or the system would show the same page everywhere.
        self.weights.resize(room.max(self.weights.len()), 1);
    }

    /// The address of a view's first element, which is not among the weights.
    pub(super) fn address(&mut self, view: &View) -> usize {
        let block = self.blocks.get_mut(&view.storage).unwrap_or_else(|| unreachable!("there is room for all calls"));
        let first = block.as_ptr().align_offset(Program::ARENA_ALIGN) + view.offset * view.dtype.byte_size();
        block[first..].as_mut_ptr() as usize
    }

    /// The address of the next run's weights, of this many bytes.
    pub(super) fn next_weights(&mut self, bytes: usize) -> usize {
        if self.next >= self.constants {
            self.next = 0;
        }
        let first = self.weights.as_ptr().align_offset(Program::ARENA_ALIGN) + self.next;
        self.next += bytes;
        self.weights[first..][..bytes + Program::SLACK].as_mut_ptr() as usize
    }
}

/// The view of a call's weights that come from elsewhere in each run.
pub(super) fn weights(call: &Call) -> Option<&View> {
    let is_weights = |view: &&View| matches!(view.storage, Storage::Const(_));
    let weights = call.producer.def().weights()?;
    call.operands.get(weights).filter(is_weights)
}

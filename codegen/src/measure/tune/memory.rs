//! The memory that candidates work on while they are timed.
//!
//! Buffers have the program's sizes and the same addresses in every run, so they are in the cache, as the results of
//! the previous layer are when a network runs. Weights are not in the cache: each run reads other bytes, until the runs
//! have read as many bytes as all constants of the program have. The contents do not matter: the time of a kernel
//! depends only on shapes.

use std::collections::BTreeMap;

use crate::kernel::Call;
use crate::program::Program;
use crate::view::{Storage, View};

/// The most bytes of weights that runs read before they start again: more than the caches of today's CPUs hold.
const FAR: usize = 128 << 20;

/// Memory for all operands and results of candidates.
pub(super) struct Memory {
    blocks: BTreeMap<Storage, Vec<u8>>,
    /// The weights of consecutive runs, one after the other.
    weights: Vec<u8>,
    /// Bytes of all constants of the program.
    constants: usize,
    /// Where the next run's weights begin.
    next: usize,
}

impl Memory {
    /// Memory for candidates of `program`, without buffers yet.
    pub(super) fn of(program: &Program) -> Memory {
        let constants = program.consts.iter().map(|constant| constant.bytes.len()).sum::<usize>().min(FAR);
        Memory { blocks: BTreeMap::new(), weights: Vec::new(), constants, next: 0 }
    }

    /// Allocates memory for the views of these calls, and for runs that read at most `weights` bytes of weights.
    /// Earlier addresses become invalid.
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
        // Written with ones, as the system may map untouched zeros to a single page.
        self.weights.resize(room.max(self.weights.len()), 1);
    }

    /// The address of a view's first element. The view must not be of weights.
    pub(super) fn address(&mut self, view: &View) -> usize {
        let block = self.blocks.get_mut(&view.storage).unwrap_or_else(|| unreachable!("there is room for all calls"));
        let first = block.as_ptr().align_offset(Program::ARENA_ALIGN) + view.offset * view.dtype.byte_size();
        block[first..].as_mut_ptr() as usize
    }

    /// The address of the weights of the next run, which reads `bytes` bytes of them.
    pub(super) fn next_weights(&mut self, bytes: usize) -> usize {
        if self.next >= self.constants {
            self.next = 0;
        }
        let first = self.weights.as_ptr().align_offset(Program::ARENA_ALIGN) + self.next;
        self.next += bytes;
        self.weights[first..][..bytes + Program::SLACK].as_mut_ptr() as usize
    }
}

/// The view of a call's constant weights, which lie at another address in each run.
pub(super) fn weights(call: &Call) -> Option<&View> {
    let is_weights = |view: &&View| matches!(view.storage, Storage::Const(_));
    let weights = call.producer.def().weights()?;
    call.operands.get(weights).filter(is_weights)
}

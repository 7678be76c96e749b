//! Addresses, loads, stores.

use inkwell::values::{BasicValue as _, InstructionValue};

use super::{Emitter, Int, Kind, Ptr, Vector};
use crate::vector::built;

impl<'ctx> Emitter<'_, 'ctx> {
    /// The address moved by `bytes`.
    pub(crate) fn offset(&self, pointer: Ptr<'ctx>, bytes: isize) -> Ptr<'ctx> {
        if bytes == 0 { pointer } else { self.offset_by(pointer, self.signed(bytes)) }
    }

    /// The address moved by `bytes`, a number that is known at run time.
    pub(crate) fn offset_by(&self, pointer: Ptr<'ctx>, bytes: Int<'ctx>) -> Ptr<'ctx> {
        // SAFETY: kernels keep addresses inside the bytes (with slack) of the view that the pointer is for; the
        // instruction is not `inbounds`, so an address on the way may lie outside.
        Ptr(built(unsafe { self.builder.build_gep(self.context.i8_type(), pointer.0, &[bytes.0], "") }))
    }

    /// A block of uninitialized stack memory of the function, aligned to 64.
    pub(crate) fn scratch(&self, bytes: usize) -> Ptr<'ctx> {
        let here = self.builder.get_insert_block();
        let entry = self.current().get_first_basic_block().unwrap_or_else(|| unreachable!("a function has been begun"));
        match entry.get_first_instruction() {
            Some(first) => self.builder.position_before(&first),
            None => self.builder.position_at_end(entry),
        }
        let ty = self.context.i8_type().array_type(bytes as u32);
        let place = built(self.builder.build_alloca(ty, "scratch"));
        let set = place.as_instruction().map(|alloca| alloca.set_alignment(64));
        debug_assert!(matches!(set, Some(Ok(()))));
        here.into_iter().for_each(|block| self.builder.position_at_end(block));
        Ptr(place)
    }

    /// Loads `lanes` adjacent numbers.
    pub(crate) fn load(&self, pointer: Ptr<'ctx>, kind: Kind, lanes: usize) -> Vector<'ctx> {
        let value = built(self.builder.build_load(self.vector_type(kind, lanes), pointer.0, ""));
        unaligned(value.as_instruction_value());
        self.vector(value, kind, lanes)
    }

    /// Loads the first `count` of `lanes` adjacent numbers; other lanes are zero. Reads no byte after them.
    pub(crate) fn load_first(&self, pointer: Ptr<'ctx>, kind: Kind, count: usize, lanes: usize) -> Vector<'ctx> {
        if count == lanes {
            return self.load(pointer, kind, lanes);
        }
        let mut whole = self.zero(kind, lanes);
        for (start, piece) in pieces(count) {
            let part = self.load(self.offset(pointer, (start * kind.bytes()) as isize), kind, piece);
            whole = self.insert(whole, part, start);
        }
        whole
    }

    /// Loads one number into every lane.
    pub(crate) fn broadcast(&self, pointer: Ptr<'ctx>, kind: Kind, lanes: usize) -> Vector<'ctx> {
        let one = self.load(pointer, kind, 1);
        self.shuffle(one, one, &vec![0; lanes])
    }

    /// Prefetches the cache line at an address into the cache of level 1 or 2. The address need not be readable.
    pub(crate) fn prefetch(&self, pointer: Ptr<'ctx>, level: u64) {
        let function = self.declared("llvm.prefetch", &[pointer.0.get_type().into()]);
        let [read, near, data] = [0, 4 - level, 1].map(|flag| self.context.i32_type().const_int(flag, false).into());
        built(self.builder.build_call(function, &[pointer.0.into(), read, near, data], ""));
    }

    /// Stores the vector's numbers side by side.
    pub(crate) fn store(&self, pointer: Ptr<'ctx>, vector: Vector<'ctx>) {
        unaligned(Some(built(self.builder.build_store(pointer.0, vector.value))));
    }

    /// Stores the first `count` numbers and writes no byte after them.
    pub(crate) fn store_first(&self, pointer: Ptr<'ctx>, vector: Vector<'ctx>, count: usize) {
        if count >= vector.lanes {
            return self.store(pointer, vector);
        }
        for (start, piece) in pieces(count) {
            let place = self.offset(pointer, (start * vector.kind.bytes()) as isize);
            self.store(place, self.slice(vector, start, piece));
        }
    }

    /// Loads an integer as an index.
    pub(crate) fn load_int(&self, pointer: Ptr<'ctx>, kind: Kind, signed: bool) -> Int<'ctx> {
        let stored = self.load(pointer, kind, 1);
        let wide = self.widen(stored, Kind::I64, signed);
        self.lane_as_int(wide, 0)
    }
}

/// Cuts `count` elements into powers of two: the start and the length of each piece.
fn pieces(count: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = count - start;
        (rest > 0).then(|| {
            let piece = 1 << rest.ilog2();
            start += piece;
            (start - piece, piece)
        })
    })
}

fn unaligned(instruction: Option<InstructionValue<'_>>) {
    let set = instruction.map(|access| access.set_alignment(1));
    debug_assert!(matches!(set, Some(Ok(()))));
}

#[cfg(test)]
mod tests {
    #[test]
    fn pieces_are_powers_of_two_and_cover_the_count() {
        assert_eq!(super::pieces(13).collect::<Vec<_>>(), [(0, 8), (8, 4), (12, 1)]);
        assert_eq!(super::pieces(0).count(), 0);
        assert_eq!(super::pieces(16).collect::<Vec<_>>(), [(0, 16)]);
    }
}

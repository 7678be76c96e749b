//! Lookups in tables of 256 constants.

use super::{Emitter, Kind, Ptr, Vector};

/// Fewer indices than this are looked up one by one.
const FEW: usize = 8;

impl<'ctx> Emitter<'_, 'ctx> {
    /// For each byte of `indices`, the constant of `kind` in the table of 256 constants at `table`.
    pub(crate) fn lookup(&self, table: Ptr<'ctx>, kind: Kind, indices: Vector<'ctx>) -> Vector<'ctx> {
        debug_assert_eq!(indices.kind, Kind::I8);
        if kind != Kind::I8 || indices.lanes < FEW {
            return self.entries(table, kind, indices);
        }
        self.isa().lookup(self, table, indices)
    }

    /// For each unsigned integer of `indices`, the constant of `kind` at `table`, loaded one by one.
    pub(crate) fn entries(&self, table: Ptr<'ctx>, kind: Kind, indices: Vector<'ctx>) -> Vector<'ctx> {
        let wide = self.widen(indices, Kind::I64, false);
        let entries = (0..indices.lanes).map(|lane| {
            let index = self.lane_as_int(wide, lane);
            self.load(self.offset_by(table, self.scale(index, kind.bytes() as isize)), kind, 1)
        });
        self.concat(&entries.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llvm::trial;

    #[test]
    fn every_index_finds_its_entry_on_every_target_in_vectors_of_any_length() {
        let table: Vec<u8> = (0..=255u8).map(|index| index.wrapping_mul(167) ^ 0x5a).collect();
        let indices: Vec<u8> = (0..=255).rev().collect();
        let expected: Vec<u8> = indices.iter().map(|index| table[usize::from(*index)]).collect();
        for target in trial::targets() {
            for lanes in [1, 8, 16, 32, 64, 128] {
                let left = trial::run(target, &[&table, &indices, &[0; 256]], |e, p| {
                    for start in (0..256).step_by(lanes) {
                        let indices = e.load(e.offset(p[1], start as isize), Kind::I8, lanes);
                        e.store(e.offset(p[2], start as isize), e.lookup(p[0], Kind::I8, indices));
                    }
                });
                assert_eq!(left[2], expected, "{} in {lanes} lanes", target.name);
            }
        }
    }
}

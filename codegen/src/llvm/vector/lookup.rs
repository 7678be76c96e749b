//! Tables of constants.
//!
//! Tables of 256 bytes are looked up in registers: `vpermi2b` has 128 entries at once, `pshufb` 16, and what is found for
//! each value of the upper bits is chosen among by blends, bit by bit. For AVX2 this tree is written as assembly: of
//! sixteen registers LLVM would spill most rows, as it looks them all up before it chooses.

use std::fmt::Write as _;

use super::{Compare, Emitter, Kind, Ptr, Vector};
use crate::llvm::built;

/// Fewer entries than this are loaded one by one.
const FEW: usize = 8;

/// Entries that `pshufb` chooses among.
const ROW: usize = 16;

impl<'ctx> Emitter<'_, 'ctx> {
    /// One of 256 constants of `kind` at `table` for each byte of `indices`.
    pub(crate) fn lookup(&self, table: Ptr<'ctx>, kind: Kind, indices: Vector<'ctx>) -> Vector<'ctx> {
        debug_assert_eq!(indices.kind, Kind::I8);
        if kind != Kind::I8 || indices.lanes < FEW {
            return self.entries(table, kind, indices);
        }
        let (permute, register) = (self.isa.byte_permute, self.isa.vector_bits / 8);
        let found = self.split(indices, register).into_iter().map(|piece| {
            let lanes = if permute { register } else { piece.lanes.next_power_of_two().max(ROW) };
            let whole = match piece.lanes == lanes {
                true => piece,
                false => self.insert(self.zero(Kind::I8, lanes), piece, 0),
            };
            let bytes = if permute { self.permuted(table, whole) } else { self.shuffled(table, whole) };
            self.slice(bytes, 0, piece.lanes)
        });
        self.concat(&found.collect::<Vec<_>>())
    }

    /// The constant of `kind` at `table` for each unsigned integer of `indices`, loaded one by one.
    pub(crate) fn entries(&self, table: Ptr<'ctx>, kind: Kind, indices: Vector<'ctx>) -> Vector<'ctx> {
        let wide = self.widen(indices, Kind::I64, false);
        let entries = (0..indices.lanes).map(|lane| {
            let index = self.lane_as_int(wide, lane);
            self.load(self.offset_by(table, self.scale(index, kind.bytes() as isize)), kind, 1)
        });
        self.concat(&entries.collect::<Vec<_>>())
    }

    /// A register of indices by `vpermi2b`, each half of the table on its own.
    fn permuted(&self, table: Ptr<'ctx>, indices: Vector<'ctx>) -> Vector<'ctx> {
        let half = |start: isize| {
            let [a, b] = [start, start + 64].map(|at| self.load(self.offset(table, at), Kind::I8, 64));
            let value = self.intrinsic("llvm.x86.avx512.vpermi2var.qi.512", &[], &[a, indices, b]);
            self.vector(value, Kind::I8, 64)
        };
        let upper = self.compare(Compare::Less, indices, self.zero(Kind::I8, indices.lanes), true);
        self.select(upper, half(128), half(0))
    }

    /// At most a register of indices by `pshufb`.
    fn shuffled(&self, table: Ptr<'ctx>, indices: Vector<'ctx>) -> Vector<'ctx> {
        let lanes = indices.lanes;
        let within = self.and(indices, self.splat_int(ROW as i64 - 1, Kind::I8, lanes));
        if self.isa.vector_bits == 256 {
            return self.written(table, indices, within);
        }
        // Each of the upper bits, as the sign.
        let bits = [3, 2, 1, 0].map(|by| match by {
            0 => indices,
            _ => self.shift_left(indices, self.splat_int(by, Kind::I8, lanes)),
        });
        self.row(table, within, &bits)
    }

    /// What [`Emitter::row`] does, for AVX2: row by row, so that few registers are in use at a time.
    fn written(&self, table: Ptr<'ctx>, indices: Vector<'ctx>, within: Vector<'ctx>) -> Vector<'ctx> {
        let register = self.vector_type(Kind::I8, indices.lanes);
        let scratch = self.context.struct_type(&[register.into(); SCRATCH], false);
        let pointer = table.0.get_type();
        let signature = scratch.fn_type(&[register.into(), register.into(), pointer.into()], false);
        // Nothing is written while an input may still be read.
        let constraints = format!("{}x,x,r", "=&x,".repeat(SCRATCH));
        let code =
            self.context.create_inline_asm(signature, tree(indices.lanes), constraints, false, false, None, false);
        let arguments = [indices.value.into(), within.value.into(), table.0.into()];
        let call = built(self.builder.build_indirect_call(signature, code, &arguments, ""));
        let all = call.try_as_basic_value().unwrap_basic().into_struct_value();
        self.vector(built(self.builder.build_extract_value(all, 0, "")), Kind::I8, indices.lanes)
    }

    /// The entries `within` a row of a table, where the signs of `bits`, the highest last, make up the row's number.
    fn row(&self, rows: Ptr<'ctx>, within: Vector<'ctx>, bits: &[Vector<'ctx>]) -> Vector<'ctx> {
        let lanes = within.lanes;
        let Some((upper, lower)) = bits.split_last() else {
            let entries = self.load(rows, Kind::I8, ROW);
            let entries = self.shuffle(entries, entries, &(0..lanes).map(|lane| lane % ROW).collect::<Vec<_>>());
            let name = match lanes {
                16 => "llvm.x86.ssse3.pshuf.b.128",
                32 => "llvm.x86.avx2.pshuf.b",
                _ => "llvm.x86.avx512.pshuf.b.512",
            };
            return self.vector(self.intrinsic(name, &[], &[entries, within]), Kind::I8, lanes);
        };
        let below = self.row(rows, within, lower);
        let above = self.row(self.offset(rows, (ROW << lower.len()) as isize), within, lower);
        self.select(self.compare(Compare::Less, *upper, self.zero(Kind::I8, lanes), true), above, below)
    }
}

/// Registers that [`tree`] writes: what is found on each level of it, and three bits of the rows' numbers as signs.
const SCRATCH: usize = LEVELS + 1 + (LEVELS - 1);

/// Bits of a row's number.
const LEVELS: usize = 4;

/// Assembly that looks up the entries of a table: [`SCRATCH`] results, the first of which counts, then indices, their
/// lower four bits, and the table's address.
fn tree(lanes: usize) -> String {
    let (indices, within, table) = (SCRATCH, SCRATCH + 1, SCRATCH + 2);
    // The register whose signs are bit `level` of the rows' numbers: each is the next one doubled.
    let signs = |level: usize| if level + 1 == LEVELS { indices } else { LEVELS + 1 + level };
    let mut code = String::new();
    for level in (0..LEVELS - 1).rev() {
        let above = signs(level + 1);
        let _ = writeln!(code, "vpaddb ${above}, ${above}, ${}", signs(level));
    }
    let load = if lanes == ROW { "vmovdqu" } else { "vbroadcasti128" };
    for row in 0..1 << LEVELS {
        // As many partial results are waiting as the row's number has ones.
        let at = usize::count_ones(row) as usize;
        let _ = writeln!(code, "{load} {}(${table}), ${at}", ROW * row);
        let _ = writeln!(code, "vpshufb ${within}, ${at}, ${at}");
        // A row that ends a subtree is chosen, or not, instead of what is found in the other half of it.
        for level in 0..row.trailing_ones() as usize {
            let (above, below) = (at - level, at - level - 1);
            let _ = writeln!(code, "vpblendvb ${}, ${above}, ${below}, ${below}", signs(level));
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llvm::jit::Jit;
    use crate::target::TARGETS;

    #[test]
    fn lookups_for_avx2_keep_all_that_they_find_in_registers() {
        let jit = Jit::default();
        let target = TARGETS.iter().find(|target| target.name == "x86-64-v3").expect("a target");
        let compiled = jit.compile_with(target, false, true, |e| {
            let p = e.function("lookup", 3, 0);
            let indices = e.load(p[1], Kind::I8, 96);
            e.store(p[2], e.lookup(p[0], Kind::I8, indices));
            e.end();
            Ok(())
        });
        let assembly = compiled.expect("compiles").assembly;
        let count = |word: &str| assembly.matches(word).count();
        assert_eq!(["vpshufb", "vpblendvb", "vbroadcasti128"].map(count), [3 * 16, 3 * 15, 3 * 16]);
        assert_eq!(count("(%rsp)"), 0, "{assembly}");
    }

    #[test]
    fn every_index_finds_its_entry_on_every_target_in_vectors_of_any_length() {
        let table: Vec<u8> = (0..=255u8).map(|index| index.wrapping_mul(167) ^ 0x5a).collect();
        let indices: Vec<u8> = (0..=255).rev().collect();
        let expected: Vec<u8> = indices.iter().map(|index| table[usize::from(*index)]).collect();
        for target in TARGETS {
            for (portable, lanes) in [true, false].into_iter().flat_map(|p| [1, 8, 16, 32, 64, 128].map(|l| (p, l))) {
                let jit = Jit::default();
                let compiled = jit.compile_with(target, portable, false, |e| {
                    let p = e.function("lookup", 3, 0);
                    for start in (0..256).step_by(lanes) {
                        let indices = e.load(e.offset(p[1], start as isize), Kind::I8, lanes);
                        e.store(e.offset(p[2], start as isize), e.lookup(p[0], Kind::I8, indices));
                    }
                    e.end();
                    Ok(())
                });
                let compiled = compiled.expect("compiles");
                if portable || target.runs_here() {
                    let mut found = vec![0u8; 256];
                    let pointers = [table.as_ptr() as *mut u8, indices.as_ptr() as *mut u8, found.as_mut_ptr()];
                    // SAFETY: 256 bytes are read of the table and of the indices, and 256 written.
                    unsafe { compiled.run_named("lookup", &pointers) };
                    assert_eq!(found, expected, "{} portable={portable} in {lanes} lanes", target.name);
                }
            }
        }
    }
}

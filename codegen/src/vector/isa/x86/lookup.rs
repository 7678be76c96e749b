//! Lookups in tables of 256 bytes, in registers.
//!
//! `vpermi2b` selects from 128 entries, `pshufb` from 16. The table is looked up in pieces of this size; then blends
//! select among the pieces, by one upper bit of the index at a time. For AVX2 this tree is inline assembly: LLVM looks
//! up all pieces before it blends, which spills most of them with only 16 registers.

use std::fmt::Write as _;

use crate::vector::built;
use crate::vector::{Compare, Emitter, Kind, Ptr, Vector};

/// Entries that one `pshufb` selects from.
const ROW: usize = 16;

/// [`Isa::lookup`](super::Isa::lookup).
pub(super) fn bytes<'ctx>(e: &Emitter<'_, 'ctx>, table: Ptr<'ctx>, indices: Vector<'ctx>) -> Vector<'ctx> {
    let (permute, register) = (e.target().byte_permute, e.target().vector_bits / 8);
    let found = e.split(indices, register).into_iter().map(|piece| {
        let lanes = if permute { register } else { piece.lanes.next_power_of_two().max(ROW) };
        let whole = match piece.lanes == lanes {
            true => piece,
            false => e.insert(e.zero(Kind::I8, lanes), piece, 0),
        };
        let bytes = if permute { permuted(e, table, whole) } else { shuffled(e, table, whole) };
        e.slice(bytes, 0, piece.lanes)
    });
    e.concat(&found.collect::<Vec<_>>())
}

/// Looks up a register of indices by `vpermi2b`, once for each half of the table.
fn permuted<'ctx>(e: &Emitter<'_, 'ctx>, table: Ptr<'ctx>, indices: Vector<'ctx>) -> Vector<'ctx> {
    let half = |start: isize| {
        let [a, b] = [start, start + 64].map(|at| e.load(e.offset(table, at), Kind::I8, 64));
        let value = e.intrinsic("llvm.x86.avx512.vpermi2var.qi.512", &[], &[a, indices, b]);
        e.vector(value, Kind::I8, 64)
    };
    let upper = e.compare(Compare::Less, indices, e.zero(Kind::I8, indices.lanes), true);
    e.select(upper, half(128), half(0))
}

/// Looks up at most a register of indices by `pshufb`.
fn shuffled<'ctx>(e: &Emitter<'_, 'ctx>, table: Ptr<'ctx>, indices: Vector<'ctx>) -> Vector<'ctx> {
    let lanes = indices.lanes;
    let within = e.and(indices, e.splat_int(ROW as i64 - 1, Kind::I8, lanes));
    if e.target().vector_bits == 256 {
        return written(e, table, indices, within);
    }
    // Each of the four upper bits, moved to the sign.
    let bits = [3, 2, 1, 0].map(|by| match by {
        0 => indices,
        _ => e.shift_left(indices, e.splat_int(by, Kind::I8, lanes)),
    });
    row(e, table, within, &bits)
}

/// The same as [`row`] for AVX2, in an order that needs few registers at a time.
fn written<'ctx>(e: &Emitter<'_, 'ctx>, table: Ptr<'ctx>, indices: Vector<'ctx>, within: Vector<'ctx>) -> Vector<'ctx> {
    let register = e.vector_type(Kind::I8, indices.lanes);
    let scratch = e.context.struct_type(&[register.into(); SCRATCH], false);
    let pointer = table.0.get_type();
    let signature = scratch.fn_type(&[register.into(), register.into(), pointer.into()], false);
    // Outputs are written while inputs are still needed, so they must not share registers.
    let constraints = format!("{}x,x,r", "=&x,".repeat(SCRATCH));
    let code = e.context.create_inline_asm(signature, tree(indices.lanes), constraints, false, false, None, false);
    let arguments = [indices.value.into(), within.value.into(), table.0.into()];
    let call = built(e.builder.build_indirect_call(signature, code, &arguments, ""));
    let all = call.try_as_basic_value().unwrap_basic().into_struct_value();
    e.vector(built(e.builder.build_extract_value(all, 0, "")), Kind::I8, indices.lanes)
}

/// Looks up the entry `within` a row of the table. The signs of `bits`, the highest last, are the row's number.
fn row<'ctx>(e: &Emitter<'_, 'ctx>, rows: Ptr<'ctx>, within: Vector<'ctx>, bits: &[Vector<'ctx>]) -> Vector<'ctx> {
    let lanes = within.lanes;
    let Some((upper, lower)) = bits.split_last() else {
        let entries = e.load(rows, Kind::I8, ROW);
        let entries = e.shuffle(entries, entries, &(0..lanes).map(|lane| lane % ROW).collect::<Vec<_>>());
        let name = match lanes {
            16 => "llvm.x86.ssse3.pshuf.b.128",
            32 => "llvm.x86.avx2.pshuf.b",
            _ => "llvm.x86.avx512.pshuf.b.512",
        };
        return e.vector(e.intrinsic(name, &[], &[entries, within]), Kind::I8, lanes);
    };
    let below = row(e, rows, within, lower);
    let above = row(e, e.offset(rows, (ROW << lower.len()) as isize), within, lower);
    e.select(e.compare(Compare::Less, *upper, e.zero(Kind::I8, lanes), true), above, below)
}

/// Registers that [`tree`] writes: a partial result per level, and three bits of the row number as signs.
const SCRATCH: usize = LEVELS + 1 + (LEVELS - 1);

/// Bits of a row number.
const LEVELS: usize = 4;

/// Assembly that looks up the entries of a table. Its operands are [`SCRATCH`] outputs, the first of which is the
/// result, then the indices, their lower four bits, and the table's address.
fn tree(lanes: usize) -> String {
    let (indices, within, table) = (SCRATCH, SCRATCH + 1, SCRATCH + 2);
    // The register whose signs are bit `level` of the row numbers. Doubling a byte moves its next bit to the sign.
    let signs = |level: usize| if level + 1 == LEVELS { indices } else { LEVELS + 1 + level };
    let mut code = String::new();
    for level in (0..LEVELS - 1).rev() {
        let above = signs(level + 1);
        let _ = writeln!(code, "vpaddb ${above}, ${above}, ${}", signs(level));
    }
    let load = if lanes == ROW { "vmovdqu" } else { "vbroadcasti128" };
    for row in 0..1 << LEVELS {
        // The number of ones in the row number is the number of waiting partial results.
        let at = usize::count_ones(row) as usize;
        let _ = writeln!(code, "{load} {}(${table}), ${at}", ROW * row);
        let _ = writeln!(code, "vpshufb ${within}, ${at}, ${at}");
        // A row that ends a subtree: blends select between the two halves of each subtree that it ends.
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
    use crate::target::Target;

    #[test]
    fn lookups_for_avx2_keep_all_that_they_find_in_registers() {
        let jit = Jit::default();
        let target = Target::find("x86-64-v3").expect("listed");
        let compiled = jit.compile_with(target, true, |e| {
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
}

//! Tables of 256 bytes, looked up in registers.
//!
//! `vpermi2b` has 128 entries at once, `pshufb` 16, and what is found for each value of the upper bits is chosen among by
//! blends, bit by bit. For AVX2 this tree is written as assembly: of sixteen registers LLVM would spill most rows, as it
//! looks them all up before it chooses.

use std::fmt::Write as _;

use crate::vector::built;
use crate::vector::{Compare, Emitter, Kind, Ptr, Vector};

/// Entries that `pshufb` chooses among.
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

/// A register of indices by `vpermi2b`, each half of the table on its own.
fn permuted<'ctx>(e: &Emitter<'_, 'ctx>, table: Ptr<'ctx>, indices: Vector<'ctx>) -> Vector<'ctx> {
    let half = |start: isize| {
        let [a, b] = [start, start + 64].map(|at| e.load(e.offset(table, at), Kind::I8, 64));
        let value = e.intrinsic("llvm.x86.avx512.vpermi2var.qi.512", &[], &[a, indices, b]);
        e.vector(value, Kind::I8, 64)
    };
    let upper = e.compare(Compare::Less, indices, e.zero(Kind::I8, indices.lanes), true);
    e.select(upper, half(128), half(0))
}

/// At most a register of indices by `pshufb`.
fn shuffled<'ctx>(e: &Emitter<'_, 'ctx>, table: Ptr<'ctx>, indices: Vector<'ctx>) -> Vector<'ctx> {
    let lanes = indices.lanes;
    let within = e.and(indices, e.splat_int(ROW as i64 - 1, Kind::I8, lanes));
    if e.target().vector_bits == 256 {
        return written(e, table, indices, within);
    }
    // Each of the upper bits, as the sign.
    let bits = [3, 2, 1, 0].map(|by| match by {
        0 => indices,
        _ => e.shift_left(indices, e.splat_int(by, Kind::I8, lanes)),
    });
    row(e, table, within, &bits)
}

/// What [`row`] does, for AVX2: row by row, so that few registers are in use at a time.
fn written<'ctx>(e: &Emitter<'_, 'ctx>, table: Ptr<'ctx>, indices: Vector<'ctx>, within: Vector<'ctx>) -> Vector<'ctx> {
    let register = e.vector_type(Kind::I8, indices.lanes);
    let scratch = e.context.struct_type(&[register.into(); SCRATCH], false);
    let pointer = table.0.get_type();
    let signature = scratch.fn_type(&[register.into(), register.into(), pointer.into()], false);
    // Nothing is written while an input may still be read.
    let constraints = format!("{}x,x,r", "=&x,".repeat(SCRATCH));
    let code = e.context.create_inline_asm(signature, tree(indices.lanes), constraints, false, false, None, false);
    let arguments = [indices.value.into(), within.value.into(), table.0.into()];
    let call = built(e.builder.build_indirect_call(signature, code, &arguments, ""));
    let all = call.try_as_basic_value().unwrap_basic().into_struct_value();
    e.vector(built(e.builder.build_extract_value(all, 0, "")), Kind::I8, indices.lanes)
}

/// The entries `within` a row of a table, where the signs of `bits`, the highest last, make up the row's number.
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

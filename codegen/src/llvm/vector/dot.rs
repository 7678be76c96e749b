//! Sums of products of bytes.

use super::{Emitter, Kind, Vector};
use crate::llvm::built;
use crate::target::Dot;

impl<'ctx> Emitter<'_, 'ctx> {
    /// Adds to each I32 lane of `sum` the four products of the bytes of `x` without sign and of `w` with sign that lie
    /// in that lane. Lanes are those of one register. For [`Dot::Maddubs`] the pairs of `w` must be within 128.
    pub(crate) fn dot_accumulate(&self, sum: Vector<'ctx>, x: Vector<'ctx>, w: Vector<'ctx>) -> Vector<'ctx> {
        debug_assert_eq!((sum.kind, x.kind, w.kind), (Kind::I32, Kind::I8, Kind::I8));
        debug_assert_eq!((sum.lanes, 4 * sum.lanes), (self.lanes(), w.lanes));
        match (self.target.dot, self.isa.dot) {
            // Weights that only `vpdpbusd` takes.
            (Dot::Vpdpbusd, Dot::Maddubs) => {
                let (x, w) = (self.widen(x, Kind::I16, false), self.widen(w, Kind::I16, true));
                self.add(sum, self.sum_of_pairs(self.multiply_pairs(x, w)))
            }
            (_, Dot::Vpdpbusd) => {
                let (x, w) = (self.bits_as(x, Kind::I32), self.bits_as(w, Kind::I32));
                let name = format!("llvm.x86.avx512.vpdpbusd.{}", self.isa.vector_bits);
                self.vector(self.intrinsic(&name, &[], &[sum, x, w]), Kind::I32, sum.lanes)
            }
            (Dot::Maddubs, Dot::Maddubs) => {
                let ones = self.splat_int(1, Kind::I16, 2 * sum.lanes);
                self.add(sum, self.multiply_pairs(self.multiply_byte_pairs(x, w), ones))
            }
        }
    }

    /// Adds to each F32 lane of `sum` the two products of the bf16 numbers, as they lie in I16 lanes, of `x` and `w` that
    /// lie in that lane (`vdpbf16ps`). Lanes are those of one register; only for targets that have it.
    pub(crate) fn dot_bf16(&self, sum: Vector<'ctx>, x: Vector<'ctx>, w: Vector<'ctx>) -> Vector<'ctx> {
        debug_assert_eq!((sum.kind, x.kind, w.kind), (Kind::F32, Kind::I16, Kind::I16));
        debug_assert!(self.isa.bf16 && sum.lanes == self.lanes() && x.lanes == 2 * sum.lanes);
        let numbers = |v: Vector<'ctx>| {
            let bf16 = self.context.bf16_type().vec_type(v.lanes as u32);
            built(self.builder.build_bit_cast(v.value, bf16, "")).into()
        };
        let function = self.declared(&format!("llvm.x86.avx512bf16.dpbf16ps.{}", self.isa.vector_bits), &[]);
        let args = [sum.value.into(), numbers(x), numbers(w)];
        let value = built(self.builder.build_call(function, &args, "")).try_as_basic_value().unwrap_basic();
        self.vector(value, Kind::F32, sum.lanes)
    }

    /// `pmaddubsw`: sums of two adjacent products of bytes, `x` without sign, saturating at 16 bits.
    fn multiply_byte_pairs(&self, x: Vector<'ctx>, w: Vector<'ctx>) -> Vector<'ctx> {
        let names = ["llvm.x86.ssse3.pmadd.ub.sw.128", "llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx512.pmaddubs.w.512"];
        self.halve(x, w, Kind::I16, names)
    }

    /// `pmaddwd`: I32 sums of two adjacent products of I16 numbers; whole registers.
    pub(crate) fn multiply_pairs(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        debug_assert_eq!((a.kind, b.kind), (Kind::I16, Kind::I16));
        let names = ["llvm.x86.sse2.pmadd.wd", "llvm.x86.avx2.pmadd.wd", "llvm.x86.avx512.pmaddw.d.512"];
        self.halve(a, b, Kind::I32, names)
    }

    /// The same of any number of lanes.
    pub(crate) fn sum_products(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        let register = self.isa.vector_bits / 16;
        if a.lanes.is_multiple_of(register) {
            return self.multiply_pairs(a, b);
        }
        // Fewer lanes in a whole register.
        let whole = |v: Vector<'ctx>| self.insert(self.zero(v.kind, v.lanes.next_multiple_of(register)), v, 0);
        self.slice(self.multiply_pairs(whole(a), whole(b)), 0, a.lanes / 2)
    }

    /// An operation on registers that makes one lane of two, by its instruction of 128, 256 or 512 bits.
    fn halve(&self, a: Vector<'ctx>, b: Vector<'ctx>, kind: Kind, names: [&str; 3]) -> Vector<'ctx> {
        let name = names[self.isa.vector_bits.ilog2() as usize - 7];
        let register = self.isa.vector_bits / a.kind.bits();
        let pieces = self.split(a, register).into_iter().zip(self.split(b, register));
        let halved = pieces.map(|(a, b)| self.vector(self.intrinsic(name, &[], &[a, b]), kind, register / 2));
        self.concat(&halved.collect::<Vec<_>>())
    }

    fn sum_of_pairs(&self, v: Vector<'ctx>) -> Vector<'ctx> {
        let (even, odd) = self.even_and_odd(v);
        self.add(even, odd)
    }

    fn even_and_odd(&self, v: Vector<'ctx>) -> (Vector<'ctx>, Vector<'ctx>) {
        let every_second = |first| self.shuffle(v, v, &(first..v.lanes).step_by(2).collect::<Vec<_>>());
        (every_second(0), every_second(1))
    }
}

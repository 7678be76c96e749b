//! Sums of products of bytes and of bf16.

use super::{Emitter, Kind, Vector};
use crate::llvm::built;
#[cfg(doc)]
use crate::target::DotRule;

impl<'ctx> Emitter<'_, 'ctx> {
    /// Adds to each I32 lane of `sum` the four products of the bytes of `x` without sign and of `w` with sign that lie
    /// in that lane. Lanes are those of one register. The pairs of `w` must be within
    /// [`DotRule::pair_limit`].
    pub(crate) fn dot_accumulate(&self, sum: Vector<'ctx>, x: Vector<'ctx>, w: Vector<'ctx>) -> Vector<'ctx> {
        self.dot_accumulate_joined(sum, &[[x, w]])
    }

    /// The same of several `[x, w]`, whose products are added before they are as wide as the sum: all
    /// weights of one sign in a half of a lane must be within [`DotRule::pair_limit`] together.
    pub(crate) fn dot_accumulate_joined(&self, sum: Vector<'ctx>, products: &[[Vector<'ctx>; 2]]) -> Vector<'ctx> {
        let each = |add: &dyn Fn(Vector<'ctx>, [Vector<'ctx>; 2]) -> Vector<'ctx>| {
            products.iter().fold(sum, |sum, [x, w]| {
                debug_assert_eq!((sum.kind, x.kind, w.kind), (Kind::I32, Kind::I8, Kind::I8));
                debug_assert_eq!((sum.lanes, 4 * sum.lanes), (self.lanes(), w.lanes));
                add(sum, [*x, *w])
            })
        };
        match (self.target.dot.pair_limit, self.isa.dot.pair_limit) {
            // Weights that only `vpdpbusd` takes.
            (None, Some(_)) => each(&|sum, [x, w]| {
                let (x, w) = (self.widen(x, Kind::I16, false), self.widen(w, Kind::I16, true));
                self.add(sum, self.sum_of_pairs(self.multiply_pairs(x, w)))
            }),
            (_, None) => each(&|sum, [x, w]| {
                let (x, w) = (self.bits_as(x, Kind::I32), self.bits_as(w, Kind::I32));
                let name = format!("llvm.x86.avx512.vpdpbusd.{}", self.isa.vector_bits);
                self.vector(self.intrinsic(&name, &[], &[sum, x, w]), Kind::I32, sum.lanes)
            }),
            (Some(_), Some(_)) => {
                let pairs = products.iter().map(|[x, w]| self.multiply_byte_pairs(*x, *w));
                let pairs = pairs.reduce(|a, b| self.add(a, b)).expect("at least one product");
                self.add(sum, self.multiply_pairs(pairs, self.splat_int(1, Kind::I16, 2 * sum.lanes)))
            }
        }
    }

    /// Adds to each F32 lane of `sum` the two products of the bf16 numbers in that lane of `x` and of `w`, given as lanes
    /// of I32: the upper one first, each sum rounded.
    ///
    /// Products of bf16 are exact in f32, so a fused multiply-add does the same as two operations. `vdpbf16ps` takes
    /// numbers below 2^-126 for zero, and the order of the two sums is the CPU's own.
    pub(crate) fn dot_accumulate_bf16(&self, sum: Vector<'ctx>, x: Vector<'ctx>, w: Vector<'ctx>) -> Vector<'ctx> {
        debug_assert_eq!((sum.kind, x.kind, w.kind), (Kind::F32, Kind::I32, Kind::I32));
        if self.isa.bf16 {
            let pairs = self.context.bf16_type().vec_type(2 * sum.lanes as u32);
            let [x, w] = [x, w].map(|v| built(self.builder.build_bit_cast(v.value, pairs, "")));
            let function = self.declared("llvm.x86.avx512bf16.dpbf16ps.512", &[]);
            let call = built(self.builder.build_call(function, &[sum.value.into(), x.into(), w.into()], ""));
            return self.vector(call.try_as_basic_value().unwrap_basic(), Kind::F32, sum.lanes);
        }
        let int = |number| self.splat_int(number, Kind::I32, sum.lanes);
        let upper = |v| self.bits_as(self.and(v, int(-0x1_0000)), Kind::F32);
        let lower = |v| self.bits_as(self.shift_left(v, int(16)), Kind::F32);
        let sum = self.accumulate(upper(x), upper(w), sum);
        self.accumulate(lower(x), lower(w), sum)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llvm::jit::Jit;
    use crate::target::TARGETS;

    #[test]
    fn a_dot_product_is_exact_on_every_target() {
        for target in TARGETS {
            let bytes = target.vector_bits / 8;
            let x: Vec<u8> = (0..bytes).map(|i| (i * 37 % 256) as u8).collect();
            let w: Vec<i8> = (0..bytes).map(|i| ((i * 29 % 129) as i32 - 64) as i8).collect();
            let expected: Vec<i32> = (0..bytes / 4)
                .map(|lane| 7 + (4 * lane..4 * lane + 4).map(|i| i32::from(x[i]) * i32::from(w[i])).sum::<i32>())
                .collect();
            for portable in [false, true] {
                let jit = Jit::default();
                let compiled = jit.compile_with(target, portable, false, |e| {
                    let p = e.function("dot", 3, 0);
                    let (x, w) = (e.load(p[0], Kind::I8, bytes), e.load(p[1], Kind::I8, bytes));
                    let sum = e.splat_int(7, Kind::I32, e.lanes());
                    e.store(p[2], e.dot_accumulate(sum, x, w));
                    e.end();
                    Ok(())
                });
                let compiled = compiled.expect("compiles");
                if portable || target.runs_here() {
                    let mut y = vec![0i32; bytes / 4];
                    let pointers = [x.as_ptr() as *mut u8, w.as_ptr() as *mut u8, y.as_mut_ptr().cast()];
                    // SAFETY: the function reads and writes one register of each.
                    unsafe { compiled.run_named("dot", &pointers) };
                    assert_eq!(y, expected, "{} portable={portable}", target.name);
                }
            }
        }
    }

    #[test]
    fn each_target_sums_products_by_its_own_instructions() {
        for target in TARGETS {
            let jit = Jit::default();
            let compiled = jit.compile_with(target, false, true, |e| {
                let p = e.function("dot", 3, 0);
                let bytes = 4 * e.lanes();
                let (x, w) = (e.load(p[0], Kind::I8, bytes), e.load(p[1], Kind::I8, bytes));
                e.store(p[2], e.dot_accumulate(e.load(p[2], Kind::I32, e.lanes()), x, w));
                e.end();
                Ok(())
            });
            let assembly = compiled.expect("compiles").assembly;
            let register = ["%xmm", "%ymm", "%zmm"][target.vector_bits.ilog2() as usize - 7];
            let instruction = match (target.vector_bits, target.dot.pair_limit) {
                (128, _) => "\tpmaddubsw",
                (_, Some(_)) => "vpmaddubsw",
                // Without the prefix that only 512 bits have.
                (256, None) => "{vex}\tvpdpbusd",
                (_, None) => "vpdpbusd",
            };
            let found = assembly.lines().any(|line| line.contains(instruction) && line.contains(register));
            assert!(found, "{}:\n{assembly}", target.name);
        }
    }

    #[test]
    fn bf16_products_are_one_instruction_where_there_is_one() {
        for target in TARGETS {
            for portable in [false, true] {
                let jit = Jit::default();
                let compiled = jit.compile_with(target, portable, true, |e| {
                    let p = e.function("dot", 3, 0);
                    let [x, w] = [p[0], p[1]].map(|pointer| e.load(pointer, Kind::I32, e.lanes()));
                    e.store(p[2], e.dot_accumulate_bf16(e.load(p[2], Kind::F32, e.lanes()), x, w));
                    e.end();
                    Ok(())
                });
                let compiled = compiled.expect("compiles");
                let found = compiled.assembly.lines().any(|line| line.contains("vdpbf16ps") && line.contains("%zmm"));
                assert_eq!(found, target.bf16 && !portable, "{}:\n{}", target.name, compiled.assembly);
                if !portable && !target.runs_here() {
                    continue;
                }
                // 1 + 2 * 5 + 3 * -7
                let pairs = |low: f32, high: f32| [low, high].map(half::bf16::from_f32).repeat(target.lanes());
                let (x, w) = (pairs(2.0, 3.0), pairs(5.0, -7.0));
                let mut sums = vec![1.0_f32; target.lanes()];
                let pointers = [x.as_ptr() as *mut u8, w.as_ptr() as *mut u8, sums.as_mut_ptr().cast()];
                // SAFETY: the function reads one register of each, and writes the last.
                unsafe { compiled.run_named("dot", &pointers) };
                assert_eq!(sums, vec![-10.0; target.lanes()], "{} portable={portable}", target.name);
            }
        }
    }
}

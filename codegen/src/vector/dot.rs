//! Sums of products of bytes, words and bf16.

use super::{Emitter, Kind, Vector};
#[cfg(doc)]
use crate::target::DotRule;

impl<'ctx> Emitter<'_, 'ctx> {
    /// Adds to each I32 lane of `sum` the four products of the bytes of `x` and `w` in that lane. All vectors are one
    /// register wide. The bytes of `w` are signed. The target's [`DotRule`] says whether those of `x` are signed, and
    /// limits `w`.
    pub(crate) fn dot_accumulate(&self, sum: Vector<'ctx>, x: Vector<'ctx>, w: Vector<'ctx>) -> Vector<'ctx> {
        self.dot_accumulate_joined(sum, &[[x, w]])
    }

    /// Adds several products `[x, w]`. The products of different pairs may be added in 16 bits: in each half of a lane,
    /// the weights of one sign of all pairs together must not exceed [`DotRule::pair_limit`].
    pub(crate) fn dot_accumulate_joined(&self, sum: Vector<'ctx>, products: &[[Vector<'ctx>; 2]]) -> Vector<'ctx> {
        for [x, w] in products {
            debug_assert_eq!((sum.kind, x.kind, w.kind), (Kind::I32, Kind::I8, Kind::I8));
            debug_assert_eq!((sum.lanes, 4 * sum.lanes), (self.lanes(), w.lanes));
        }
        self.isa().dot(self, sum, products)
    }

    /// Adds to each F32 lane of `sum` the two products of the bf16 numbers in that lane of `x` and `w`, which are given
    /// as I32 lanes. The upper product is added first; each sum is rounded. If the target has an instruction for this,
    /// its order applies.
    ///
    /// Products of bf16 are exact in f32, so a fused multiply-add equals two operations.
    pub(crate) fn dot_accumulate_bf16(&self, sum: Vector<'ctx>, x: Vector<'ctx>, w: Vector<'ctx>) -> Vector<'ctx> {
        debug_assert_eq!((sum.kind, x.kind, w.kind), (Kind::F32, Kind::I32, Kind::I32));
        self.isa().dot_bf16(self, sum, x, w)
    }

    /// The sums of two adjacent products of signed I16 numbers, as I32.
    pub(crate) fn multiply_pairs(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        debug_assert_eq!((a.kind, b.kind), (Kind::I16, Kind::I16));
        self.isa().multiply_pairs(self, a, b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llvm::jit::Jit;
    use crate::llvm::trial;

    #[test]
    fn a_dot_product_is_exact_on_every_target() {
        for target in trial::targets_by(|target| (target.vector_bits, target.dot)) {
            let bytes = target.vector_bits / 8;
            let x: Vec<u8> = (0..bytes).map(|i| (i * 37 % 256) as u8).collect();
            let w: Vec<i8> = (0..bytes).map(|i| ((i * 29 % 129) as i32 - 64) as i8).collect();
            let input = |x: u8| if target.dot.signed_inputs { i32::from(x as i8) } else { i32::from(x) };
            let expected: Vec<i32> = (0..bytes / 4)
                .map(|lane| 7 + (4 * lane..4 * lane + 4).map(|i| input(x[i]) * i32::from(w[i])).sum::<i32>())
                .collect();
            let jit = Jit::default();
            let compiled = jit.compile_with(target, false, |e| {
                let p = e.function("dot", 3, 0);
                let (x, w) = (e.load(p[0], Kind::I8, bytes), e.load(p[1], Kind::I8, bytes));
                let sum = e.splat_int(7, Kind::I32, e.lanes());
                e.store(p[2], e.dot_accumulate(sum, x, w));
                e.end();
                Ok(())
            });
            let mut y = vec![0i32; bytes / 4];
            let pointers = [x.as_ptr() as *mut u8, w.as_ptr() as *mut u8, y.as_mut_ptr().cast()];
            // SAFETY: each pointer points to one register, which the function reads or writes.
            unsafe { compiled.expect("compiles").run_named("dot", &pointers) };
            assert_eq!(y, expected, "{}", target.name);
        }
    }

    #[test]
    fn products_of_bf16_are_summed_on_every_target() {
        for target in trial::targets_by(|target| (target.vector_bits, target.dot)) {
            let jit = Jit::default();
            let compiled = jit.compile_with(target, false, |e| {
                let p = e.function("dot", 3, 0);
                let [x, w] = [p[0], p[1]].map(|pointer| e.load(pointer, Kind::I32, e.lanes()));
                e.store(p[2], e.dot_accumulate_bf16(e.load(p[2], Kind::F32, e.lanes()), x, w));
                e.end();
                Ok(())
            });
            // 1 + 2 * 5 + 3 * -7
            let pairs = |low: f32, high: f32| [low, high].map(half::bf16::from_f32).repeat(target.lanes());
            let (x, w) = (pairs(2.0, 3.0), pairs(5.0, -7.0));
            let mut sums = vec![1.0_f32; target.lanes()];
            let pointers = [x.as_ptr() as *mut u8, w.as_ptr() as *mut u8, sums.as_mut_ptr().cast()];
            // SAFETY: each pointer points to one register; the function reads all and writes the last.
            unsafe { compiled.expect("compiles").run_named("dot", &pointers) };
            assert_eq!(sums, vec![-10.0; target.lanes()], "{}", target.name);
        }
    }
}

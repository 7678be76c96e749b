//! Sums of products of bytes, words and bf16.

use super::{Emitter, Kind, Vector};
#[cfg(doc)]
use crate::target::DotRule;

impl<'ctx> Emitter<'_, 'ctx> {
    /// Adds to each I32 lane of `sum` the four products of the bytes of `x` and `w` in that lane. All vectors are one
    /// register wide. The bytes of `w` are signed. Those of `x` are signed if `signed`; the target's [`DotRule`] must take
    /// them, and limits `w`.
    pub(crate) fn dot_accumulate(
        &self,
        sum: Vector<'ctx>,
        x: Vector<'ctx>,
        w: Vector<'ctx>,
        signed: bool,
    ) -> Vector<'ctx> {
        self.dot_accumulate_joined(sum, &[[x, w]], signed)
    }

    /// Adds several products `[x, w]`. The products of different pairs may be added in 16 bits: in each half of a lane,
    /// the weights of all pairs together must not exceed [`DotRule::pair_limit`].
    pub(crate) fn dot_accumulate_joined(
        &self,
        sum: Vector<'ctx>,
        products: &[[Vector<'ctx>; 2]],
        signed: bool,
    ) -> Vector<'ctx> {
        for [x, w] in products {
            debug_assert_eq!((sum.kind, x.kind, w.kind), (Kind::I32, Kind::I8, Kind::I8));
            debug_assert_eq!((sum.lanes, 4 * sum.lanes), (self.lanes(), w.lanes));
        }
        self.isa().dot(self, sum, products, signed)
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
    use eightfold_ir::DType;
    use half::bf16;

    use super::*;
    use crate::llvm::trial;

    #[test]
    fn a_dot_product_is_exact_on_every_target() {
        for target in trial::targets_by(|target| (target.vector_bits, target.dot)) {
            let width = target.vector_bits / 8;
            for signed in [DType::U8, DType::I8].map(|input| target.dot.multiplies_signed(input)) {
                let x: Vec<u8> = (0..width).map(|i| (i * 37 % 256) as u8).collect();
                let w: Vec<i8> = (0..width).map(|i| ((i * 29 % 129) as i32 - 64) as i8).collect();
                let input = |x: u8| if signed { i32::from(x as i8) } else { i32::from(x) };
                let products = |lane: usize| (4 * lane..4 * lane + 4).map(|i| input(x[i]) * i32::from(w[i]));
                let expected: Vec<i32> = (0..width / 4).map(|lane| 7 + products(lane).sum::<i32>()).collect();
                let w = trial::bytes(&w, i8::to_le_bytes);
                let left = trial::run(target, &[&x, &w, &vec![0; width]], |e, p| {
                    let (x, w) = (e.load(p[0], Kind::I8, width), e.load(p[1], Kind::I8, width));
                    let sum = e.splat_int(7, Kind::I32, e.lanes());
                    e.store(p[2], e.dot_accumulate(sum, x, w, signed));
                });
                assert_eq!(left[2], trial::bytes(&expected, i32::to_le_bytes), "{} {signed}", target.name);
            }
        }
    }

    #[test]
    fn products_of_bf16_are_summed_on_every_target() {
        for target in trial::targets_by(|target| (target.vector_bits, target.dot)) {
            // 1 + 2 * 5 + 3 * -7
            let pairs = |low: f32, high: f32| [low, high].map(bf16::from_f32).repeat(target.lanes());
            let [x, w] = [pairs(2.0, 3.0), pairs(5.0, -7.0)].map(|pairs| trial::bytes(&pairs, bf16::to_le_bytes));
            let sums = trial::bytes(&vec![1.0; target.lanes()], f32::to_le_bytes);
            let left = trial::run(target, &[&x, &w, &sums], |e, p| {
                let [x, w] = [p[0], p[1]].map(|pointer| e.load(pointer, Kind::I32, e.lanes()));
                e.store(p[2], e.dot_accumulate_bf16(e.load(p[2], Kind::F32, e.lanes()), x, w));
            });
            assert_eq!(trial::floats(&left[2]), vec![-10.0; target.lanes()], "{}", target.name);
        }
    }
}

//! Loops and branches.

use std::num::NonZeroU32;

use inkwell::IntPredicate;
use inkwell::values::{BasicValueEnum, IntValue};

use super::{Emitter, Int, Kind, Ptr, Vector};
use crate::vector::built;

/// A truth value for branches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Condition<'ctx>(pub(super) IntValue<'ctx>);

/// The values that a loop carries from one turn to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct State<'ctx> {
    pub(crate) pointers: Vec<Ptr<'ctx>>,
    pub(crate) ints: Vec<Int<'ctx>>,
    pub(crate) vectors: Vec<Vector<'ctx>>,
}

impl<'ctx> State<'ctx> {
    fn values(&self) -> Vec<BasicValueEnum<'ctx>> {
        let pointers = self.pointers.iter().map(|p| p.0.into());
        pointers
            .chain(self.ints.iter().map(|i| i.0.into()))
            .chain(self.vectors.iter().map(|v| v.value.into()))
            .collect()
    }

    /// A state of the same structure with these values.
    fn with(&self, values: &[BasicValueEnum<'ctx>]) -> State<'ctx> {
        let (pointers, rest) = values.split_at(self.pointers.len());
        let (ints, vectors) = rest.split_at(self.ints.len());
        State {
            pointers: pointers.iter().map(|p| Ptr(p.into_pointer_value())).collect(),
            ints: ints.iter().map(|i| Int(i.into_int_value())).collect(),
            vectors: self
                .vectors
                .iter()
                .zip(vectors)
                .map(|(v, new)| Vector { value: new.into_vector_value(), ..*v })
                .collect(),
        }
    }
}

impl<'ctx> Emitter<'_, 'ctx> {
    /// Runs `body` for 0, 1, … `count - 1`.
    pub(crate) fn repeat(&self, count: Int<'ctx>, body: impl FnOnce(Int<'ctx>)) {
        self.carry(count, State::default(), |i, _| body(i));
    }

    /// Runs `body` for 0, 1, … `count - 1`; each turn starts with the state that the previous turn left.
    pub(crate) fn carry(
        &self,
        count: Int<'ctx>,
        mut state: State<'ctx>,
        body: impl FnOnce(Int<'ctx>, &mut State<'ctx>),
    ) -> State<'ctx> {
        match count.0.get_zero_extended_constant() {
            Some(0) => return state,
            Some(1) => {
                body(self.int(0), &mut state);
                return state;
            }
            _ => {}
        }
        let function = self.current();
        let before = self.block();
        let turn = self.context.append_basic_block(function, "turn");
        let after = self.context.append_basic_block(function, "after");
        // A constant count is at least two here; other counts may be zero.
        let guarded = !count.0.is_const();
        if guarded {
            let zero = self.int(0).0;
            let any = built(self.builder.build_int_compare(IntPredicate::SGT, count.0, zero, ""));
            built(self.builder.build_conditional_branch(any, turn, after));
        } else {
            built(self.builder.build_unconditional_branch(turn));
        }

        self.builder.position_at_end(turn);
        let index = built(self.builder.build_phi(self.context.i64_type(), "i"));
        let first = state.values();
        let phis: Vec<_> = first.iter().map(|v| built(self.builder.build_phi(v.get_type(), ""))).collect();
        let inside: Vec<_> = phis.iter().map(|phi| phi.as_basic_value()).collect();
        let i = Int(index.as_basic_value().into_int_value());
        let mut inside = state.with(&inside);
        body(i, &mut inside);
        let last = inside.values();
        let next = self.plus(i, self.int(1));
        let more = built(self.builder.build_int_compare(IntPredicate::SLT, next.0, count.0, ""));
        let latch = self.block();
        built(self.builder.build_conditional_branch(more, turn, after));
        index.add_incoming(&[(&self.int(0).0, before), (&next.0, latch)]);
        for ((phi, first), last) in phis.iter().zip(&first).zip(&last) {
            phi.add_incoming(&[(first, before), (last, latch)]);
        }

        self.builder.position_at_end(after);
        if !guarded {
            return inside;
        }
        let left = first.iter().zip(&last).map(|(first, last)| {
            let phi = built(self.builder.build_phi(first.get_type(), ""));
            phi.add_incoming(&[(first, before), (last, latch)]);
            phi.as_basic_value()
        });
        let left: Vec<_> = left.collect();
        state.with(&left)
    }

    /// Runs `then` if any lane of `mask` holds, and returns its result; else returns `otherwise`.
    pub(crate) fn if_any<const N: usize>(
        &self,
        mask: Vector<'ctx>,
        otherwise: [Vector<'ctx>; N],
        then: impl FnOnce() -> [Vector<'ctx>; N],
    ) -> [Vector<'ctx>; N] {
        debug_assert_eq!(mask.kind, Kind::Mask);
        let function = self.current();
        let before = self.block();
        let inside = self.context.append_basic_block(function, "then");
        let after = self.context.append_basic_block(function, "after");
        let bits = u32::try_from(mask.lanes).ok().and_then(NonZeroU32::new);
        let word = bits.and_then(|bits| self.context.custom_width_int_type(bits).ok());
        let word = word.unwrap_or_else(|| unreachable!("vectors have some lanes, fewer than LLVM's integers bits"));
        let lanes = built(self.builder.build_bit_cast(mask.value, word, "")).into_int_value();
        let any = built(self.builder.build_int_compare(IntPredicate::NE, lanes, word.const_zero(), ""));
        built(self.builder.build_conditional_branch(any, inside, after));

        self.builder.position_at_end(inside);
        let computed = then();
        let end = self.block();
        built(self.builder.build_unconditional_branch(after));

        self.builder.position_at_end(after);
        std::array::from_fn(|i| {
            let phi = built(self.builder.build_phi(computed[i].value.get_type(), ""));
            phi.add_incoming(&[(&otherwise[i].value, before), (&computed[i].value, end)]);
            Vector { value: phi.as_basic_value().into_vector_value(), ..computed[i] }
        })
    }

    pub(super) fn block(&self) -> inkwell::basic_block::BasicBlock<'ctx> {
        self.builder.get_insert_block().unwrap_or_else(|| unreachable!("a function has been begun"))
    }
}

//! The verbs of [`Arithmetic`] on vectors of generated code.

use super::Arithmetic;
use crate::vector::{Compare, Emitter, Kind, Vector};

/// Emits the verbs into a function, on vectors of this many lanes.
pub(crate) struct Vectors<'e, 'm, 'ctx> {
    pub(crate) emitter: &'e Emitter<'m, 'ctx>,
    pub(crate) lanes: usize,
}

impl<'ctx> Arithmetic for Vectors<'_, '_, 'ctx> {
    type F = Vector<'ctx>;
    type I = Vector<'ctx>;
    type M = Vector<'ctx>;

    fn float(&self, x: f32) -> Vector<'ctx> {
        self.emitter.splat(x, self.lanes)
    }

    fn int(&self, x: i32) -> Vector<'ctx> {
        self.emitter.splat_int(x.into(), Kind::I32, self.lanes)
    }

    fn add(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        self.emitter.add(a, b)
    }

    fn sub(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        self.emitter.sub(a, b)
    }

    fn mul(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        self.emitter.mul(a, b)
    }

    fn div(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        self.emitter.div(a, b)
    }

    fn fma(&self, a: Vector<'ctx>, b: Vector<'ctx>, c: Vector<'ctx>) -> Vector<'ctx> {
        self.emitter.fma(a, b, c)
    }

    fn trunc(&self, a: Vector<'ctx>) -> Vector<'ctx> {
        self.emitter.trunc(a)
    }

    fn less(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        self.emitter.compare(Compare::Less, a, b, true)
    }

    fn equal(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        self.emitter.compare(Compare::Equal, a, b, true)
    }

    fn both(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        self.emitter.and(a, b)
    }

    fn select(&self, m: Vector<'ctx>, yes: Vector<'ctx>, no: Vector<'ctx>) -> Vector<'ctx> {
        self.emitter.select(m, yes, no)
    }

    fn select_int(&self, m: Vector<'ctx>, yes: Vector<'ctx>, no: Vector<'ctx>) -> Vector<'ctx> {
        self.emitter.select(m, yes, no)
    }

    fn bits(&self, a: Vector<'ctx>) -> Vector<'ctx> {
        self.emitter.bits_as(a, Kind::I32)
    }

    fn of_bits(&self, a: Vector<'ctx>) -> Vector<'ctx> {
        self.emitter.bits_as(a, Kind::F32)
    }

    fn of_int(&self, a: Vector<'ctx>) -> Vector<'ctx> {
        self.emitter.to_float(a, Kind::F32, true)
    }

    fn add_int(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        self.emitter.add(a, b)
    }

    fn sub_int(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        self.emitter.sub(a, b)
    }

    fn mul_int(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        self.emitter.mul(a, b)
    }

    fn mul_high(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        let e = self.emitter;
        let product = e.mul(e.widen(a, Kind::I64, false), e.widen(b, Kind::I64, false));
        e.narrow(e.shift_right(product, e.splat_int(32, Kind::I64, self.lanes), false), Kind::I32)
    }

    fn below(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        self.emitter.compare(Compare::Less, a, b, false)
    }

    fn and(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        self.emitter.and(a, b)
    }

    fn xor(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        self.emitter.xor(a, b)
    }

    fn shift_left(&self, a: Vector<'ctx>, by: u32) -> Vector<'ctx> {
        self.emitter.shift_left(a, self.int(by as i32))
    }

    fn shift_right(&self, a: Vector<'ctx>, by: u32) -> Vector<'ctx> {
        self.emitter.shift_right(a, self.int(by as i32), true)
    }

    fn entry(&self, table: &'static [u32], index: Vector<'ctx>) -> Vector<'ctx> {
        let bytes: Vec<u8> = table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        self.emitter.entries(self.emitter.bytes(&bytes), Kind::I32, index)
    }

    fn rarely(
        &self,
        m: Vector<'ctx>,
        usual: (Vector<'ctx>, Vector<'ctx>),
        rare: impl FnOnce() -> (Vector<'ctx>, Vector<'ctx>),
    ) -> (Vector<'ctx>, Vector<'ctx>) {
        let chosen = self.emitter.if_any(m, [usual.0, usual.1], || {
            let rare = rare();
            [self.emitter.select(m, rare.0, usual.0), self.emitter.select(m, rare.1, usual.1)]
        });
        (chosen[0], chosen[1])
    }
}

//! Constants, and moves of lanes.

use inkwell::types::VectorType;
use inkwell::values::{BasicValueEnum, VectorValue};

use super::{Emitter, Int, Kind, Vector};
use crate::vector::built;

impl<'ctx> Emitter<'_, 'ctx> {
    /// Zero in every lane.
    pub(crate) fn zero(&self, kind: Kind, lanes: usize) -> Vector<'ctx> {
        self.vector(self.vector_type(kind, lanes).const_zero(), kind, lanes)
    }

    /// The float `x` in every lane of F32.
    pub(crate) fn splat(&self, x: f32, lanes: usize) -> Vector<'ctx> {
        let one = self.context.f32_type().const_float(f64::from(x));
        self.vector(VectorType::const_vector(&vec![one; lanes]), Kind::F32, lanes)
    }

    /// The integer `x` in every lane.
    pub(crate) fn splat_int(&self, x: i64, kind: Kind, lanes: usize) -> Vector<'ctx> {
        self.constant(&vec![x; lanes], kind)
    }

    /// A vector of these integers.
    pub(crate) fn constant(&self, lanes: &[i64], kind: Kind) -> Vector<'ctx> {
        let BasicValueEnum::IntValue(_) = self.scalar_type(kind).const_zero() else {
            unreachable!("integers in lanes of {kind:?}")
        };
        let scalar = self.scalar_type(kind).into_int_type();
        let values: Vec<_> = lanes.iter().map(|&x| scalar.const_int(x as u64, true)).collect();
        self.vector(VectorType::const_vector(&values), kind, lanes.len())
    }

    /// Selects lanes from `a` and `b`, two vectors of one type. `picks` counts the lanes of `a`, then those of `b`.
    pub(crate) fn shuffle(&self, a: Vector<'ctx>, b: Vector<'ctx>, picks: &[usize]) -> Vector<'ctx> {
        debug_assert_eq!((a.kind, a.lanes), (b.kind, b.lanes));
        let picks: Vec<i64> = picks.iter().map(|&pick| pick as i64).collect();
        let mask = self.constant(&picks, Kind::I32).value;
        self.vector(built(self.builder.build_shuffle_vector(a.value, b.value, mask, "")), a.kind, picks.len())
    }

    /// Within each 128 bits, interleaves the lower or the upper half of the lanes of `a` and `b`: one instruction.
    pub(crate) fn interleave(&self, a: Vector<'ctx>, b: Vector<'ctx>, upper: bool) -> Vector<'ctx> {
        let block = 128 / a.kind.bits();
        let half = if upper { block / 2 } else { 0 };
        let pick = |lane: usize| lane / block * block + half + lane % block / 2 + lane % 2 * a.lanes;
        self.shuffle(a, b, &(0..a.lanes).map(pick).collect::<Vec<_>>())
    }

    /// `lanes` lanes, starting at `start`.
    pub(crate) fn slice(&self, v: Vector<'ctx>, start: usize, lanes: usize) -> Vector<'ctx> {
        if lanes == v.lanes {
            return v;
        }
        self.shuffle(v, v, &(start..start + lanes).collect::<Vec<_>>())
    }

    /// Cuts `v` into pieces of `lanes` lanes; the last one may be shorter.
    pub(crate) fn split(&self, v: Vector<'ctx>, lanes: usize) -> Vec<Vector<'ctx>> {
        let starts = (0..v.lanes).step_by(lanes);
        starts.map(|start| self.slice(v, start, lanes.min(v.lanes - start))).collect()
    }

    /// Concatenates vectors.
    pub(crate) fn concat(&self, parts: &[Vector<'ctx>]) -> Vector<'ctx> {
        match parts {
            [one] => *one,
            [a, b] if a.lanes == b.lanes => self.shuffle(*a, *b, &(0..2 * a.lanes).collect::<Vec<_>>()),
            _ if parts.len().is_power_of_two() && parts.iter().all(|p| p.lanes == parts[0].lanes) => {
                let pairs: Vec<_> = parts.chunks(2).map(|pair| self.concat(pair)).collect();
                self.concat(&pairs)
            }
            _ => {
                let lanes = parts.iter().map(|p| p.lanes).sum();
                let mut start = 0;
                parts.iter().fold(self.zero(parts[0].kind, lanes), |whole, part| {
                    start += part.lanes;
                    self.insert(whole, *part, start - part.lanes)
                })
            }
        }
    }

    /// Replaces the lanes of `whole` from `start` on by those of `part`.
    pub(crate) fn insert(&self, whole: Vector<'ctx>, part: Vector<'ctx>, start: usize) -> Vector<'ctx> {
        let widened: Vec<usize> = (0..whole.lanes).map(|lane| lane.min(part.lanes - 1)).collect();
        let part_lanes = start..start + part.lanes;
        let part = self.shuffle(part, part, &widened);
        let pick = |lane| if part_lanes.contains(&lane) { whole.lanes + lane - start } else { lane };
        self.shuffle(whole, part, &(0..whole.lanes).map(pick).collect::<Vec<_>>())
    }

    /// One lane, as a vector of one lane.
    pub(crate) fn lane(&self, v: Vector<'ctx>, lane: usize) -> Vector<'ctx> {
        self.slice(v, lane, 1)
    }

    /// One lane of a vector of I64, as an index.
    pub(crate) fn lane_as_int(&self, v: Vector<'ctx>, lane: usize) -> Int<'ctx> {
        debug_assert_eq!(v.kind, Kind::I64);
        let position = self.context.i32_type().const_int(lane as u64, false);
        Int(built(self.builder.build_extract_element(v.value, position, "")).into_int_value())
    }

    /// The index `x` in every lane of I64.
    pub(crate) fn splat_index(&self, x: Int<'ctx>, lanes: usize) -> Vector<'ctx> {
        let position = self.context.i32_type().const_zero();
        let blank: VectorValue = self.vector_type(Kind::I64, 1).get_poison();
        let one = built(self.builder.build_insert_element(blank, x.0, position, ""));
        let one = self.vector(one, Kind::I64, 1);
        self.shuffle(one, one, &vec![0; lanes])
    }
}

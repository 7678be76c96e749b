//! `pack`: puts weights and biases into the order in which kernels read them.
//!
//! The parts of one call, in bands or on threads, read parts of the same packed constants: each pair of plain constants
//! is packed once for each packed form. Constants that no call reads are removed, and equal ones are merged.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::{ScheduleContext, SchedulePass};
use crate::kernel::Call;
use crate::kernel::plain::{Constants, PackedMatrix};
use crate::program::{Program, for_each_call, for_each_view};
use crate::view::{Const, ConstId, Grid, Storage, View};

/// The pass.
pub struct PackConstants;

impl SchedulePass for PackConstants {
    fn name(&self) -> &'static str {
        "pack"
    }

    fn summary(&self) -> &'static str {
        "puts weights and biases into the order in which kernels read them"
    }

    fn run(&self, program: &mut Program, _cx: &ScheduleContext<'_>) {
        let mut packing = Packing { program, weights: BTreeMap::new(), sums: BTreeMap::new(), tied: Vec::new() };
        let mut body = std::mem::take(&mut packing.program.body);
        for_each_call(&mut body, &mut |call| packing.call(call));
        let Packing { tied, .. } = packing;
        program.body = body;
        for_each_call(&mut program.body, &mut |call| {
            if let Some(taken) = call.producer.def().take_rows(call, &tied, &program.consts) {
                *call = taken;
            }
        });
        keep_read(program);
    }
}

/// A program whose constants are being packed.
struct Packing<'p> {
    program: &'p mut Program,
    /// Packed weights by plain weights and packed form. The key is a text, as views cannot be ordered.
    weights: BTreeMap<String, (ConstId, Vec<Vec<isize>>)>,
    /// Initial values of accumulators by the weights, the bias and the zero point of the input.
    sums: BTreeMap<String, ConstId>,
    /// Packed weights from which a `gather` may take rows, as embeddings tied to a product do.
    tied: Vec<(ConstId, PackedMatrix)>,
}

impl Packing<'_> {
    /// Packs the constants of a call that has plain ones.
    fn call(&mut self, call: &mut Call) {
        let def = call.producer.def();
        let Some(plain) = def.plain() else { return };
        let (weights, bias) = (&call.operands[1], &call.operands[2]);
        let of_weights = format!("{} {} {weights}", call.producer.family(), def.packing());
        let of_sums = format!("{of_weights} {bias} {}", plain.zero_point);
        if !self.sums.contains_key(&of_sums) {
            let packed = def.pack(&Constants::of(call, &self.program.consts), self.program.target);
            if !self.weights.contains_key(&of_weights) {
                let id = self.add(format!("{} weights", call.origin), packed.weights);
                let matrix = call.producer.def().packed_matrix(call, &packed.extra);
                self.tied.extend(matrix.map(|matrix| (id, matrix)));
                self.weights.insert(of_weights.clone(), (id, packed.extra));
            }
            let id = self.add(format!("{} sums", call.origin), packed.sums);
            self.sums.insert(of_sums.clone(), id);
        }
        let types = def.packed_types();
        let (weights, extra) = &self.weights[&of_weights];
        for ((view, dtype), id) in call.operands[1..].iter_mut().zip(types).zip([*weights, self.sums[&of_sums]]) {
            let elements = self.program.consts[id.0].bytes.len() / dtype.byte_size();
            *view = View::new(Storage::Const(id), dtype, 0, Grid::dense(&[elements]));
        }
        call.producer.def_mut().take_packed(&mut call.operands, extra);
    }

    fn add(&mut self, name: String, bytes: Vec<u8>) -> ConstId {
        self.program.consts.push(Const { name, bytes: bytes.into() });
        ConstId(self.program.consts.len() - 1)
    }
}

/// Keeps the constants that calls read, each content once, in the order of their first reads.
fn keep_read(program: &mut Program) {
    let all = std::mem::take(&mut program.consts);
    let mut places: BTreeMap<ConstId, ConstId> = BTreeMap::new();
    let mut by_hash: BTreeMap<u64, Vec<ConstId>> = BTreeMap::new();
    let mut kept: Vec<Const> = Vec::new();
    let mut keep = |id: ConstId| {
        let constant = &all[id.0];
        let mut hasher = DefaultHasher::new();
        constant.bytes.hash(&mut hasher);
        let alike = by_hash.entry(hasher.finish()).or_default();
        if let Some(same) = alike.iter().find(|same| kept[same.0].bytes == constant.bytes) {
            return *same;
        }
        kept.push(constant.clone());
        alike.push(ConstId(kept.len() - 1));
        ConstId(kept.len() - 1)
    };
    for_each_view(&mut program.body, &mut |view| {
        if let Storage::Const(id) = &mut view.storage {
            *id = *places.entry(*id).or_insert_with_key(|id| keep(*id));
        }
    });
    program.consts = kept;
}

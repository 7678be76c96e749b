//! `words`: stores some quantized tensors as 16-bit words instead of bytes.
//!
//! If the target adds products in 16 bits, large weights need extra groups. With inputs stored as words they need none,
//! but such inputs take twice the memory. Words pay for a first layer: an image has few channels, so groups of bytes
//! are half empty, and the call that quantizes the image can write words as easily as bytes.
//!
//! Invariant: a word holds the same number as the byte. Only calls whose weights are still plain read words.

use std::collections::BTreeMap;

use eightfold_ir::DType;

use super::{ScheduleContext, SchedulePass};
use crate::kernel::Call;
use crate::kernel::plain::Constants;
use crate::program::{BufferKind, Program, for_each_call};
use crate::target::Target;
use crate::view::{BufferId, Const, Storage, View};

/// The pass.
pub struct StoreWords;

impl SchedulePass for StoreWords {
    fn name(&self) -> &'static str {
        "words"
    }

    fn summary(&self) -> &'static str {
        "stores quantized inputs as 16-bit words if the target multiplies those in fewer instructions"
    }

    fn run(&self, program: &mut Program, _cx: &ScheduleContext<'_>) {
        let mut gains: BTreeMap<BufferId, Gains> = BTreeMap::new();
        for call in program.calls() {
            note(call, &mut gains, &program.consts, program.target);
        }
        let is_bytes = |id: &BufferId| {
            let buffer = &program.buffers[id.0];
            matches!(buffer.kind, BufferKind::Arena { .. }) && matches!(buffer.dtype, DType::U8 | DType::I8)
        };
        let words: Vec<BufferId> =
            gains.into_iter().filter(|(id, gains)| gains.pay() && is_bytes(id)).map(|(id, _)| id).collect();
        for BufferId(id) in &words {
            let buffer = &mut program.buffers[*id];
            (buffer.dtype, buffer.byte_size) = (DType::I16, 2 * buffer.byte_size);
        }
        let is_word = |view: &View| matches!(view.storage, Storage::Buffer(id) if words.contains(&id));
        for_each_call(&mut program.body, &mut |call| {
            if call.operands.first().is_some_and(is_word) {
                call.producer.def_mut().read_words();
            }
            call.views_mut().filter(|view| is_word(view)).for_each(|view| view.dtype = DType::I16);
        });
    }
}

/// Whether the calls that touch a buffer would gain if it held words.
#[derive(Clone, Copy, Debug, Default)]
struct Gains {
    /// A call that quantizes floats writes it.
    is_quantized: bool,
    /// A call that gains reads it.
    is_read: bool,
    /// A call would be slower with words, or cannot read or write them.
    loses: bool,
}

impl Gains {
    fn pay(self) -> bool {
        self.is_quantized && self.is_read && !self.loses
    }
}

/// Records, for each buffer that a call touches, whether the call would gain if it held words.
fn note(call: &Call, gains: &mut BTreeMap<BufferId, Gains>, consts: &[Const], target: &Target) {
    if let Storage::Buffer(id) = call.output.storage {
        let quantizes = call.producer.def().writes_words(call);
        let fills = call.producer.def().filled().is_some();
        let gains = gains.entry(id).or_default();
        gains.is_quantized |= quantizes;
        gains.loses |= !quantizes && !fills;
    }
    for (index, view) in call.operands.iter().enumerate() {
        let Storage::Buffer(id) = view.storage else { continue };
        let gains = gains.entry(id).or_default();
        gains.is_read = true;
        // Each reader must gain; one that does not is enough to keep the bytes.
        gains.loses = gains.loses || index > 0 || !reader_gains(call, consts, target);
    }
}

/// Whether a call takes fewer instructions if its input is stored as words.
fn reader_gains(call: &Call, consts: &[Const], target: &Target) -> bool {
    let def = call.producer.def();
    def.plain().is_some() && def.gains_by_words(&Constants::of(call, consts), target)
}

//! `winograd`: computes 3 x 3 convolutions by Winograd's F(2x2, 3x3) if the cost model says that this is faster.
//!
//! For each channel and 2 x 2 results, the algorithm takes 16 products of 16-bit words instead of 36 products of bytes.
//! It is faster if the target multiplies words fast enough, and if the transforms of tiles cost little beside the
//! products. A convolution becomes two calls: one makes [tiles](crate::kernel::WinogradInput), the other
//! [multiplies](crate::kernel::Winograd) them and transforms the results back. The family says which convolutions
//! qualify.

use super::{ScheduleContext, SchedulePass};
use crate::choice::Prefer;
use crate::kernel::winograd::tiled;
use crate::program::{Buffer, BufferKind, Item, Program};
use crate::view::{BufferId, Storage};

/// The pass.
pub struct MultiplyTiles;

impl SchedulePass for MultiplyTiles {
    fn name(&self) -> &'static str {
        "winograd"
    }

    fn summary(&self) -> &'static str {
        "computes 3 x 3 convolutions of bytes by Winograd's algorithm if the cost model says that this is faster"
    }

    fn run(&self, program: &mut Program, cx: &ScheduleContext<'_>) {
        // The weights grow from 9 bytes to 16 words.
        if cx.choices.prefer() == Prefer::Size {
            return;
        }
        let cpu = cx.choices.cpu(program.target);
        for item in std::mem::take(&mut program.body) {
            match item {
                Item::Call(call) => {
                    let Program { buffers, consts, .. } = &mut *program;
                    let calls = tiled(call, consts, cpu, |name, dtype, byte_size| {
                        buffers.push(Buffer { name, kind: BufferKind::Arena { offset: 0 }, dtype, byte_size });
                        Storage::Buffer(BufferId(buffers.len() - 1))
                    });
                    program.body.extend(calls.into_iter().map(Item::Call));
                }
                region => program.body.push(region),
            }
        }
    }
}

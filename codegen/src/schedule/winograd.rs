//! `winograd`: 3 x 3 convolutions that are computed by Winograd's F(2x2, 3x3).
//!
//! Sixteen products of words instead of 36 of bytes. That pays on targets that multiply words at a third of the rate of bytes or
//! faster, if the work on tiles, sixteen numbers for each input and for each four results, is small beside the products.
//! A convolution becomes two calls: one makes [tiles](crate::kernel::WinogradInput), the other
//! [multiplies](crate::kernel::Winograd) them and finishes the results. The family says which convolutions.

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
        "multiplies 3 x 3 convolutions of bytes as Winograd's tiles if the cost model says that this is faster"
    }

    fn run(&self, program: &mut Program, cx: &ScheduleContext<'_>) {
        // Sixteen words for nine bytes.
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

//! Keys of decisions: everything that determines the time of calls, as text, without names and addresses.

use crate::kernel::Call;
use crate::kernel::attribute::join;
use crate::step::{Step, elementwise};
use crate::view::Storage;

/// The key of a call: its [own key](Call::key), then the operands of its steps: `reads=N` for N tensors, `table` for a
/// lookup table.
pub(crate) fn of_call(call: &Call) -> String {
    let mut key = call.key();
    let is_read = |index: &usize| matches!(call.operands[*index].storage, Storage::Buffer(_));
    match elementwise(&call.steps).iter().filter(|index| is_read(index)).count() {
        0 => {}
        reads => key += &format!(" reads={reads}"),
    }
    if call.steps.iter().any(|step| matches!(step, Step::Table { .. })) {
        key += " table";
    }
    key
}

/// The key of a chain: `chain CALL ; CALL of=0,1 kept ; …`. `of` lists the earlier calls whose results a call reads; it
/// is left out if the call reads only the result of the call before it. `kept` marks a result that calls outside the
/// chain also read.
pub(crate) fn of_chain(calls: &[&Call], is_kept: impl Fn(&Call) -> bool) -> String {
    let text = |at: usize| {
        let call = calls[at];
        let reads = |writer: &usize| call.operands.iter().any(|view| view.storage == calls[*writer].output.storage);
        let writers: Vec<usize> = (0..at).filter(reads).collect();
        let mut key = of_call(call);
        if !writers.iter().copied().eq(at.checked_sub(1)) {
            key += &format!(" of={}", join(&writers, ","));
        }
        if at + 1 < calls.len() && is_kept(call) {
            key += " kept";
        }
        key
    };
    format!("chain {}", (0..calls.len()).map(text).collect::<Vec<_>>().join(" ; "))
}

/// The key of a call on several threads: `split threads=2 CALL`.
pub(crate) fn of_split(call: &Call, threads: usize) -> String {
    format!("split threads={threads} {}", of_call(call))
}

#[cfg(test)]
mod tests {
    use eightfold_ir::DType;

    use super::*;
    use crate::kernel::{Depthwise, Fold, Pool, Producer};
    use crate::step::Arg;
    use crate::view::{BufferId, Grid, View};

    fn view(buffer: usize, dims: &[usize]) -> View {
        View::new(Storage::Buffer(BufferId(buffer)), DType::U8, 7, Grid::channels_last(dims))
    }

    fn call(producer: Producer, from: usize, to: usize) -> Call {
        let (operands, output) = (vec![view(from, &[1, 8, 9, 9])], view(to, &[1, 8, 4, 4]));
        Call { producer, operands, steps: vec![], output, origin: "layer".to_owned() }
    }

    #[test]
    fn keys_say_what_is_read_and_written() {
        let (kernel, strides, dilations, pads) = ([3, 2], [2, 2], [1, 1], [0, 1]);
        let pool = Producer::Pool(Pool { fold: Fold::Max, kernel, strides, dilations, pads, include_pad: None });
        let views = "u8[1x8x4x4:0,1,32,8] = u8[1x8x9x9:0,1,72,8]";
        let key = format!("pool fold=max kernel=3x2 strides=2x2 dilations=1x1 pads=0x1 {views}");
        assert_eq!(of_call(&call(pool.clone(), 0, 1)), key);
        assert_eq!(of_split(&call(pool.clone(), 2, 3), 4), format!("split threads=4 {key}"));
        let depthwise = Producer::Depthwise(Depthwise {
            input: DType::U8,
            strides: [2; 2],
            taps: vec![0, 8, 72, 80, 144, 152],
            columns: 2,
            channels: 8,
            plain: None,
        });
        let window = format!(
            "depthwise input=u8 strides=2x2 \
             taps=0,8,72,80,144,152 columns=2 channels=8 {views}"
        );
        assert_eq!(of_call(&call(depthwise.clone(), 0, 1)), window);

        // Each call reads the result of the one before it; then the last call also reads the result of the first.
        let mut calls = [call(pool, 0, 1), call(depthwise.clone(), 1, 2), call(depthwise, 2, 3)];
        let chain = |calls: &[Call], kept: bool| of_chain(&calls.iter().collect::<Vec<_>>(), |_| kept);
        assert_eq!(chain(&calls, false), format!("chain {key} ; {window} ; {window}"));
        assert_eq!(chain(&calls, true), format!("chain {key} kept ; {window} kept ; {window}"));
        calls[2].operands.push(view(1, &[1, 8, 4, 4]));
        calls[2].steps = vec![Step::Apply(eightfold_ir::Function::Add, vec![Arg::Current, Arg::Operand(1)])];
        assert_eq!(chain(&calls, false), format!("chain {key} ; {window} ; {window} reads=1 of=0,1"));
    }
}

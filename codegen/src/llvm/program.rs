//! Emits the functions of a program: one for each distinct call, and one that calls them in order.

use inkwell::module::{Linkage, Module};
use inkwell::values::{FunctionValue, IntValue};

use super::barrier::{Barriers, emit_waiting};
use super::calls::{Calls, Constants, attribute};
use super::run::{CallFields, run_type};
use crate::program::{Item, Program};
use crate::vector::{Emitter, built};

/// Emits `program` into `module`; returns its inner function, which `run::emit_run` wraps.
pub(crate) fn emit<'ctx>(
    module: &Module<'ctx>,
    program: &Program,
    constants: Constants<'ctx>,
    symbol: &str,
) -> FunctionValue<'ctx> {
    let emitter = Emitter::new(module, program.target);
    let context = module.get_context();
    let inner = module.add_function(symbol, run_type(module), Some(Linkage::Internal));
    emitter.attribute_target(inner);
    attribute(inner, "nounwind");
    let builder = context.create_builder();
    let entry = context.append_basic_block(inner, "entry");
    builder.position_at_end(entry);
    let fields = CallFields::of(module, inner);
    let number = context.i32_type();
    let calls = Calls::new(&emitter, program, symbol, constants);
    let status = calls.has_checks().then(|| {
        let word = built(builder.build_alloca(number, "status"));
        built(builder.build_store(word, number.const_zero()));
        word
    });
    // The status of this thread.
    let reported = || match status {
        Some(word) => built(builder.build_load(number, word, "")).into_int_value(),
        None => number.const_zero(),
    };
    let emit_items = |items: &[&Item]| calls.emit(&builder, &fields, status, items);
    let done = |status: IntValue<'ctx>| built(builder.build_return(Some(&status)));
    let thread = fields.thread(&builder);
    let mut cases = Vec::new();
    if program.workers() > 0 {
        let waiting = emit_waiting(module, program.target.instructions, &format!("{symbol}_wait"));
        let phases = phases(program);
        for number in 0..program.threads {
            let block = context.append_basic_block(inner, &format!("thread_{number}"));
            builder.position_at_end(block);
            let position = (number, program.threads);
            let barriers = Barriers::begin(module, &builder, fields.host(&builder), waiting, position);
            let publish = || {
                if status.is_some() {
                    barriers.publish(reported());
                }
            };
            emit_thread(&phases, number, &barriers, emit_items, publish);
            done(if number == 0 && status.is_some() { barriers.combined(reported()) } else { reported() });
            cases.push(block);
        }
    } else {
        // Other threads have nothing to do.
        let block = context.append_basic_block(inner, "thread_0");
        builder.position_at_end(block);
        phases(program).iter().for_each(|phase| phase.iter().for_each(|items| emit_items(items)));
        done(reported());
        cases.push(block);
    }
    let idle = context.append_basic_block(inner, "idle");
    builder.position_at_end(idle);
    done(number.const_zero());
    builder.position_at_end(entry);
    let cases: Vec<_> =
        cases.into_iter().enumerate().map(|(n, block)| (number.const_int(n as u64, false), block)).collect();
    built(builder.build_switch(thread, idle, &cases));
    inner
}

/// The items of each thread between two barriers.
type Phase<'p> = Vec<Vec<&'p Item>>;

/// The program's phases: each parallel region is a phase, and so are all items between two regions, on the first
/// thread.
fn phases(program: &Program) -> Vec<Phase<'_>> {
    let idle = || vec![Vec::new(); program.threads];
    let mut phases: Vec<Phase<'_>> = Vec::new();
    let mut is_open = false;
    for item in &program.body {
        if let Item::Parallel(parallel) = item {
            phases.push(parallel.threads.iter().map(|body| body.iter().collect()).collect());
            is_open = false;
            continue;
        }
        if !is_open {
            phases.push(idle());
            is_open = true;
        }
        if let Some(phase) = phases.last_mut() {
            phase[0].push(item);
        }
    }
    phases
}

/// Emits the code of one thread. A thread without work in a phase does not wait before that phase; its next wait
/// includes it. Each thread publishes its status before it arrives for the last time. At the end the first thread waits
/// for all others, as the run is over when it returns.
fn emit_thread(
    phases: &[Phase<'_>],
    thread: usize,
    barriers: &Barriers<'_, '_>,
    emit_items: impl Fn(&[&Item]),
    publish: impl Fn(),
) {
    let busy: Vec<usize> = (0..phases.len()).filter(|phase| !phases[*phase][thread].is_empty()).collect();
    let arrive = |done: usize| {
        if done == phases.len() {
            publish();
        }
        barriers.arrive(done);
    };
    let first = busy.first().copied().unwrap_or(phases.len());
    if first > 0 {
        arrive(first);
    }
    for (index, &phase) in busy.iter().enumerate() {
        if phase > 0 {
            barriers.wait(phase);
        }
        emit_items(&phases[phase][thread]);
        arrive(busy.get(index + 1).copied().unwrap_or(phases.len()));
    }
    if thread == 0 {
        barriers.wait(phases.len());
    }
}

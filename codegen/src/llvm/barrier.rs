//! Emits barriers: the code by which the threads of a program wait for each other.
//!
//! Each thread has a word in the host's memory, on a cache line of its own, and only this thread writes it. The word
//! counts the phases that the thread has finished, over all runs. To pass a barrier, a thread polls the words of all
//! others until they have reached its own count. After some polling it asks the host to put it to sleep. So a barrier
//! is one store, and one load for each other thread. Words are not reset between runs, as all threads end a run with
//! the same count.
//!
//! Counts may wrap: they are compared by their difference.

use inkwell::builder::Builder;
use inkwell::context::ContextRef;
use inkwell::module::{Linkage, Module};
use inkwell::types::StructType;
use inkwell::values::{BasicValue as _, FunctionValue, IntValue, PointerValue};
use inkwell::{AddressSpace, AtomicOrdering, IntPredicate};

use crate::target::InstructionSet;
use crate::vector::isa;
use crate::vector::{built, intrinsic};

/// How often a thread polls before it calls the host, which first yields the CPU and then sleeps. The polls take about
/// 50 microseconds: longer than the difference between balanced threads, and short enough to be fair to other
/// processes.
const SPINS: u64 = 2000;

/// The distance between the words of two threads, in 32-bit words.
const WORDS: u64 = 16;

/// The fields of `eightfold_host`, by position.
#[derive(Clone, Copy)]
enum HostField {
    Context = 2,
    Wait = 3,
    Wake = 4,
    Words = 5,
}

/// The barriers of one thread's code.
pub(crate) struct Barriers<'b, 'ctx> {
    context: ContextRef<'ctx>,
    builder: &'b Builder<'ctx>,
    layout: StructType<'ctx>,
    host: PointerValue<'ctx>,
    waiting: FunctionValue<'ctx>,
    thread: usize,
    threads: usize,
    words: PointerValue<'ctx>,
    /// The value of this thread's word when the run began.
    base: IntValue<'ctx>,
}

impl<'b, 'ctx> Barriers<'b, 'ctx> {
    /// Begins a run of one thread at the position of `builder`; `waiting` is the function of [`emit_waiting`].
    pub(crate) fn begin(
        module: &Module<'ctx>,
        builder: &'b Builder<'ctx>,
        host: PointerValue<'ctx>,
        waiting: FunctionValue<'ctx>,
        (thread, threads): (usize, usize),
    ) -> Self {
        let context = module.get_context();
        let layout = host_layout(context);
        let words = field(builder, layout, host, HostField::Words);
        let own = word(context, builder, words, thread);
        // No other thread writes this word.
        let base = built(builder.build_load(context.i32_type(), own, "base")).into_int_value();
        Barriers { context, builder, layout, host, waiting, thread, threads, words, base }
    }

    /// Publishes the status of this thread. The others read it after the thread has arrived.
    pub(crate) fn publish(&self, status: IntValue<'ctx>) {
        built(self.builder.build_store(status_word(self.context, self.builder, self.words, self.thread), status));
    }

    /// The status of all threads: `own` combined with the published status of the others.
    pub(crate) fn combined(&self, own: IntValue<'ctx>) -> IntValue<'ctx> {
        (0..self.threads).filter(|other| *other != self.thread).fold(own, |status, other| {
            let word = status_word(self.context, self.builder, self.words, other);
            let theirs = built(self.builder.build_load(self.context.i32_type(), word, "")).into_int_value();
            // Success is 0, and there is only one code for failure, so `or` combines them.
            built(self.builder.build_or(status, theirs, "status"))
        })
    }

    /// Announces that this thread has finished `phases` phases of the run.
    pub(crate) fn arrive(&self, phases: usize) {
        let Barriers { context, builder, host, layout, .. } = *self;
        let own = word(context, builder, self.words, self.thread);
        let store = built(builder.build_store(own, self.count(phases)));
        // The host then checks which threads sleep, so the store must be sequentially consistent.
        let ordered = store.set_atomic_ordering(AtomicOrdering::SequentiallyConsistent);
        debug_assert!(ordered.is_ok());
        let pointer = context.ptr_type(AddressSpace::default());
        let wake_type = context.void_type().fn_type(&[pointer.into(); 2], false);
        let wake = field(builder, layout, host, HostField::Wake);
        let argument = field(builder, layout, host, HostField::Context);
        built(builder.build_indirect_call(wake_type, wake, &[argument.into(), own.into()], ""));
    }

    /// Waits until all other threads have finished `phases` phases of the run.
    pub(crate) fn wait(&self, phases: usize) {
        for other in (0..self.threads).filter(|other| *other != self.thread) {
            let word = word(self.context, self.builder, self.words, other);
            let arguments = [self.host.into(), word.into(), self.count(phases).into()];
            built(self.builder.build_call(self.waiting, &arguments, ""));
        }
    }

    /// This thread's count after `phases` phases.
    fn count(&self, phases: usize) -> IntValue<'ctx> {
        let phases = self.context.i32_type().const_int(phases as u64, false);
        built(self.builder.build_int_add(self.base, phases, "count"))
    }
}

/// Adds the function that waits until a word has reached a count: `void (host, word, count)`.
pub(crate) fn emit_waiting<'ctx>(
    module: &Module<'ctx>,
    instructions: InstructionSet,
    name: &str,
) -> FunctionValue<'ctx> {
    let context = module.get_context();
    let (pointer, number) = (context.ptr_type(AddressSpace::default()), context.i32_type());
    let ty = context.void_type().fn_type(&[pointer.into(), pointer.into(), number.into()], false);
    let function = module.add_function(name, ty, Some(Linkage::Internal));
    let builder = context.create_builder();
    let block = |name| context.append_basic_block(function, name);
    let [entry, look, spin, sleep, done] = ["entry", "look", "spin", "sleep", "done"].map(block);
    let parameter = |index| function.get_nth_param(index).unwrap_or_else(|| unreachable!("three parameters"));
    let (host, word) = (parameter(0).into_pointer_value(), parameter(1).into_pointer_value());
    let count = parameter(2).into_int_value();

    builder.position_at_end(entry);
    let zero = number.const_zero();
    built(builder.build_unconditional_branch(look));

    builder.position_at_end(look);
    let spins = built(builder.build_phi(number, "spins"));
    let load = built(builder.build_load(number, word, "seen"));
    let ordered = load.as_instruction_value().map(|load| load.set_atomic_ordering(AtomicOrdering::Acquire));
    debug_assert!(matches!(ordered, Some(Ok(()))));
    let seen = load.into_int_value();
    let ahead = built(builder.build_int_sub(seen, count, "ahead"));
    let arrived = built(builder.build_int_compare(IntPredicate::SGE, ahead, zero, "arrived"));
    let tired = built(builder.build_int_compare(
        IntPredicate::UGE,
        spins.as_basic_value().into_int_value(),
        number.const_int(SPINS, false),
        "tired",
    ));
    let waiting = context.append_basic_block(function, "waiting");
    built(builder.build_conditional_branch(arrived, done, waiting));
    builder.position_at_end(waiting);
    built(builder.build_conditional_branch(tired, sleep, spin));

    builder.position_at_end(spin);
    if let Some((pause, arguments)) = isa::of(instructions).pause() {
        let arguments: Vec<_> = arguments.iter().map(|x| number.const_int((*x).into(), false).into()).collect();
        built(builder.build_call(intrinsic(module, pause, &[]), &arguments, ""));
    }
    let one = number.const_int(1, false);
    let next = built(builder.build_int_add(spins.as_basic_value().into_int_value(), one, ""));
    built(builder.build_unconditional_branch(look));

    builder.position_at_end(sleep);
    let layout = host_layout(context);
    let wait = field(&builder, layout, host, HostField::Wait);
    let argument = field(&builder, layout, host, HostField::Context);
    let wait_type = context.void_type().fn_type(&[pointer.into(), pointer.into(), number.into()], false);
    built(builder.build_indirect_call(wait_type, wait, &[argument.into(), word.into(), seen.into()], ""));
    built(builder.build_unconditional_branch(look));

    // A thread that has slept does not spin again.
    let still = spins.as_basic_value();
    spins.add_incoming(&[(&zero, entry), (&next, spin), (&still, sleep)]);

    builder.position_at_end(done);
    built(builder.build_return(None));
    function
}

fn host_layout(context: ContextRef<'_>) -> StructType<'_> {
    let (word, pointer) = (context.i32_type(), context.ptr_type(AddressSpace::default()));
    context
        .struct_type(&[word.into(), word.into(), pointer.into(), pointer.into(), pointer.into(), pointer.into()], false)
}

fn field<'ctx>(
    builder: &Builder<'ctx>,
    layout: StructType<'ctx>,
    host: PointerValue<'ctx>,
    field: HostField,
) -> PointerValue<'ctx> {
    let address = built(builder.build_struct_gep(layout, host, field as u32, ""));
    let pointer = layout.get_context().ptr_type(AddressSpace::default());
    built(builder.build_load(pointer, address, "")).into_pointer_value()
}

/// The address of the word in which a thread counts.
fn word<'ctx>(
    context: ContextRef<'ctx>,
    builder: &Builder<'ctx>,
    words: PointerValue<'ctx>,
    thread: usize,
) -> PointerValue<'ctx> {
    word_at(context, builder, words, WORDS * thread as u64)
}

/// The address of the word in which a thread publishes its status, on the same cache line.
fn status_word<'ctx>(
    context: ContextRef<'ctx>,
    builder: &Builder<'ctx>,
    words: PointerValue<'ctx>,
    thread: usize,
) -> PointerValue<'ctx> {
    word_at(context, builder, words, WORDS * thread as u64 + 1)
}

fn word_at<'ctx>(
    context: ContextRef<'ctx>,
    builder: &Builder<'ctx>,
    words: PointerValue<'ctx>,
    index: u64,
) -> PointerValue<'ctx> {
    let distance = context.i64_type().const_int(index, false);
    // SAFETY: the host has a line of words for each thread.
    built(unsafe { builder.build_gep(context.i32_type(), words, &[distance], "word") })
}

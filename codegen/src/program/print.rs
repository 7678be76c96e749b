//! The text form of a program: one line per buffer, constant and call; regions are blocks. [`parse`](super::parse())
//! reads it.
//!
//! The bytes of constants are not part of the text. Text after `;` is a comment, except for the names of buffers and
//! constants and the origins of calls, which belong to the program.

use std::fmt::{self, Display, Formatter};

use super::liveness::{Span, users};
use super::{Band, Buffer, BufferKind, Item, Program};
use crate::kernel::Call;
use crate::step::{Arg, Step};
use crate::view::{BufferId, ConstId, Grid, LoopId, Storage, View};

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (name, target) = (Name(&self.name), self.target.name);
        write!(f, "program @{name}  target={target} arena={} align={}", self.arena_size, Program::ARENA_ALIGN)?;
        match self.threads {
            1 => writeln!(f, " {{")?,
            threads => writeln!(f, " threads={threads} {{")?,
        }
        for (index, (buffer, live)) in self.buffers.iter().zip(users(self)).enumerate() {
            writeln!(f, "  {}", BufferLine { index, buffer, live })?;
        }
        for (index, constant) in self.consts.iter().enumerate() {
            writeln!(f, "  const @{index} {} B  ; {}", constant.bytes.len(), Name(&constant.name))?;
        }
        write_items(f, &self.body, 1, 0)?;
        self.bands.iter().try_for_each(|band| writeln!(f, "  ; {band}"))?;
        writeln!(f, "}}")
    }
}

/// Writes items whose first call has the number `first`; returns the number after the last call.
fn write_items(f: &mut Formatter<'_>, items: &[Item], depth: usize, first: usize) -> Result<usize, fmt::Error> {
    let indent = "  ".repeat(depth);
    items.iter().try_fold(first, |number, item| match item {
        Item::Call(call) => {
            writeln!(f, "{indent}{number}: {call}")?;
            Ok(number + 1)
        }
        Item::For(each) => {
            writeln!(f, "{indent}for {} in 0..{} {{", each.id, each.count)?;
            let number = write_items(f, &each.body, depth + 1, number)?;
            writeln!(f, "{indent}}}")?;
            Ok(number)
        }
        Item::If(branch) => {
            writeln!(f, "{indent}if {} {{", branch.condition)?;
            let number = write_items(f, &branch.then, depth + 1, number)?;
            writeln!(f, "{indent}}} else {{")?;
            let number = write_items(f, &branch.otherwise, depth + 1, number)?;
            writeln!(f, "{indent}}}")?;
            Ok(number)
        }
        Item::Parallel(parallel) => {
            writeln!(f, "{indent}parallel {{")?;
            let number = parallel.threads.iter().enumerate().try_fold(number, |number, (thread, body)| {
                writeln!(f, "{indent}  thread {thread} {{")?;
                let number = write_items(f, body, depth + 2, number)?;
                writeln!(f, "{indent}  }}")?;
                Ok(number)
            })?;
            writeln!(f, "{indent}}}")?;
            Ok(number)
        }
    })
}

/// A name on one line: characters that would break the line are escaped.
struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c.is_control() {
            true => write!(f, "{}", c.escape_unicode()),
            false => write!(f, "{c}"),
        })
    }
}

impl Display for Band {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Band { chain, height, count, is_used, is_measured, saved, spent } = self;
        let used = if *is_used { "in" } else { "not in" };
        let measured = if *is_measured { "as measured, " } else { "" };
        write!(f, "{measured}{used} {count} bands of {height} rows")?;
        write!(f, ", {:.1} us less, {:.1} us more: ", saved / 1e3, spent / 1e3)?;
        write!(f, "{}", chain.iter().map(|names| format!("[{names}]")).collect::<Vec<_>>().join(" "))
    }
}

struct BufferLine<'a> {
    index: usize,
    buffer: &'a Buffer,
    /// The numbers of the first and the last call that touch the buffer.
    live: Option<Span>,
}

impl Display for BufferLine<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Buffer { name, kind, dtype, byte_size } = self.buffer;
        let (index, name) = (self.index, Name(name));
        match kind {
            BufferKind::Input(_) => write!(f, "in  %{index} {dtype} {byte_size} B  ; {name}"),
            BufferKind::Output(_) => write!(f, "out %{index} {dtype} {byte_size} B  ; {name}"),
            BufferKind::Arena { offset } => {
                write!(f, "buf %{index} {dtype} {byte_size} B arena+{offset}")?;
                match self.live {
                    Some(Span { first, last }) => write!(f, " live {first}..{last}  ; {name}"),
                    None => write!(f, "  ; {name}"),
                }
            }
        }
    }
}

impl Display for LoopId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "i{}", self.0)
    }
}

impl Display for Storage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Storage::Buffer(BufferId(index)) => write!(f, "%{index}"),
            Storage::Const(ConstId(index)) => write!(f, "@{index}"),
        }
    }
}

impl Display for View {
    /// `u8 %3+64+i0*256[1x8x4x4 : 128,1,32,8]`: in turn `i0` of a loop, the view begins `64 + 256 i0` elements after
    /// the buffer's first. Row-major strides are left out.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.dtype, self.storage)?;
        if self.offset > 0 {
            write!(f, "+{}", self.offset)?;
        }
        self.loops.iter().try_for_each(|(id, step)| write!(f, "+{id}*{step}"))?;
        let list = |list: &[usize]| list.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        write!(f, "[{}", list(&self.grid.dims))?;
        if self.grid != Grid::dense(&self.grid.dims) {
            let strides: Vec<String> = self.grid.strides.iter().map(isize::to_string).collect();
            write!(f, " : {}", strides.join(","))?;
        }
        write!(f, "]")
    }
}

impl Display for Call {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.producer, self.output)?;
        for (i, operand) in self.operands.iter().enumerate() {
            write!(f, "{}{operand}", if i == 0 { " <- " } else { ", " })?;
        }
        for step in &self.steps {
            write!(f, " |> {step}")?;
        }
        if self.origin.is_empty() { Ok(()) } else { write!(f, "  ; {}", Name(&self.origin)) }
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Step::Apply(function, args) => {
                let args: Vec<String> = args.iter().map(Arg::to_string).collect();
                write!(f, "{}({})", function.name(), args.join(", "))
            }
            Step::Cast(dtype) => write!(f, "cast {dtype}"),
            Step::Dequantize { scale, zero_point } => write!(f, "dequantize {{{scale:?}, {zero_point}}}"),
            Step::Quantize { dtype, scale, zero_point, min, max } => {
                write!(f, "quantize {dtype} {{{scale:?}, {zero_point}, {min}..{max}}}")
            }
            Step::Table { operand, dtype } => write!(f, "table {dtype} ${operand}"),
        }
    }
}

impl Display for Arg {
    /// Operands print as `$` and their position in the call.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Arg::Current => write!(f, "_"),
            Arg::Operand(index) => write!(f, "${index}"),
            Arg::Dequantized { operand, scale, zero_point } => write!(f, "${operand}{{{scale:?},{zero_point}}}"),
            Arg::Float(x) => write!(f, "{x:?}"),
            Arg::Int(x) => write!(f, "{x}"),
        }
    }
}

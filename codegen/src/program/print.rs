//! The text form of a program: one line a buffer, a constant, a call; of several threads, also who runs it, and barriers.

use std::fmt::{self, Display, Formatter};

use super::{Arg, Band, Buffer, BufferId, BufferKind, Call, ConstId, Grid, Program, Step, Storage, View};

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (name, target) = (&self.name, self.target.name);
        write!(f, "program @{name}  target={target} arena={} align={}", self.arena_size, Program::ARENA_ALIGN)?;
        match self.threads() {
            1 => writeln!(f, " {{")?,
            threads => writeln!(f, " threads={threads} {{")?,
        }
        for (index, buffer) in self.buffers.iter().enumerate() {
            writeln!(f, "  {}", BufferLine { index, buffer })?;
        }
        for (index, constant) in self.consts.iter().enumerate() {
            writeln!(f, "  const @{index} {} B  ; {}", constant.bytes.len(), constant.name)?;
        }
        for (index, phase) in self.phases.iter().enumerate() {
            if index > 0 {
                writeln!(f, "  barrier")?;
            }
            for (thread, calls) in phase.threads.iter().enumerate() {
                for index in calls.clone() {
                    match self.threads() {
                        1 => writeln!(f, "  {index}: {}", self.calls[index])?,
                        _ => writeln!(f, "  {index} thread {thread}: {}", self.calls[index])?,
                    }
                }
            }
        }
        self.bands.iter().try_for_each(|band| writeln!(f, "  ; {band}"))?;
        writeln!(f, "}}")
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
}

impl Display for BufferLine<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Buffer { name, kind, dtype, byte_size, live } = self.buffer;
        let index = self.index;
        match kind {
            BufferKind::Input(_) => write!(f, "in  %{index} {dtype} {byte_size} B  ; {name}"),
            BufferKind::Output(_) => write!(f, "out %{index} {dtype} {byte_size} B  ; {name}"),
            BufferKind::Arena { offset } => {
                write!(f, "buf %{index} {dtype} {byte_size} B arena+{offset} live {}..{}  ; {name}", live.0, live.1)
            }
        }
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
    /// `%3+64[1x8x4x4 : 128,1,32,8]`; strides are left out where they are row-major.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.storage)?;
        if self.offset > 0 {
            write!(f, "+{}", self.offset)?;
        }
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
        write!(f, "{} {} <- ", self.producer, self.output)?;
        for (i, operand) in self.operands.iter().enumerate() {
            write!(f, "{}{operand}", if i == 0 { "" } else { ", " })?;
        }
        for step in &self.steps {
            write!(f, " |> {step}")?;
        }
        if self.origin.is_empty() { Ok(()) } else { write!(f, "  ; {}", self.origin) }
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
            Step::Table { operand, .. } => write!(f, "table ${operand}"),
        }
    }
}

impl Display for Arg {
    /// Operands print as `$` and their position in the call.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Arg::Current => write!(f, "_"),
            Arg::Operand(index) => write!(f, "${index}"),
            Arg::Dequantized { operand, scale, zero_point } => write!(f, "${operand}{{{scale:?}, {zero_point}}}"),
            Arg::Float(x) => write!(f, "{x:?}"),
            Arg::Int(x) => write!(f, "{x}"),
        }
    }
}

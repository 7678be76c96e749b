//! The text form of a program: one line a buffer, a constant, a call; of several threads, also who runs it, and barriers.

use std::fmt::{self, Display, Formatter};

use super::{
    Arg, Band, Buffer, BufferId, BufferKind, Call, ConstId, Depthwise, Fold, Gemm, Grid, Producer, Program, Step,
    Storage, Tile, View, Winograd, WinogradInput,
};

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

impl Display for Fold {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Fold::Sum { zero_point: 0 } => write!(f, "sum"),
            Fold::Sum { zero_point } => write!(f, "sum zero_point={zero_point}"),
            Fold::Mean => write!(f, "mean"),
            Fold::DequantizedMean { scale, zero_point } => write!(f, "mean scale={scale:?} zero_point={zero_point}"),
            Fold::Max => write!(f, "max"),
            Fold::Min => write!(f, "min"),
            Fold::Prod => write!(f, "prod"),
            Fold::SumSquare => write!(f, "sum_square"),
            Fold::SumAbs => write!(f, "sum_abs"),
        }
    }
}

impl Display for Producer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Producer::Gemm(Gemm { input, pixels: [b, r, c], runs, n, tile, extra, joined, row_block, .. }) => {
                let k: usize = runs.iter().map(|r| r.length).sum();
                let extra: usize = extra.iter().map(Vec::len).sum();
                write!(
                    f,
                    "gemm_{input}_{}x{}c{} {{pixels={b}x{r}x{c}, k={k}/{}",
                    tile.mr,
                    tile.nr,
                    tile.kr,
                    runs.len()
                )?;
                write!(f, ", n={n}, row_block={row_block}")?;
                if extra > 0 {
                    write!(f, ", extra={extra}")?;
                }
                if *joined {
                    write!(f, ", joined")?;
                }
                write!(f, "}}")
            }
            Producer::Depthwise(Depthwise { input, pixels: [b, r, c], taps, channels, .. }) => {
                write!(f, "depthwise_{input} {{pixels={b}x{r}x{c}, taps={}, channels={channels}}}", taps.len())
            }
            Producer::WinogradInput(WinogradInput { input, tiles: [b, r, c], channels, .. }) => {
                write!(f, "winograd_input_{input} {{tiles={b}x{r}x{c}, channels={channels}}}")
            }
            Producer::Winograd(Winograd { tiles: [b, r, c], depth, n, tile, row_block, .. }) => {
                let Tile { mr, nr, kr } = tile;
                let products = format!("tiles={b}x{r}x{c}, k={depth}, n={n}, row_block={row_block}");
                write!(f, "winograd_{mr}x{nr}c{kr} {{{products}}}")
            }
            Producer::Pointwise => write!(f, "pointwise"),
            Producer::Pool { fold, kernel: [h, w], strides: [sy, sx], pads: [py, px], .. } => {
                write!(f, "pool {{{fold}, kernel={h}x{w}, strides={sy}x{sx}, pads={py}x{px}}}")
            }
            Producer::Reduce { fold } => write!(f, "reduce {{{fold}}}"),
            Producer::Softmax { axis } => write!(f, "softmax {{axis={axis}}}"),
            Producer::Gather { axis } => write!(f, "gather {{axis={axis}}}"),
            Producer::Interpolate { axis } => write!(f, "interpolate {{axis={axis}}}"),
            Producer::MatMul { zero_points: [x, w] } => write!(f, "matmul {{zero_points={x},{w}}}"),
            Producer::Fill { element } => write!(f, "fill {{{}}}", i64::from_le_bytes(*element)),
        }
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

//! Parses the text form of a program. The text does not contain the bytes of constants: they are zeros, or random if it
//! says `rand(…)`.
//!
//! A program that parses may still break rules: [`verify`](super::verify()) checks them. No text makes the parser
//! panic. It stops at the first mistake.

use std::str::{FromStr, Lines};

use eightfold_ir::{DType, Function, random_elements};

use super::{Buffer, BufferKind, For, If, Item, Parallel, Program};
use crate::kernel::{self, Call, Fields};
use crate::step::{Arg, Step};
use crate::target::Target;
use crate::view::{BufferId, Const, ConstId, FARTHEST, Grid, LoopId, Storage, View};

/// The limit on the bytes of all constants together, which is more than code can address. Even zeros take memory.
const MOST: usize = 1 << 31;

/// A mistake in the text of a program, with its line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ParseError {
    /// Line of the mistake, counted from 1.
    pub line: usize,
    /// The mistake.
    pub reason: String,
}

/// Parses a program.
///
/// # Errors
/// Fails at the first mistake.
pub fn parse(text: &str) -> Result<Program, ParseError> {
    let mut parser = Parser { lines: text.lines(), line: 0, peeked: None };
    parser.program().map_err(|reason| ParseError { line: parser.line, reason })
}

struct Parser<'t> {
    lines: Lines<'t>,
    /// The number of the last line read.
    line: usize,
    peeked: Option<&'t str>,
}

impl<'t> Parser<'t> {
    /// The next line that is neither empty nor a comment, trimmed.
    fn next(&mut self) -> Result<&'t str, String> {
        if let Some(line) = self.peeked.take() {
            return Ok(line);
        }
        loop {
            let line = self.lines.next().ok_or("the text ends before the program does")?.trim();
            self.line += 1;
            if !line.is_empty() && !line.starts_with(';') {
                return Ok(line);
            }
        }
    }

    fn program(&mut self) -> Result<Program, String> {
        let header = self.next()?;
        let form = "expected `program @name  target=… arena=… align=… {`";
        let (name, rest) = header.strip_prefix("program @").and_then(|rest| rest.rsplit_once("  ")).ok_or(form)?;
        let mut fields = rest.strip_suffix(" {").ok_or(form)?.split(' ').filter_map(|word| word.split_once('='));
        let (mut target, mut threads, mut arena_size) = (None, 1, 0);
        fields.try_for_each(|(name, value)| {
            match name {
                "target" => target = Some(Target::find(value).ok_or_else(|| format!("no target is called {value:?}"))?),
                "arena" => arena_size = number(value)?,
                "align" if number::<usize>(value)? != Program::ARENA_ALIGN => {
                    return Err(format!("the arena is aligned to {}, got {value}", Program::ARENA_ALIGN));
                }
                "align" => {}
                "threads" => threads = number(value)?,
                _ => return Err(format!("unknown word {name:?}")),
            }
            Ok(())
        })?;
        let mut program = Program { threads, arena_size, ..Program::new(name, target.ok_or(form)?) };
        loop {
            let line = self.next()?;
            let (first, _) = line.split_once(' ').unwrap_or((line, ""));
            match first {
                "in" | "out" | "buf" => program.buffers.push(buffer(line, &program.buffers)?),
                "const" => program.consts.push(constant(line, &program.consts)?),
                _ => {
                    self.peeked = Some(line);
                    break;
                }
            }
        }
        program.body = self.items()?;
        self.expect("}")?;
        Ok(program)
    }

    fn expect(&mut self, expected: &str) -> Result<(), String> {
        match self.next()? {
            line if line == expected => Ok(()),
            line => Err(format!("expected {expected:?}, got {line:?}")),
        }
    }

    /// Parses items up to a line that closes their region; the parser stays before that line.
    fn items(&mut self) -> Result<Vec<Item>, String> {
        let mut items = Vec::new();
        loop {
            let line = self.next()?;
            if line.starts_with('}') {
                self.peeked = Some(line);
                return Ok(items);
            }
            items.push(match line.split_once(' ') {
                Some(("for", rest)) => self.repeat(rest)?,
                Some(("if", rest)) => self.branch(rest)?,
                Some(("parallel", "{")) => self.parallel()?,
                Some((number, rest)) if number.ends_with(':') => Item::Call(call(rest)?),
                _ => return Err(format!("expected a call or a region, got {line:?}")),
            });
        }
    }

    /// `i0 in 0..4 {`
    fn repeat(&mut self, header: &str) -> Result<Item, String> {
        let form = "expected `for i0 in 0..4 {`";
        let (id, count) = header.strip_suffix(" {").and_then(|rest| rest.split_once(" in 0..")).ok_or(form)?;
        let (id, count) = (loop_id(id)?, number(count)?);
        let body = self.items()?;
        self.expect("}")?;
        Ok(Item::For(For { id, count, body }))
    }

    fn branch(&mut self, header: &str) -> Result<Item, String> {
        let condition = view(header.strip_suffix(" {").ok_or("expected `if` with a view and `{`")?)?;
        let then = self.items()?;
        self.expect("} else {")?;
        let otherwise = self.items()?;
        self.expect("}")?;
        Ok(Item::If(If { condition, then, otherwise }))
    }

    fn parallel(&mut self) -> Result<Item, String> {
        let mut threads = Vec::new();
        loop {
            let line = self.next()?;
            if line == "}" {
                return Ok(Item::Parallel(Parallel { threads }));
            }
            if line != format!("thread {} {{", threads.len()) {
                return Err(format!("expected thread {} or the region's end, got {line:?}", threads.len()));
            }
            threads.push(self.items()?);
            self.expect("}")?;
        }
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("expected a number, got {text:?}"))
}

/// Parses a number of bytes, at most `most`.
fn size(text: &str, most: usize) -> Result<usize, String> {
    let bytes = number(text)?;
    if bytes <= most { Ok(bytes) } else { Err(format!("expected at most {most} bytes, got {bytes}")) }
}

fn dtype(text: &str) -> Result<DType, String> {
    DType::from_name(text).ok_or_else(|| format!("no type is called {text:?}"))
}

/// Splits a line into its words and the text after `;`.
fn comment(line: &str) -> (&str, &str) {
    line.split_once("  ; ").unwrap_or((line, ""))
}

/// `buf %2 u8 9216 B arena+64 live 0..3  ; name`
fn buffer(line: &str, before: &[Buffer]) -> Result<Buffer, String> {
    let (line, name) = comment(line);
    let words: Vec<&str> = line.split_whitespace().collect();
    let [kind, id, ty, bytes, "B", rest @ ..] = &words[..] else {
        return Err(format!("expected a buffer with its type and size, got {line:?}"));
    };
    expect_id(id, '%', before.len())?;
    let of = |is_kind: fn(&BufferKind) -> bool| before.iter().filter(|buffer| is_kind(&buffer.kind)).count();
    let kind = match (*kind, rest) {
        ("in", []) => BufferKind::Input(of(|kind| matches!(kind, BufferKind::Input(_)))),
        ("out", []) => BufferKind::Output(of(|kind| matches!(kind, BufferKind::Output(_)))),
        ("buf", [place, ..]) => {
            let offset = place.strip_prefix("arena+").ok_or("expected `arena+` and a number")?;
            BufferKind::Arena { offset: number(offset)? }
        }
        _ => return Err(format!("expected a buffer, got {line:?}")),
    };
    Ok(Buffer { name: name.to_owned(), kind, dtype: dtype(ty)?, byte_size: size(bytes, FARTHEST as usize)? })
}

/// `const @0 256 B  ; name`, or `const @0 256 B = rand(i8, seed=1)  ; name`
fn constant(line: &str, before: &[Const]) -> Result<Const, String> {
    let (line, name) = comment(line);
    let (line, contents) = line.split_once(" = ").map_or((line, None), |(line, contents)| (line, Some(contents)));
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["const", id, bytes, "B"] = words[..] else {
        return Err(format!("expected a constant with its size, got {line:?}"));
    };
    expect_id(id, '@', before.len())?;
    let taken: usize = before.iter().map(|constant| constant.bytes.len()).sum();
    let bytes = size(bytes, MOST - taken)?;
    let bytes = contents.map_or_else(|| Ok(vec![0; bytes]), |contents| random(contents.trim(), bytes))?;
    Ok(Const { name: name.to_owned(), bytes: bytes.into() })
}

/// Bytes described by a text such as `rand(i8, seed=1)`.
fn random(contents: &str, bytes: usize) -> Result<Vec<u8>, String> {
    let expected = || format!("expected contents such as rand(i8, seed=1), got {contents:?}");
    let inner = contents.strip_prefix("rand(").and_then(|rest| rest.strip_suffix(')')).ok_or_else(expected)?;
    let (element, seed) = inner.split_once(", seed=").ok_or_else(expected)?;
    let dtype = dtype(element)?;
    if !bytes.is_multiple_of(dtype.byte_size()) {
        return Err(format!("{bytes} bytes are not a whole number of {dtype}"));
    }
    Ok(random_elements(dtype, bytes / dtype.byte_size(), number(seed)?))
}

fn expect_id(id: &str, sign: char, expected: usize) -> Result<(), String> {
    if id == format!("{sign}{expected}") { Ok(()) } else { Err(format!("expected {sign}{expected}, got {id:?}")) }
}

fn loop_id(text: &str) -> Result<LoopId, String> {
    let id = text.strip_prefix('i').ok_or_else(|| format!("expected a loop such as i0, got {text:?}"))?;
    Ok(LoopId(number(id)?))
}

/// `family {attributes} output <- operand, operand |> step  ; origin`
fn call(text: &str) -> Result<Call, String> {
    let (text, origin) = comment(text);
    let (family, rest) = text.split_once(' ').ok_or("expected a kernel and its result")?;
    let (fields, rest) = match rest.strip_prefix('{') {
        Some(rest) => rest.split_once("} ").ok_or("the attributes do not end")?,
        None => ("", rest),
    };
    let producer = kernel::parse(family, &mut Fields::of(fields)?)?;
    let mut parts = rest.split(" |> ");
    let data = parts.next().unwrap_or_default();
    let steps = parts.map(step).collect::<Result<_, _>>()?;
    let (output, operands) = data.split_once(" <- ").unwrap_or((data, ""));
    let operands = operands.split(", ").filter(|operand| !operand.is_empty());
    let operands = operands.map(view).collect::<Result<_, _>>()?;
    Ok(Call { producer, operands, steps, output: view(output)?, origin: origin.to_owned() })
}

/// `u8 %3+64+i0*256[1x8x4x4 : 128,1,32,8]`
fn view(text: &str) -> Result<View, String> {
    let form = || format!("expected a view such as `u8 %3+64[1x8 : 8,1]`, got {text:?}");
    let (ty, rest) = text.split_once(' ').ok_or_else(form)?;
    let (place, grid) = rest.strip_suffix(']').and_then(|rest| rest.split_once('[')).ok_or_else(form)?;
    let mut words = place.split('+');
    let storage = words.next().unwrap_or_default();
    let storage = match storage.split_at_checked(1).ok_or_else(form)? {
        ("%", id) => Storage::Buffer(BufferId(number(id)?)),
        ("@", id) => Storage::Const(ConstId(number(id)?)),
        _ => return Err(form()),
    };
    let (mut offset, mut loops) = (0, Vec::new());
    for word in words {
        match word.split_once('*') {
            Some((id, step)) => loops.push((loop_id(id)?, number(step)?)),
            None => offset = number(word)?,
        }
    }
    let (dims, strides) = match grid.split_once(" : ") {
        Some((dims, strides)) => (dims, Some(strides)),
        None => (grid, None),
    };
    let dims: Vec<usize> = list(dims, 'x')?;
    let grid = match strides {
        Some(strides) => Grid { strides: list(strides, ',')?, dims },
        None => {
            let grid = Grid { strides: Vec::new(), dims };
            grid.elements_checked().ok_or_else(form)?;
            Grid::dense(&grid.dims)
        }
    };
    if grid.dims.len() != grid.strides.len() {
        return Err(format!("{} extents have {} strides", grid.dims.len(), grid.strides.len()));
    }
    Ok(View { storage, dtype: dtype(ty)?, offset, loops, grid })
}

fn list<T: FromStr>(text: &str, between: char) -> Result<Vec<T>, String> {
    if text.is_empty() { Ok(Vec::new()) } else { text.split(between).map(number).collect() }
}

/// `add(_, $2)`, `cast u8`, `dequantize {0.1, 128}`, `quantize u8 {0.1, 128, 0..255}`, `table u8 $1`
fn step(text: &str) -> Result<Step, String> {
    let form = || format!("expected a step, got {text:?}");
    let braces = |text: &'_ str| -> Result<Vec<String>, String> {
        let inside = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).ok_or_else(form)?;
        Ok(inside.split(", ").map(str::to_owned).collect())
    };
    if let Some(rest) = text.strip_prefix("cast ") {
        return Ok(Step::Cast(dtype(rest)?));
    }
    if let Some(rest) = text.strip_prefix("dequantize ") {
        let [scale, zero_point] = &braces(rest)?[..] else { return Err(form()) };
        return Ok(Step::Dequantize { scale: number(scale)?, zero_point: number(zero_point)? });
    }
    if let Some(rest) = text.strip_prefix("quantize ") {
        let (ty, rest) = rest.split_once(' ').ok_or_else(form)?;
        let [scale, zero_point, range] = &braces(rest)?[..] else { return Err(form()) };
        let (min, max) = range.split_once("..").ok_or_else(form)?;
        let (min, max) = (number(min)?, number(max)?);
        return Ok(Step::Quantize {
            dtype: dtype(ty)?,
            scale: number(scale)?,
            zero_point: number(zero_point)?,
            min,
            max,
        });
    }
    if let Some(rest) = text.strip_prefix("table ") {
        let (ty, operand) = rest.split_once(" $").ok_or_else(form)?;
        return Ok(Step::Table { operand: number(operand)?, dtype: dtype(ty)? });
    }
    let (name, args) = text.strip_suffix(')').and_then(|text| text.split_once('(')).ok_or_else(form)?;
    let function = Function::from_name(name).ok_or_else(|| format!("no function is called {name:?}"))?;
    let args = args.split(", ").map(arg).collect::<Result<Vec<Arg>, _>>()?;
    Ok(Step::Apply(function, args))
}

/// `_`, `$2`, `$2{0.1,128}`, `3`, `0.5`
fn arg(text: &str) -> Result<Arg, String> {
    if text == "_" {
        return Ok(Arg::Current);
    }
    if let Some(rest) = text.strip_prefix('$') {
        let Some((operand, params)) = rest.strip_suffix('}').and_then(|rest| rest.split_once('{')) else {
            return Ok(Arg::Operand(number(rest)?));
        };
        let (scale, zero_point) =
            params.split_once(',').ok_or_else(|| format!("expected scale and zero point in {text:?}"))?;
        return Ok(Arg::Dequantized {
            operand: number(operand)?,
            scale: number(scale)?,
            zero_point: number(zero_point)?,
        });
    }
    match text.parse() {
        Ok(integer) => Ok(Arg::Int(integer)),
        Err(_) => Ok(Arg::Float(number(text)?)),
    }
}

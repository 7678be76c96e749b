//! Writes the C header of a model: `eightfold.h` and the facts about the model that are known at compile time.
//!
//! Invariant: the header compiles alone, as C99 and as C++, with any names in the model. The headers of several models
//! can be included together.

use std::fmt::Write as _;

use crate::interface::{Interface, InterfaceError, Tensor};

/// The text of the header.
///
/// # Errors
/// Fails if the C ABI cannot express the interface.
pub fn c_header(interface: &Interface) -> Result<String, InterfaceError> {
    interface.check()?;
    let prefix = &interface.symbol_prefix;
    let upper = prefix.to_ascii_uppercase();
    // The first variant is the preferred one; the arena is large enough for every variant.
    let variants = &interface.variants;
    let arena_size = variants.iter().map(|variant| variant.arena_size).max().unwrap_or(0).max(1);
    let arena_align = variants.iter().map(|variant| variant.arena_align).max().unwrap_or(1);
    let arena_size = arena_size.next_multiple_of(arena_align.into());

    let Some(first) = variants.first() else { unreachable!("the interface was checked") };
    let mut tensors = String::new();
    let mut defines = String::new();
    for (kind, list) in [("input", &first.inputs), ("output", &first.outputs)] {
        let kind_upper = kind.to_ascii_uppercase();
        _ = writeln!(defines, "#define {upper}_{kind_upper}_COUNT {}", list.len());
        for (index, tensor) in list.iter().enumerate() {
            _ = writeln!(tensors, " *   {kind}s[{index}]  {}  {tensor}", quoted(&tensor.name));
            defines += &tensor_defines(&format!("{upper}_{kind_upper}_{index}"), tensor);
        }
    }
    let mut provenance = String::new();
    for line in interface.provenance.lines() {
        _ = writeln!(provenance, " * {}", in_comment(line));
    }
    Ok(format!(
        r#"/* {prefix}.h: the model {name}, made by Eightfold.
 *
{provenance} *
 * To run it once, with the variant that this CPU can run (what follows explains the rest):
 *
 *   const eightfold_model *model = {prefix}_query();
 *   uint32_t variant = 0;
 *   eightfold_session *session = NULL;
 *   eightfold_status status = model->runtime->select(model, &variant);
 *   size_t size = model->runtime->session_size(model, variant);
 *   void *memory = malloc(size);
 *   if (!status) status = model->runtime->session_create_in(model, variant, memory, size, &session);
 *   if (!status) status = model->runtime->session_run(session, inputs, outputs);
 *   model->runtime->session_destroy(session);
 *
 * on {threads}, where `const void *inputs[]` and `void *outputs[]` hold one pointer per tensor:
 *
{tensors} *
 * An object file that is linked without the runtime has model->runtime == NULL; then:
 *
 *   static _Alignas({upper}_ARENA_ALIGN) char arena[{upper}_ARENA_SIZE];
 *   eightfold_call call = {{.struct_size = sizeof call, .arena = arena,
 *                          .inputs = inputs, .outputs = outputs}};
 *   eightfold_status status = {prefix}_query()->variants[0]->run(&call);
 *
 * with more threads and a host where {upper}_WORKERS is not 0 (see eightfold_host).
 */
#ifndef EIGHTFOLD_MODEL_{prefix}
#define EIGHTFOLD_MODEL_{prefix}

{eightfold_h}
#define {upper}_VARIANT_COUNT {variant_count}

/* Room for the arena of any variant. */
#define {upper}_ARENA_SIZE {arena_size}
#define {upper}_ARENA_ALIGN {arena_align}

/* Threads that variant 0, {target}, was compiled for, and how many of them besides the caller's have work. */
#define {upper}_THREADS {thread_count}
#define {upper}_WORKERS {workers}

/* The tensors of variant 0. */
{defines}
#ifdef __cplusplus
extern "C" {{
#endif
/* The model: constant data, there as long as the artifact is loaded. */
const eightfold_model *{prefix}_query(void);
#ifdef __cplusplus
}}
#endif

#endif /* EIGHTFOLD_MODEL_{prefix} */
"#,
        name = quoted(&interface.name),
        eightfold_h = eightfold_runtime::HEADER,
        variant_count = variants.len(),
        threads = match first.threads {
            1 => "the calling thread".to_owned(),
            count => format!("{count} threads, the calling one among them"),
        },
        thread_count = first.threads,
        workers = first.workers,
        target = quoted(&first.target),
    ))
}

fn tensor_defines(prefix: &str, tensor: &Tensor) -> String {
    let byte_size = tensor.byte_size().unwrap_or_else(|| unreachable!("the interface was checked"));
    let mut text = String::new();
    let mut define = |name: &str, value: &str| {
        _ = writeln!(text, "#define {prefix}_{name} {value}");
    };
    define("NAME", &quoted(&tensor.name));
    define("DTYPE", &format!("EIGHTFOLD_{}", tensor.dtype.name().to_ascii_uppercase()));
    define("BYTES", &byte_size.to_string());
    define("RANK", &tensor.dims.len().to_string());
    if !tensor.dims.is_empty() {
        let dims: Vec<_> = tensor.dims.iter().map(usize::to_string).collect();
        define("DIMS", &format!("{{{}}}", dims.join(", ")));
    }
    if let Some(quantization) = &tensor.quantization
        && let (None, [scale], [zero_point]) =
            (quantization.axis, &quantization.scale[..], &quantization.zero_point[..])
    {
        // The shortest decimal number that reads back as the same float.
        define("SCALE", &format!("{scale:e}f"));
        define("ZERO_POINT", &format!("({zero_point})"));
    }
    text
}

/// A C string literal of printable ASCII, which is also safe in a comment.
fn quoted(text: &str) -> String {
    let mut literal = String::from("\"");
    for byte in text.bytes() {
        match byte {
            // A `?` may start a trigraph, a `*` end a comment, a `/` begin one.
            b'"' | b'\\' | b'?' | b'*' => _ = write!(literal, "\\{:03o}", byte),
            b' '..=b'~' => literal.push(byte.into()),
            _ => _ = write!(literal, "\\{byte:03o}"),
        }
    }
    literal + "\""
}

/// The text without sequences that begin or end a C comment.
fn in_comment(text: &str) -> String {
    let printable = |c: char| if eightfold_ir::misleads(c) { ' ' } else { c };
    let text: String = text.chars().map(printable).collect();
    text.replace("*/", "* /").replace("/*", "/ *")
}

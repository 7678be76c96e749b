/* eightfold.h: the C interface of a compiled Eightfold model, version 1.
 *
 * An artifact NAME exports one function, `const eightfold_model *NAME_query(void)`. Everything else is
 * reached through the model that it returns: constant data that lives as long as the artifact is loaded.
 *
 * There are two ways to run a model. Neither allocates memory: the caller provides all of it. Neither has global
 * state: two sessions, or two arenas, may run at the same time on two threads.
 *
 * 1. A shared library (`--emit=shared`) contains a runtime, which selects the variant for this CPU:
 *
 *      int run_once(const void *const *inputs, void *const *outputs) {
 *        const eightfold_model *model = NAME_query();
 *        const eightfold_runtime *runtime = model->runtime;
 *        uint32_t variant = 0;
 *        eightfold_session *session = NULL;
 *        eightfold_status status = runtime->select(model, &variant);
 *        size_t size = status ? 0 : runtime->session_size(model, variant);
 *        void *memory = malloc(size);
 *        if (!status) status = runtime->session_create_in(model, variant, memory, size, &session);
 *        if (!status) status = runtime->session_run(session, inputs, outputs);
 *        if (status) fprintf(stderr, "%s\n", runtime->status_message(status));
 *        runtime->session_destroy(session);
 *        free(memory);
 *        return status;
 *      }
 *
 *    Create a session once and run it many times. Creating a session detects the CPU's features and, if the model
 *    was compiled for several threads (`--threads`), creates the additional threads. session_run runs the model on
 *    the calling thread and on those, which sleep between runs.
 *
 * 2. Without the runtime: the caller selects a variant that the CPU supports and provides the arena. This is the
 *    only way for an object file (`--emit=object`) that is linked without the runtime (`model->runtime` is NULL):
 *
 *      const eightfold_variant *variant = NAME_query()->variants[0];
 *      eightfold_call call = {.struct_size = sizeof call, .arena = aligned_alloc(64, NAME_ARENA_SIZE),
 *                             .inputs = inputs, .outputs = outputs};
 *      eightfold_status status = variant->run(&call);
 *
 *    If variant->workers is not 0, that many more threads must call it at the same time; see eightfold_host.
 *
 * Tensors are dense, row-major, little-endian and may have any alignment; an output must not overlap an input,
 * another output or the arena.
 *
 * Compatibility: new fields are only added at the end of a struct, `struct_size` is the number of bytes that
 * exist, and arrays hold pointers to structs. Any other change increases EIGHTFOLD_ABI_VERSION.
 */
#ifndef EIGHTFOLD_H
#define EIGHTFOLD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EIGHTFOLD_ABI_VERSION 1

/* The result of a function of an artifact; 0 is success. */
typedef int32_t eightfold_status;
enum {
  EIGHTFOLD_OK = 0,
  EIGHTFOLD_INVALID_ARGUMENT = 1,   /* null pointer, struct_size too small, or index out of range */
  EIGHTFOLD_ABI_MISMATCH = 2,       /* the model was made for another version of this header */
  EIGHTFOLD_UNSUPPORTED_CPU = 3,    /* this CPU, or its operating system, lacks features that the code needs */
  EIGHTFOLD_UNSUPPORTED_THREADS = 4,/* the variant has workers, but the call has no host */
  EIGHTFOLD_MEMORY_TOO_SMALL = 5,   /* the memory has fewer bytes than session_size() */
  EIGHTFOLD_MISALIGNED_ARENA = 6,   /* the arena's address is not a multiple of arena_align */
  EIGHTFOLD_THREADS_UNAVAILABLE = 7,/* the system could not create the variant's threads */
  EIGHTFOLD_INDEX_OUT_OF_RANGE = 8  /* a Gather index, from an input or computed, is outside its axis: the outputs
                                     * are meaningless; nothing outside the tensors was accessed */
};

/* Element types: ONNX's TensorProto.DataType numbers. A 4-bit element takes one byte; i4 is sign-extended. */
enum {
  EIGHTFOLD_F32 = 1,
  EIGHTFOLD_U8 = 2,
  EIGHTFOLD_I8 = 3,
  EIGHTFOLD_U16 = 4,
  EIGHTFOLD_I16 = 5,
  EIGHTFOLD_I32 = 6,
  EIGHTFOLD_I64 = 7,
  EIGHTFOLD_BOOL = 9,
  EIGHTFOLD_F16 = 10,
  EIGHTFOLD_F64 = 11,
  EIGHTFOLD_U32 = 12,
  EIGHTFOLD_U64 = 13,
  EIGHTFOLD_BF16 = 16,
  EIGHTFOLD_U4 = 21,
  EIGHTFOLD_I4 = 22
};

/* x86-64: bit numbers in eightfold_variant.features. Features that every x86-64 CPU has are not listed. */
enum {
  EIGHTFOLD_X86_SSE3 = 0,
  EIGHTFOLD_X86_SSSE3 = 1,
  EIGHTFOLD_X86_CX16 = 2,
  EIGHTFOLD_X86_SSE4_1 = 3,
  EIGHTFOLD_X86_SSE4_2 = 4,
  EIGHTFOLD_X86_POPCNT = 5,
  EIGHTFOLD_X86_SAHF = 6,
  EIGHTFOLD_X86_XSAVE = 7,
  EIGHTFOLD_X86_AVX = 8,
  EIGHTFOLD_X86_F16C = 9,
  EIGHTFOLD_X86_FMA = 10,
  EIGHTFOLD_X86_MOVBE = 11,
  EIGHTFOLD_X86_LZCNT = 12,
  EIGHTFOLD_X86_BMI = 13,
  EIGHTFOLD_X86_BMI2 = 14,
  EIGHTFOLD_X86_AVX2 = 15,
  EIGHTFOLD_X86_AVX512F = 16,
  EIGHTFOLD_X86_AVX512CD = 17,
  EIGHTFOLD_X86_AVX512BW = 18,
  EIGHTFOLD_X86_AVX512DQ = 19,
  EIGHTFOLD_X86_AVX512VL = 20,
  EIGHTFOLD_X86_AVX512VNNI = 21,
  EIGHTFOLD_X86_AVX512VBMI = 22,
  EIGHTFOLD_X86_AVXVNNI = 23,
  EIGHTFOLD_X86_AVX512BF16 = 24
};

/* aarch64: the same. Features that every aarch64 CPU has, NEON among them, are not listed. */
enum {
  EIGHTFOLD_AARCH64_DOTPROD = 0,
  EIGHTFOLD_AARCH64_I8MM = 1,
  EIGHTFOLD_AARCH64_BF16 = 2
};

typedef struct eightfold_model eightfold_model;
typedef struct eightfold_session eightfold_session; /* opaque; lies in the caller's memory */

/* The quantization of stored integers: real = (stored - zero_point) * scale. */
typedef struct eightfold_quant {
  uint32_t struct_size;
  uint32_t count;            /* entries of scale and of zero_point: 1, or dims[axis] of the tensor */
  int32_t axis;              /* the dimension along which they vary; -1: one entry for the whole tensor */
  uint32_t reserved;         /* 0 */
  const float *scale;
  const int32_t *zero_point;
} eightfold_quant;

/* One input or output. */
typedef struct eightfold_tensor_desc {
  uint32_t struct_size;
  int32_t dtype;             /* EIGHTFOLD_F32, ... */
  const char *name;          /* UTF-8; its name in the ONNX model */
  uint32_t rank;             /* number of dims; 0 is a scalar */
  uint32_t reserved;         /* 0 */
  const int64_t *dims;
  uint64_t byte_size;        /* of the whole tensor */
  const eightfold_quant *quant; /* NULL: not quantized */
} eightfold_tensor_desc;

/* The functions by which the threads of generated code wait for each other. A session has its own host. Without
 * workers, eightfold_call.host is NULL. wait() sleeps while *word is `expected`, and may return early. wake() wakes all
 * threads that wait on word. The code spins before it calls wait(). Both functions may return immediately. */
typedef struct eightfold_host {
  uint32_t struct_size;
  uint32_t reserved;         /* 0 */
  void *context;
  void (*wait)(void *context, const uint32_t *word, uint32_t expected);
  void (*wake)(void *context, const uint32_t *word);
  uint32_t *words;           /* 64 bytes per thread, aligned to 64, zero before the first run; the caller must
                              * not write to them later or share them with another arena */
} eightfold_host;

/* One run of a variant. With workers, each thread calls run once, with its own `thread` and otherwise equal fields.
 * The next run may begin when all have returned. */
typedef struct eightfold_call {
  uint32_t struct_size;
  uint32_t thread;           /* 0 .. threads-1 */
  void *arena;               /* arena_size bytes, aligned to arena_align; their contents do not matter */
  const void *const *inputs; /* one pointer per input, to byte_size bytes */
  void *const *outputs;      /* one pointer per output, to byte_size bytes */
  int64_t *const *output_shapes; /* NULL, or one pointer per output: NULL, or to `rank` numbers that receive its dims */
  const eightfold_host *host;
} eightfold_call;

/* The model compiled for one choice of shapes, CPU features and number of threads. */
typedef struct eightfold_variant {
  uint32_t struct_size;
  uint32_t threads;          /* the number of threads that it was compiled for */
  uint64_t features[4];      /* the CPU must have all of these bits: bit b is features[b / 64] >> (b % 64) & 1 */
  const char *target;        /* for display, such as "x86-64-v3" */
  uint64_t arena_size;
  uint32_t arena_align;      /* a power of two */
  uint32_t input_count;
  uint32_t output_count;
  uint32_t workers;          /* threads besides the first that must call run: threads - 1, or 0 if one is enough */
  const eightfold_tensor_desc *const *inputs;
  const eightfold_tensor_desc *const *outputs;
  /* Does not check the CPU. Sets the floating-point mode to round to nearest even with subnormal numbers, and restores
   * the caller's mode and exception flags. */
  eightfold_status (*run)(const eightfold_call *call);
} eightfold_variant;

/* The session functions. */
typedef struct eightfold_runtime {
  uint32_t struct_size;
  uint32_t abi_version;
  /* Sets *variant to the first variant, from *variant on, that this CPU supports. To go on, add 1 and repeat. */
  eightfold_status (*select)(const eightfold_model *model, uint32_t *variant);
  /* Returns the bytes that a session needs, at any alignment; 0 if there is no such variant. */
  size_t (*session_size)(const eightfold_model *model, uint32_t variant);
  /* Creates a session in `memory`, which the caller owns and which must outlive it. Creates the workers' threads. */
  eightfold_status (*session_create_in)(const eightfold_model *model, uint32_t variant, void *memory, size_t size,
                                        eightfold_session **session);
  /* Reads inputs, writes outputs, as in eightfold_call. One run at a time per session. */
  eightfold_status (*session_run)(eightfold_session *session, const void *const *inputs, void *const *outputs);
  /* Returns a text in English and lower case, never NULL. */
  const char *(*status_message)(eightfold_status status);
  /* Joins the session's workers. Then the memory may be freed. A session without workers need not be destroyed. */
  void (*session_destroy)(eightfold_session *session);
} eightfold_runtime;

/* The result of NAME_query(). The preferred variants come first. */
struct eightfold_model {
  uint32_t abi_version;      /* EIGHTFOLD_ABI_VERSION */
  uint32_t struct_size;
  const char *name;          /* UTF-8 */
  const char *provenance;    /* the compiler, model, options and target of this artifact */
  uint32_t variant_count;
  uint32_t reserved;         /* 0 */
  const eightfold_variant *const *variants;
  const eightfold_runtime *runtime; /* NULL: linked without the runtime */
};

#ifdef __cplusplus
}
#endif

#endif /* EIGHTFOLD_H */

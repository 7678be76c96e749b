/* A handwritten artifact: y = x + 1 on four floats, through the arena. Each macro makes it wrong in one respect. */
#include "eightfold.h"

#ifndef NOTE_ABI
#define NOTE_ABI EIGHTFOLD_ABI_VERSION
#endif
#ifndef MODEL_ABI
#define MODEL_ABI EIGHTFOLD_ABI_VERSION
#endif
#ifndef NOTE_SYMBOL
#define NOTE_SYMBOL "fixture_query"
#endif
#ifndef NOTE_OWNER
#define NOTE_OWNER "Eightfold"
#endif
#ifndef MODEL_SIZE
#define MODEL_SIZE sizeof(eightfold_model)
#endif
#ifndef FEATURES
#define FEATURES {0, 0, 0, 0}
#endif
#ifndef THREADS
#define THREADS 1
#endif
#ifndef WORKERS
#define WORKERS 0
#endif
#ifndef DTYPE
#define DTYPE EIGHTFOLD_F32
#endif
#ifndef BYTES
#define BYTES 16
#endif
#ifndef NAME
#define NAME "fixture"
#endif
#ifndef RUN
#define RUN run
#endif
#ifndef STATUS
#define STATUS EIGHTFOLD_OK
#endif

#ifndef NO_NOTE
__attribute__((section(".note.eightfold"), used, aligned(4))) static const struct {
  uint32_t owner_size, size, type;
  char owner[12];
  uint32_t abi_version;
  char symbol[16];
} note = {10, 4 + sizeof NOTE_SYMBOL, 1, NOTE_OWNER, NOTE_ABI, NOTE_SYMBOL};
#endif

#ifdef CONSTRUCTOR
#include <stdio.h>
__attribute__((constructor)) static void started(void) { fclose(fopen(CONSTRUCTOR, "w")); }
#endif

static const float scale[1] = {0.25f};
static const int32_t zero_point[1] = {-7};
static const eightfold_quant quant = {sizeof quant, 1, -1, 0, scale, zero_point};
static const int64_t dims[] = {2, 2};
static const eightfold_tensor_desc x = {sizeof x, DTYPE, NAME, 2, 0, dims, BYTES, 0};
static const eightfold_tensor_desc y = {sizeof y, EIGHTFOLD_F32, "y", 2, 0, dims, 16, &quant};
static const eightfold_tensor_desc *const inputs[] = {&x};
static const eightfold_tensor_desc *const outputs[] = {&y};

__attribute__((unused)) static eightfold_status run(const eightfold_call *call) {
  if ((uintptr_t)call->arena % 64) return EIGHTFOLD_MISALIGNED_ARENA;
  if (WORKERS && !call->host) return EIGHTFOLD_UNSUPPORTED_THREADS;
  if (call->thread) return EIGHTFOLD_OK;
  volatile float *arena = call->arena;
  const float *x = call->inputs[0];
  float *y = call->outputs[0];
  for (int i = 0; i < 4; i++) arena[i] = x[i] + 1;
  for (int i = 0; i < 4; i++) y[i] = arena[i];
  return STATUS;
}

static const eightfold_variant variant = {sizeof variant, THREADS, FEATURES, "by-hand", 64, 64, 1, 1, WORKERS,
                                          inputs, outputs, RUN};
static const eightfold_variant *const variants[] = {&variant};
extern const eightfold_runtime eightfold_runtime_v1 __attribute__((weak, visibility("hidden")));
static const eightfold_model model = {MODEL_ABI, MODEL_SIZE, "fixture", "by hand", 1, 0, variants,
                                      &eightfold_runtime_v1};

const eightfold_model *fixture_query(void) {
#ifdef NO_MODEL
  (void)model;
  return 0;
#else
  return &model;
#endif
}

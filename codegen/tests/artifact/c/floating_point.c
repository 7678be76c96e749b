/* Runs the model while this thread rounds up, flushes subnormal numbers to zero and traps on inexact results. */
#include <float.h>
#include <stdio.h>
#include <xmmintrin.h>

#include "plus_one.h"

#define ROUND_UP 0x4000u
#define FLUSH 0x8040u /* to zero on output, and subnormal inputs are zeros */
#define OVERFLOW_SEEN 0x0008u
#define INEXACT_UNMASKED 0x1000u

int main(void) {
  /* 1 + 2^-30 is 1 to nearest and 1 + 2^-23 upwards; half of the smallest normal number is subnormal. */
  volatile float tiny = 0x1p-30f, smallest = FLT_MIN;
  float x[16] = {tiny, smallest}, y[16], z[16];
  const void *inputs[] = {x};
  void *outputs[] = {y, z};
  static _Alignas(PLUS_ONE_ARENA_ALIGN) char arena[PLUS_ONE_ARENA_SIZE];
  eightfold_call call = {.struct_size = sizeof call, .arena = arena, .inputs = inputs, .outputs = outputs};

  unsigned before = _mm_getcsr();
  unsigned mode = ((before & ~0x3fu) | ROUND_UP | FLUSH | OVERFLOW_SEEN);
  _mm_setcsr(mode);
  volatile float sum = 1.0f + tiny, half = smallest * 0.5f;
  _mm_setcsr(mode & ~INEXACT_UNMASKED); /* now an inexact result would kill the program */
  eightfold_status status = plus_one_query()->variants[1]->run(&call);
  unsigned after = _mm_getcsr();
  _mm_setcsr(before);

  printf("host rounds up %d flushes %d\n", sum > 1.0f, half == 0.0f);
  printf("model rounds up %d flushes %d\n", y[0] > 1.0f, z[1] == 0.0f);
  printf("mode kept %d\n", after == (mode & ~INEXACT_UNMASKED));
  return status;
}

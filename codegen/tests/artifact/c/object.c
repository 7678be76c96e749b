/* Linked with the object file alone: the caller picks the variant and gives the arena. */
#include <stdio.h>

#include "plus_one.h"

int main(void) {
  /* Tensors of odd addresses: none has to be aligned. */
  static char bytes[3 * PLUS_ONE_INPUT_0_BYTES + 1];
  char *x = bytes + 1, *y = x + 64, *z = y + 64;
  for (int i = 0; i < 16; i++) __builtin_memcpy(x + 4 * i, &(float){i + 1}, 4);
  const void *inputs[] = {x};
  void *outputs[] = {y, z};
  int64_t shape[2] = {-1, -1};
  int64_t *shapes[] = {NULL, shape};
  static _Alignas(PLUS_ONE_ARENA_ALIGN) char arena[PLUS_ONE_ARENA_SIZE + 1];
  eightfold_call call = {.struct_size = sizeof call, .arena = arena + 1,
                         .inputs = inputs, .outputs = outputs, .output_shapes = shapes};

  const eightfold_model *model = plus_one_query();
  printf("runtime %d\n", model->runtime != NULL);
  printf("misaligned %d\n", model->variants[1]->run(&call));
  call.arena = arena;
  printf("ok %d\n", model->variants[1]->run(&call));
  float y0, z1, y1;
  __builtin_memcpy(&y0, y, 4);
  __builtin_memcpy(&y1, y + 4, 4);
  __builtin_memcpy(&z1, z + 4, 4);
  printf("%g %g %g shape %d %d\n", y0, z1, y1, (int)shape[0], (int)shape[1]);
  return 0;
}

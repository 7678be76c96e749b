/* Runs the model once in a session: the short program that the header shows. */
#include <stdio.h>
#include <stdlib.h>

#include "plus_one.h"

int main(void) {
  float x[16], y[16], z[16];
  for (int i = 0; i < 16; i++) x[i] = i - 0.5f;
  const void *inputs[PLUS_ONE_INPUT_COUNT] = {x};
  void *outputs[PLUS_ONE_OUTPUT_COUNT] = {y, z};

  const eightfold_model *model = plus_one_query();
  const eightfold_runtime *runtime = model->runtime;
  uint32_t variant = 0;
  eightfold_session *session = NULL;
  eightfold_status status = runtime->select(model, &variant);
  size_t size = status ? 0 : runtime->session_size(model, variant);
  void *memory = malloc(size);
  if (!status) status = runtime->session_create_in(model, variant, memory, size, &session);
  if (!status) status = runtime->session_run(session, inputs, outputs);
  if (status) fprintf(stderr, "%s\n", runtime->status_message(status));
  free(memory);

  printf("variant %u\n", variant);
  for (int i = 0; i < 16; i++) printf("%g %g\n", y[i], z[i]);
  return status;
}

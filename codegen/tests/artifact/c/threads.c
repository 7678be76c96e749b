/* Four threads, each with its own session, run at once; each must see its own numbers. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "plus_one.h"

#define THREADS 4
#define RUNS 20000

static void *work(void *argument) {
  size_t me = (size_t)argument, wrong = 0;
  const eightfold_model *model = plus_one_query();
  uint32_t variant = 0;
  eightfold_session *session = NULL;
  if (model->runtime->select(model, &variant)) return (void *)1;
  size_t size = model->runtime->session_size(model, variant);
  void *memory = malloc(size);
  if (model->runtime->session_create_in(model, variant, memory, size, &session)) return (void *)1;
  for (int run = 0; run < RUNS; run++) {
    float x[16], y[16], z[16];
    const void *inputs[] = {x};
    void *outputs[] = {y, z};
    for (int i = 0; i < 16; i++) x[i] = (float)(me * RUNS + run + i);
    wrong += model->runtime->session_run(session, inputs, outputs) != EIGHTFOLD_OK;
    for (int i = 0; i < 16; i++) wrong += y[i] != x[i] + 1 || z[i] != x[i] / 2;
  }
  free(memory);
  return (void *)wrong;
}

int main(void) {
  pthread_t threads[THREADS];
  size_t wrong = 0;
  for (size_t i = 0; i < THREADS; i++) wrong += pthread_create(&threads[i], NULL, work, (void *)i) != 0;
  for (size_t i = 0; i < THREADS; i++) {
    void *result;
    wrong += pthread_join(threads[i], &result) != 0;
    wrong += (size_t)result;
  }
  printf("wrong %zu\n", wrong);
  return 0;
}

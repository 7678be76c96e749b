/* Runs a model compiled for two threads: in sessions, with the caller's own threads and host functions, and without threads. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "rows.h"

static float x[ROWS_INPUT_0_BYTES / 4], first[ROWS_OUTPUT_0_BYTES / 4], y[ROWS_OUTPUT_0_BYTES / 4];
static const void *inputs[] = {x};
static void *outputs[] = {y};

/* A host's wait function need not sleep. */
static void yield(void *context, const uint32_t *word, uint32_t expected) {
  (void)context, (void)word, (void)expected;
  sched_yield();
}
static void nothing(void *context, const uint32_t *word) { (void)context, (void)word; }

static void *enter(void *call) {
  const eightfold_call *mine = call;
  return (void *)(intptr_t)rows_query()->variants[0]->run(mine);
}

int main(void) {
  const eightfold_model *model = rows_query();
  const eightfold_runtime *runtime = model->runtime;
  const eightfold_variant *variant = model->variants[0];
  printf("threads %u workers %u\n", variant->threads, variant->workers);
  if (variant->threads != ROWS_THREADS || variant->workers != ROWS_WORKERS) return 1;
  for (size_t i = 0; i < sizeof x / sizeof *x; i++) x[i] = (float)(i % 37) / 10 - 1;

  void *arena = aligned_alloc(ROWS_ARENA_ALIGN, ROWS_ARENA_SIZE);
  eightfold_call call = {.struct_size = sizeof call, .arena = arena, .inputs = inputs, .outputs = outputs};
  printf("without a host %d\n", variant->run(&call));

  size_t size = runtime->session_size(model, 0);
  void *memory = malloc(size);
  /* At this point no stack of an ended thread can be reused. */
  struct rlimit before, room;
  getrlimit(RLIMIT_AS, &before);
  room = before;
  room.rlim_cur = 1 << 20;
  setrlimit(RLIMIT_AS, &room);
  eightfold_session *none = NULL;
  eightfold_status status = runtime->session_create_in(model, 0, memory, size, &none);
  setrlimit(RLIMIT_AS, &before);
  printf("no room for a stack %d: %s\n", status, none ? "a session" : runtime->status_message(status));

  int failed = 0, differ = 0;
  for (int round = 0; round < 50; round++) {
    eightfold_session *session = NULL;
    failed |= runtime->session_create_in(model, 0, memory, size, &session);
    for (int run = 0; run < 40; run++) {
      memset(y, 0xa5, sizeof y);
      failed |= runtime->session_run(session, inputs, outputs);
      if (!round && !run) memcpy(first, y, sizeof y);
      differ += memcmp(first, y, sizeof y) != 0;
    }
    runtime->session_destroy(session);
  }
  printf("sessions %d differ %d\n", failed, differ);

  static _Alignas(64) uint32_t words[16 * ROWS_THREADS];
  eightfold_host host = {.struct_size = sizeof host, .wait = yield, .wake = nothing, .words = words};
  failed = differ = 0;
  for (int run = 0; run < 200; run++) {
    eightfold_call calls[ROWS_THREADS];
    pthread_t thread;
    void *status;
    for (uint32_t i = 0; i < ROWS_THREADS; i++) {
      calls[i] = call;
      calls[i].thread = i;
      calls[i].host = &host;
    }
    memset(y, 0xa5, sizeof y);
    failed |= pthread_create(&thread, NULL, enter, &calls[1]);
    failed |= variant->run(&calls[0]);
    failed |= pthread_join(thread, &status) || status;
    differ += memcmp(first, y, sizeof y) != 0;
  }
  printf("own threads %d differ %d\n", failed, differ);

  return 0;
}

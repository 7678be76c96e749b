/* Runs an artifact on bytes: run LIBRARY QUERY <inputs >outputs
 *
 * The standard input has the bytes of all inputs, one after the other; the standard output receives those of all outputs.
 * The model runs twice, because results must not depend on what an earlier run left in memory. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eightfold.h"

static void *fail(const char *why) {
  fprintf(stderr, "%s\n", why);
  exit(1);
}

static void *memory(uint64_t size) {
  void *bytes = malloc(size + 1);
  return bytes ? bytes : fail("out of memory");
}

int main(int argc, char **argv) {
  if (argc != 3) fail("expected a library and the name of its query function");
  void *library = dlopen(argv[1], RTLD_NOW);
  if (!library) fail(dlerror());
  const eightfold_model *(*query)(void) = (const eightfold_model *(*)(void))dlsym(library, argv[2]);
  if (!query) fail("no query function");
  const eightfold_model *model = query();
  const eightfold_runtime *runtime = model->runtime;
  uint32_t number = 0;
  eightfold_status status = runtime->select(model, &number);
  if (status) fail(runtime->status_message(status));
  const eightfold_variant *variant = model->variants[number];
  size_t size = runtime->session_size(model, number);
  eightfold_session *session;
  status = runtime->session_create_in(model, number, memory(size), size, &session);
  if (status) fail(runtime->status_message(status));

  const void **inputs = memory(variant->input_count * sizeof *inputs);
  void **outputs = memory(variant->output_count * sizeof *outputs);
  void **first = memory(variant->output_count * sizeof *first);
  for (uint32_t i = 0; i < variant->input_count; i++) {
    uint64_t bytes = variant->inputs[i]->byte_size;
    void *input = memory(bytes);
    if (fread(input, 1, bytes, stdin) != bytes) fail("the input ends too early");
    inputs[i] = input;
  }
  for (uint32_t i = 0; i < variant->output_count; i++) {
    outputs[i] = memory(variant->outputs[i]->byte_size);
    first[i] = memory(variant->outputs[i]->byte_size);
  }
  for (int turn = 0; turn < 2; turn++) {
    status = runtime->session_run(session, inputs, turn ? outputs : first);
    if (status) fail(runtime->status_message(status));
  }
  runtime->session_destroy(session);
  for (uint32_t i = 0; i < variant->output_count; i++) {
    uint64_t bytes = variant->outputs[i]->byte_size;
    if (memcmp(outputs[i], first[i], bytes)) fail("two runs differ");
    fwrite(outputs[i], 1, bytes, stdout);
  }
  return fflush(stdout) != 0;
}

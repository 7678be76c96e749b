/* Loads the library by its path and prints all of its descriptors. */
#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>

#include "plus_one.h"

static void print_tensor(const eightfold_tensor_desc *tensor) {
  printf(" %s dtype %d rank %u dims", tensor->name, tensor->dtype, tensor->rank);
  for (uint32_t axis = 0; axis < tensor->rank; axis++) printf(" %" PRId64, tensor->dims[axis]);
  printf(" bytes %" PRIu64, tensor->byte_size);
  const eightfold_quant *quant = tensor->quant;
  if (quant)
    printf(" axis %d count %u scale %g zero %d", quant->axis, quant->count,
           quant->scale[quant->count - 1], quant->zero_point[quant->count - 1]);
  puts("");
}

int main(int argc, char **argv) {
  void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
  if (!library) return fprintf(stderr, "%s\n", dlerror()), 1;
  const eightfold_model *(*query)(void);
  *(void **)&query = dlsym(library, "plus_one_query");
  const eightfold_model *model = query();
  printf("abi %u name %s provenance ", model->abi_version, model->name);
  for (const char *c = model->provenance; *c; c++) putchar(*c == '\n' ? '|' : *c);
  printf(" variants %u runtime %d\n", model->variant_count, model->runtime != NULL);
  for (uint32_t v = 0; v < model->variant_count; v++) {
    const eightfold_variant *variant = model->variants[v];
    printf("%s threads %u features", variant->target, variant->threads);
    for (int i = 0; i < 4; i++) printf(" %" PRIx64, variant->features[i]);
    printf(" arena %" PRIu64 " align %u inputs %u outputs %u\n", variant->arena_size,
           variant->arena_align, variant->input_count, variant->output_count);
    for (uint32_t i = 0; i < variant->input_count; i++) print_tensor(variant->inputs[i]);
    for (uint32_t i = 0; i < variant->output_count; i++) print_tensor(variant->outputs[i]);
  }
  return dlclose(library);
}

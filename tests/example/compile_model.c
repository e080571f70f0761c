/* Compiles a graph given as text into the module file named on the command line, as a program that
 * embeds the compiler does: it links libtessera_frontend and what that stands on. */
#include <stdio.h>
#include <string.h>
#include <tessera/compiler.h>

static const char model[] = "dim N in 1..1000\n"
                            "graph @twice {\n"
                            "  %x = input {name = \"x\"} : f32[N]\n"
                            "  %y = add %x, %x : f32[N] from \"Add_0\"\n"
                            "  output %y {name = \"y\"}\n"
                            "}\n";

int main(int argc, char **argv) {
  tsr_context *context;
  void *bytes;
  size_t size;
  if (argc != 2 || tsr_context_create(NULL, &context) != TSR_OK)
    return 2;
  tsr_status status = tsr_compile_text(context, model, strlen(model), "twice", NULL, &bytes, &size);
  if (status != TSR_OK)
    fprintf(stderr, "error: %s\n", tsr_context_error(context));
  FILE *file = status == TSR_OK ? fopen(argv[1], "wb") : NULL;
  int fine = file != NULL && fwrite(bytes, 1, size, file) == size;
  fine = file != NULL && fclose(file) == 0 && fine;
  if (status == TSR_OK)
    tsr_bytes_release(context, bytes, size);
  tsr_context_destroy(context);
  return !fine;
}

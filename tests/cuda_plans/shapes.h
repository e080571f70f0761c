/* The shapes whose default kernels must be clean: GEMMs, convolutions and the operators of models.
 */
#ifndef TESTS_CUDA_PLANS_SHAPES_H
#define TESTS_CUDA_PLANS_SHAPES_H
#include <stddef.h>

enum { SHAPE_NAME_BYTES = 64, SHAPE_TEXT_BYTES = 4096 };

size_t shape_count(void);
/* Graph IR of the shape and its name. */
void shape_text(size_t number, char name[SHAPE_NAME_BYTES], char text[SHAPE_TEXT_BYTES]);

#endif

/* Which isl is linked. */
#ifndef TSR_PASSES_POLY_ISL_VERSION_H
#define TSR_PASSES_POLY_ISL_VERSION_H

/* isl's own text, such as "isl-0.25-GMP", without the end of line. Writes into `out`, always
 * terminated. */
void tsr_isl_version(char *out, unsigned out_size);

#endif

/* Host memory that the driver did not allocate cannot be copied asynchronously; it goes through a
 * ring of pinned chunks, so that the host copies one piece while the device copies another. */
#include "runtime/cuda/cuda.h"
#include <string.h>

enum { ALIGNMENT = 64 };

void tsr_cuda_staging_init(cuda_staging *staging, cuda_device *device, tsr_cu_stream stream) {
  memset(staging, 0, sizeof *staging);
  staging->device = device;
  staging->stream = stream;
}

void tsr_cuda_staging_destroy(cuda_staging *staging) {
  for (uint32_t i = 0; staging->device != NULL && i < CUDA_CHUNKS; i++) {
    cuda_chunk *chunk = &staging->chunks[i];
    if (chunk->done != NULL)
      (void)staging->device->driver.cuEventDestroy_v2(chunk->done);
    tsr_cuda_release_pinned(staging->device, chunk->pinned);
  }
  memset(staging, 0, sizeof *staging);
}

static void hand_out(cuda_chunk *chunk) {
  for (uint32_t i = 0; i < chunk->piece_count; i++)
    memcpy(chunk->pieces[i].to, chunk->pieces[i].from, chunk->pieces[i].bytes);
}

static void empty(cuda_chunk *chunk) {
  chunk->used = 0;
  chunk->full = false;
  chunk->piece_count = 0;
}

/* Behind the current one comes the oldest, so pieces are handed out in the order of their copies.
 */
void tsr_cuda_staging_complete(cuda_staging *staging) {
  for (uint32_t i = 1; i <= CUDA_CHUNKS; i++) {
    cuda_chunk *chunk = &staging->chunks[(staging->current + i) % CUDA_CHUNKS];
    hand_out(chunk);
    empty(chunk);
  }
}

void tsr_cuda_staging_forget(cuda_staging *staging) {
  for (uint32_t i = 0; i < CUDA_CHUNKS; i++)
    empty(&staging->chunks[i]);
}

static tsr_status make_chunk(cuda_staging *self, cuda_chunk *chunk, tsr_diag *diag) {
  void *pinned;
  if (chunk->done == NULL) {
    tsr_cu_result result =
        self->device->driver.cuEventCreate(&chunk->done, TSR_CU_EVENT_DISABLE_TIMING);
    if (result != 0)
      chunk->done = NULL;
    TSR_TRY(tsr_cuda_check(self->device, diag, result, "cannot create an event"));
  }
  TSR_TRY(tsr_cuda_allocate_pinned(self->device, CUDA_CHUNK_BYTES, diag, &pinned));
  chunk->pinned = (unsigned char *)pinned;
  return TSR_OK;
}

/* Closes the current chunk and waits until the next one is free. */
static tsr_status next_chunk(cuda_staging *self, tsr_diag *diag) {
  const tsr_cuda_driver *driver = &self->device->driver;
  cuda_chunk *chunk = &self->chunks[self->current];
  TSR_TRY(tsr_cuda_check(self->device, diag, driver->cuEventRecord(chunk->done, self->stream),
                         "cannot record an event"));
  chunk->full = true;
  self->current = (self->current + 1) % CUDA_CHUNKS;
  chunk = &self->chunks[self->current];
  if (!chunk->full)
    return TSR_OK;
  TSR_TRY(tsr_cuda_check(self->device, diag, driver->cuEventSynchronize(chunk->done),
                         "a copy between host and device failed"));
  hand_out(chunk);
  empty(chunk);
  return TSR_OK;
}

/* Up to *inout_bytes of the ring that are free now, at least one. */
static tsr_status find_room(cuda_staging *self, uint64_t *inout_bytes, tsr_diag *diag,
                            cuda_chunk **out_chunk, unsigned char **out_place) {
  cuda_chunk *chunk = &self->chunks[self->current];
  uint64_t room;
  if (chunk->used == CUDA_CHUNK_BYTES || chunk->piece_count == CUDA_CHUNK_PIECES) {
    TSR_TRY(next_chunk(self, diag));
    chunk = &self->chunks[self->current];
  }
  if (chunk->pinned == NULL)
    TSR_TRY(make_chunk(self, chunk, diag));
  room = CUDA_CHUNK_BYTES - chunk->used;
  if (*inout_bytes > room)
    *inout_bytes = room;
  *out_chunk = chunk;
  *out_place = chunk->pinned + chunk->used;
  chunk->used += (*inout_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  return TSR_OK;
}

tsr_status tsr_cuda_upload(cuda_staging *staging, void *to, const void *from, uint64_t bytes,
                           tsr_diag *diag) {
  for (uint64_t done = 0, part; done < bytes; done += part) {
    cuda_chunk *chunk;
    unsigned char *place;
    part = bytes - done;
    TSR_TRY(find_room(staging, &part, diag, &chunk, &place));
    memcpy(place, (const unsigned char *)from + done, part);
    TSR_TRY(tsr_cuda_check(staging->device, diag,
                           staging->device->driver.cuMemcpyHtoDAsync_v2(
                               (tsr_cu_pointer)(uintptr_t)to + done, place, part, staging->stream),
                           "cannot copy to the CUDA device"));
  }
  return TSR_OK;
}

tsr_status tsr_cuda_download(cuda_staging *staging, void *to, const void *from, uint64_t bytes,
                             tsr_diag *diag) {
  for (uint64_t done = 0, part; done < bytes; done += part) {
    cuda_chunk *chunk;
    unsigned char *place;
    part = bytes - done;
    TSR_TRY(find_room(staging, &part, diag, &chunk, &place));
    TSR_TRY(
        tsr_cuda_check(staging->device, diag,
                       staging->device->driver.cuMemcpyDtoHAsync_v2(
                           place, (tsr_cu_pointer)(uintptr_t)from + done, part, staging->stream),
                       "cannot copy from the CUDA device"));
    chunk->pieces[chunk->piece_count++] = (cuda_piece){(unsigned char *)to + done, place, part};
  }
  return TSR_OK;
}

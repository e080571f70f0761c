/* layout: images whose channels lie side by side ("channels last"), where that fills vectors.
 *
 * Exporters store images as [n, c, y, x], so that lanes run through pixels: 14 x 14 of them leave a
 * part of the last vector empty, 7 x 7 a quarter, and a window reads lines of 14 or 28 pixels in
 * vectors that are not full, each of them three times over. As [n, y, x, c] lanes run through the
 * channels. A value that only blocks of this graph read may lie either way, if everything that
 * reads it channel by channel lies the same way: these are a class, which moves as one. Products
 * over the channels of one pixel read either and store either; but what they read as [n, y, x, c],
 * they would have to turn if they stored [n, c, y, x], so that classes behind them move too, or
 * none does. */
#include "passes/block_info.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

enum { IMAGE_RANK = 4, CHANNEL = 1 };

static const uint32_t channels_last[IMAGE_RANK] = {0, 2, 3, 1};

/* An image that a block stores. */
typedef struct image {
  tsr_value value;
  tsr_op block, store;
  int64_t channels, rows, width;
  uint32_t uses;  /* its store, and loads by blocks of the graph */
  uint32_t class; /* an image that stands for its class: its own number or a lesser one */
  /* Of the class. */
  bool fixed; /* it cannot move */
  bool moves;
} image;

/* A product over the channels of the image `from`, stored as the image `to`. */
typedef struct edge {
  uint32_t from, to;
} edge;

enum { NONE = UINT32_MAX };

typedef struct layouts {
  tsr_ir *ir;
  const tsr_pass_options *options;
  tsr_arena arena;
  tsr_region region;
  image *images;
  uint32_t image_count;
  uint32_t *number; /* value -> image + 1, 0: none */
  uint32_t number_count;
  edge *edges;
  uint32_t edge_count, edge_capacity;
} layouts;

static uint32_t image_of(const layouts *l, tsr_value value) {
  return value < l->number_count && l->number[value] != 0 ? l->number[value] - 1 : NONE;
}

/* --- classes --- */

static uint32_t class_of(layouts *l, uint32_t i) {
  while (l->images[i].class != i)
    i = l->images[i].class = l->images[l->images[i].class].class;
  return i;
}

static void join(layouts *l, uint32_t a, uint32_t b) {
  a = class_of(l, a);
  b = class_of(l, b);
  if (a == b)
    return;
  const uint32_t first = a < b ? a : b, other = a < b ? b : a;
  l->images[other].class = first;
  l->images[first].fixed |= l->images[other].fixed;
  l->images[first].moves |= l->images[other].moves;
}

static void fix(layouts *l, uint32_t i) {
  if (i != NONE)
    l->images[class_of(l, i)].fixed = true;
}

/* --- images --- */

static bool in_lanes(const layouts *l, int64_t channels) {
  return channels >= 2 * l->options->layout_lanes && channels % l->options->layout_lanes == 0;
}

/* Is the subscript one variable of this role? */
static bool is_variable(const layouts *l, tsr_expr subscript, tsr_arg_role role) {
  const tsr_expr_node node = tsr_expr_get(l->ir, subscript);
  return node.op == TSR_INDEX_VALUE && tsr_value_get(l->ir, node.value)->role == role;
}

static bool read_image(const layouts *l, tsr_op block, image *out) {
  const tsr_op_data *data = tsr_op_get(l->ir, block);
  if (data->code != TSR_OP_BLOCK || data->result_count != 1 ||
      tsr_op_attr(l->ir, block, "fill") != NULL)
    return false;
  const tsr_value value = data->results[0];
  const tsr_type_info *type = tsr_value_type(l->ir, value);
  *out = (image){.value = value, .block = block};
  if (type->rank != IMAGE_RANK || type->dtype != TSR_F32 ||
      !tsr_expr_is_int(l->ir, type->dims[CHANNEL], &out->channels) ||
      !tsr_expr_is_int(l->ir, type->dims[2], &out->rows) ||
      !tsr_expr_is_int(l->ir, type->dims[3], &out->width) || out->rows * out->width <= 1 ||
      !in_lanes(l, out->channels))
    return false;
  out->store = tsr_block_store_of(l->ir, data->regions[0], value);
  if (out->store == 0 || tsr_op_attr(l->ir, out->store, "combine") != NULL ||
      tsr_op_get(l->ir, out->store)->code != TSR_OP_STORE)
    return false;
  const tsr_operand *stored = &tsr_op_get(l->ir, out->store)->operands[1];
  for (uint32_t d = 0; d < IMAGE_RANK; d++)
    if (!is_variable(l, stored->subscripts[d], TSR_ROLE_PAR) &&
        !tsr_expr_equals_int(l->ir, type->dims[d], 1))
      return false;
  out->uses = 1; /* that store */
  return true;
}

static bool leaves_empty(int64_t count, int64_t lanes, double most) {
  const int64_t filled = (count + lanes - 1) / lanes * lanes;
  return (double)filled > most * (double)count;
}

/* Would vectors of pixels be part empty? In products they run through the whole image; in windows
 * through a line of it, which costs less than it seems where the image comes from beyond L2. */
static bool pixels_leave_empty(const layouts *l, const image *i) {
  const double most = 1.03;
  return leaves_empty(i->rows * i->width, l->options->layout_lanes, most);
}

static bool lines_leave_empty(const layouts *l, const image *i) {
  const double most = 1.1, share = 0.8;
  const double bytes = (double)(i->channels * i->rows * i->width) * sizeof(float);
  return leaves_empty(i->width, l->options->layout_lanes, most) &&
         bytes < share * (double)l->options->layout_bytes;
}

/* --- what reads them --- */

static tsr_status add_edge(layouts *l, uint32_t from, uint32_t to, tsr_diag *diag) {
  if (l->edge_count == l->edge_capacity) {
    const uint32_t more = l->edge_capacity > 0 ? 2 * l->edge_capacity : 64;
    edge *grown = tsr_arena_alloc_array(&l->arena, more, sizeof *grown);
    if (grown == NULL)
      return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory in layout");
    for (uint32_t i = 0; i < l->edge_count; i++)
      grown[i] = l->edges[i];
    l->edges = grown;
    l->edge_capacity = more;
  }
  l->edges[l->edge_count++] = (edge){from, to};
  return TSR_OK;
}

/* The same pixel is read that is stored. */
static bool same_pixel(const layouts *l, const tsr_operand *read, uint32_t to) {
  const tsr_operand *stored = &tsr_op_get(l->ir, l->images[to].store)->operands[1];
  return read->subscripts[0] == stored->subscripts[0] &&
         read->subscripts[2] == stored->subscripts[2] &&
         read->subscripts[3] == stored->subscripts[3];
}

/* One load of image `from` by a block that stores image `to`, or NONE. */
static tsr_status take_load(layouts *l, tsr_op block, tsr_op load, uint32_t from, uint32_t to,
                            tsr_diag *diag) {
  const tsr_operand *read = &tsr_op_get(l->ir, load)->operands[0];
  const tsr_expr channel = read->subscripts[CHANNEL];
  const tsr_region body = tsr_op_get(l->ir, block)->regions[0];
  const bool reduced = tsr_block_feeds_reduce(l->ir, body, load);
  if (is_variable(l, channel, TSR_ROLE_RED)) {
    if (to != NONE && reduced && same_pixel(l, read, to))
      return add_edge(l, from, to, diag);
  } else if (is_variable(l, channel, TSR_ROLE_PAR)) {
    if (to != NONE &&
        channel == tsr_op_get(l->ir, l->images[to].store)->operands[1].subscripts[CHANNEL]) {
      if (reduced && lines_leave_empty(l, &l->images[from]))
        l->images[class_of(l, from)].moves = true;
      join(l, from, to);
      return TSR_OK;
    }
    /* One number for each channel, such as a mean. */
    if (to == NONE && reduced &&
        tsr_hinted_elements(l->ir, tsr_value_type(l->ir, tsr_op_get(l->ir, block)->results[0])) <=
            tsr_hinted(l->ir, tsr_value_type(l->ir, read->value)->dims[0]) *
                (double)l->images[from].channels)
      return TSR_OK;
  }
  fix(l, from);
  fix(l, to);
  return TSR_OK;
}

static tsr_status take_block(layouts *l, tsr_op block, tsr_diag *diag) {
  const uint32_t to = image_of(l, tsr_op_get(l->ir, block)->results[0]);
  TSR_FOR_EACH_OP (l->ir, tsr_op_get(l->ir, block)->regions[0], op) {
    if (tsr_op_get(l->ir, op)->code != TSR_OP_LOAD)
      continue;
    const uint32_t from = image_of(l, tsr_op_get(l->ir, op)->operands[0].value);
    if (from == NONE)
      continue;
    l->images[from].uses++;
    TSR_TRY(take_load(l, block, op, from, to, diag));
  }
  return TSR_OK;
}

static tsr_status find_images(layouts *l, tsr_diag *diag) {
  uint32_t most = 0;
  TSR_FOR_EACH_OP (l->ir, l->region, op)
    most += tsr_op_get(l->ir, op)->code == TSR_OP_BLOCK;
  l->images = tsr_arena_alloc_array(&l->arena, most + 1, sizeof *l->images);
  uint32_t *uses = tsr_arena_alloc_array(&l->arena, l->number_count, sizeof *uses);
  l->number = tsr_arena_alloc_array(&l->arena, l->number_count, sizeof *l->number);
  if (l->images == NULL || l->number == NULL || uses == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory in layout");
  TSR_FOR_EACH_OP (l->ir, l->region, op) {
    image *made = &l->images[l->image_count];
    if (!read_image(l, op, made))
      continue;
    made->class = l->image_count;
    made->moves = pixels_leave_empty(l, made);
    l->number[made->value] = ++l->image_count;
  }
  if (l->image_count == 0)
    return TSR_OK;
  TSR_FOR_EACH_OP (l->ir, l->region, op)
    if (tsr_op_get(l->ir, op)->code == TSR_OP_BLOCK)
      TSR_TRY(take_block(l, op, diag));
  tsr_ir_count_uses(l->ir, uses);
  for (uint32_t i = 0; i < l->image_count; i++)
    if (l->images[i].uses != uses[l->images[i].value])
      fix(l, i);
  return TSR_OK;
}

/* --- which move --- */

/* First what cannot move, from the last product to the first; then what does. */
static void settle(layouts *l) {
  for (bool changed = true; changed;) {
    changed = false;
    for (uint32_t i = l->edge_count; i-- > 0;) {
      image *from = &l->images[class_of(l, l->edges[i].from)];
      if (from->fixed || !l->images[class_of(l, l->edges[i].to)].fixed)
        continue;
      from->fixed = changed = true;
    }
  }
  for (bool changed = true; changed;) {
    changed = false;
    for (uint32_t i = 0; i < l->edge_count; i++) {
      const image *from = &l->images[class_of(l, l->edges[i].from)];
      image *to = &l->images[class_of(l, l->edges[i].to)];
      if (!from->moves || from->fixed || to->moves)
        continue;
      to->moves = changed = true;
    }
  }
}

/* --- moving --- */

static void turn_access(layouts *l, tsr_op op) {
  tsr_ir *ir = l->ir;
  const tsr_op_data data = *tsr_op_get(ir, op);
  const bool store = data.code == TSR_OP_STORE;
  const tsr_operand *operand = &data.operands[store ? 1 : 0];
  tsr_expr subscripts[IMAGE_RANK];
  for (uint32_t d = 0; d < IMAGE_RANK; d++)
    subscripts[d] = operand->subscripts[channels_last[d]];
  const tsr_value value = operand->value;
  const tsr_op made = tsr_op_insert_before(ir, op, data.code);
  if (store)
    tsr_op_add_operand(ir, made, data.operands[0].value);
  tsr_op_add_element(ir, made, value, subscripts, IMAGE_RANK);
  for (uint32_t i = 0; i < data.attr_count; i++)
    tsr_op_set_attr(ir, made, &data.attrs[i]);
  if (!store)
    tsr_value_replace_all(ir, data.results[0],
                          tsr_op_add_result(ir, made, tsr_value_get(ir, data.results[0])->type));
  tsr_op_erase(ir, op);
}

static bool image_moves(layouts *l, tsr_value value) {
  const uint32_t i = image_of(l, value);
  return i != NONE && l->images[class_of(l, i)].moves && !l->images[class_of(l, i)].fixed;
}

static void turn_accesses(layouts *l, tsr_op block) {
  const tsr_region body = tsr_op_get(l->ir, block)->regions[0];
  for (tsr_op op = tsr_region_get(l->ir, body)->first, next; op != 0; op = next) {
    const tsr_op_data *data = tsr_op_get(l->ir, op);
    next = data->next;
    if ((data->code == TSR_OP_LOAD && image_moves(l, data->operands[0].value)) ||
        (data->code == TSR_OP_STORE && image_moves(l, data->operands[1].value)))
      turn_access(l, op);
  }
}

static void copy_axis(tsr_rewriter *rw, tsr_value axis) {
  const tsr_value_data data = *tsr_value_get(rw->ir, axis);
  int64_t step = 1;
  if (rw->exprs[axis] != 0)
    return;
  tsr_expr_is_int(rw->ir, data.step, &step);
  rw->exprs[axis] = tsr_expr_value(
      rw->ir, tsr_region_add_index(rw->ir, rw->out.region, data.role, data.lo, data.hi, step));
}

/* The variables of the block in the order in which its result has them now. */
static tsr_status turn_axes(layouts *l, const image *i, tsr_diag *diag) {
  tsr_ir *ir = l->ir;
  const tsr_op block = i->block;
  const tsr_op_data *data = tsr_op_get(ir, block);
  const tsr_op store = tsr_block_store_of(ir, data->regions[0], i->value);
  const tsr_operand *stored = &tsr_op_get(ir, store)->operands[1];
  const tsr_region_data *region = tsr_region_get(ir, data->regions[0]);
  tsr_rewriter rw;
  TSR_TRY(tsr_rewriter_begin(&rw, ir, block, diag));
  tsr_op_copy_origins(ir, rw.out.op, block);
  tsr_rewriter_result(&rw, i->value);
  for (uint32_t d = 0; d < IMAGE_RANK; d++) {
    const tsr_expr_node node = tsr_expr_get(ir, stored->subscripts[d]);
    if (node.op == TSR_INDEX_VALUE)
      copy_axis(&rw, node.value);
  }
  for (uint32_t k = 0; k < region->arg_count; k++)
    copy_axis(&rw, region->args[k]);
  TSR_FOR_EACH_OP (ir, data->regions[0], op)
    tsr_rewriter_clone(&rw, op);
  tsr_rewriter_take_over(&rw, i->value);
  tsr_op_erase(ir, block);
  tsr_rewriter_end(&rw);
  return tsr_ir_status(ir);
}

static tsr_status move(layouts *l, tsr_diag *diag) {
  TSR_FOR_EACH_OP (l->ir, l->region, op)
    if (tsr_op_get(l->ir, op)->code == TSR_OP_BLOCK)
      turn_accesses(l, op);
  for (uint32_t i = 0; i < l->image_count; i++) {
    const tsr_value value = l->images[i].value;
    if (!image_moves(l, value))
      continue;
    const tsr_type_info type = *tsr_value_type(l->ir, value);
    tsr_expr dims[IMAGE_RANK];
    for (uint32_t d = 0; d < IMAGE_RANK; d++)
      dims[d] = type.dims[channels_last[d]];
    tsr_value_set_type(l->ir, value,
                       tsr_type_make(l->ir, type.level, type.dtype, dims, IMAGE_RANK));
    TSR_TRY(turn_axes(l, &l->images[i], diag));
  }
  return tsr_ir_status(l->ir);
}

static tsr_status lay_out(tsr_ir *ir, tsr_region region, const tsr_pass_options *options,
                          tsr_diag *diag) {
  layouts l = {
      .ir = ir, .options = options, .region = region, .number_count = tsr_value_count(ir) + 1};
  tsr_arena_init(&l.arena, tsr_ir_allocator(ir));
  tsr_status status = find_images(&l, diag);
  if (status == TSR_OK) {
    settle(&l);
    status = move(&l, diag);
  }
  tsr_arena_reset(&l.arena);
  return status;
}

tsr_status tsr_pass_layout(tsr_ir *ir, const tsr_pass_options *options, tsr_diag *diag) {
  if (options->layout_lanes <= 1 || options->layout_bytes <= 0)
    return TSR_OK;
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), graph)
    if (tsr_op_get(ir, graph)->code == TSR_OP_GRAPH)
      TSR_TRY(lay_out(ir, tsr_op_get(ir, graph)->regions[0], options, diag));
  return tsr_ir_status(ir) == TSR_OK
             ? TSR_OK
             : tsr_fail(diag, tsr_ir_status(ir), "layout: %s", tsr_ir_diag(ir)->message);
}

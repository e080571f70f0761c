/* A program whose threads all run side by side over the text (Thompson 1968; as in Pike's machine,
 * without captures: which of several ways matches is not asked, so greedy is as good as lazy). */
#include "runtime/host/pattern.h"
#include "runtime/host/pattern_parse.h"
#include "runtime/host/unicode.h"
#include <string.h>

typedef enum step_kind { STEP_SET, STEP_FORK, STEP_ASSERT, STEP_MATCH } step_kind;

typedef struct step {
  step_kind kind;
  tsr_pattern_kind assertion;
  uint32_t next, other; /* FORK: both */
  const tsr_char_set *set;
  uint64_t ascii[2]; /* the set's members below 128 */
} step;

typedef struct thread_list {
  uint32_t *steps; /* of kinds SET and MATCH */
  uint32_t count;
} thread_list;

struct tsr_pattern {
  step *steps;
  uint32_t count, room, start;
  uint32_t *marks; /* per step: the turn that put it into the list */
  uint32_t turn;
  uint32_t *waiting; /* steps to look at: at most two per step */
  thread_list now, then;
};

typedef struct emitter {
  tsr_pattern *program;
  tsr_arena *arena;
  tsr_status status;
} emitter;

static uint32_t add_step(emitter *e, step made) {
  tsr_pattern *program = e->program;
  if (program->count >= TSR_PATTERN_PROGRAM_LIMIT && e->status == TSR_OK)
    e->status = TSR_ERR_LIMIT;
  if (e->status != TSR_OK)
    return 0;
  if (program->count == program->room) {
    uint32_t room = program->room > 0 ? 2 * program->room : 32;
    step *steps = tsr_arena_alloc_array(e->arena, room, sizeof *steps);
    if (!steps) {
      e->status = TSR_ERR_OUT_OF_MEMORY;
      return 0;
    }
    if (program->count > 0)
      memcpy(steps, program->steps, program->count * sizeof *steps);
    program->steps = steps;
    program->room = room;
  }
  program->steps[program->count] = made;
  return program->count++;
}

static uint32_t emit(emitter *e, const tsr_pattern_node *node, uint32_t next);

static uint32_t emit_set(emitter *e, const tsr_char_set *set, uint32_t next) {
  step made = {.kind = STEP_SET, .next = next, .set = set};
  for (uint32_t i = 0; i < set->count; i++)
    for (uint32_t c = set->spans[i].lo; c <= set->spans[i].hi && c < 128; c++)
      made.ascii[c / 64] |= (uint64_t)1 << c % 64;
  return add_step(e, made);
}

static uint32_t branch(emitter *e, uint32_t next, uint32_t other) {
  return add_step(e, (step){.kind = STEP_FORK, .next = next, .other = other});
}

/* From the last child to the first. */
static uint32_t emit_sequence(emitter *e, const tsr_pattern_node *node, uint32_t next) {
  size_t count = 0;
  for (const tsr_pattern_node *child = node->first; child; child = child->next)
    count++;
  const tsr_pattern_node **children = tsr_arena_alloc_array(e->arena, count, sizeof *children);
  if (!children) {
    e->status = TSR_ERR_OUT_OF_MEMORY;
    return 0;
  }
  count = 0;
  for (const tsr_pattern_node *child = node->first; child; child = child->next)
    children[count++] = child;
  while (count > 0 && e->status == TSR_OK)
    next = emit(e, children[--count], next);
  return next;
}

static uint32_t emit_choice(emitter *e, const tsr_pattern_node *node, uint32_t next) {
  uint32_t all = emit(e, node->first, next);
  for (const tsr_pattern_node *child = node->first->next; child && e->status == TSR_OK;
       child = child->next)
    all = branch(e, all, emit(e, child, next));
  return all;
}

static uint32_t emit_repeat(emitter *e, const tsr_pattern_node *node, uint32_t next) {
  uint32_t at = next;
  if (node->most == UINT32_MAX) {
    at = branch(e, 0, next);
    uint32_t body = emit(e, node->first, at);
    if (e->status == TSR_OK)
      e->program->steps[at].next = body;
  }
  for (uint32_t i = node->least; node->most != UINT32_MAX && i < node->most; i++) {
    if (e->status != TSR_OK)
      return 0;
    at = branch(e, emit(e, node->first, at), next);
  }
  for (uint32_t i = 0; i < node->least && e->status == TSR_OK; i++)
    at = emit(e, node->first, at);
  return at;
}

/* The steps for `node` followed by those at `next`: where they begin. */
static uint32_t emit(emitter *e, const tsr_pattern_node *node, uint32_t next) {
  if (e->status != TSR_OK)
    return 0;
  switch (node->kind) {
  case TSR_PATTERN_EMPTY:
    return next;
  case TSR_PATTERN_SET:
    return emit_set(e, &node->set, next);
  case TSR_PATTERN_SEQUENCE:
    return emit_sequence(e, node, next);
  case TSR_PATTERN_CHOICE:
    return emit_choice(e, node, next);
  case TSR_PATTERN_REPEAT:
    return emit_repeat(e, node, next);
  default:
    return add_step(e, (step){.kind = STEP_ASSERT, .assertion = node->kind, .next = next});
  }
}

tsr_status tsr_pattern_compile(const char *pattern, tsr_arena *arena, tsr_diag *diag,
                               tsr_pattern **out_pattern) {
  tsr_pattern_node *root;
  *out_pattern = NULL;
  if (strlen(pattern) > 4 * (size_t)TSR_PATTERN_PROGRAM_LIMIT)
    return tsr_fail(diag, TSR_ERR_LIMIT, "a regular expression of %zu bytes", strlen(pattern));
  TSR_TRY(tsr_pattern_parse(pattern, arena, diag, &root));
  tsr_pattern *made = tsr_arena_alloc(arena, sizeof *made);
  if (!made)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory in a regular expression");
  emitter e = {.program = made, .arena = arena};
  made->start = emit(&e, root, add_step(&e, (step){.kind = STEP_MATCH}));
  if (e.status == TSR_OK) {
    made->marks = tsr_arena_alloc_array(arena, made->count, sizeof *made->marks);
    made->waiting = tsr_arena_alloc_array(arena, 2 * (size_t)made->count + 1, sizeof(uint32_t));
    made->now.steps = tsr_arena_alloc_array(arena, made->count, sizeof(uint32_t));
    made->then.steps = tsr_arena_alloc_array(arena, made->count, sizeof(uint32_t));
    if (!made->marks || !made->waiting || !made->now.steps || !made->then.steps)
      e.status = TSR_ERR_OUT_OF_MEMORY;
  }
  if (e.status == TSR_ERR_LIMIT)
    return tsr_fail(diag, e.status, "regular expression '%.300s' takes more than %d steps", pattern,
                    TSR_PATTERN_PROGRAM_LIMIT);
  if (e.status != TSR_OK)
    return tsr_fail(diag, e.status, "out of memory in a regular expression");
  *out_pattern = made;
  return TSR_OK;
}

/* --- running --- */

/* Neighbours of a position; there is no character at either end of the text. */
#define NO_CHAR (UINT32_MAX - 1)

static bool is_word(uint32_t c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

static bool asserts(tsr_pattern_kind kind, uint32_t before, uint32_t behind) {
  switch (kind) {
  case TSR_PATTERN_TEXT_BEGIN:
    return before == NO_CHAR;
  case TSR_PATTERN_TEXT_END:
    return behind == NO_CHAR;
  case TSR_PATTERN_LINE_BEGIN:
    return before == NO_CHAR || before == '\n';
  case TSR_PATTERN_LINE_END:
    return behind == NO_CHAR || behind == '\n';
  case TSR_PATTERN_WORD_EDGE:
    return is_word(before) != is_word(behind);
  default:
    return is_word(before) == is_word(behind);
  }
}

static bool step_takes(const step *s, uint32_t c) {
  if (c < 128)
    return (s->ascii[c / 64] >> c % 64 & 1) != 0;
  uint32_t lo = 0, hi = s->set->count;
  while (lo < hi) {
    uint32_t middle = (lo + hi) / 2;
    if (s->set->spans[middle].hi < c)
      lo = middle + 1;
    else
      hi = middle;
  }
  return lo < s->set->count && s->set->spans[lo].lo <= c && c <= TSR_CHAR_MAX;
}

/* Puts what can be reached from `from` without a character into the list, each step once a turn. */
static void reach(tsr_pattern *program, thread_list *list, uint32_t from, uint32_t before,
                  uint32_t behind) {
  uint32_t waiting = 0;
  program->waiting[waiting++] = from;
  while (waiting > 0) {
    uint32_t at = program->waiting[--waiting];
    if (program->marks[at] == program->turn)
      continue;
    program->marks[at] = program->turn;
    const step *s = &program->steps[at];
    if (s->kind == STEP_FORK) {
      program->waiting[waiting++] = s->next;
      program->waiting[waiting++] = s->other;
    } else if (s->kind != STEP_ASSERT)
      list->steps[list->count++] = at;
    else if (asserts(s->assertion, before, behind))
      program->waiting[waiting++] = s->next;
  }
}

static void next_turn(tsr_pattern *program) {
  if (++program->turn == 0) {
    memset(program->marks, 0, program->count * sizeof *program->marks);
    program->turn = 1;
  }
}

bool tsr_pattern_matches(tsr_pattern *program, const char *text, size_t length) {
  size_t at = 0;
  uint32_t before = NO_CHAR, c = length > 0 ? tsr_char_decode(text, length, &at) : NO_CHAR;
  program->now.count = 0;
  next_turn(program);
  reach(program, &program->now, program->start, before, c);
  while (c != NO_CHAR && program->now.count > 0) {
    uint32_t behind = at < length ? tsr_char_decode(text, length, &at) : NO_CHAR;
    program->then.count = 0;
    next_turn(program);
    for (uint32_t i = 0; i < program->now.count; i++) {
      const step *s = &program->steps[program->now.steps[i]];
      if (s->kind == STEP_SET && step_takes(s, c))
        reach(program, &program->then, s->next, c, behind);
    }
    thread_list held = program->now;
    program->now = program->then;
    program->then = held;
    before = c;
    c = behind;
  }
  for (uint32_t i = 0; i < program->now.count; i++)
    if (program->steps[program->now.steps[i]].kind == STEP_MATCH)
      return c == NO_CHAR;
  return false;
}

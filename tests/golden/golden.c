// Runner of golden tests: text files that say how they are run and what has to come out.
//
//   // RUN: COMMAND        runs COMMAND with sh; it must end with status 0
//   // FAIL: COMMAND       the same, but status 1 and a first line "error: ..." are demanded
//
// %s stands for the file, %d for its folder, %t for a scratch path. stdout and stderr are read as
// one. What follows a command, up to the next one, says what its output must be:
//
//   // CHECK: TEXT         a line at or below the last match contains TEXT; {{...}} is an extended
//   regular expression
//   // CHECK-NEXT: TEXT    the line right below the last match contains TEXT
//   // CHECK-NOT: TEXT     no line between the last match and the next one (or the end) contains
//   TEXT
//   // ROUNDTRIP           the whole output equals this file, comments and blank lines left out
//   //> TEXT               the whole output equals these lines
//
// A file with ROUNDTRIP and no command at all is run as "tessera opt %s".
//
// Runs of blanks count as one blank in CHECK lines. With --update, "//>" lines and the bodies of
// ROUNDTRIP files that differ are rewritten from what the commands print now.
#include <errno.h>
#include <regex.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct lines {
  char **at;
  size_t count;
} lines;

typedef struct golden {
  const char *path;
  char *folder;
  char *scratch;
  lines text;
  bool update;
  bool changed;
  int failures;
} golden;

static void *checked(void *pointer) {
  if (pointer == NULL) {
    fprintf(stderr, "golden: out of memory\n");
    exit(2);
  }
  return pointer;
}

static void lines_add(lines *list, const char *text, size_t length) {
  list->at = checked(realloc(list->at, (list->count + 1) * sizeof *list->at));
  list->at[list->count++] = checked(strndup(text, length));
}

static void lines_free(lines *list) {
  for (size_t i = 0; i < list->count; i++)
    free(list->at[i]);
  free(list->at);
  *list = (lines){0};
}

static char *read_stream(FILE *stream) {
  size_t size = 0, room = 4096;
  char *data = checked(malloc(room));
  for (;;) {
    size_t got = fread(data + size, 1, room - size - 1, stream);
    if (got == 0)
      break;
    size += got;
    if (size + 1 >= room)
      data = checked(realloc(data, room *= 2));
  }
  data[size] = '\0';
  return data;
}

static lines split(const char *text) {
  lines list = {0};
  while (*text != '\0') {
    size_t length = strcspn(text, "\n");
    lines_add(&list, text, length);
    text += length + (text[length] == '\n');
  }
  return list;
}

static bool starts_with(const char *text, const char *prefix) {
  return strncmp(text, prefix, strlen(prefix)) == 0;
}

static const char *after(const char *text, const char *prefix) {
  if (!starts_with(text, prefix))
    return NULL;
  text += strlen(prefix);
  return text + strspn(text, " ");
}

static bool is_command(const char *line) {
  return after(line, "// RUN:") != NULL || after(line, "// FAIL:") != NULL;
}

__attribute__((format(printf, 3, 4))) static void fail(golden *test, size_t line,
                                                       const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  printf("%s:%zu: ", test->path, line + 1);
  vprintf(format, arguments);
  putchar('\n');
  va_end(arguments);
  test->failures++;
}

static void show(const lines *output) {
  printf("---- output\n");
  for (size_t i = 0; i < output->count; i++)
    printf("%4zu  %s\n", i + 1, output->at[i]);
  printf("----\n");
}

static char *append(char *text, const char *more, size_t length) {
  size_t size = strlen(text);
  text = checked(realloc(text, size + length + 1));
  memcpy(text + size, more, length);
  text[size + length] = '\0';
  return text;
}

static char *substitute(const golden *test, const char *command) {
  char *result = checked(strdup(""));
  while (*command != '\0') {
    const char *value = NULL;
    if (starts_with(command, "%s"))
      value = test->path;
    else if (starts_with(command, "%d"))
      value = test->folder;
    else if (starts_with(command, "%t"))
      value = test->scratch;
    if (value != NULL) {
      result = append(result, value, strlen(value));
      command += 2;
    } else {
      result = append(result, command++, 1);
    }
  }
  return result;
}

// Runs the command of one line and returns its exit status, 128 + N for signal N.
static int run_command(const golden *test, const char *command, lines *out_output) {
  char *text = substitute(test, command);
  char *script = checked(strdup("{ "));
  script = append(script, text, strlen(text));
  script = append(script, "\n} 2>&1", 7);
  fflush(NULL);
  FILE *stream = popen(script, "r");
  char *output = stream == NULL ? checked(strdup("")) : read_stream(stream);
  int status = stream == NULL ? -1 : pclose(stream);
  *out_output = split(output);
  free(output);
  free(script);
  free(text);
  if (status == -1)
    return 127;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static char *squeeze(const char *text) {
  char *result = checked(malloc(strlen(text) + 1));
  size_t size = 0;
  for (; *text != '\0'; text++) {
    bool blank = *text == ' ' || *text == '\t';
    if (!blank || (size > 0 && result[size - 1] != ' '))
      result[size++] = blank ? ' ' : *text;
  }
  while (size > 0 && result[size - 1] == ' ')
    size--;
  result[size] = '\0';
  return result;
}

// Turns the text of a CHECK line into an extended regular expression: literal outside of {{ }}.
static char *to_regex(const char *text) {
  char *result = checked(strdup(""));
  while (*text != '\0') {
    const char *end = starts_with(text, "{{") ? strstr(text, "}}") : NULL;
    if (end != NULL) {
      result = append(result, "(", 1);
      result = append(result, text + 2, (size_t)(end - text) - 2);
      result = append(result, ")", 1);
      text = end + 2;
    } else {
      if (strchr("\\^$.[]|()*+?{}", *text) != NULL)
        result = append(result, "\\", 1);
      result = append(result, text++, 1);
    }
  }
  return result;
}

// Returns the first line in [from, to) that the pattern occurs in, or to.
static size_t find(golden *test, size_t line, const char *pattern, const lines *output, size_t from,
                   size_t to) {
  char *squeezed = squeeze(pattern);
  char *expression = to_regex(squeezed);
  regex_t regex;
  if (*squeezed == '\0' || regcomp(&regex, expression, REG_EXTENDED | REG_NOSUB) != 0) {
    fail(test, line, "the pattern is empty or not a regular expression: %s", pattern);
    from = to;
  } else {
    for (; from < to; from++) {
      char *candidate = squeeze(output->at[from]);
      bool found = regexec(&regex, candidate, 0, NULL, 0) == 0;
      free(candidate);
      if (found)
        break;
    }
    regfree(&regex);
  }
  free(expression);
  free(squeezed);
  return from;
}

// Fails when a CHECK-NOT pattern of lines [first, last) occurs in output lines [from, to).
static void check_absent(golden *test, size_t first, size_t last, const lines *output, size_t from,
                         size_t to) {
  for (size_t i = first; i < last; i++) {
    const char *pattern = after(test->text.at[i], "// CHECK-NOT:");
    if (pattern == NULL)
      continue;
    size_t at = find(test, i, pattern, output, from, to);
    if (at < to)
      fail(test, i, "must not occur, but does in output line %zu: %s", at + 1, output->at[at]);
  }
}

// Checks the CHECK lines in [first, last) of the file; returns how many there were.
static int check_patterns(golden *test, size_t first, size_t last, const lines *output) {
  int patterns = 0;
  size_t position = 0, absent_from = first;
  for (size_t i = first; i < last; i++) {
    const char *line = test->text.at[i];
    patterns += after(line, "// CHECK-NOT:") != NULL;
    const char *any = after(line, "// CHECK:");
    const char *next = after(line, "// CHECK-NEXT:");
    if (any == NULL && next == NULL)
      continue;
    patterns++;
    size_t limit = output->count;
    if (next != NULL && position < limit)
      limit = position + 1;
    size_t at = find(test, i, any != NULL ? any : next, output, position, limit);
    if (at >= limit) {
      fail(test, i, "not found %s: %s", next != NULL ? "on the next line" : "in the output",
           any != NULL ? any : next);
      continue;
    }
    check_absent(test, absent_from, i, output, position, at);
    absent_from = i + 1;
    position = at + 1;
  }
  check_absent(test, absent_from, last, output, position, output->count);
  return patterns;
}

// Cuts a comment, unless it stands in a string, and the blanks before it.
static char *without_comment(const char *line) {
  size_t length = 0;
  bool quoted = false;
  for (; line[length] != '\0'; length++) {
    if (quoted && line[length] == '\\' && line[length + 1] != '\0')
      length++;
    else if (line[length] == '"')
      quoted = !quoted;
    else if (!quoted && starts_with(line + length, "//"))
      break;
  }
  while (length > 0 && (line[length - 1] == ' ' || line[length - 1] == '\t'))
    length--;
  return checked(strndup(line, length));
}

static lines without_comments(const lines *text) {
  lines result = {0};
  for (size_t i = 0; i < text->count; i++) {
    char *line = without_comment(text->at[i]);
    if (*line != '\0')
      lines_add(&result, line, strlen(line));
    free(line);
  }
  return result;
}

static bool same_lines(const lines *a, const lines *b, size_t *out_line) {
  size_t i = 0;
  while (i < a->count && i < b->count && strcmp(a->at[i], b->at[i]) == 0)
    i++;
  *out_line = i;
  return i == a->count && i == b->count;
}

static const char *line_or_end(const lines *text, size_t line) {
  return line < text->count ? text->at[line] : "(end)";
}

// Keeps the comments and blank lines above the first line of IR and puts the output below them.
static void replace_body(golden *test, const lines *output) {
  lines text = {0};
  for (size_t i = 0; i < test->text.count; i++) {
    const char *line = test->text.at[i];
    if (*line != '\0' && !starts_with(line, "//"))
      break;
    lines_add(&text, line, strlen(line));
  }
  for (size_t i = 0; i < output->count; i++)
    lines_add(&text, output->at[i], strlen(output->at[i]));
  lines_free(&test->text);
  test->text = text;
  test->changed = true;
}

static void check_roundtrip(golden *test, size_t line, const lines *output) {
  lines expected = without_comments(&test->text);
  lines actual = without_comments(output);
  size_t at = 0;
  if (!same_lines(&expected, &actual, &at)) {
    if (test->update)
      replace_body(test, output);
    else
      fail(test, line, "the text does not survive:\n  file:   %s\n  output: %s",
           line_or_end(&expected, at), line_or_end(&actual, at));
  }
  lines_free(&expected);
  lines_free(&actual);
}

// Puts the output as "//>" lines in the place of those in [first, last) of the file.
static void replace_expected(golden *test, size_t first, size_t last, const lines *output) {
  lines text = {0};
  bool written = false;
  for (size_t i = 0; i < test->text.count; i++) {
    bool expected = i >= first && i < last && starts_with(test->text.at[i], "//>");
    if (!expected) {
      lines_add(&text, test->text.at[i], strlen(test->text.at[i]));
      continue;
    }
    for (size_t j = 0; j < output->count && !written; j++) {
      char *line = append(checked(strdup(*output->at[j] == '\0' ? "//>" : "//> ")), output->at[j],
                          strlen(output->at[j]));
      lines_add(&text, line, strlen(line));
      free(line);
    }
    written = true;
  }
  lines_free(&test->text);
  test->text = text;
  test->changed = true;
}

// Compares the output with the "//>" lines in [first, last); returns whether there are any.
static bool check_whole(golden *test, size_t first, size_t last, const lines *output) {
  lines expected = {0};
  for (size_t i = first; i < last; i++) {
    const char *line = test->text.at[i];
    if (starts_with(line, "//>")) {
      line += line[3] == ' ' ? 4 : 3;
      lines_add(&expected, line, strlen(line));
    }
  }
  size_t at = 0;
  bool any = expected.count > 0;
  if (any && !same_lines(&expected, output, &at)) {
    if (test->update)
      replace_expected(test, first, last, output);
    else
      fail(test, first, "output line %zu differs:\n  expected: %s\n  output:   %s", at + 1,
           line_or_end(&expected, at), line_or_end(output, at));
  }
  lines_free(&expected);
  return any;
}

static bool has_line(const golden *test, size_t first, size_t last, const char *line) {
  for (size_t i = first; i < last; i++) {
    if (strcmp(test->text.at[i], line) == 0)
      return true;
  }
  return false;
}

// Runs the command on line `at`, or opt for a ROUNDTRIP there; returns the line of the next
// command.
static size_t run_one(golden *test, size_t at) {
  size_t end = at + 1;
  while (end < test->text.count && !is_command(test->text.at[end]))
    end++;
  const char *fails = after(test->text.at[at], "// FAIL:");
  const char *command = fails != NULL ? fails : after(test->text.at[at], "// RUN:");
  int wanted = fails != NULL;
  if (command == NULL)
    command = "tessera opt %s";
  lines output;
  int status = run_command(test, command, &output);
  int before = test->failures;
  size_t length = test->text.count;
  bool roundtrip = has_line(test, at, end, "// ROUNDTRIP");
  if (status != wanted)
    fail(test, at, "exit status %d, not %d", status, wanted);
  else if (wanted == 1 && (output.count == 0 || !starts_with(output.at[0], "error: ")))
    fail(test, at, "the first line of the output is not an 'error: ' line");
  else {
    bool checked_any = check_patterns(test, at + 1, end, &output) > 0;
    checked_any |= check_whole(test, at + 1, end, &output);
    if (roundtrip)
      check_roundtrip(test, at, &output);
    else if (!checked_any)
      fail(test, at, "nothing is checked after this command");
  }
  if (test->failures > before)
    show(&output);
  lines_free(&output);
  return end + test->text.count - length;
}

// The line of the first command, or of ROUNDTRIP where there is none, or the number of lines.
static size_t first_command(const lines *text) {
  size_t roundtrip = text->count;
  for (size_t i = 0; i < text->count; i++) {
    if (is_command(text->at[i]))
      return i;
    if (roundtrip == text->count && strcmp(text->at[i], "// ROUNDTRIP") == 0)
      roundtrip = i;
  }
  return roundtrip;
}

static void write_back(golden *test) {
  FILE *file = fopen(test->path, "w");
  if (file == NULL) {
    fail(test, 0, "cannot be rewritten: %s", strerror(errno));
    return;
  }
  for (size_t i = 0; i < test->text.count; i++)
    fprintf(file, "%s\n", test->text.at[i]);
  if (fclose(file) != 0)
    fail(test, 0, "cannot be rewritten: %s", strerror(errno));
  else
    printf("%s: rewritten\n", test->path);
}

static int run_file(const char *path, bool update) {
  golden test = {.path = path, .update = update};
  FILE *file = fopen(path, "r");
  if (file == NULL) {
    printf("%s: %s\n", path, strerror(errno));
    return 1;
  }
  char *text = read_stream(file);
  fclose(file);
  test.text = split(text);
  free(text);
  const char *slash = strrchr(path, '/');
  test.folder =
      slash == NULL ? checked(strdup(".")) : checked(strndup(path, (size_t)(slash - path)));
  const char *base = getenv("TMPDIR");
  char scratch[4096];
  snprintf(scratch, sizeof scratch, "%s/tessera-golden-XXXXXX", base != NULL ? base : "/tmp");
  test.scratch = mkdtemp(scratch) == NULL ? NULL : append(checked(strdup(scratch)), "/t", 2);
  size_t first = first_command(&test.text);
  for (size_t i = first; i < test.text.count && test.scratch != NULL;)
    i = run_one(&test, i);
  if (first == test.text.count)
    fail(&test, 0, "no RUN or FAIL line was run");
  if (test.changed && test.failures == 0)
    write_back(&test);
  if (test.scratch != NULL) {
    char *remove = append(checked(strdup("rm -rf ")), scratch, strlen(scratch));
    if (system(remove) != 0)
      printf("%s: left behind\n", scratch);
    free(remove);
  }
  lines_free(&test.text);
  free(test.folder);
  free(test.scratch);
  return test.failures > 0;
}

static void prepend_path(const char *folder) {
  const char *old = getenv("PATH");
  char *path = append(checked(strdup(folder)), ":", 1);
  path = append(path, old != NULL ? old : "/usr/bin:/bin",
                strlen(old != NULL ? old : "/usr/bin:/bin"));
  setenv("PATH", path, 1);
  free(path);
}

int main(int argc, char **argv) {
  bool update = false;
  int failed = 0, files = 0;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--update") == 0) {
      update = true;
    } else if (strcmp(argv[i], "--bin") == 0 && i + 1 < argc) {
      prepend_path(argv[++i]);
    } else {
      files++;
      failed += run_file(argv[i], update);
    }
  }
  if (files == 0) {
    fprintf(stderr, "usage: golden [--update] [--bin FOLDER] FILE...\n");
    return 2;
  }
  return failed > 0;
}

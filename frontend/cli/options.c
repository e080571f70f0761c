#include "frontend/cli/options.h"
#include "runtime/pool.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/version.h>

static const struct command {
  const char *name;
  int (*run)(const tsr_cli_args *args);
  const char *arguments;
  int fewest, most;
  const char *summary;
} commands[] = {
#define COMMAND(id, text, function, arguments, fewest, most, summary)                              \
  {text, function, arguments, fewest, most, summary},
    TSR_CLI_COMMAND_LIST(COMMAND)
#undef COMMAND
};

static const struct option {
  const char *name, *value;
  tsr_cli_kind kind;
  unsigned commands;
  const char *help;
} options[] = {
#define OPTION(id, name, value, kind, commands, help) {name, value, TSR_CLI_##kind, commands, help},
    TSR_CLI_OPTION_LIST(OPTION)
#undef OPTION
};

static void print_error(const char *format, va_list arguments) {
  fputs("error: ", stderr);
  vfprintf(stderr, format, arguments);
  putc('\n', stderr);
}

int tsr_cli_usage(const tsr_cli_args *args, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  print_error(format, arguments);
  va_end(arguments);
  if (args == NULL)
    fputs("see tessera --help\n", stderr);
  else
    fprintf(stderr, "see tessera %s --help\n", commands[args->command].name);
  return TSR_EXIT_USAGE;
}

int tsr_cli_bad(const tsr_diag *diag) {
  char text[2048];
  tsr_diag_format(diag, text, sizeof text);
  fprintf(stderr, "error: %s\n", text);
  bool option = diag->status == TSR_ERR_ARGUMENT && diag->file[0] == '\0';
  return option ? TSR_EXIT_USAGE : TSR_EXIT_BAD;
}

static void print_rows_start(const char *left, int width) {
  printf("  %-*s  ", width, left);
}

static int print_manual(void) {
  puts("usage: tessera COMMAND ...\n");
  for (int i = 0; i < TSR_COMMAND_COUNT; i++) {
    print_rows_start(commands[i].name, 8);
    puts(commands[i].summary);
  }
  puts("\nMODEL is an ONNX file, or a graph in Tessera's own text when its name ends in .tsr;\n"
       "OUT.tsm is a module that 'tessera compile' wrote. 'tessera COMMAND --help' lists options.\n"
       "Exit status: 0 fine, 1 the input or the result is bad, 2 wrong usage.\n"
       "\ntessera " TSR_VERSION_TEXT);
  return TSR_EXIT_FINE;
}

static int print_command_manual(tsr_cli_command_id id) {
  const struct command *command = &commands[id];
  printf("usage: tessera %s%s%s [OPTION...]\n\n%s\n\n", command->name,
         *command->arguments != '\0' ? " " : "", command->arguments, command->summary);
  for (int i = 0; i < TSR_OPTION_COUNT; i++) {
    if ((options[i].commands & 1u << id) == 0)
      continue;
    char left[64];
    snprintf(left, sizeof left, "%s %s", options[i].name,
             options[i].value != NULL ? options[i].value : "");
    print_rows_start(left, 22);
    puts(options[i].help);
  }
  return TSR_EXIT_FINE;
}

static int find_command(const char *name) {
  for (int i = 0; i < TSR_COMMAND_COUNT; i++) {
    if (strcmp(commands[i].name, name) == 0)
      return i;
  }
  return -1;
}

/* The option that `text` names, up to its end or a '='. */
static int find_option(const char *text, tsr_cli_command_id command) {
  size_t length = strcspn(text, "=");
  for (int i = 0; i < TSR_OPTION_COUNT; i++) {
    if ((options[i].commands & 1u << command) != 0 && strlen(options[i].name) == length &&
        memcmp(options[i].name, text, length) == 0)
      return i;
  }
  return -1;
}

static bool is_count(const char *text) {
  char *end;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0 && value >= 0;
}

/* Takes the option at argv[*at] and its value; moves *at to the last word taken. */
static int parse_option(tsr_cli_args *args, int argc, char **argv, int *at) {
  const char *text = argv[*at];
  int id = find_option(text, args->command);
  if (id < 0)
    return tsr_cli_usage(args, "unknown option '%s'", text);
  const struct option *option = &options[id];
  const char *value = strchr(text, '=');
  if (value != NULL)
    value++;
  if (option->kind == TSR_CLI_FLAG) {
    if (value != NULL)
      return tsr_cli_usage(args, "%s takes no value", option->name);
  } else if (value == NULL) {
    if (*at + 1 == argc)
      return tsr_cli_usage(args, "%s needs a value: %s", option->name, option->value);
    value = argv[++*at];
  }
  if (option->kind == TSR_CLI_COUNT && !is_count(value))
    return tsr_cli_usage(args, "%s needs a number, not '%s'", option->name, value);
  if (id == TSR_OPTION_THREADS && strtoll(value, NULL, 10) > TSR_POOL_MAX_THREADS)
    return tsr_cli_usage(args, "%s is at most %d, not '%s'", option->name, TSR_POOL_MAX_THREADS,
                         value);
  args->given[args->given_count++] = (tsr_cli_given){(tsr_cli_option_id)id, value};
  return TSR_EXIT_FINE;
}

static int parse(tsr_cli_args *args, int argc, char **argv) {
  const struct command *command = &commands[args->command];
  bool options_end = false;
  for (int i = 2; i < argc; i++) {
    if (!options_end && strcmp(argv[i], "--") == 0) {
      options_end = true;
    } else if (options_end || argv[i][0] != '-' || argv[i][1] == '\0') {
      args->positional[args->positional_count++] = argv[i];
    } else {
      int status = parse_option(args, argc, argv, &i);
      if (status != TSR_EXIT_FINE)
        return status;
    }
  }
  if (tsr_cli_has(args, TSR_OPTION_HELP))
    return TSR_EXIT_FINE;
  if (args->positional_count < command->fewest)
    return tsr_cli_usage(args, "%s is missing", command->arguments);
  int most = command->fewest > 0 && command->most == 0 ? argc : command->most;
  if (args->positional_count > most)
    return tsr_cli_usage(args, "unexpected argument '%s'", args->positional[most]);
  return TSR_EXIT_FINE;
}

static int run_command(int argc, char **argv) {
  if (argc < 2)
    return tsr_cli_usage(NULL, "no command is given");
  if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
    return print_manual();
  if (strcmp(argv[1], "--version") == 0) {
    printf("tessera %s\n", tsr_version_text());
    return TSR_EXIT_FINE;
  }
  int id = find_command(argv[1]);
  if (id < 0)
    return tsr_cli_usage(NULL, "unknown command '%s'", argv[1]);
  tsr_cli_args args = {.command = (tsr_cli_command_id)id};
  args.positional = calloc((size_t)argc, sizeof *args.positional);
  args.given = calloc((size_t)argc, sizeof *args.given);
  int status = TSR_EXIT_BAD;
  if (args.positional == NULL || args.given == NULL)
    fputs("error: out of memory\n", stderr);
  else
    status = parse(&args, argc, argv);
  if (status == TSR_EXIT_FINE)
    status = tsr_cli_has(&args, TSR_OPTION_HELP) ? print_command_manual(args.command)
                                                 : commands[id].run(&args);
  free(args.positional);
  free(args.given);
  return status;
}

int tsr_cli_main(int argc, char **argv) {
  int status = run_command(argc, argv);
  if (status == TSR_EXIT_FINE && (fflush(stdout) != 0 || ferror(stdout) != 0)) {
    fprintf(stderr, "error: standard output: %s\n", strerror(errno));
    status = TSR_EXIT_BAD;
  }
  return status;
}

bool tsr_cli_has(const tsr_cli_args *args, tsr_cli_option_id option) {
  int position = 0;
  for (; position < args->given_count; position++) {
    if (args->given[position].option == option)
      return true;
  }
  return false;
}

const char *tsr_cli_text(const tsr_cli_args *args, tsr_cli_option_id option, const char *fallback) {
  for (int i = args->given_count; i-- > 0;) {
    if (args->given[i].option == option)
      return args->given[i].value;
  }
  return fallback;
}

int64_t tsr_cli_count(const tsr_cli_args *args, tsr_cli_option_id option, int64_t fallback) {
  const char *text = tsr_cli_text(args, option, NULL);
  return text == NULL ? fallback : strtoll(text, NULL, 10);
}

const char *tsr_cli_next(const tsr_cli_args *args, tsr_cli_option_id option, int *position) {
  while (*position < args->given_count) {
    const tsr_cli_given *given = &args->given[(*position)++];
    if (given->option == option)
      return given->value;
  }
  return NULL;
}

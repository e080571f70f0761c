#include "tuner/process.h"
#include "runtime/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* --- children --- */

/* Bytes of this process; false: the system does not say. */
static bool sizes(uint64_t *out_address_space, uint64_t *out_resident) {
  const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
  char text[128] = "", *end;
  *out_address_space = *out_resident = 0;
  const int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return false;
  const ssize_t got = read(fd, text, sizeof text - 1);
  close(fd);
  if (got <= 0)
    return false;
  *out_address_space = strtoull(text, &end, 10) * page;
  *out_resident = strtoull(end, NULL, 10) * page;
  return true;
}

static void limit_memory(uint64_t bytes) {
  uint64_t have, resident;
  struct rlimit limit;
  if (!sizes(&have, &resident) || bytes == 0 || getrlimit(RLIMIT_AS, &limit) != 0)
    return;
  if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > have + bytes)
    limit.rlim_cur = have + bytes;
  (void)setrlimit(RLIMIT_AS, &limit);
}

/* Whatever the parent does with signals, the child does the usual; a terminal's interrupt is for
 * the parent to act on. */
static void usual_signals(void) {
  static const int usual[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTERM, SIGPIPE, SIGCHLD};
  sigset_t none;
  for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
    signal(usual[i], SIG_DFL);
  signal(SIGINT, SIG_IGN);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

static void leave_the_terminal(void) {
  const int nothing = open("/dev/null", O_RDWR);
  if (nothing < 0)
    return;
  for (int fd = 0; fd < 3; fd++)
    (void)dup2(nothing, fd);
  if (nothing > 2)
    close(nothing);
}

tsr_status tsr_child_start(void (*run)(void *context, int fd), void *context, uint64_t memory_bytes,
                           int close_fd, tsr_diag *diag, tsr_child *out_child) {
  int ends[2];
  uint64_t have, resident;
  const pid_t parent = getpid();
  *out_child = (tsr_child){.fd = -1};
  if (pipe2(ends, O_CLOEXEC) != 0)
    return tsr_fail(diag, TSR_ERR_IO, "no pipe for a child process: %s", strerror(errno));
  (void)sizes(&have, &resident);
  const pid_t pid = fork();
  if (pid < 0) {
    const int error = errno;
    close(ends[0]);
    close(ends[1]);
    return tsr_fail(diag, TSR_ERR_IO, "no child process: %s", strerror(error));
  }
  if (pid == 0) {
    const struct rlimit no_core = {0, 0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
      _exit(1);
    close(ends[0]);
    if (close_fd >= 0)
      close(close_fd);
    usual_signals();
    leave_the_terminal();
    (void)setrlimit(RLIMIT_CORE, &no_core);
    limit_memory(memory_bytes);
    run(context, ends[1]);
    _exit(0);
  }
  close(ends[1]);
  *out_child = (tsr_child){.pid = pid, .fd = ends[0], .resident_bytes = resident};
  return TSR_OK;
}

tsr_child_event tsr_child_read(const tsr_child *child, void *to, size_t size, int64_t deadline_ns,
                               bool (*stop)(void *context), void *stop_context) {
  enum { SLICE_MS = 50 };
  size_t got = 0;
  while (got < size) {
    const int64_t left = deadline_ns - tsr_time_ns();
    struct pollfd wanted = {.fd = child->fd, .events = POLLIN};
    if (stop != NULL && stop(stop_context))
      return TSR_CHILD_STOPPED;
    if (left <= 0)
      return TSR_CHILD_LATE;
    const int ready =
        poll(&wanted, 1, left / 1000000 < SLICE_MS ? (int)(left / 1000000) + 1 : SLICE_MS);
    if (ready <= 0)
      continue;
    const ssize_t more = read(child->fd, (char *)to + got, size - got);
    if (more == 0 || (more < 0 && errno != EINTR && errno != EAGAIN))
      return TSR_CHILD_ENDED;
    if (more > 0)
      got += (size_t)more;
  }
  return TSR_CHILD_DATA;
}

bool tsr_child_write(int fd, const void *bytes, size_t size) {
  const char *at = bytes;
  while (size > 0) {
    const ssize_t written = write(fd, at, size);
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      return false;
    at += written;
    size -= (size_t)written;
  }
  return true;
}

void tsr_child_finish(tsr_child *child, bool kill_it, tsr_child_end *out_end) {
  struct rusage usage = {0};
  int status = 0;
  pid_t got;
  *out_end = (tsr_child_end){0};
  if (child->pid == 0)
    return;
  if (kill_it)
    (void)kill(child->pid, SIGKILL);
  do {
    got = wait4(child->pid, &status, 0, &usage);
  } while (got < 0 && errno == EINTR);
  if (got == child->pid) {
    out_end->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    out_end->exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    const uint64_t peak = (uint64_t)usage.ru_maxrss * 1024;
    out_end->peak_bytes = peak > child->resident_bytes ? peak - child->resident_bytes : 0;
  }
  close(child->fd);
  *child = (tsr_child){.fd = -1};
}

/* --- the lock --- */

#define MACHINE_LOCK "/tmp/tessera-measure.lock"

/* Another user's file can be read but not opened for making. */
tsr_status tsr_lock_open(const char *path, tsr_diag *diag, int *out_fd) {
  const int how = O_RDONLY | O_CLOEXEC | O_NOFOLLOW;
  if (path == NULL)
    path = MACHINE_LOCK;
  *out_fd = open(path, how);
  if (*out_fd < 0 && errno == ENOENT) {
    *out_fd = open(path, how | O_CREAT | O_EXCL, 0644);
    if (*out_fd >= 0)
      (void)fchmod(*out_fd, 0644);
    else if (errno == EEXIST)
      *out_fd = open(path, how);
  }
  return *out_fd >= 0 ? TSR_OK
                      : tsr_fail(diag, TSR_ERR_IO,
                                 "the lock that keeps measurements apart, %s, cannot be opened: %s",
                                 path, strerror(errno));
}

bool tsr_lock_take(int fd, tsr_lock_kind kind, bool (*stop)(void *context), void *stop_context) {
  const int wanted = (kind == TSR_LOCK_BUILD ? LOCK_SH : LOCK_EX) | LOCK_NB;
  long pause_ns = 100000;
  while (flock(fd, wanted) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR)
      return true; /* a file system without locks keeps nobody apart */
    if (stop != NULL && stop(stop_context))
      return false;
    nanosleep(&(struct timespec){.tv_nsec = pause_ns}, NULL);
    pause_ns = pause_ns < 10000000 ? pause_ns * 2 : pause_ns;
  }
  return true;
}

void tsr_lock_give(int fd) {
  (void)flock(fd, LOCK_UN);
}

int tsr_memory_file(void) {
  return memfd_create("tessera", MFD_CLOEXEC);
}

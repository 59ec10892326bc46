// Lets calls that change files below a folder fail, or kills the process in one of them.
//
// Loaded by LD_PRELOAD. Calls are counted from `inject_arm` on, and from the given one
// on they fail as on a full disk or a read-only one: all of them, which is what disks do.
// Deleting and renaming need no room; writing to an open file needs no permission.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE = 1, WRITE = 2, CHANGE = 4, SYNC = 8 };

static char folder[PATH_MAX];
static long first = -1;
static atomic_long seen;
static int code, kinds, report = -1;

#define REAL(name) \
  static __typeof__(&name) real; \
  if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

// `number` < 0 counts alone; `error` 0 kills; `where` gets a line at the first failure.
void inject_arm(const char* below, long number, int error, int which, int where) {
  strncpy(folder, below, sizeof folder - 1);
  code = error;
  kinds = which;
  report = where;
  seen = 0;
  first = number;
}

long inject_seen(void) { return seen; }

static long ahead, jumps;
static atomic_long asked;

// The clock is `seconds` ahead, always or, with `every`, in every other so many calls.
void inject_clock(long seconds, long every) {
  ahead = seconds;
  jumps = every;
}

int clock_gettime(clockid_t clock, struct timespec* now) {
  REAL(clock_gettime);
  int result = real(clock, now);
  if (!result && clock == CLOCK_REALTIME && ahead)
    if (!jumps || asked++ / jumps % 2) now->tv_sec += ahead;
  return result;
}

int gettimeofday(struct timeval* now, void* zone) {
  struct timespec exact;
  (void)zone;
  if (clock_gettime(CLOCK_REALTIME, &exact)) return -1;
  now->tv_sec = exact.tv_sec;
  now->tv_usec = exact.tv_nsec / 1000;
  return 0;
}

time_t time(time_t* now) {
  struct timespec exact;
  clock_gettime(CLOCK_REALTIME, &exact);
  if (now) *now = exact.tv_sec;
  return exact.tv_sec;
}

static int below(int at, const char* path) {
  char whole[2 * PATH_MAX], link[64];
  if (path && path[0] == '/') {
    snprintf(whole, sizeof whole, "%s", path);
  } else {
    ssize_t length;
    if (at == AT_FDCWD) {
      length = readlink("/proc/self/cwd", whole, PATH_MAX);
    } else {
      snprintf(link, sizeof link, "/proc/self/fd/%d", at);
      length = readlink(link, whole, PATH_MAX);
    }
    if (length < 0) return 0;
    whole[length] = 0;
    if (path) snprintf(whole + length, sizeof whole - length, "/%s", path);
  }
  size_t length = strlen(folder);
  return !strncmp(whole, folder, length) && (whole[length] == '/' || !whole[length]);
}

// 0: go on; 1: fail; 2: this is the first one to fail.
static int fails(int kind, int at, const char* path, const char* name) {
  if (!folder[0] || !(kinds & kind) || !below(at, path)) return 0;
  long number = seen++;
  if (first < 0 || number < first) return 0;
  if (number > first) return 1;
  if (report >= 0) {
    char link[64], target[PATH_MAX] = "";
    if (!path) {
      snprintf(link, sizeof link, "/proc/self/fd/%d", at);
      if (readlink(link, target, sizeof target - 1) < 0) target[0] = 0;
    }
    const char* shown = path ? path : target;
    if (!strncmp(shown, folder, strlen(folder))) shown += strlen(folder);
    dprintf(report, "%s %s\n", name, shown);
  }
  return 2;
}

static void stop(void) {
  if (!code) kill(getpid(), SIGKILL), pause();
  errno = code;
}

#define FAIL(kind, at, path, result) \
  if (fails(kind, at, path, __func__)) { stop(); return result; }

static int making(int at, const char* path, int flags) {
  if (!(flags & (O_CREAT | O_WRONLY | O_RDWR))) return 0;
  struct stat found;
  if (fstatat(at, path, &found, 0) == 0 && S_ISDIR(found.st_mode)) return 0;
  return 1;
}

#define OPEN(name, at, ...) { \
  int mode = 0; \
  if (flags & (O_CREAT | O_TMPFILE)) { \
    va_list more; va_start(more, flags); mode = va_arg(more, int); va_end(more); \
  } \
  REAL(name); \
  if (making(at, path, flags)) { FAIL(CREATE, at, path, -1) } \
  return real(__VA_ARGS__, flags, mode); }

int open(const char* path, int flags, ...) OPEN(open, AT_FDCWD, path)
int open64(const char* path, int flags, ...) OPEN(open64, AT_FDCWD, path)
int openat(int at, const char* path, int flags, ...) OPEN(openat, at, at, path)
int openat64(int at, const char* path, int flags, ...) OPEN(openat64, at, at, path)

// The first write that fails has written a half: disks fill in the middle.
#define WRITES(name, half, ...) { \
  REAL(name); \
  switch (fails(WRITE, file, NULL, #name)) { \
    case 2: if (size > 1) { ssize_t done = half; if (code) return done; } /* on */ \
    case 1: stop(); return -1; \
  } \
  return real(__VA_ARGS__); }

ssize_t write(int file, const void* data, size_t size)
  WRITES(write, real(file, data, size / 2), file, data, size)
ssize_t pwrite(int file, const void* data, size_t size, off_t from)
  WRITES(pwrite, real(file, data, size / 2, from), file, data, size, from)
ssize_t pwrite64(int file, const void* data, size_t size, off64_t from)
  WRITES(pwrite64, real(file, data, size / 2, from), file, data, size, from)
ssize_t writev(int file, const struct iovec* data, int size)
  WRITES(writev, real(file, data, size / 2), file, data, size)
ssize_t pwritev(int file, const struct iovec* data, int size, off_t from)
  WRITES(pwritev, real(file, data, size / 2, from), file, data, size, from)
ssize_t pwritev64(int file, const struct iovec* data, int size, off64_t from)
  WRITES(pwritev64, real(file, data, size / 2, from), file, data, size, from)

int mkdir(const char* path, mode_t mode) {
  REAL(mkdir); FAIL(CREATE, AT_FDCWD, path, -1) return real(path, mode);
}
int mkdirat(int at, const char* path, mode_t mode) {
  REAL(mkdirat); FAIL(CREATE, at, path, -1) return real(at, path, mode);
}
int rename(const char* from, const char* to) {
  REAL(rename); FAIL(CHANGE, AT_FDCWD, to, -1) return real(from, to);
}
int renameat(int at, const char* from, int there, const char* to) {
  REAL(renameat); FAIL(CHANGE, there, to, -1) return real(at, from, there, to);
}
int unlink(const char* path) {
  REAL(unlink); FAIL(CHANGE, AT_FDCWD, path, -1) return real(path);
}
int unlinkat(int at, const char* path, int flags) {
  REAL(unlinkat); FAIL(CHANGE, at, path, -1) return real(at, path, flags);
}
int rmdir(const char* path) {
  REAL(rmdir); FAIL(CHANGE, AT_FDCWD, path, -1) return real(path);
}
int fsync(int file) {
  REAL(fsync); FAIL(SYNC, file, NULL, -1) return real(file);
}
int fdatasync(int file) {
  REAL(fdatasync); FAIL(SYNC, file, NULL, -1) return real(file);
}
int ftruncate(int file, off_t size) {
  REAL(ftruncate); FAIL(CHANGE, file, NULL, -1) return real(file, size);
}
int ftruncate64(int file, off64_t size) {
  REAL(ftruncate64); FAIL(CHANGE, file, NULL, -1) return real(file, size);
}

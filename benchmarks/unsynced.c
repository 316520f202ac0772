// SPDX-License-Identifier: Apache-2.0
// Preloaded into the service, remembers how to undo every write that no fsync has made durable yet.
//
//   gcc -shared -fPIC -O2 -o unsynced.so unsynced.c -ldl -lpthread
//   UNSYNCED_DIR=/workspace UNSYNCED_LOG=/undo LD_PRELOAD=./unsynced.so ringfence serve
//
// Before a write, pwrite or truncation of a file below UNSYNCED_DIR, the bytes it will cover and the file's size are
// appended to UNSYNCED_LOG/<inode>.undo (UNSYNCED_LOG/<inode>.path names the file). A successful fsync or fdatasync of
// that file empties its log. After kill -9 whatever is in the logs was never durable: applied newest first, it takes
// the file back to what a machine that lost power would find at worst. Not covered: memory-mapped writes (SQLite's
// wal-index is rebuilt anyway) and directory operations (create, rename, unlink count as durable at once).

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST_FDS 65536
#define PIECE (1 << 16)

struct entry {  // followed by n_bytes bytes
  uint64_t magic;
  int64_t old_size, offset, n_bytes;
};
#define MAGIC 0x554e53594e434544ULL

static int log_of[MOST_FDS];  // log descriptor + 1, 0 where the file is not ours
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static const char *below, *logs;

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_close)(int);
static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);

__attribute__((constructor)) static void start(void) {
  real_write = dlsym(RTLD_NEXT, "write");
  real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
  real_writev = dlsym(RTLD_NEXT, "writev");
  real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_close = dlsym(RTLD_NEXT, "close");
  real_open = dlsym(RTLD_NEXT, "open64");
  real_openat = dlsym(RTLD_NEXT, "openat64");
  below = getenv("UNSYNCED_DIR");
  logs = getenv("UNSYNCED_LOG");
}

static void die(const char *what) {  // an undo log with a hole would prove nothing
  fprintf(stderr, "unsynced: %s: %s\n", what, strerror(errno));
  abort();
}

static void append(int log, const void *bytes, size_t n) {
  if (real_write(log, bytes, n) != (ssize_t)n) die("cannot write the undo log");
}

// Remember what [offset, offset + n) and the size are now. The caller holds `turn`.
static void remember(int fd, off_t offset, size_t n) {
  int log = log_of[fd] - 1;
  struct stat found;
  if (fstat(fd, &found) != 0) die("fstat");
  int64_t known = found.st_size > offset ? found.st_size - offset : 0;
  if (known > (int64_t)n) known = (int64_t)n;
  char *whole = malloc(sizeof(struct entry) + (size_t)known);
  if (whole == NULL) die("malloc");
  struct entry head = {MAGIC, found.st_size, offset, known};
  memcpy(whole, &head, sizeof head);
  if (known > 0) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int reader = real_open(path, O_RDONLY | O_CLOEXEC);
    if (reader < 0 || pread(reader, whole + sizeof head, (size_t)known, offset) != known) die("cannot read old bytes");
    real_close(reader);
  }
  if (flock(log, LOCK_EX) != 0) die("flock");
  append(log, whole, sizeof head + (size_t)known);
  flock(log, LOCK_UN);
  free(whole);
}

static void durable(int fd) {
  int log = log_of[fd] - 1;
  if (flock(log, LOCK_EX) != 0) die("flock");
  if (real_ftruncate(log, 0) != 0) die("cannot empty the undo log");
  flock(log, LOCK_UN);
}

static int watched(int fd) { return fd >= 0 && fd < MOST_FDS && log_of[fd] != 0; }

static void watch(int fd) {
  if (below == NULL || logs == NULL || fd < 0 || fd >= MOST_FDS) return;
  log_of[fd] = 0;
  struct stat found;
  if (fstat(fd, &found) != 0 || !S_ISREG(found.st_mode)) return;
  char link[64], path[PATH_MAX], name[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  if (n <= 0) return;
  path[n] = 0;
  size_t length = strlen(below);
  if (strncmp(path, below, length) != 0 || path[length] != '/') return;
  if (n > 4 && strcmp(path + n - 4, "-shm") == 0) return;
  snprintf(name, sizeof name, "%s/%llu.path", logs, (unsigned long long)found.st_ino);
  int names = real_open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (names < 0) die("cannot write the undo log");
  append(names, path, (size_t)n);
  real_close(names);
  snprintf(name, sizeof name, "%s/%llu.undo", logs, (unsigned long long)found.st_ino);
  int log = real_open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log < 0) die("cannot open the undo log");
  log_of[fd] = log + 1;
}

// O_TRUNC is taken out of the open and done by our own ftruncate, which remembers what it cuts off.
static int opened(int fd, int flags) {
  if (fd < 0) return fd;
  watch(fd);
  if (flags & O_TRUNC) {
    struct stat found;
    if (fstat(fd, &found) == 0 && S_ISREG(found.st_mode) && ftruncate(fd, 0) != 0) return -1;
  }
  return fd;
}

static int kept(int flags) { return below != NULL && (flags & O_ACCMODE) != O_RDONLY ? flags & ~O_TRUNC : flags; }

#define MODE_OF(flags)                  \
  mode_t mode = 0;                      \
  if ((flags) & (O_CREAT | O_TMPFILE)) {\
    va_list rest;                       \
    va_start(rest, flags);              \
    mode = (mode_t)va_arg(rest, int);   \
    va_end(rest);                       \
  }

int open64(const char *path, int flags, ...) {
  MODE_OF(flags)
  return opened(real_open(path, kept(flags), mode), kept(flags) == flags ? 0 : flags);
}

int open(const char *path, int flags, ...) {
  MODE_OF(flags)
  return opened(real_open(path, kept(flags), mode), kept(flags) == flags ? 0 : flags);
}

int openat64(int dir, const char *path, int flags, ...) {
  MODE_OF(flags)
  return opened(real_openat(dir, path, kept(flags), mode), kept(flags) == flags ? 0 : flags);
}

int openat(int dir, const char *path, int flags, ...) {
  MODE_OF(flags)
  return opened(real_openat(dir, path, kept(flags), mode), kept(flags) == flags ? 0 : flags);
}

int close(int fd) {
  if (watched(fd)) {
    pthread_mutex_lock(&turn);
    int log = log_of[fd] - 1;
    log_of[fd] = 0;
    if (log >= 0) real_close(log);
    pthread_mutex_unlock(&turn);
  }
  return real_close(fd);
}

static off_t position(int fd) {
  int flags = fcntl(fd, F_GETFL);
  struct stat found;
  if (flags >= 0 && (flags & O_APPEND) && fstat(fd, &found) == 0) return found.st_size;
  return lseek(fd, 0, SEEK_CUR);
}

ssize_t write(int fd, const void *bytes, size_t n) {
  if (!watched(fd)) return real_write(fd, bytes, n);
  pthread_mutex_lock(&turn);
  remember(fd, position(fd), n);
  ssize_t done = real_write(fd, bytes, n);
  pthread_mutex_unlock(&turn);
  return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t offset) {
  if (!watched(fd)) return real_pwrite(fd, bytes, n, offset);
  pthread_mutex_lock(&turn);
  remember(fd, offset, n);
  ssize_t done = real_pwrite(fd, bytes, n, offset);
  pthread_mutex_unlock(&turn);
  return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t offset) { return pwrite64(fd, bytes, n, offset); }

ssize_t writev(int fd, const struct iovec *parts, int n_parts) {
  if (!watched(fd)) return real_writev(fd, parts, n_parts);
  size_t n = 0;
  for (int i = 0; i < n_parts; i++) n += parts[i].iov_len;
  pthread_mutex_lock(&turn);
  remember(fd, position(fd), n);
  ssize_t done = real_writev(fd, parts, n_parts);
  pthread_mutex_unlock(&turn);
  return done;
}

int ftruncate64(int fd, off_t size) {
  if (!watched(fd)) return real_ftruncate(fd, size);
  pthread_mutex_lock(&turn);
  struct stat found;
  if (fstat(fd, &found) != 0) die("fstat");
  remember(fd, size, found.st_size > size ? (size_t)(found.st_size - size) : 0);
  int done = real_ftruncate(fd, size);
  pthread_mutex_unlock(&turn);
  return done;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static int synced(int fd, int (*sync)(int)) {
  if (!watched(fd)) return sync(fd);
  pthread_mutex_lock(&turn);
  int done = sync(fd);
  if (done == 0) durable(fd);
  pthread_mutex_unlock(&turn);
  return done;
}

int fsync(int fd) { return synced(fd, real_fsync); }
int fdatasync(int fd) { return synced(fd, real_fdatasync); }

// SPDX-License-Identifier: Apache-2.0
// Preloaded into the service, makes its disk full or slow and its clock wrong while a benchmark says so.
//
//   gcc -shared -fPIC -O2 -o trouble.so shim.c -ldl
//   TROUBLE_CONTROL=/control TROUBLE_DIR=/workspace LD_PRELOAD=./trouble.so ringfence serve
//
// TROUBLE_CONTROL is a file of struct control, mapped: what the benchmark writes there holds from the next call on.
// Files below TROUBLE_DIR are meant. Not covered: memory-mapped writes, and the clock of the kernel itself (file times).

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
  volatile int64_t is_full;       // 1: a write that would make a file longer fails with ENOSPC
  volatile int64_t fsync_ms;      // every fsync and fdatasync takes this much longer
  volatile int64_t clock_offset;  // seconds added to the time of day
  volatile int64_t model;         // read by the service's own hindrances: 1 raises, 2 sleeps
};

static const struct control quiet;
static const struct control *control = &quiet;
static const char *below;

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_clock)(clockid_t, struct timespec *);

__attribute__((constructor)) static void start(void) {
  real_write = dlsym(RTLD_NEXT, "write");
  real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_clock = dlsym(RTLD_NEXT, "clock_gettime");
  below = getenv("TROUBLE_DIR");
  const char *path = getenv("TROUBLE_CONTROL");
  if (below == NULL || path == NULL) return;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  void *found = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(struct control), PROT_READ, MAP_SHARED, fd, 0);
  if (found == MAP_FAILED) {  // a benchmark of troubles that never come would prove nothing
    fprintf(stderr, "trouble: cannot map %s: %s\n", path, strerror(errno));
    abort();
  }
  close(fd);
  control = found;
}

static int ours(int fd) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = below == NULL ? -1 : readlink(link, path, sizeof path - 1);
  if (n <= 0) return 0;
  path[n] = 0;
  size_t length = strlen(below);
  return strncmp(path, below, length) == 0 && path[length] == '/';
}

static int has_no_room(int fd, off_t end) {
  struct stat found;
  return control->is_full && ours(fd) && fstat(fd, &found) == 0 && S_ISREG(found.st_mode) && end > found.st_size;
}

ssize_t write(int fd, const void *bytes, size_t n) {
  if (control->is_full && has_no_room(fd, lseek(fd, 0, SEEK_CUR) + (off_t)n)) {
    errno = ENOSPC;
    return -1;
  }
  return real_write(fd, bytes, n);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t offset) {
  if (control->is_full && has_no_room(fd, offset + (off_t)n)) {
    errno = ENOSPC;
    return -1;
  }
  return real_pwrite(fd, bytes, n, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t offset) { return pwrite64(fd, bytes, n, offset); }

static void wait_for_disk(int fd) {
  int64_t ms = control->fsync_ms;
  if (ms > 0 && ours(fd)) {
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
  }
}

int fsync(int fd) {
  wait_for_disk(fd);
  return real_fsync(fd);
}

int fdatasync(int fd) {
  wait_for_disk(fd);
  return real_fdatasync(fd);
}

int clock_gettime(clockid_t which, struct timespec *out) {
  int done = real_clock(which, out);
  if (done == 0 && which == CLOCK_REALTIME) out->tv_sec += control->clock_offset;
  return done;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
  (void)zone;
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  out->tv_sec = now.tv_sec;
  out->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out != NULL) *out = now.tv_sec;
  return now.tv_sec;
}

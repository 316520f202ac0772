// SPDX-License-Identifier: Apache-2.0
// The open loop of load.py without an interpreter, so that the generator takes little of the machine it measures.
//
//   cc -O2 -Wall -Wextra -Werror -o load load.c
//   ./load 127.0.0.1 8000 1000 64 10 all requests results    # port, rate, connections, patience in s, all | errors
//
// Both files hold native integers, for one machine; load_files.py writes the first and reads the second:
//   requests   for each: int64 n, and n bytes of HTTP
//   results    int64 elapsed_ns, cpu_ns; then for each request, in order: struct result, and n_answer bytes of HTTP
//
// Times are of CLOCK_MONOTONIC, which is what Python's perf_counter_ns reads on Linux. What load.py says of a request
// that is due, waits, or is lost with its connection holds here: the two are run against one server by a test.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MOST_EVENTS 64
#define SPARE 16384  // free bytes of a buffer before each read
#define LEAD_NS 50000000
#define UNREMARKABLE "\"degraded\":false"
#define LAST_CHUNK "\r\n0\r\n\r\n"  // in a body of JSON lines nothing else has a carriage return
#define LENGTH_OF(literal) (sizeof(literal) - 1)

struct request {
  const char *bytes;
  size_t n;
};

struct result {
  int64_t intended_ns, taken_ns, sent_ns, done_ns;  // 0: it never came to that
  int64_t status, n_answer;
};

struct connection {
  int fd;             // -1: lost
  int64_t index;      // of the request whose answer is awaited, -1: none
  const char *unsent;  // what the socket had no room for
  size_t n_unsent;
  int awaits_room;
  char *buffer;  // ends in a 0, for strtol
  size_t n, room;
  size_t body_at;  // 0: the head is not complete
  int64_t length;  // of the body, -1: in chunks
};

static struct request *requests;
static struct result *results;
static char **answers;
static int64_t n_requests;
static int64_t n_taken;  // turned to: all below have been sent, or wait
static int64_t n_sent;   // [n_sent, n_taken) waits: requests go out in order, so a queue would hold just this
static int64_t n_settled;
static int keeps_all;

static struct connection *connections, **idle;  // idle: a ring, in which lost connections stay until they come up
static int64_t n_connections, n_open, first_idle, n_idle;
static int poll_fd, timer_fd;

static void die(const char *what) {
  fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void *checked(void *memory) {
  if (memory == NULL) die("no memory");
  return memory;
}

static int64_t clock_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

// Map the file, and leave it mapped: requests are sent from where they lie.
static void read_requests(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat found;
  if (fd < 0 || fstat(fd, &found) != 0) die(path);
  if (found.st_size == 0) return;  // an empty file cannot be mapped
  const char *at = mmap(NULL, (size_t)found.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
  if (at == MAP_FAILED) die(path);
  close(fd);
  int64_t room = 0, n;
  for (const char *end = at + found.st_size; at < end; at += n) {
    if (end - at < (ptrdiff_t)sizeof n) n = -1;
    else memcpy(&n, at, sizeof n);
    at += sizeof n;
    if (n < 0 || n > end - at) {
      fprintf(stderr, "load: %s: request %lld is cut off; write the file anew\n", path, (long long)n_requests);
      exit(1);
    }
    if (n_requests == room) {
      room = 2 * room + 1024;
      requests = checked(realloc(requests, (size_t)room * sizeof *requests));
    }
    requests[n_requests++] = (struct request){at, (size_t)n};
  }
}

static void write_results(const char *path, int64_t elapsed_ns, int64_t cpu_ns) {
  FILE *file = fopen(path, "wb");
  if (file == NULL) die(path);
  fwrite(&elapsed_ns, sizeof elapsed_ns, 1, file);
  fwrite(&cpu_ns, sizeof cpu_ns, 1, file);
  for (int64_t i = 0; i < n_requests; i++) {
    fwrite(&results[i], sizeof results[i], 1, file);
    if (answers[i] != NULL) fwrite(answers[i], 1, (size_t)results[i].n_answer, file);
    free(answers[i]);
  }
  if (ferror(file) || fclose(file) != 0) die(path);
}

static void watch(struct connection *c, int operation, int awaits_room) {
  struct epoll_event event = {.events = EPOLLIN | (awaits_room ? EPOLLOUT : 0), .data.ptr = c};
  if (epoll_ctl(poll_fd, operation, c->fd, &event) != 0) die("epoll_ctl");
  c->awaits_room = awaits_room;
}

static void open_connection(struct connection *c, const struct sockaddr_in *address) {
  int on = 1;
  c->index = -1;
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)address, sizeof *address) != 0) die("cannot connect");
  if (setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) die("TCP_NODELAY");
  if (fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0) die("O_NONBLOCK");
  watch(c, EPOLL_CTL_ADD, 0);
  n_open++;
}

static struct connection *next_idle(void) {
  while (n_idle > 0) {
    struct connection *c = idle[first_idle];
    first_idle = (first_idle + 1) % n_connections;
    n_idle--;
    if (c->fd >= 0) return c;
  }
  return NULL;
}

static void freed(struct connection *c);

static void flush(struct connection *c) {
  ssize_t n = send(c->fd, c->unsent, c->n_unsent, MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN && errno != EINTR) {
    shutdown(c->fd, SHUT_RDWR);  // the next read finds it lost, in the one place that knows what that means
    c->n_unsent = 0;
    return;
  }
  if (n > 0) {
    c->unsent += n;
    c->n_unsent -= (size_t)n;
  }
  if ((c->n_unsent > 0) != c->awaits_room) watch(c, EPOLL_CTL_MOD, c->n_unsent > 0);
  if (c->n_unsent == 0 && c->index < 0) freed(c);  // it was answered before it was sent in full
}

static void send_request(struct connection *c, int64_t index) {
  c->index = index;
  c->unsent = requests[index].bytes;
  c->n_unsent = requests[index].n;
  results[index].sent_ns = now_ns();
  flush(c);
}

static void freed(struct connection *c) {
  if (n_sent < n_taken) {
    send_request(c, n_sent++);
  } else {
    idle[(first_idle + n_idle++) % n_connections] = c;
  }
}

static void lost(struct connection *c) {
  if (c->index >= 0) n_settled++;  // with status 0, and not sent again: it may have been decided
  close(c->fd);
  free(c->buffer);
  c->buffer = NULL;
  c->fd = -1;
  n_open--;
}

static int answered(struct connection *c) {
  if (c->body_at == 0) {
    const char *end = memmem(c->buffer, c->n, "\r\n\r\n", 4);
    if (end == NULL) return 0;
    c->body_at = (size_t)(end - c->buffer) + 4;
    const char *at = memmem(c->buffer, c->body_at, "content-length: ", LENGTH_OF("content-length: "));
    c->length = at == NULL ? -1 : strtoll(at + LENGTH_OF("content-length: "), NULL, 10);
  }
  if (c->length >= 0) return c->n >= c->body_at + (size_t)c->length;
  size_t n_last = LENGTH_OF(LAST_CHUNK);
  return c->n >= n_last && memcmp(c->buffer + c->n - n_last, LAST_CHUNK, n_last) == 0;
}

static void keep(struct connection *c, int64_t done_ns) {
  struct result *result = &results[c->index];
  result->done_ns = done_ns;
  result->status = c->body_at > 12 ? strtol(c->buffer + 9, NULL, 10) : 0;  // HTTP/1.1 200
  int remarkable = result->status != 200 || memmem(c->buffer, c->n, UNREMARKABLE, LENGTH_OF(UNREMARKABLE)) == NULL;
  if (!keeps_all && !remarkable) return;
  answers[c->index] = checked(malloc(c->n));
  memcpy(answers[c->index], c->buffer, c->n);
  result->n_answer = (int64_t)c->n;
}

static void receive(struct connection *c) {
  if (c->room - c->n < SPARE) {
    c->room = 2 * c->room + SPARE;
    c->buffer = checked(realloc(c->buffer, c->room));
  }
  ssize_t n = recv(c->fd, c->buffer + c->n, c->room - c->n - 1, 0);
  int64_t done_ns = now_ns();
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    lost(c);
    return;
  }
  if (c->index < 0) return;  // nothing was asked
  c->n += (size_t)n;
  c->buffer[c->n] = 0;
  if (!answered(c)) return;
  keep(c, done_ns);
  n_settled++;
  c->n = c->body_at = 0;
  c->index = -1;
  if (c->n_unsent == 0) freed(c);
}

static int finished(void) { return n_open == 0 || n_settled >= n_requests; }

// Sleep until then or until something happens, and handle that. By a timerfd, since a timeout of epoll_wait counts in
// milliseconds and the kernel may let it run over by a slack of 50 us.
static void wait_until(int64_t when_ns) {
  static int64_t armed_ns;
  if (when_ns != armed_ns) {
    struct itimerspec when = {.it_value = {when_ns / 1000000000, when_ns % 1000000000}};
    if (timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL) != 0) die("timerfd_settime");
    armed_ns = when_ns;
  }
  struct epoll_event events[MOST_EVENTS];
  int n = epoll_wait(poll_fd, events, MOST_EVENTS, -1);
  if (n < 0 && errno != EINTR) die("epoll_wait");
  for (int i = 0; i < n; i++) {
    struct connection *c = events[i].data.ptr;
    if (c == NULL) continue;  // the timer
    if (events[i].events & EPOLLOUT) flush(c);
    if (events[i].events & ~(uint32_t)EPOLLOUT) receive(c);
  }
}

static int64_t run(double rate, double patience_s) {  // returns the time between the first and the last send slot
  const double period_ns = 1e9 / rate;
  const int64_t start_ns = now_ns() + LEAD_NS;
  while (n_taken < n_requests && !finished()) {
    int64_t now = now_ns(), due_ns;
    while (n_taken < n_requests && (due_ns = start_ns + (int64_t)((double)n_taken * period_ns)) <= now) {
      results[n_taken].intended_ns = due_ns;
      results[n_taken].taken_ns = now_ns();
      struct connection *c = next_idle();  // one is idle only where none waits
      n_taken++;
      if (c != NULL) send_request(c, n_sent++);
    }
    if (n_taken < n_requests) wait_until(due_ns);
  }
  const int64_t elapsed_ns = now_ns() - start_ns;
  const int64_t until_ns = now_ns() + (int64_t)(patience_s * 1e9);
  while (!finished() && now_ns() < until_ns) wait_until(until_ns);
  return elapsed_ns;
}

int main(int n_arguments, char **arguments) {
  if (n_arguments != 9) {
    fprintf(stderr, "usage: load HOST PORT RATE CONNECTIONS PATIENCE_S all|errors REQUESTS RESULTS\n");
    return 2;
  }
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arguments[2]))};
  if (inet_pton(AF_INET, arguments[1], &address.sin_addr) != 1) {
    fprintf(stderr, "load: %s is no IPv4 address; give one such as 127.0.0.1\n", arguments[1]);
    return 2;
  }
  n_connections = atoll(arguments[4]);
  keeps_all = strcmp(arguments[6], "all") == 0;
  read_requests(arguments[7]);
  results = checked(calloc((size_t)n_requests + 1, sizeof *results));
  answers = checked(calloc((size_t)n_requests + 1, sizeof *answers));
  connections = checked(calloc((size_t)n_connections + 1, sizeof *connections));
  idle = checked(calloc((size_t)n_connections + 1, sizeof *idle));
  poll_fd = epoll_create1(EPOLL_CLOEXEC);
  timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  struct epoll_event timer = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};  // by edge: nobody has to read it
  if (poll_fd < 0 || timer_fd < 0 || epoll_ctl(poll_fd, EPOLL_CTL_ADD, timer_fd, &timer) != 0) die("epoll");
  for (int64_t i = 0; i < n_connections; i++) {
    open_connection(&connections[i], &address);
    freed(&connections[i]);
  }
  const int64_t began_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
  const int64_t elapsed_ns = run(atof(arguments[3]), atof(arguments[5]));
  const int64_t cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - began_ns;
  for (int64_t i = 0; i < n_connections; i++) {
    if (connections[i].fd >= 0) lost(&connections[i]);
  }
  write_results(arguments[8], elapsed_ns, cpu_ns);
  free(requests);
  free(results);
  free(answers);
  free(connections);
  free(idle);
  return 0;
}

/* The practical limit: one hello probe (connect, send, first reply, close) in C on epoll, and the canned server.
 *   probe serve PORT REPLY_FILE WAIT   accepts TLS 1.2 only, until it is ended: answers a hello for it with the bytes of
 *                                      a file, any other with alert 70. WAIT is epoll_wait's: 0 spins, -1 sleeps
 *   probe ask PORT HELLO_FILE COUNT    puts COUNT questions, 200 at a time, to 127.1.0.1 .. 127.1.0.200
 * `ask` prints: answered, CPU microseconds a probe, probes a second. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { IN_FLIGHT = 200, EVENTS = 512, MOST_FD = 65536 };
static char data[65536], scratch[65536];
static int data_size;
static int is_connected[MOST_FD];

static void load(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) { perror(path); exit(1); }
  data_size = (int)fread(data, 1, sizeof data, file);
  fclose(file);
}

static void watch(int set, int how, int fd, unsigned events) {
  struct epoll_event event = {.events = events, .data.fd = fd};
  if (epoll_ctl(set, how, fd, &event) < 0) { perror("epoll_ctl"); exit(1); }
}

/* A hello for TLS 1.2 names 3.3 (RFC 5246), and so does one for TLS 1.3 alone, which lists 3.4 in an extension (RFC 8446
 * section 4.2.1): here always with nothing beside it. */
static int is_for_1_2(const char *hello, int size) {
  static const char only_1_3[] = {0, 43, 0, 3, 2, 3, 4};
  return size > 11 && hello[0] == 22 && hello[9] == 3 && hello[10] == 3 &&
         !memmem(hello, (size_t)size, only_1_3, sizeof only_1_3);
}

static int serve(int port, int wait_ms) {
  static const char alert[] = {21, 3, 1, 0, 2, 2, 70};
  int one = 1, set = epoll_create1(0), listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
  struct epoll_event events[EVENTS];
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener, 4096) < 0) { perror("bind"); return 1; }
  watch(set, EPOLL_CTL_ADD, listener, EPOLLIN);
  puts("ready");
  fflush(stdout);
  for (;;) {
    /* Waking a sleeping server on another core is charged to the client, some 20 us a probe, and no network does it. */
    int count = epoll_wait(set, events, EVENTS, wait_ms);
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      if (fd == listener) {
        while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) watch(set, EPOLL_CTL_ADD, fd, EPOLLIN);
        continue;
      }
      int size = (int)recv(fd, scratch, sizeof scratch, 0);
      if (size > 0) {
        int is_known = is_for_1_2(scratch, size);
        if (send(fd, is_known ? data : alert, is_known ? (size_t)data_size : sizeof alert, MSG_NOSIGNAL) < 0) close(fd);
      } else if (size == 0 || errno != EAGAIN) {
        close(fd);
      }
    }
  }
}

static int begin(int set, int port, int number) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  to.sin_addr.s_addr = htonl(0x7f010001u + (unsigned)(number % 200));
  if (fd < 0 || fd >= MOST_FD || (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)) {
    perror("connect");
    exit(1);
  }
  is_connected[fd] = 0;
  watch(set, EPOLL_CTL_ADD, fd, EPOLLOUT);
  return fd;
}

static int ask(int port, int total) {
  int set = epoll_create1(0), begun = 0, done = 0, answered = 0;
  struct epoll_event events[EVENTS];
  struct timespec from, to;
  struct rusage usage;
  clock_gettime(CLOCK_MONOTONIC, &from);
  while (begun < total && begun < IN_FLIGHT) begin(set, port, begun++);
  while (done < total) {
    int count = epoll_wait(set, events, EVENTS, 5000);
    if (count <= 0) break;
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      if (!is_connected[fd]) {
        is_connected[fd] = 1;
        if (send(fd, data, data_size, MSG_NOSIGNAL) == data_size) {
          watch(set, EPOLL_CTL_MOD, fd, EPOLLIN);
          continue;
        }
      } else {
        answered += recv(fd, scratch, sizeof scratch, 0) > 5 && scratch[0] == 22;
      }
      close(fd);
      done++;
      if (begun < total) begin(set, port, begun++);
    }
  }
  clock_gettime(CLOCK_MONOTONIC, &to);
  getrusage(RUSAGE_SELF, &usage);
  double cpu = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
  double wall = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
  printf("%d %.2f %.0f\n", answered, cpu * 1e6 / total, total / wall);
  return 0;
}

int main(int count, char **words) {
  if (count < 5) return 2;
  load(words[3]);
  return !strcmp(words[1], "serve") ? serve(atoi(words[2]), atoi(words[4])) : ask(atoi(words[2]), atoi(words[4]));
}

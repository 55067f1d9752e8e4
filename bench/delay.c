/* A network with a round trip to wait for: forwards each connection to a server, and holds back what that sends.
 *   delay PORT SERVER_PORT MILLISECONDS
 * Listens on every address at PORT and forwards to 127.0.0.1:SERVER_PORT. What the client sends goes on at once; what
 * the server sends, its close included, goes on MILLISECONDS after it came. One thread, epoll, one queue of all that
 * waits: the delay is the same for all, so what came first is due first, and no timer is needed for each. */
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

enum { EVENTS = 1024, PIECE = 16384, MOST_FD = 65536 };
struct piece {
  struct piece *next;
  long long due_us;
  int fd, size; /* to whom; 0 bytes: the server has closed */
  unsigned pair;
  char bytes[];
};
/* Of each descriptor: its other end, and a number that tells a connection from an earlier one of the same number. */
static struct { int peer; unsigned pair; int is_server; } ends[MOST_FD];
static struct piece *first, *last;
static char buffer[PIECE];
static unsigned pairs;

static long long now_us(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000LL + time.tv_nsec / 1000;
}

static void watch(int set, int fd) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = fd};
  if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0) { perror("epoll_ctl"); exit(1); }
}

static void close_pair(int fd) {
  int peer = ends[fd].peer;
  ends[fd].pair = ends[peer].pair = 0;
  close(fd);
  close(peer);
}

static void hold(int fd, int size, long long delay_us) {
  struct piece *piece = malloc(sizeof *piece + (size_t)size);
  if (!piece) { perror("malloc"); exit(1); }
  piece->next = NULL;
  piece->due_us = now_us() + delay_us;
  piece->fd = fd;
  piece->size = size;
  piece->pair = ends[fd].pair;
  memcpy(piece->bytes, buffer, (size_t)size);
  if (last) last->next = piece; else first = piece;
  last = piece;
}

static void let_go(void) {
  long long now = now_us();
  while (first && first->due_us <= now) {
    struct piece *piece = first;
    if (ends[piece->fd].pair == piece->pair) {
      if (piece->size == 0) close_pair(piece->fd);
      /* A client that does not read 16 KB is none of those measured here. */
      else if (send(piece->fd, piece->bytes, (size_t)piece->size, MSG_NOSIGNAL) < 0) close_pair(piece->fd);
    }
    first = piece->next;
    if (!first) last = NULL;
    free(piece);
  }
}

static void open_pair(int set, int client, int port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int server = socket(AF_INET, SOCK_STREAM, 0);
  /* Blocking: on loopback the kernel has accepted by the time connect returns. */
  if (server < 0 || client >= MOST_FD || server >= MOST_FD || connect(server, (struct sockaddr *)&to, sizeof to) < 0) {
    perror("connect");
    exit(1);
  }
  if (!++pairs) ++pairs;
  ends[client].peer = server;
  ends[server].peer = client;
  ends[client].pair = ends[server].pair = pairs;
  ends[client].is_server = 0;
  ends[server].is_server = 1;
  watch(set, client);
  watch(set, server);
}

int main(int count, char **words) {
  if (count < 4) return 2;
  int port = atoi(words[1]), server_port = atoi(words[2]), one = 1, set = epoll_create1(0);
  long long delay_us = atoll(words[3]) * 1000;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
  struct epoll_event events[EVENTS];
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener, 4096) < 0) { perror("bind"); return 1; }
  watch(set, listener);
  puts("ready");
  fflush(stdout);
  for (;;) {
    int wait_ms = -1;
    if (first) {
      long long left = first->due_us - now_us();
      wait_ms = left <= 0 ? 0 : (int)((left + 999) / 1000);
    }
    int ready = epoll_wait(set, events, EVENTS, wait_ms);
    let_go();
    for (int i = 0; i < ready; i++) {
      int fd = events[i].data.fd;
      if (fd == listener) {
        while ((fd = accept4(listener, NULL, NULL, 0)) >= 0) open_pair(set, fd, server_port);
        continue;
      }
      if (!ends[fd].pair) continue; /* closed a moment ago */
      int size = (int)recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
      if (size < 0 && errno == EAGAIN) continue;
      if (ends[fd].is_server) {
        if (size <= 0) epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL); /* said once */
        hold(ends[fd].peer, size > 0 ? size : 0, delay_us);
      } else if (size <= 0 || send(ends[fd].peer, buffer, (size_t)size, MSG_NOSIGNAL) < 0) {
        close_pair(fd);
      }
    }
  }
}

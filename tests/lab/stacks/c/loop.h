/* What the lab's C servers share: one listening socket, one child process a connection, ten seconds a child. */
#ifndef LAB_LOOP_H
#define LAB_LOOP_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void fail(const char *what)
{
    fprintf(stderr, "failed: %s\n", what);
    exit(1);
}

static int open_listener(const char *address, const char *port)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;

    if (listener < 0 || inet_pton(AF_INET, address, &name.sin_addr) != 1)
        fail("address");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&name, sizeof name) != 0 || listen(listener, 128) != 0)
        fail("listen");
    return listener;
}

/* serve() owns the connection until it returns; the child then closes it by exiting. */
static void serve_forever(int listener, void (*serve)(int connection))
{
    signal(SIGCHLD, SIG_IGN); /* no zombies */
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        int connection = accept(listener, NULL, NULL);

        if (connection < 0)
            continue;
        if (fork() == 0) {
            close(listener);
            alarm(10);
            serve(connection);
            _exit(0);
        }
        close(connection);
    }
}

/* Index of text in names (ended by NULL); ends the program where it is not there. */
static int index_of(const char *text, const char *const names[])
{
    for (int index = 0; names[index] != NULL; index++)
        if (strcmp(text, names[index]) == 0)
            return index;
    fail(text);
    return -1;
}

#endif

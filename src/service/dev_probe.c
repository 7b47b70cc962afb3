#include "service/dev_probe.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static struct sockaddr_in loopback(int port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

int dev_probe_free_port(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof address;
    bool fine =
        bind(fd, (struct sockaddr *)&address, len) == 0 && getsockname(fd, (struct sockaddr *)&address, &len) == 0;
    close(fd);
    return fine ? ntohs(address.sin_port) : 0;
}

static int dial(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    struct timeval patience = {1, 0};
    struct sockaddr_in address = loopback(port);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Sends the request; returns whether the answer contains `wanted`. */
static bool answers(int port, const char *request, const char *wanted) {
    int fd = dial(port);
    if (fd < 0)
        return false;
    char text[4096];
    size_t len = 0;
    if (send(fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request)) {
        ssize_t got;
        while (len < sizeof text - 1 && (got = recv(fd, text + len, sizeof text - 1 - len, 0)) > 0)
            len += (size_t)got;
    }
    close(fd);
    return memmem(text, len, wanted, strlen(wanted)) != NULL;
}

bool dev_probe(int port, const char *name) {
    char wanted[80];
    snprintf(wanted, sizeof wanted, "\"name\":\"%s\"", name);
    return answers(port,
                   "POST /v3/cluster/member/list HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                   "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
                   wanted) &&
           answers(port, "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "\"health\":\"true\"");
}

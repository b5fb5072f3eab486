/* A small web server for tests of the cluster itself. On port 8080, GET /FILE answers with that file
 * of the container, anything else with the pod's name. One request a connection. */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void end(int signal) { (void)signal; _exit(0); }

static void answer(int client) {
    char request[2048] = "", path[1024] = "", body[16384] = "", head[128];
    size_t got = 0;
    while (got < sizeof request - 1 && !strstr(request, "\r\n\r\n")) {
        ssize_t more = read(client, request + got, sizeof request - 1 - got);
        if (more <= 0) break;
        got += (size_t)more;
        request[got] = 0;
    }
    sscanf(request, "GET %1023s", path);
    size_t length = 0;
    FILE *file = strlen(path) > 1 ? fopen(path, "r") : NULL;
    if (file) {
        length = fread(body, 1, sizeof body, file);
        fclose(file);
    } else {
        gethostname(body, sizeof body - 1);
        length = strlen(body);
    }
    int size = snprintf(head, sizeof head,
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n", length);
    if (write(client, head, (size_t)size) == size && write(client, body, length) < 0)
        perror("write");
}

int main(void) {
    signal(SIGTERM, end);
    signal(SIGPIPE, SIG_IGN);
    int yes = 1, server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(8080) };
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 64)) {
        perror("port 8080");
        return 1;
    }
    printf("listening on port 8080\n");
    fflush(stdout);
    for (;;) {
        int client = accept(server, NULL, NULL);
        if (client < 0) continue;
        answer(client);
        close(client);
    }
}

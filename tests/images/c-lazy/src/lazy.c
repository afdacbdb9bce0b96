/* Answers / at once, and /lazy after doing what makes the C library load files; a line for each. */

#include <dlfcn.h>
#include <iconv.h>
#include <langinfo.h>
#include <locale.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char page[4096];

static void say(const char *format, ...)
{
    va_list arguments;
    size_t used = strlen(page);

    va_start(arguments, format);
    vsnprintf(page + used, sizeof page - used, format, arguments);
    va_end(arguments);
}

static void library(void)
{
    void *zlib = dlopen("libz.so.1", RTLD_NOW);
    const char *(*version)(void) = zlib ? (const char *(*)(void))dlsym(zlib, "zlibVersion") : NULL;

    say("library: %s\n", version ? version() : "missing");
}

static void names(void)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found = NULL;
    int error = getaddrinfo("localhost", "http", &hints, &found);
    struct protoent *protocol = getprotobyname("tcp");

    if (error)
        say("names: %s\n", gai_strerror(error));
    else
        say("names: port %d\n", ntohs(((struct sockaddr_in *)found->ai_addr)->sin_port));
    say("protocol: %d\n", protocol ? protocol->p_proto : -1);
}

static void locale(void)
{
    const char *set = setlocale(LC_ALL, "C.UTF-8");

    say("locale: %s %s\n", set ? set : "missing", nl_langinfo(CODESET));
}

static void zone(void)
{
    time_t epoch = 0;
    char text[64];

    setenv("TZ", "Europe/Berlin", 1);
    tzset();
    strftime(text, sizeof text, "%H %Z", localtime(&epoch));
    say("zone: %s\n", text);
}

static void charset(void)
{
    char from[] = "\xa4", to[8] = "", *in = from, *out = to;
    size_t left = 1, room = sizeof to;
    iconv_t way = iconv_open("UTF-8", "ISO-8859-15");

    if (way == (iconv_t)-1 || iconv(way, &in, &left, &out, &room) == (size_t)-1)
        say("charset: missing\n");
    else
        say("charset: %02x%02x%02x\n", to[0] & 255, to[1] & 255, to[2] & 255);
}

static void *sleeper(void *unused)
{
    for (;;)
        pause();
    return unused;
}

/* Ends the whole program where libgcc_s cannot be loaded: the last line, so that the others are seen. */
static void thread(void)
{
    pthread_t other;
    void *how = NULL;

    pthread_create(&other, NULL, sleeper, NULL);
    pthread_cancel(other);
    pthread_join(other, &how);
    say("thread: %s\n", how == PTHREAD_CANCELED ? "cancelled" : "ended");
}

static void answer(int client)
{
    char request[1024] = "";
    FILE *stream = fdopen(client, "r+");

    page[0] = '\0';
    if (read(client, request, sizeof request - 1) > 0 && !strncmp(request, "GET /lazy ", 10)) {
        library();
        names();
        locale();
        zone();
        charset();
        thread();
    } else {
        say("c-lazy\n");
    }
    fprintf(stream, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n%s", strlen(page), page);
    fclose(stream);
}

static void stop(int signal)
{
    _exit(signal == SIGTERM ? 0 : 1);
}

int main(void)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(8080)};
    int one = 1, server = socket(AF_INET, SOCK_STREAM, 0);

    signal(SIGTERM, stop);
    signal(SIGPIPE, SIG_IGN);
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(server, (struct sockaddr *)&here, sizeof here) || listen(server, 16))
        return 1;
    for (;;) {
        int client = accept(server, NULL, NULL);
        if (client >= 0)
            answer(client);
    }
}

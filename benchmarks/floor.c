/* The floor: what moving the bytes costs in C, with no protocol and no engine.
 *
 *   floor serve (-p PORT | -u PATH) [-C CERT -K KEY] -n REQUEST_BYTES -r RESPONSE_BYTES
 *   floor drive (-p PORT | -u PATH) [-t [-s SERVER_NAME]] [-c CONNECTIONS] [-d SECONDS]
 *               [-w WARM_UP_SECONDS]
 *               (-n REQUEST_BYTES -r RESPONSE_BYTES | -f REQUEST_FILE | -g GRPC_REQUEST_FILE)
 *               [-o ANSWER_FILE]
 *
 * `serve` reads REQUEST_BYTES and answers RESPONSE_BYTES, a thread per connection, until its
 * standard input ends; it prints its port when it listens (-p 0 takes a free one). `drive` is the
 * closed loop against it; with -f it replays one HTTP request and reads HTTP answers instead, with
 * -g a gRPC call (see grpc_replay.h); -o asks once and writes the answer to a file. It prints one JSON object. The certificate is not verified: the peer is on this machine.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 1 << 20, MAX_HEAD = 64 << 10, MAX_CONNECTIONS = 256 };

static struct {
    int port, tls, connections, grpc;
    const char *unix_path, *certificate, *private_key, *server_name, *request_file, *answer_file;
    double seconds, warm_up;
    size_t request_bytes, response_bytes;
} opt = {.port = -1, .connections = 1, .seconds = 1.0, .warm_up = 0.1};

static SSL_CTX *tls_context;
static char *request;
static double measure_from, measure_until;

struct channel {
    int fd;
    SSL *tls;
};

struct result {
    float *microseconds;
    size_t count, capacity, failures;
};

static void die(const char *what) {
    perror(what);
    exit(1);
}

static FILE *answer_file;

static void keep(const char *bytes, size_t size) {
    if (answer_file && fwrite(bytes, 1, size, answer_file) != size) die(opt.answer_file);
}

static void *allocate(size_t size) {
    void *memory = malloc(size ? size : 1);
    if (!memory) die("malloc");
    return memory;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* BBR paces loopback; cubic and reno do not, and one of them is always there. */
static void tune(int fd) {
    int on = 1;
    if (opt.unix_path) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5))
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
}

static int open_socket(struct sockaddr_storage *address, socklen_t *length) {
    memset(address, 0, sizeof *address);
    int fd;
    if (opt.unix_path) {
        struct sockaddr_un *un = (void *)address;
        un->sun_family = AF_UNIX;
        if (strlen(opt.unix_path) >= sizeof un->sun_path) {
            fprintf(stderr, "%s is too long for a socket\n", opt.unix_path);
            exit(1);
        }
        strcpy(un->sun_path, opt.unix_path);
        *length = sizeof *un;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    } else {
        struct sockaddr_in *in = (void *)address;
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)opt.port);
        in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        *length = sizeof *in;
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    }
    if (fd < 0) die("socket");
    tune(fd);
    return fd;
}

static int receive_some(struct channel *c, char *buffer, size_t size) {
    size_t got;
    if (c->tls) return SSL_read_ex(c->tls, buffer, size, &got) == 1 ? (int)got : 0;
    return (int)recv(c->fd, buffer, size, 0);
}

static int receive_all(struct channel *c, char *buffer, size_t size) {
    while (size) {
        int got = receive_some(c, buffer, size > CHUNK ? CHUNK : size);
        if (got <= 0) return -1;
        buffer += got;
        size -= (size_t)got;
    }
    return 0;
}

static int send_all(struct channel *c, const char *buffer, size_t size) {
    while (size) {
        size_t sent;
        if (c->tls) {
            if (SSL_write_ex(c->tls, buffer, size, &sent) != 1) return -1;
        } else {
            ssize_t n = send(c->fd, buffer, size, MSG_NOSIGNAL);
            if (n <= 0) return -1;
            sent = (size_t)n;
        }
        buffer += sent;
        size -= sent;
    }
    return 0;
}

static void close_channel(struct channel *c) {
    if (c->tls) SSL_free(c->tls);
    close(c->fd);
}

static void *answer(void *argument) {
    struct channel c = {(int)(long)argument, NULL};
    char *in = allocate(opt.request_bytes), *out = allocate(opt.response_bytes);
    memset(out, 0, opt.response_bytes);
    int ready = 1;
    if (opt.tls) {
        c.tls = SSL_new(tls_context);
        SSL_set_fd(c.tls, c.fd);
        ready = SSL_accept(c.tls) == 1;
    }
    while (ready && !receive_all(&c, in, opt.request_bytes) &&
           !send_all(&c, out, opt.response_bytes)) {
    }
    close_channel(&c);
    free(in);
    free(out);
    return NULL;
}

static void *accept_all(void *argument) {
    int listener = (int)(long)argument;
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) continue;
        tune(fd);
        pthread_t thread;
        if (pthread_create(&thread, NULL, answer, (void *)(long)fd)) die("pthread_create");
        pthread_detach(thread);
    }
    return NULL;
}

static int serve(void) {
    struct sockaddr_storage address;
    socklen_t length;
    int on = 1, listener = open_socket(&address, &length);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (void *)&address, length)) die("bind");
    if (listen(listener, 64)) die("listen");
    if (opt.unix_path) {
        puts("0");
    } else {
        struct sockaddr_in bound;
        length = sizeof bound;
        if (getsockname(listener, (void *)&bound, &length)) die("getsockname");
        printf("%d\n", ntohs(bound.sin_port));
    }
    fflush(stdout);
    pthread_t thread;
    if (pthread_create(&thread, NULL, accept_all, (void *)(long)listener)) die("pthread_create");
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    return 0;
}

static struct channel dial(void) {
    struct sockaddr_storage address;
    socklen_t length;
    struct channel c = {open_socket(&address, &length), NULL};
    if (connect(c.fd, (void *)&address, length)) die("connect");
    if (opt.tls) {
        c.tls = SSL_new(tls_context);
        SSL_set_fd(c.tls, c.fd);
        if (opt.server_name) SSL_set_tlsext_host_name(c.tls, opt.server_name);
        if (SSL_connect(c.tls) != 1) {
            fprintf(stderr, "TLS handshake failed\n");
            exit(1);
        }
    }
    return c;
}

/* One HTTP answer with a Content-Length: 1 if its status is 200, 0 if not, -1 at the end. */
static int receive_http(struct channel *c, char *buffer) {
    size_t got = 0;
    char *end = NULL;
    while (!end) {
        if (got == MAX_HEAD) return -1;
        int n = receive_some(c, buffer + got, MAX_HEAD - got);
        if (n <= 0) return -1;
        got += (size_t)n;
        keep(buffer + got - n, (size_t)n);
        buffer[got] = 0;
        end = memmem(buffer, got, "\r\n\r\n", 4);
    }
    *end = 0;
    const char *field = strcasestr(buffer, "\r\ncontent-length:");
    size_t body = got - (size_t)(end + 4 - buffer);
    size_t need = field ? strtoul(field + 17, NULL, 10) : 0;
    if (body > need) return -1;
    for (need -= body; need;) {
        int n = receive_some(c, buffer + MAX_HEAD, need > CHUNK ? CHUNK : need);
        if (n <= 0) return -1;
        keep(buffer + MAX_HEAD, (size_t)n);
        need -= (size_t)n;
    }
    return strncmp(buffer, "HTTP/1.1 200", 12) == 0;
}

#include "grpc_replay.h"

static void record(struct result *r, double microseconds) {
    if (r->count == r->capacity) {
        r->capacity = r->capacity ? 2 * r->capacity : 1 << 14;
        r->microseconds = realloc(r->microseconds, r->capacity * sizeof(float));
        if (!r->microseconds) die("realloc");
    }
    r->microseconds[r->count++] = (float)microseconds;
}

static void *drive_one(void *argument) {
    struct result *r = argument;
    struct channel c = dial();
    int http = opt.request_file && !opt.grpc;
    char *buffer = allocate(http ? MAX_HEAD + CHUNK + 1 : opt.response_bytes);
    struct grpc g = {0};
    if (opt.grpc) g = grpc_open(&c, request, opt.request_bytes);
    for (;;) {
        double begun = now();
        if (begun > measure_until) break;
        int ok = opt.grpc                                 ? grpc_call(&g)
                 : send_all(&c, request, opt.request_bytes) ? -1
                 : http ? receive_http(&c, buffer)
                 : receive_all(&c, buffer, opt.response_bytes) ? -1
                                                               : 1;
        if (ok != 1) r->failures++;
        if (ok < 0) break;
        if (begun >= measure_from) record(r, (now() - begun) * 1e6);
    }
    close_channel(&c);
    free(buffer);
    free(g.buffer);
    return NULL;
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void read_request(void) {
    FILE *file = fopen(opt.request_file, "rb");
    if (!file || fseek(file, 0, SEEK_END)) die(opt.request_file);
    opt.request_bytes = (size_t)ftell(file);
    rewind(file);
    request = allocate(opt.request_bytes);
    if (fread(request, 1, opt.request_bytes, file) != opt.request_bytes) die(opt.request_file);
    fclose(file);
}

static int ask_once(void) {
    struct channel c = dial();
    int ok;
    answer_file = fopen(opt.answer_file, "wb");
    if (!answer_file) die(opt.answer_file);
    if (opt.grpc) {
        struct grpc g = grpc_open(&c, request, opt.request_bytes);
        ok = grpc_call(&g);
        free(g.buffer);
    } else {
        char *buffer = allocate(MAX_HEAD + CHUNK + 1);
        ok = send_all(&c, request, opt.request_bytes) ? -1 : receive_http(&c, buffer);
        free(buffer);
    }
    close_channel(&c);
    if (fclose(answer_file)) die(opt.answer_file);
    if (ok != 1) fprintf(stderr, ok ? "the connection ended\n" : "an error was answered\n");
    return ok != 1;
}

static int drive(void) {
    static struct result results[MAX_CONNECTIONS];
    pthread_t threads[MAX_CONNECTIONS];
    if (opt.request_file) {
        read_request();
    } else {
        request = allocate(opt.request_bytes);
        memset(request, 7, opt.request_bytes);
    }
    if (opt.answer_file) return ask_once();
    measure_from = now() + opt.warm_up;
    measure_until = measure_from + opt.seconds;
    for (int i = 0; i < opt.connections; i++)
        if (pthread_create(&threads[i], NULL, drive_one, &results[i])) die("pthread_create");
    for (int i = 0; i < opt.connections; i++) pthread_join(threads[i], NULL);
    double elapsed = now() - measure_from;

    size_t count = 0, failures = 0, at = 0;
    for (int i = 0; i < opt.connections; i++) {
        count += results[i].count;
        failures += results[i].failures;
    }
    float *all = allocate(count * sizeof *all);
    for (int i = 0; i < opt.connections; i++) {
        if (!results[i].count) continue;
        memcpy(all + at, results[i].microseconds, results[i].count * sizeof *all);
        at += results[i].count;
    }
    qsort(all, count, sizeof *all, ascending);
    printf("{\"requests\": %zu, \"failures\": %zu, \"p50_us\": %.2f, \"p99_us\": %.2f, "
           "\"requests_per_second\": %.2f}\n",
           count, failures, count ? all[count / 2] : 0.0, count ? all[count * 99 / 100] : 0.0,
           (double)count / elapsed);
    free(all);
    return 0;
}

static void set_up_tls(int server) {
    tls_context = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (!tls_context || !SSL_CTX_set_min_proto_version(tls_context, TLS1_3_VERSION) ||
        !SSL_CTX_set_ciphersuites(tls_context, "TLS_AES_128_GCM_SHA256")) {
        fprintf(stderr, "TLS 1.3 is not available\n");
        exit(1);
    }
    if (server && (SSL_CTX_use_certificate_chain_file(tls_context, opt.certificate) != 1 ||
                   SSL_CTX_use_PrivateKey_file(tls_context, opt.private_key, SSL_FILETYPE_PEM) != 1)) {
        fprintf(stderr, "Cannot use the certificate %s\n", opt.certificate);
        exit(1);
    }
}

static int usage(void) {
    fprintf(stderr, "usage: floor serve|drive OPTIONS; see the head of floor.c\n");
    return 2;
}

int main(int argc, char **argv) {
    if (argc < 2 || (strcmp(argv[1], "serve") && strcmp(argv[1], "drive"))) return usage();
    int server = !strcmp(argv[1], "serve"), letter;
    optind = 2;
    while ((letter = getopt(argc, argv, "p:u:C:K:ts:c:d:w:n:r:f:g:o:")) > 0) {
        switch (letter) {
        case 'p': opt.port = atoi(optarg); break;
        case 'u': opt.unix_path = optarg; break;
        case 'C': opt.certificate = optarg; break;
        case 'K': opt.private_key = optarg; break;
        case 't': opt.tls = 1; break;
        case 's': opt.server_name = optarg; break;
        case 'c': opt.connections = atoi(optarg); break;
        case 'd': opt.seconds = atof(optarg); break;
        case 'w': opt.warm_up = atof(optarg); break;
        case 'n': opt.request_bytes = strtoul(optarg, NULL, 10); break;
        case 'r': opt.response_bytes = strtoul(optarg, NULL, 10); break;
        case 'f': opt.request_file = optarg; break;
        case 'o': opt.answer_file = optarg; break;
        case 'g': opt.request_file = optarg; opt.grpc = 1; break;
        default: return usage();
        }
    }
    if (server) opt.tls = opt.certificate && opt.private_key;
    if ((opt.port < 0 && !opt.unix_path) || opt.connections < 1 ||
        opt.connections > MAX_CONNECTIONS || (!opt.request_bytes && !opt.request_file))
        return usage();
    signal(SIGPIPE, SIG_IGN);
    if (opt.tls) set_up_tls(server);
    return server ? serve() : drive();
}

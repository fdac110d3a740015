/* A unary gRPC call over HTTP/2, replayed: included by floor.c, whose `struct channel` it uses.
 *
 * The request file holds, each after its length in four bytes (big-endian): the header block of
 * the first call, the header block of the calls after it (which may refer to what the first put
 * into the peer's dynamic table), and the message with gRPC's five-byte prefix.
 *
 * Calls follow one another, so one stream is open at a time. The peer's windows and frame size are
 * kept to; its own are opened wide, so that it never waits for this client. A call succeeded if
 * a message came before the trailers: gRPC answers an error of a unary call without one.
 */
#include <stdint.h>
#include <sys/uio.h>

enum {
    FRAME_HEAD = 9,
    DATA = 0,
    HEADERS = 1,
    RST_STREAM = 3,
    SETTINGS = 4,
    PING = 6,
    GOAWAY = 7,
    WINDOW_UPDATE = 8,
    END_STREAM = 1,
    ACK = 1,
    END_HEADERS = 4,
    GRPC_PREFIX = 5,
    DEFAULT_WINDOW = 65535,
    DEFAULT_FRAME = 16384,
    DEFAULT_TABLE = 4096,
    WIDE = 0x7fffffff,
    REPLENISH = 1 << 28,
    FRAMES_AT_ONCE = 64,
};

struct grpc {
    struct channel *channel;
    const char *blocks[2], *message;
    size_t block_bytes[2], message_bytes;
    uint32_t stream;
    int64_t connection_window, stream_window, initial_window;
    size_t frame_bytes, unread, used, consumed, answered;
    int ended, failed;
    char *buffer;
};

static uint32_t read32(const char *p) {
    const unsigned char *b = (const unsigned char *)p;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void write32(char *p, uint32_t value) {
    for (int i = 0; i < 4; i++) p[i] = (char)(value >> (24 - 8 * i));
}

static void frame_head(char *p, size_t size, int type, int flags, uint32_t stream) {
    p[0] = (char)(size >> 16);
    p[1] = (char)(size >> 8);
    p[2] = (char)size;
    p[3] = (char)type;
    p[4] = (char)flags;
    write32(p + 5, stream);
}

static int send_frame(struct grpc *g, int type, int flags, uint32_t stream, const char *body,
                      size_t size) {
    char frame[FRAME_HEAD + 64];
    frame_head(frame, size, type, flags, stream);
    memcpy(frame + FRAME_HEAD, body, size);
    return send_all(g->channel, frame, FRAME_HEAD + size);
}

static int send_window(struct grpc *g, uint32_t increment) {
    char body[4];
    write32(body, increment);
    return send_frame(g, WINDOW_UPDATE, 0, 0, body, 4);
}

static int apply_settings(struct grpc *g, int flags, const char *body, size_t size) {
    if (flags & ACK) return 0;
    for (size_t at = 0; at + 6 <= size; at += 6) {
        int name = (unsigned char)body[at] << 8 | (unsigned char)body[at + 1];
        uint32_t value = read32(body + at + 2);
        if (name == 1 && value < DEFAULT_TABLE) {
            fprintf(stderr, "the peer's header table is too small for a replay\n");
            return -1;
        }
        if (name == 4) {
            g->stream_window += (int64_t)value - g->initial_window;
            g->initial_window = value;
        }
        if (name == 5) g->frame_bytes = value;
    }
    return send_frame(g, SETTINGS, ACK, 0, "", 0);
}

static int apply_data(struct grpc *g, const char *body, size_t size) {
    keep(body, size);
    g->answered += size;
    g->consumed += size;
    if (g->consumed < REPLENISH) return 0;
    uint32_t increment = (uint32_t)g->consumed;
    g->consumed = 0;
    return send_window(g, increment);
}

static int apply_frame(struct grpc *g, const char *head, const char *body, size_t size) {
    int type = head[3], flags = head[4];
    uint32_t stream = read32(head + 5);
    if (stream == g->stream && (type == DATA || type == HEADERS) && flags & END_STREAM)
        g->ended = 1;
    switch (type) {
    case DATA: return apply_data(g, body, size);
    case SETTINGS: return apply_settings(g, flags, body, size);
    case PING: return flags & ACK || size != 8 ? 0 : send_frame(g, PING, ACK, 0, body, size);
    case WINDOW_UPDATE:
        if (size != 4) return -1;
        if (stream == 0) g->connection_window += read32(body);
        if (stream == g->stream) g->stream_window += read32(body);
        return 0;
    case RST_STREAM:
        if (stream == g->stream) g->ended = g->failed = 1;
        return 0;
    case GOAWAY: return -1;
    default: return 0;
    }
}

/* Waits for bytes of the peer and does what all whole frames among them say. */
static int read_frames(struct grpc *g) {
    if (g->used) memmove(g->buffer, g->buffer + g->used, g->unread);
    g->used = 0;
    int n = receive_some(g->channel, g->buffer + g->unread, 2 * CHUNK - g->unread);
    if (n <= 0) return -1;
    g->unread += (size_t)n;
    while (g->unread >= FRAME_HEAD) {
        const char *head = g->buffer + g->used;
        size_t size = read32(head) >> 8;
        if (size > CHUNK) return -1;
        if (g->unread < FRAME_HEAD + size) break;
        if (apply_frame(g, head, head + FRAME_HEAD, size)) return -1;
        g->used += FRAME_HEAD + size;
        g->unread -= FRAME_HEAD + size;
    }
    return 0;
}

static int send_vector(struct channel *c, struct iovec *part, int count) {
    while (count) {
        if (c->tls) {
            if (send_all(c, part->iov_base, part->iov_len)) return -1;
            part++;
            count--;
            continue;
        }
        struct msghdr message = {.msg_iov = part, .msg_iovlen = (size_t)count};
        ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL);
        if (sent <= 0) return -1;
        for (; count && (size_t)sent >= part->iov_len; part++, count--)
            sent -= (ssize_t)part->iov_len;
        if (count) {
            part->iov_base = (char *)part->iov_base + sent;
            part->iov_len -= (size_t)sent;
        }
    }
    return 0;
}

/* The message in as many frames as the peer's windows let through; `first` is the call's head. */
static int send_message(struct grpc *g, struct iovec first) {
    char heads[FRAMES_AT_ONCE][FRAME_HEAD];
    struct iovec parts[2 * FRAMES_AT_ONCE + 1];
    int count = 0;
    parts[count++] = first;
    for (size_t at = 0; at < g->message_bytes;) {
        int frames = 0;
        while (frames < FRAMES_AT_ONCE && at < g->message_bytes) {
            int64_t room = g->connection_window < g->stream_window ? g->connection_window
                                                                   : g->stream_window;
            size_t size = g->message_bytes - at;
            if (size > g->frame_bytes) size = g->frame_bytes;
            if ((int64_t)size > room) size = room > 0 ? (size_t)room : 0;
            if (!size) break;
            int last = at + size == g->message_bytes;
            frame_head(heads[frames], size, DATA, last ? END_STREAM : 0, g->stream);
            parts[count++] = (struct iovec){heads[frames++], FRAME_HEAD};
            parts[count++] = (struct iovec){(char *)g->message + at, size};
            at += size;
            g->connection_window -= (int64_t)size;
            g->stream_window -= (int64_t)size;
        }
        if (count && send_vector(g->channel, parts, count)) return -1;
        if (!count && read_frames(g)) return -1;
        if (g->ended) return 0;
        count = 0;
    }
    return 0;
}

/* One call: 1 if a message came back, 0 if not, -1 at the connection's end. */
static int grpc_call(struct grpc *g) {
    int again = g->stream != 0;
    g->stream += again ? 2 : 1;
    g->stream_window = g->initial_window;
    g->ended = g->failed = 0;
    g->answered = 0;
    char head[FRAME_HEAD + DEFAULT_TABLE];
    frame_head(head, g->block_bytes[again], HEADERS, END_HEADERS, g->stream);
    memcpy(head + FRAME_HEAD, g->blocks[again], g->block_bytes[again]);
    if (send_message(g, (struct iovec){head, FRAME_HEAD + g->block_bytes[again]})) return -1;
    while (!g->ended)
        if (read_frames(g)) return -1;
    return !g->failed && g->answered >= GRPC_PREFIX;
}

static const char *section(const char *file, size_t size, size_t *at, size_t *length) {
    if (*at + 4 > size || read32(file + *at) > size - *at - 4) {
        fprintf(stderr, "not a gRPC request file\n");
        exit(1);
    }
    const char *begin = file + *at + 4;
    *length = read32(file + *at);
    *at += 4 + *length;
    return begin;
}

/* A connection ready for calls of the request in `file`. */
static struct grpc grpc_open(struct channel *c, const char *file, size_t size) {
    struct grpc g = {.channel = c,
                     .connection_window = DEFAULT_WINDOW,
                     .initial_window = DEFAULT_WINDOW,
                     .frame_bytes = DEFAULT_FRAME,
                     .buffer = allocate(2 * CHUNK)};
    size_t at = 0;
    for (int i = 0; i < 2; i++) g.blocks[i] = section(file, size, &at, &g.block_bytes[i]);
    g.message = section(file, size, &at, &g.message_bytes);
    if (g.block_bytes[0] > DEFAULT_TABLE || g.block_bytes[1] > DEFAULT_TABLE) {
        fprintf(stderr, "the request's headers are too long for a replay\n");
        exit(1);
    }
    char settings[12] = {0, 2, 0, 0, 0, 0, 0, 4};
    write32(settings + 8, WIDE);
    const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    if (send_all(c, preface, sizeof preface - 1) ||
        send_frame(&g, SETTINGS, 0, 0, settings, sizeof settings) ||
        send_window(&g, WIDE - DEFAULT_WINDOW) || read_frames(&g))
        die("HTTP/2");
    return g;
}

// sse_upstream: a mock OpenAI-compatible upstream for measuring streaming gateways.
//
// One thread, epoll, no dependencies.  POST <any path> answers a chat completion (SSE when the
// body holds "stream": true, else one JSON document).  Every streamed token carries its send time
// and its number in its content, as  @T<16 digits: CLOCK_MONOTONIC in ns>.<6 digits: token number>;
// so that a client on the same machine can compute the delay that a gateway added to each token.
//
// Defaults come from the command line; one request overrides them with a directive anywhere in its
// body, which therefore passes through any gateway inside the prompt:
//   mock:tokens=50,interval_us=20000,ttft_us=5000,batch=1,tag=17,cut=0,status=200
//
// With --port 0 it takes a free port.  Prints the port it listens on.
// GET /stats, /aborts, /reset (zero the counters); any other GET answers 200 (health, models).
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    long tokens, interval_us, ttft_us, batch, tag, cut, status;
} params;

typedef struct conn {
    int fd, heap, pollout, dead;      // heap: index in the timer heap, -1 when not in it
    char *in; size_t inlen, incap;    // request bytes
    char *out; size_t outpos, outlen, outcap;
    int active, stream, usage, close_after;
    params p;
    long seq;                         // tokens sent
    uint64_t next;                    // when the next token is due
    char tmpl[640]; int tmpl_len, ts_off, seq_off;
    char id[40], model[80];
} conn;

static params defaults = {.tokens = 50, .batch = 1, .status = 200, .tag = -1};
static int ep, listen_fd;
static struct { long conns, open, started, completed, aborted, cut, active, max_active, tokens, bytes; } st;
typedef struct { long tag, seq; uint64_t t; } abort_rec;
static abort_rec *aborts; static size_t naborts, capaborts;
static conn **heap; static size_t nheap, capheap;
static conn **graveyard; static size_t ngrave, capgrave;

static void *xrealloc(void *p, size_t n) { p = realloc(p, n); if (!p) { perror("realloc"); exit(1); } return p; }
static uint64_t now_ns(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000ull + t.tv_nsec; }

// ---- timer heap -------------------------------------------------------------------------------
static void heap_set(size_t i, conn *c) { heap[i] = c; c->heap = (int)i; }
static void heap_up(size_t i) {
    conn *c = heap[i];
    while (i && heap[(i - 1) / 2]->next > c->next) { heap_set(i, heap[(i - 1) / 2]); i = (i - 1) / 2; }
    heap_set(i, c);
}
static void heap_down(size_t i) {
    conn *c = heap[i];
    for (;;) {
        size_t k = 2 * i + 1;
        if (k >= nheap) break;
        if (k + 1 < nheap && heap[k + 1]->next < heap[k]->next) k++;
        if (heap[k]->next >= c->next) break;
        heap_set(i, heap[k]); i = k;
    }
    heap_set(i, c);
}
static void timer_add(conn *c) {
    if (nheap == capheap) heap = xrealloc(heap, (capheap = capheap ? 2 * capheap : 1024) * sizeof *heap);
    heap_set(nheap, c); heap_up(nheap++);
}
static void timer_del(conn *c) {
    if (c->heap < 0) return;
    size_t i = (size_t)c->heap; c->heap = -1;
    if (i != --nheap) { conn *last = heap[nheap]; heap_set(i, last); heap_up(i); heap_down((size_t)last->heap); }
}

// ---- connection output ------------------------------------------------------------------------
static char *out_room(conn *c, size_t n) {
    if (c->outpos == c->outlen) c->outpos = c->outlen = 0;
    if (c->outlen + n > c->outcap) c->out = xrealloc(c->out, c->outcap = 2 * (c->outlen + n));
    return c->out + c->outlen;
}
static void out_add(conn *c, const char *s, size_t n) { memcpy(out_room(c, n), s, n); c->outlen += n; }
static void out_chunk(conn *c, const char *s, size_t n) {   // one HTTP chunk
    char h[16]; int k = snprintf(h, sizeof h, "%zx\r\n", n);
    out_add(c, h, (size_t)k); out_add(c, s, n); out_add(c, "\r\n", 2);
}
static void set_pollout(conn *c, int on) {
    if (c->pollout == on) return;
    c->pollout = on;
    struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | (on ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
}
static void conn_close(conn *c) {
    if (c->dead) return;
    c->dead = 1;
    if (c->active) {
        st.active--;
        if (c->p.cut && c->seq >= c->p.cut) st.cut++;
        else {
            st.aborted++;
            if (naborts == capaborts) aborts = xrealloc(aborts, (capaborts = capaborts ? 2 * capaborts : 256) * sizeof *aborts);
            aborts[naborts++] = (abort_rec){c->p.tag, c->seq, now_ns()};
        }
    }
    timer_del(c); close(c->fd); st.open--;
    if (ngrave == capgrave) graveyard = xrealloc(graveyard, (capgrave = capgrave ? 2 * capgrave : 256) * sizeof *graveyard);
    graveyard[ngrave++] = c;           // freed after the current batch of events
}
static void flush_out(conn *c) {
    while (c->outpos < c->outlen) {
        ssize_t n = send(c->fd, c->out + c->outpos, c->outlen - c->outpos, MSG_NOSIGNAL);
        if (n > 0) { c->outpos += (size_t)n; st.bytes += n; continue; }
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) { set_pollout(c, 1); return; }
        conn_close(c); return;
    }
    if (!c->active && c->close_after) conn_close(c);
}

// ---- responses --------------------------------------------------------------------------------
static void respond(conn *c, int status, const char *body, size_t n) {
    char h[200];
    int k = snprintf(h, sizeof h, "HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %zu\r\nconnection: %s\r\n\r\n",
                     status, n, c->close_after ? "close" : "keep-alive");
    out_add(c, h, (size_t)k); out_add(c, body, n);
}
static void finish(conn *c) { c->active = 0; st.active--; st.completed++; set_pollout(c, 0); }

static const char *HEAD = "data: {\"id\":\"%s\",\"object\":\"chat.completion.chunk\",\"created\":%ld,\"model\":\"%s\","
                          "\"service_tier\":\"default\",\"system_fingerprint\":\"fp_44709d6fcb\",\"choices\":";
static void make_template(conn *c) {
    char ev[600];
    int n = snprintf(ev, sizeof ev, HEAD, c->id, (long)time(NULL), c->model);
    n += snprintf(ev + n, sizeof ev - (size_t)n, "[{\"index\":0,\"delta\":{\"content\":\" token@T0000000000000000.000000;\"},"
                  "\"logprobs\":null,\"finish_reason\":null}]}\n\n");
    c->tmpl_len = snprintf(c->tmpl, sizeof c->tmpl, "%x\r\n%s\r\n", n, ev);
    char *t = strstr(c->tmpl, "@T");
    c->ts_off = (int)(t - c->tmpl) + 2; c->seq_off = c->ts_off + 17;
}
static void digits(char *p, int w, uint64_t v) { while (w--) { p[w] = (char)('0' + v % 10); v /= 10; } }
static void add_token(conn *c, uint64_t now) {
    char *p = out_room(c, (size_t)c->tmpl_len);
    memcpy(p, c->tmpl, (size_t)c->tmpl_len);
    digits(p + c->ts_off, 16, now); digits(p + c->seq_off, 6, (uint64_t)c->seq);
    c->outlen += (size_t)c->tmpl_len; c->seq++; st.tokens++;
}
static void add_first(conn *c) {      // the role delta that precedes the first token
    char ev[700]; int n = snprintf(ev, sizeof ev, HEAD, c->id, (long)time(NULL), c->model);
    n += snprintf(ev + n, sizeof ev - (size_t)n, "[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null},"
                  "\"logprobs\":null,\"finish_reason\":null}]}\n\n");
    out_chunk(c, ev, (size_t)n);
}
static void add_tail(conn *c) {
    char ev[700]; int n = snprintf(ev, sizeof ev, HEAD, c->id, (long)time(NULL), c->model);
    n += snprintf(ev + n, sizeof ev - (size_t)n, "[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\n");
    out_chunk(c, ev, (size_t)n);
    if (c->usage) {
        n = snprintf(ev, sizeof ev, HEAD, c->id, (long)time(NULL), c->model);
        n += snprintf(ev + n, sizeof ev - (size_t)n, "[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":%ld,\"total_tokens\":%ld}}\n\n",
                      c->seq, c->seq + 12);
        out_chunk(c, ev, (size_t)n);
    }
    out_chunk(c, "data: [DONE]\n\n", 14);
    out_add(c, "0\r\n\r\n", 5);
}
static void produce(conn *c, uint64_t now) {   // the stream is due: emit what the clock and the socket allow
    if (!c->stream) {
        char b[1024];
        int n = snprintf(b, sizeof b, "{\"id\":\"%s\",\"object\":\"chat.completion\",\"created\":%ld,\"model\":\"%s\",\"choices\":[{\"index\":0,"
            "\"message\":{\"role\":\"assistant\",\"content\":\"hello @T%016llu.000000;\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
            "\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":%ld,\"total_tokens\":%ld}}",
            c->id, (long)time(NULL), c->model, (unsigned long long)now, c->p.tokens, c->p.tokens + 12);
        respond(c, 200, b, (size_t)n); st.tokens++; finish(c); flush_out(c); return;
    }
    if (c->outlen - c->outpos > 65536) { set_pollout(c, 1); return; }   // backpressure: stop producing
    if (!c->seq) add_first(c);
    if (c->p.interval_us == 0) {
        for (long i = 0; i < c->p.batch && c->seq < c->p.tokens; i++) {
            add_token(c, now);
            if (c->p.cut && c->seq >= c->p.cut) break;
        }
    } else {
        while (c->seq < c->p.tokens && c->next <= now) {
            add_token(c, now); c->next += (uint64_t)c->p.interval_us * 1000;
            if (c->p.cut && c->seq >= c->p.cut) break;
        }
    }
    if (c->p.cut && c->seq >= c->p.cut) { flush_out(c); conn_close(c); return; }
    if (c->seq >= c->p.tokens) { add_tail(c); finish(c); flush_out(c); return; }
    if (c->p.interval_us == 0) set_pollout(c, 1); else timer_add(c);
    flush_out(c);
}

// ---- requests ---------------------------------------------------------------------------------
static void stats_json(conn *c) {
    struct rusage ru; getrusage(RUSAGE_SELF, &ru);
    char b[700];
    int n = snprintf(b, sizeof b, "{\"conns_total\":%ld,\"conns_open\":%ld,\"started\":%ld,\"completed\":%ld,\"aborted\":%ld,\"cut\":%ld,"
        "\"active\":%ld,\"max_active\":%ld,\"tokens_sent\":%ld,\"bytes_sent\":%ld,\"now_ns\":%llu,\"cpu_s\":%.6f}",
        st.conns, st.open, st.started, st.completed, st.aborted, st.cut, st.active, st.max_active, st.tokens, st.bytes,
        (unsigned long long)now_ns(), ru.ru_utime.tv_sec + ru.ru_stime.tv_sec + (ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6);
    respond(c, 200, b, (size_t)n);
}
static void aborts_json(conn *c) {
    char *b = xrealloc(NULL, naborts * 64 + 16); size_t n = 0;
    b[n++] = '[';
    for (size_t i = 0; i < naborts; i++)
        n += (size_t)sprintf(b + n, "%s[%ld,%llu,%ld]", i ? "," : "", aborts[i].tag, (unsigned long long)aborts[i].t, aborts[i].seq);
    b[n++] = ']';
    respond(c, 200, b, n); free(b);
}
static params directive(const char *body) {
    params p = defaults;
    const char *s = strstr(body, "mock:");
    if (!s) return p;
    struct { const char *k; long *v; } f[] = {{"tokens", &p.tokens}, {"interval_us", &p.interval_us}, {"ttft_us", &p.ttft_us},
        {"batch", &p.batch}, {"tag", &p.tag}, {"cut", &p.cut}, {"status", &p.status}};
    for (s += 5;; s++) {
        size_t k = strcspn(s, "=");
        if (k > 12) break;
        for (size_t i = 0; i < sizeof f / sizeof *f; i++)
            if (strlen(f[i].k) == k && !strncmp(s, f[i].k, k)) *f[i].v = atol(s + k + 1);
        s += k + 1; s += strspn(s, "0123456789");
        if (*s != ',') break;
    }
    if (p.batch < 1) p.batch = 1;
    return p;
}
static int json_true(const char *body, const char *key) {
    const char *s = strstr(body, key);
    if (!s) return 0;
    s += strlen(key); while (*s == ' ' || *s == ':') s++;
    return !strncmp(s, "true", 4);
}
static void handle(conn *c, const char *head, const char *body) {
    if (!strncmp(head, "GET ", 4)) {
        if (!strncmp(head + 4, "/stats ", 7)) stats_json(c);
        else if (!strncmp(head + 4, "/aborts ", 8)) aborts_json(c);
        else if (!strncmp(head + 4, "/reset ", 7)) {
            long open = st.open, active = st.active;
            memset(&st, 0, sizeof st); st.open = open; st.active = active; naborts = 0;
            respond(c, 200, "{}", 2);
        } else {
            static const char m[] = "{\"object\":\"list\",\"status\":\"ok\",\"data\":[{\"id\":\"mock\",\"object\":\"model\",\"created\":1,\"owned_by\":\"mock\"}]}";
            respond(c, 200, m, sizeof m - 1);
        }
        flush_out(c); return;
    }
    c->p = directive(body);
    if (c->p.status != 200) {
        static const char e[] = "{\"error\":{\"message\":\"mock failure\",\"type\":\"server_error\",\"code\":\"mock\"}}";
        respond(c, (int)c->p.status, e, sizeof e - 1); flush_out(c); return;
    }
    c->stream = json_true(body, "\"stream\""); c->usage = json_true(body, "\"include_usage\"");
    st.started++; c->active = 1; c->seq = 0;
    if (++st.active > st.max_active) st.max_active = st.active;
    snprintf(c->id, sizeof c->id, "chatcmpl-B%028ld", st.started);
    snprintf(c->model, sizeof c->model, "mock");
    const char *m = strstr(body, "\"model\"");
    if (m && (m = strchr(m + 7, '"'))) { size_t k = strcspn(m + 1, "\"\\"); if (k < sizeof c->model) { memcpy(c->model, m + 1, k); c->model[k] = 0; } }
    uint64_t now = now_ns(), wait = (uint64_t)c->p.ttft_us * 1000;
    if (c->stream) {
        make_template(c);
        char h[300];
        int k = snprintf(h, sizeof h, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
            "x-request-id: req_%ld\r\nopenai-processing-ms: 5\r\ntransfer-encoding: chunked\r\nconnection: %s\r\n\r\n",
            st.started, c->close_after ? "close" : "keep-alive");
        out_add(c, h, (size_t)k);
        if (wait) flush_out(c);        // headers go out at once, as vLLM's do
        if (c->dead) return;
    } else wait += (uint64_t)(c->p.tokens * c->p.interval_us) * 1000;
    c->next = now + wait;
    if (wait) timer_add(c); else produce(c, now);
}
// Takes one complete request off c->in.  1 = handled, 0 = more bytes needed, -1 = bad.
static int take_request(conn *c) {
    char *e = memmem(c->in, c->inlen, "\r\n\r\n", 4);
    if (!e) return c->inlen > 65536 ? -1 : 0;
    size_t hl = (size_t)(e - c->in) + 4, need = 0; int chunked = 0, closing = 0;
    for (char *l = memchr(c->in, '\n', hl); l && l + 1 < e; l = memchr(l + 1, '\n', (size_t)(c->in + hl - l - 1))) {
        if (!strncasecmp(l + 1, "content-length:", 15)) need = strtoul(l + 16, NULL, 10);
        else if (!strncasecmp(l + 1, "transfer-encoding:", 18)) chunked = 1;
        else if (!strncasecmp(l + 1, "connection:", 11)) { char *v = l + 12; while (*v == ' ') v++; closing = !strncasecmp(v, "close", 5); }
    }
    size_t used; char *body; size_t bl = 0; char *joined = NULL;
    if (chunked) {
        char *p = c->in + hl, *end = c->in + c->inlen;
        joined = xrealloc(NULL, c->inlen + 1);
        for (;;) {
            char *nl = memmem(p, (size_t)(end - p), "\r\n", 2);
            if (!nl) { free(joined); return 0; }
            size_t n = strtoul(p, NULL, 16); p = nl + 2;
            if ((size_t)(end - p) < n + 2) { free(joined); return 0; }
            if (n) { memcpy(joined + bl, p, n); bl += n; }
            p += n + 2;
            if (!n) break;
        }
        used = (size_t)(p - c->in); body = joined;
    } else {
        if (need > (64u << 20)) return -1;
        if (c->inlen < hl + need) return 0;
        used = hl + need;
        joined = xrealloc(NULL, need + 1); memcpy(joined, c->in + hl, need); body = joined; bl = need;
    }
    body[bl] = 0; c->close_after = closing;
    char head[256]; size_t k = hl < 255 ? hl : 255; memcpy(head, c->in, k); head[k] = 0;
    c->inlen -= used; memmove(c->in, c->in + used, c->inlen);
    handle(c, head, body);
    free(joined);
    return 1;
}
static void on_readable(conn *c) {
    for (;;) {
        if (c->incap - c->inlen < 4096) c->in = xrealloc(c->in, c->incap = c->incap ? 2 * c->incap : 8192);
        ssize_t n = recv(c->fd, c->in + c->inlen, c->incap - c->inlen - 1, 0);
        if (n > 0) { c->inlen += (size_t)n; if (c->inlen < c->incap - 1) break; continue; }
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
        conn_close(c); return;                         // the client went away
    }
    while (!c->dead && !c->active && c->inlen) {
        int r = take_request(c);
        if (r < 0) { conn_close(c); return; }
        if (!r) break;
    }
}
static void on_accept(void) {
    for (;;) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        int one = 1; setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        conn *c = calloc(1, sizeof *c); if (!c) exit(1);
        c->fd = fd; c->heap = -1; st.conns++; st.open++;
        struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = c};
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
    }
}
int main(int argc, char **argv) {
    int port = 9000;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *k = argv[i]; double v = atof(argv[i + 1]);
        if (!strcmp(k, "--port")) port = (int)v;
        else if (!strcmp(k, "--tokens")) defaults.tokens = (long)v;
        else if (!strcmp(k, "--interval-ms")) defaults.interval_us = (long)(v * 1000);
        else if (!strcmp(k, "--ttft-ms")) defaults.ttft_us = (long)(v * 1000);
        else if (!strcmp(k, "--batch")) defaults.batch = (long)v;
        else { fprintf(stderr, "usage: sse_upstream [--port N] [--tokens N] [--interval-ms F] [--ttft-ms F] [--batch N]\n"); return 2; }
    }
    signal(SIGPIPE, SIG_IGN);
    struct rlimit rl; getrlimit(RLIMIT_NOFILE, &rl); rl.rlim_cur = rl.rlim_max; setrlimit(RLIMIT_NOFILE, &rl);
    listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1; setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listen_fd, (struct sockaddr *)&a, sizeof a) || listen(listen_fd, 4096)) { perror("sse_upstream: bind/listen"); return 1; }
    socklen_t al = sizeof a; getsockname(listen_fd, (struct sockaddr *)&a, &al);
    printf("%d\n", ntohs(a.sin_port)); fflush(stdout);
    ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(ep, EPOLL_CTL_ADD, listen_fd, &e);
    static struct epoll_event ev[512];
    for (;;) {
        struct timespec ts, *tp = NULL;
        if (nheap) {
            uint64_t now = now_ns(), d = heap[0]->next > now ? heap[0]->next - now : 0;
            ts = (struct timespec){(time_t)(d / 1000000000ull), (long)(d % 1000000000ull)}; tp = &ts;
        }
        int n = epoll_pwait2(ep, ev, 512, tp, NULL);
        for (int i = 0; i < n; i++) {
            conn *c = ev[i].data.ptr;
            if (!c) { on_accept(); continue; }
            if (c->dead) continue;
            if (ev[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) on_readable(c);
            if (!c->dead && (ev[i].events & EPOLLOUT)) {
                flush_out(c);
                if (!c->dead && c->outpos == c->outlen) {
                    if (c->active && c->stream && c->heap < 0 && c->next <= now_ns()) produce(c, now_ns());
                    else set_pollout(c, 0);
                }
            }
        }
        uint64_t now = now_ns();
        while (nheap && heap[0]->next <= now) { conn *c = heap[0]; timer_del(c); produce(c, now_ns()); }
        while (ngrave) { conn *c = graveyard[--ngrave]; free(c->in); free(c->out); free(c); }
    }
}

// sse_load: opens many concurrent LLM streams through a gateway and reports what it added.
//
// One thread, epoll, no dependencies.  Parses HTTP/1.1 (chunked, content-length or until close) and
// SSE incrementally, and looks in every data line for the marks that sse_upstream puts there:
//   @T<16 digits: CLOCK_MONOTONIC ns at which the upstream sent the token>.<6 digits: token number>;
// so it measures the delay of each token through the gateway, and sees lost, repeated or reordered
// tokens.  How soon a 429 comes is counted apart (refused_ms).  Closed loop: -c streams at a time.  Open loop: --rate arrivals per second, whatever the
// gateway does; the times then count from the planned arrival.  Prints one JSON object.
#define _GNU_SOURCE
#include <arpa/inet.h>
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

static const char *USAGE =
    "sse_load --url http://127.0.0.1:PORT/PATH [options]\n"
    "  -H 'Name: value'        request header, repeatable\n"
    "  --model NAME            model in the default body (mock)\n"
    "  --body TEXT|@FILE       request body instead of the default; %ID% becomes the request's number\n"
    "  --tokens N --interval-us N --ttft-us N --batch N   put in the mock: directive (50 0 0 1)\n"
    "  --no-stream             ask for one JSON document\n"
    "  -c N                    closed loop: streams at a time (1)\n"
    "  --rate R                open loop: arrivals per second; -c then bounds the streams at a time\n"
    "  -n N                    requests in all (0: until --duration)\n"
    "  --duration S            stop starting requests after S seconds (10)\n"
    "  --max-s S               give up on what is still running after S seconds (60)\n"
    "  --ramp-ms N             closed loop: spread the first -c starts over N ms\n"
    "  --skip-ms N             leave the tokens of the first N ms out of the delay figures\n"
    "  --abort-frac F --abort-after N    close the connection of this share of streams after N tokens\n"
    "  --abort-ms N            ... or N ms after their start, tokens or not (cancel during prefill)\n"
    "  --dump-aborts           list [tag, ns] of each abort in the output\n"
    "  --done TEXT             what marks a complete stream ([DONE])\n"
    "  --no-keepalive          one connection a request\n";

// ---- histogram: 64 steps to each power of two (1.6 %) --------------------------------------------
typedef struct { uint64_t n, max; double sum; uint32_t b[64 * 64]; } hist;
static void hist_add(hist *h, uint64_t v) {
    h->n++; h->sum += (double)v; if (v > h->max) h->max = v;
    int e = v < 64 ? 0 : 58 - __builtin_clzll(v);
    h->b[e ? (size_t)e * 64 + (v >> (e - 1)) - 64 : v]++;
}
static double hist_q(const hist *h, double q) {
    uint64_t want = (uint64_t)(q * (double)h->n), c = 0;
    if (!h->n) return 0;
    if (want >= h->n) want = h->n - 1;
    for (size_t i = 0; i < 64 * 64; i++)
        if ((c += h->b[i]) > want) {
            uint64_t e = i / 64, m = i % 64;
            return e ? (double)((m + 64) << (e - 1)) + (double)(1ull << (e - 1)) / 2 : (double)m;
        }
    return (double)h->max;
}
static void hist_print(const char *name, const hist *h) {
    printf("\"%s\":{\"n\":%llu,\"mean\":%.4f,\"p50\":%.4f,\"p95\":%.4f,\"p99\":%.4f,\"max\":%.4f},", name, (unsigned long long)h->n,
           h->n ? h->sum / (double)h->n / 1e6 : 0, hist_q(h, .5) / 1e6, hist_q(h, .95) / 1e6, hist_q(h, .99) / 1e6, (double)h->max / 1e6);
}

enum { IDLE, CONNECTING, SENDING, HEAD, BODY };
enum { CH_SIZE, CH_DATA, CH_CRLF, CH_TRAILER };
typedef struct {
    int fd, state, reused, used;            // used: bytes of a response were seen on this request
    char *req; size_t reqlen, reqpos;
    char head[16384]; size_t headlen;
    int status, chunked, close_after, chstate, lastchunk, trailer_nl; long long length; size_t chleft;
    char sz[20]; int szlen;
    char *line; size_t linelen, linecap;
    long tag, tokens, next_seq; int abort_at, done;
    uint64_t t0, tfirst, tlast;
    char err[240]; size_t errlen;
} slot;

static char host[64] = "127.0.0.1", path[1024] = "/", headers[8192], body_tmpl[1 << 20], first_error[512];
static int port = 80, conc = 1, keepalive = 1, streaming = 1, dump_aborts;
static long tokens = 50, interval_us, ttft_us, batch = 1, total, abort_after = 10, abort_ms;
static double rate, duration = 10, max_s = 60, abort_frac;
static uint64_t ramp_ns, skip_ns, start_ns;
static const char *done_mark = "[DONE]", *model = "mock"; static size_t done_len;
static int ep; static slot **slots; static int nslots; static int *freelist; static int nfree, live, max_live;
static long launched, completed, failed, truncated, aborted_n, wrong_order, got_tokens, retries, conns, missed, http_err[6], skipped_arrivals;
static unsigned long long bytes_in;
static hist h_ttft, h_delay, h_itl, h_e2e, h_refused;
static struct { long tag; uint64_t t; } *ab; static size_t nab, capab;
static struct { long tag; uint64_t t; int idx; } *dueq; static size_t dueq_head, dueq_tail, capdue;   // --abort-ms, in order of time
static char rbuf[1 << 18];

static uint64_t now_ns(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000ull + t.tv_nsec; }
static void *xrealloc(void *p, size_t n) { p = realloc(p, n); if (!p) { perror("realloc"); exit(1); } return p; }

static void build_request(slot *s) {
    char *b = xrealloc(NULL, strlen(body_tmpl) + 64), *o = b;
    for (const char *p = body_tmpl; *p;) {
        if (!strncmp(p, "%ID%", 4)) { o += sprintf(o, "%ld", s->tag); p += 4; } else *o++ = *p++;
    }
    size_t bl = (size_t)(o - b);
    s->req = xrealloc(s->req, bl + strlen(path) + strlen(headers) + 300);
    s->reqlen = (size_t)sprintf(s->req, "POST %s HTTP/1.1\r\nhost: %s:%d\r\ncontent-type: application/json\r\naccept: %s\r\n%s%scontent-length: %zu\r\n\r\n",
                                path, host, port, streaming ? "text/event-stream" : "application/json", headers, keepalive ? "" : "connection: close\r\n", bl);
    memcpy(s->req + s->reqlen, b, bl); s->reqlen += bl; s->reqpos = 0;
    free(b);
}
static void want(slot *s, int idx, uint32_t ev, int op) {
    struct epoll_event e = {.events = ev, .data.u32 = (uint32_t)idx};
    epoll_ctl(ep, op, s->fd, &e);
}
static void drop_fd(slot *s) { if (s->fd >= 0) close(s->fd); s->fd = -1; s->reused = 0; }
static void send_req(slot *s, int idx);
static void go(slot *s, int idx) {           // connects if needed, then sends
    s->used = 0; s->headlen = 0; s->reqpos = 0;
    if (s->fd >= 0) { s->reused = 1; s->state = SENDING; send_req(s, idx); return; }
    s->reused = 0; conns++;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0) { perror("socket"); exit(1); }
    int one = 1; setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, host, &a.sin_addr);
    int r = connect(s->fd, (struct sockaddr *)&a, sizeof a);
    if (r && errno != EINPROGRESS) { perror("connect"); exit(1); }
    s->state = CONNECTING;
    want(s, idx, EPOLLOUT, EPOLL_CTL_ADD);
}
static int start(uint64_t planned) {
    int idx = nfree ? freelist[--nfree] : -1;
    if (idx < 0) { skipped_arrivals++; return 0; }
    if (!slots[idx]) { slots[idx] = calloc(1, sizeof(slot)); if (!slots[idx]) exit(1); slots[idx]->fd = -1; if (idx >= nslots) nslots = idx + 1; }
    slot *s = slots[idx];
    s->tag = launched++; s->tokens = s->next_seq = 0; s->tfirst = s->tlast = 0; s->done = 0; s->status = 0; s->linelen = 0; s->errlen = 0;
    s->abort_at = (long)((double)(s->tag + 1) * abort_frac) > (long)((double)s->tag * abort_frac) ? (int)abort_after : 0;
    s->t0 = planned;
    if (s->abort_at && abort_ms) {
        s->abort_at = 0;
        if (dueq_tail == capdue) dueq = xrealloc(dueq, (capdue = capdue ? 2 * capdue : 256) * sizeof *dueq);
        dueq[dueq_tail].tag = s->tag; dueq[dueq_tail].idx = idx; dueq[dueq_tail++].t = now_ns() + (uint64_t)abort_ms * 1000000;
    }
    if (++live > max_live) max_live = live;
    build_request(s); go(s, idx);
    return 1;
}
static void end(slot *s, int idx, int ok, const char *why) {   // ok: 1 complete, 0 failed, -1 aborted by us
    uint64_t now = now_ns();
    if (ok > 0 && streaming && (!s->done || s->tokens != tokens)) { ok = 0; truncated++; if (!why) why = s->done ? "token count" : "ended without the done mark"; }
    else if (ok > 0) { completed++; hist_add(&h_e2e, now - s->t0); }
    else if (ok < 0) aborted_n++;
    else if (s->tokens) truncated++;
    else { failed++; if (s->status == 429) hist_add(&h_refused, now - s->t0); }
    if (ok == 0 && !first_error[0])
        snprintf(first_error, sizeof first_error, "tag %ld status %d tokens %ld: %s: %.*s", s->tag, s->status, s->tokens, why ? why : "", (int)s->errlen, s->err);
    if (ok <= 0 || s->close_after || !keepalive) drop_fd(s);
    s->state = IDLE; live--; freelist[nfree++] = idx;
}
static void line_done(slot *s, const char *l, size_t n, uint64_t now) {
    const char *e = l + n, *p = l; int found = 0;
    while ((p = memchr(p, '@', (size_t)(e - p))) && e - p >= 26) {
        if (p[1] != 'T') { p++; continue; }
        uint64_t t = 0; long q = 0; int i;
        for (i = 2; i < 18; i++) t = t * 10 + (uint64_t)(p[i] - '0');
        for (i = 19; i < 25; i++) q = q * 10 + (p[i] - '0');
        found = 1; got_tokens++;
        if (!s->tokens++) { s->tfirst = now; hist_add(&h_ttft, now - s->t0); }
        if (q != s->next_seq) wrong_order++;
        s->next_seq = q + 1;
        if (now - start_ns >= skip_ns) {
            hist_add(&h_delay, now > t ? now - t : 0);
            if (s->tlast) hist_add(&h_itl, now - s->tlast);
        }
        s->tlast = now; p += 26;
    }
    if (!found && n >= done_len && memmem(l, n, done_mark, done_len)) s->done = 1;
}
static void sse_feed(slot *s, const char *p, size_t n, uint64_t now) {
    while (n) {
        const char *nl = memchr(p, '\n', n);
        size_t k = nl ? (size_t)(nl - p) : n;
        if (nl && !s->linelen) line_done(s, p, k, now);
        else {
            if (s->linelen + k > s->linecap) s->line = xrealloc(s->line, s->linecap = 2 * (s->linelen + k));
            memcpy(s->line + s->linelen, p, k); s->linelen += k;
            if (nl) { line_done(s, s->line, s->linelen, now); s->linelen = 0; }
        }
        if (nl) k++;
        p += k; n -= k;
    }
}
static void body_bytes(slot *s, const char *p, size_t n, uint64_t now) {
    if (s->status == 200) { sse_feed(s, p, n, now); return; }
    size_t k = sizeof s->err - s->errlen; if (k > n) k = n;
    memcpy(s->err + s->errlen, p, k); s->errlen += k;
}
// 1: the response is complete.  0: more to come.  -1: broken.
static int feed(slot *s, const char *p, size_t n, uint64_t now) {
    if (s->state == HEAD) {
        size_t k = sizeof s->head - 1 - s->headlen; if (k > n) k = n;
        size_t before = s->headlen;
        memcpy(s->head + s->headlen, p, k); s->headlen += k; s->head[s->headlen] = 0;
        char *e = strstr(s->head, "\r\n\r\n");
        if (!e) return s->headlen == sizeof s->head - 1 ? -1 : 0;
        size_t used = (size_t)(e - s->head) + 4 - before;
        s->status = atoi(s->head + 9); s->chunked = 0; s->length = -1; s->close_after = 0;
        if (s->status < 200) { s->headlen = 0; return feed(s, p + used, n - used, now); }
        e[2] = 0;
        for (char *l = strstr(s->head, "\r\n"); l; l = strstr(l + 2, "\r\n")) {
            if (!strncasecmp(l + 2, "content-length:", 15)) s->length = atoll(l + 17);
            else if (!strncasecmp(l + 2, "transfer-encoding:", 18)) s->chunked = 1;
            else if (!strncasecmp(l + 2, "connection: close", 17)) s->close_after = 1;
        }
        if (s->chunked) s->length = -1;
        s->state = BODY; s->chstate = CH_SIZE; s->szlen = 0;
        if (s->status != 200) http_err[s->status / 100 < 6 ? s->status / 100 : 0]++;
        p += used; n -= used;
    }
    if (!s->chunked) {
        if (s->length >= 0 && (long long)n > s->length) n = (size_t)s->length;
        body_bytes(s, p, n, now);
        if (s->length >= 0 && (s->length -= (long long)n) == 0) return 1;
        return 0;
    }
    while (n) switch (s->chstate) {
        case CH_SIZE:
            if (*p == '\n') {
                s->sz[s->szlen] = 0; s->chleft = strtoul(s->sz, NULL, 16); s->szlen = 0;
                s->chstate = s->chleft ? CH_DATA : CH_TRAILER; s->trailer_nl = 1;
            } else if (s->szlen < 19) s->sz[s->szlen++] = *p;
            p++; n--; break;
        case CH_DATA: {
            size_t k = n < s->chleft ? n : s->chleft;
            body_bytes(s, p, k, now); p += k; n -= k;
            if (!(s->chleft -= k)) s->chstate = CH_CRLF;
            break; }
        case CH_CRLF: if (*p == '\n') s->chstate = CH_SIZE; p++; n--; break;
        default:                                     // trailers end with an empty line
            if (*p == '\n') { if (s->trailer_nl) return 1; s->trailer_nl = 1; } else if (*p != '\r') s->trailer_nl = 0;
            p++; n--;
    }
    return 0;
}
static void lost(slot *s, int idx, const char *why) {
    if (s->reused && !s->used) { retries++; drop_fd(s); go(s, idx); return; }   // a stale kept connection: once more
    if (s->state == BODY && !s->chunked && s->length < 0) { s->close_after = 1; end(s, idx, s->status == 200, why); return; }
    end(s, idx, 0, why);
}
static void send_req(slot *s, int idx) {
    while (s->reqpos < s->reqlen) {
        ssize_t n = send(s->fd, s->req + s->reqpos, s->reqlen - s->reqpos, MSG_NOSIGNAL);
        if (n > 0) { s->reqpos += (size_t)n; continue; }
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) { want(s, idx, EPOLLOUT, EPOLL_CTL_MOD); return; }
        lost(s, idx, "send"); return;
    }
    s->state = HEAD; s->status = 0;
    want(s, idx, EPOLLIN, EPOLL_CTL_MOD);
}
static void abort_now(slot *s, int idx) {
    if (dump_aborts) {
        if (nab == capab) ab = xrealloc(ab, (capab = capab ? 2 * capab : 256) * sizeof *ab);
        ab[nab].tag = s->tag; ab[nab++].t = now_ns();
    }
    end(s, idx, -1, NULL);
}
static void on_event(int idx, uint32_t ev) {
    slot *s = slots[idx];
    if (s->fd < 0) return;
    if (s->state == CONNECTING) {
        int err = 0; socklen_t l = sizeof err; getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &l);
        if (err) { end(s, idx, 0, strerror(err)); return; }
        s->state = SENDING;
    }
    if (s->state == SENDING) { send_req(s, idx); return; }
    if (!(ev & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    ssize_t n = recv(s->fd, rbuf, sizeof rbuf, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (s->state == IDLE) { drop_fd(s); return; }     // the gateway closed a kept connection
    if (n <= 0) { lost(s, idx, n ? strerror(errno) : "closed early"); return; }
    s->used = 1; bytes_in += (unsigned long long)n;
    uint64_t now = now_ns();
    int r = feed(s, rbuf, (size_t)n, now);
    if (s->abort_at && s->tokens >= s->abort_at && r == 0) { abort_now(s, idx); return; }
    if (r) end(s, idx, r > 0 && s->status == 200, r < 0 ? "bad response" : NULL);
}
static void json_str(const char *s) {
    putchar('"');
    for (; *s; s++) { if (*s == '"' || *s == '\\') putchar('\\'); if ((unsigned char)*s >= 32) putchar(*s); else putchar(' '); }
    putchar('"');
}
int main(int argc, char **argv) {
    const char *body = NULL, *url = NULL;
    for (int i = 1; i < argc; i++) {
        const char *k = argv[i];
        if (!strcmp(k, "--no-stream")) { streaming = 0; continue; }
        if (!strcmp(k, "--no-keepalive")) { keepalive = 0; continue; }
        if (!strcmp(k, "--dump-aborts")) { dump_aborts = 1; continue; }
        const char *v = i + 1 < argc ? argv[++i] : NULL;
        if (!v) { fputs(USAGE, stderr); return 2; }
        if (!strcmp(k, "--url")) url = v;
        else if (!strcmp(k, "-H")) { strncat(headers, v, sizeof headers - strlen(headers) - 3); strcat(headers, "\r\n"); }
        else if (!strcmp(k, "--model")) model = v;
        else if (!strcmp(k, "--body")) body = v;
        else if (!strcmp(k, "--tokens")) tokens = atol(v);
        else if (!strcmp(k, "--interval-us")) interval_us = atol(v);
        else if (!strcmp(k, "--ttft-us")) ttft_us = atol(v);
        else if (!strcmp(k, "--batch")) batch = atol(v);
        else if (!strcmp(k, "-c")) conc = atoi(v);
        else if (!strcmp(k, "-n")) total = atol(v);
        else if (!strcmp(k, "--rate")) rate = atof(v);
        else if (!strcmp(k, "--duration")) duration = atof(v);
        else if (!strcmp(k, "--max-s")) max_s = atof(v);
        else if (!strcmp(k, "--ramp-ms")) ramp_ns = (uint64_t)(atof(v) * 1e6);
        else if (!strcmp(k, "--skip-ms")) skip_ns = (uint64_t)(atof(v) * 1e6);
        else if (!strcmp(k, "--abort-frac")) abort_frac = atof(v);
        else if (!strcmp(k, "--abort-after")) abort_after = atol(v);
        else if (!strcmp(k, "--abort-ms")) abort_ms = atol(v);
        else if (!strcmp(k, "--done")) done_mark = v;
        else { fputs(USAGE, stderr); return 2; }
    }
    if (!url || sscanf(url, "http://%63[^:/]:%d%1023s", host, &port, path) < 2 || conc < 1) { fputs(USAGE, stderr); return 2; }
    if (!strcmp(host, "localhost")) strcpy(host, "127.0.0.1");
    done_len = strlen(done_mark);
    if (body && *body == '@') {
        FILE *f = fopen(body + 1, "r"); if (!f) { perror(body + 1); return 2; }
        body_tmpl[fread(body_tmpl, 1, sizeof body_tmpl - 1, f)] = 0; fclose(f);
    } else if (body) snprintf(body_tmpl, sizeof body_tmpl, "%s", body);
    else snprintf(body_tmpl, sizeof body_tmpl,
        "{\"model\":\"%s\",\"messages\":[{\"role\":\"system\",\"content\":\"You are a helpful assistant.\"},{\"role\":\"user\",\"content\":"
        "\"Say something. mock:tokens=%ld,interval_us=%ld,ttft_us=%ld,batch=%ld,tag=%%ID%%\"}],\"max_tokens\":%ld%s}",
        model, tokens, interval_us, ttft_us, batch, tokens, streaming ? ",\"stream\":true,\"stream_options\":{\"include_usage\":true}" : "");
    signal(SIGPIPE, SIG_IGN);
    struct rlimit rl; getrlimit(RLIMIT_NOFILE, &rl); rl.rlim_cur = rl.rlim_max; setrlimit(RLIMIT_NOFILE, &rl);
    ep = epoll_create1(EPOLL_CLOEXEC);
    slots = calloc((size_t)conc, sizeof *slots); freelist = calloc((size_t)conc, sizeof *freelist);
    for (int i = conc - 1; i >= 0; i--) freelist[nfree++] = i;
    start_ns = now_ns();
    uint64_t stop = start_ns + (uint64_t)(duration * 1e9), give_up = start_ns + (uint64_t)(max_s * 1e9), now = start_ns;
    long arrivals = 0;
    static struct epoll_event ev[512];
    for (;;) {
        now = now_ns();
        int more = (!total || arrivals < total) && now < stop;
        uint64_t next = 0;
        while (more) {                      // start whatever is due
            if (rate > 0) next = start_ns + (uint64_t)((double)arrivals * 1e9 / rate);
            else if (live == conc) { next = 0; break; }
            else next = arrivals < conc && ramp_ns ? start_ns + ramp_ns * (uint64_t)arrivals / (uint64_t)conc : now;
            if (next > now) break;
            start(rate > 0 ? next : now_ns()); arrivals++;
            more = !total || arrivals < total;
        }
        if ((!more && !live) || now >= give_up) break;
        uint64_t until = more && next > now && next < give_up ? next : give_up;
        if (more && stop < until) until = stop;
        while (dueq_head < dueq_tail && dueq[dueq_head].t <= now) {
            slot *q = slots[dueq[dueq_head].idx];
            if (q->tag == dueq[dueq_head].tag && q->state != IDLE) abort_now(q, dueq[dueq_head].idx);
            dueq_head++;
        }
        if (dueq_head < dueq_tail && dueq[dueq_head].t < until) until = dueq[dueq_head].t;
        uint64_t d = until > now ? until - now : 0;
        struct timespec ts = {(time_t)(d / 1000000000ull), (long)(d % 1000000000ull)};
        int n = epoll_pwait2(ep, ev, 512, &ts, NULL);
        for (int i = 0; i < n; i++) on_event((int)ev[i].data.u32, ev[i].events);
    }
    now = now_ns();
    for (int i = 0; i < nslots; i++)
        if (slots[i] && slots[i]->state != IDLE) missed++;
    struct rusage ru; getrusage(RUSAGE_SELF, &ru);
    double wall = (double)(now - start_ns) / 1e9, cpu = (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) + (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
    printf("{\"wall_s\":%.4f,\"requests\":%ld,\"completed\":%ld,\"failed\":%ld,\"truncated\":%ld,\"unfinished\":%ld,\"aborted\":%ld,"
           "\"over_limit\":%ld,\"http_4xx\":%ld,\"http_5xx\":%ld,\"req_per_s\":%.2f,\"tokens\":%ld,\"tokens_wanted\":%ld,\"tokens_per_s\":%.1f,"
           "\"bytes_in\":%llu,\"wrong_order\":%ld,\"max_open\":%d,\"connections\":%ld,\"retries\":%ld,",
           wall, launched, completed, failed, truncated, missed, aborted_n, skipped_arrivals, http_err[4], http_err[5], (double)completed / wall,
           got_tokens, (launched - aborted_n) * tokens + aborted_n * abort_after, (double)got_tokens / wall, bytes_in, wrong_order, max_live, conns, retries);
    hist_print("ttft_ms", &h_ttft); hist_print("delay_ms", &h_delay); hist_print("itl_ms", &h_itl); hist_print("e2e_ms", &h_e2e); hist_print("refused_ms", &h_refused);
    if (dump_aborts) {
        printf("\"aborts\":[");
        for (size_t i = 0; i < nab; i++) printf("%s[%ld,%llu]", i ? "," : "", ab[i].tag, (unsigned long long)ab[i].t);
        printf("],");
    }
    printf("\"first_error\":"); json_str(first_error);
    printf(",\"client_cpu_s\":%.4f,\"client_cpu_share\":%.3f}\n", cpu, cpu / wall);
    return 0;
}

// One stream from the client's side: start it or follow it, come back after every lost connection, stop at `closed`.
// Rules of spec/PROTOCOL.md section 3: skip what is at or below the cursor, take a gap for a lost connection.

import { backoff } from "./backoff.ts";
import { errorOf, TidewireError, unreachable } from "./errors.ts";
import type { StartRequest, StreamEvent } from "./protocol.ts";
import { SseDecoder } from "./sse.ts";

export type Connection =
  | { state: "connecting" }
  | { state: "live" }
  | { state: "reconnecting"; attempt: number; wait: number }
  | { state: "offline" }
  | { state: "closed" }
  | { state: "refused"; error: TidewireError };

export interface StreamOptions {
  /** Where the server is, without a slash at the end; "" for the page's own. */
  base?: string;
  fetch?: typeof fetch;
  /** Headers of every request, asked for each time: a key may have come meanwhile. */
  headers?: () => Record<string, string>;
  /** Events in order, each once. */
  onEvents: (events: StreamEvent[]) => void;
  onConnection?: (connection: Connection) => void;
  /** First wait before a reconnect in milliseconds, unless the server names one. */
  retry?: number;
  /** Longest wait in milliseconds. */
  retryLimit?: number;
  /** Silence in milliseconds that counts as a lost connection; the server sends a comment every 15 s. */
  silence?: number;
  random?: () => number;
}

/** A stream that is read. The cursor is the seq of the last event handed to onEvents. */
export class StreamReader {
  readonly stream: string;
  cursor = 0;
  private readonly options: StreamOptions;
  private readonly request: StartRequest | undefined;
  private retry: number;
  private attempt = 0;
  private ended = false;
  private abort: AbortController | undefined;
  private wake: (() => void) | undefined;
  private started = false;

  constructor(stream: string, options: StreamOptions, request?: StartRequest) {
    this.stream = stream;
    this.options = options;
    this.request = request && { ...request, stream };
    this.retry = options.retry ?? 1000;
  }

  /** Reads until `closed`, a refusal or release(). Never rejects: what went wrong is told to onConnection. */
  async run(): Promise<void> {
    this.tell({ state: "connecting" });
    while (!this.ended) {
      try {
        await this.read(await this.connect());
      } catch (thrown) {
        if (this.ended) break;
        const error = thrown instanceof TidewireError ? thrown : unreachable();
        if (this.finished(error)) {
          this.ended = true;
          this.tell({ state: "refused", error });
          break;
        }
        if (error.info.retry_after) this.retry = Math.max(this.retry, error.info.retry_after * 1000);
      }
      if (!this.ended) await this.pause();
    }
  }

  /** Stops reading; the stream itself goes on or not as its disconnect policy says. */
  release(): void {
    this.ended = true;
    this.abort?.abort();
    this.wake?.();
  }

  /** Try again now rather than after the wait: the network is back, or somebody asked. */
  nudge(): void {
    this.wake?.();
  }

  /** Whether no further try can help. A start that the server refused is not repeated behind the person's back. */
  private finished(error: TidewireError): boolean {
    if (error.status === 0) return false;
    return !error.retryable || (this.request !== undefined && !this.started);
  }

  private async connect(): Promise<Response> {
    const { base = "", headers } = this.options;
    this.abort = new AbortController();
    const ask = this.options.fetch ?? fetch;
    const common = { signal: this.abort.signal, cache: "no-store" as const };
    const path = `${base}/v1/streams`;
    const accept = { accept: "text/event-stream", ...headers?.() };
    let response: Response;
    if (this.request && !this.started) {
      const body = JSON.stringify(this.request);
      const post = { ...common, method: "POST", body, headers: { ...accept, "content-type": "application/json" } };
      response = await ask(path, post);
      // Only a retry of ours can meet a stream with an id of 128 random bits: the answer to the first try was lost.
      if (response.status === 409) {
        void response.body?.cancel();
        this.started = true;
        return this.connect();
      }
    } else {
      const follow = `${path}/${encodeURIComponent(this.stream)}/events?after=${this.cursor}`;
      response = await ask(follow, { ...common, headers: accept });
    }
    if (!response.ok) throw await errorOf(response);
    this.started = true;
    return response;
  }

  private async read(response: Response): Promise<void> {
    if (response.status === 204 || !response.body) {
      this.ended = true;
      this.tell({ state: "closed" });
      return;
    }
    const decoder = new SseDecoder();
    const reader = response.body.getReader();
    const silence = this.options.silence ?? 40_000;
    let watch = setTimeout(() => this.abort?.abort(), silence);
    this.tell({ state: "live" });
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(watch);
        watch = setTimeout(() => this.abort?.abort(), silence);
        const gap = this.take(decoder.feed(value).map((frame) => frame.data));
        if (decoder.retry !== undefined) this.retry = decoder.retry;
        if (gap || this.ended) return;
      }
    } finally {
      clearTimeout(watch);
      this.abort?.abort();
    }
  }

  /** Hands over what is new; true where a number is missing. */
  private take(frames: string[]): boolean {
    const events: StreamEvent[] = [];
    let gap = false;
    for (const data of frames) {
      const event = parse(data);
      if (!event || event.seq <= this.cursor) continue;
      if (event.seq !== this.cursor + 1) {
        gap = true;
        break;
      }
      this.cursor = event.seq;
      events.push(event);
      if (event.type === "closed") this.ended = true;
    }
    if (events.length) {
      this.attempt = 0;
      this.options.onEvents(events);
    }
    if (this.ended) this.tell({ state: "closed" });
    return gap;
  }

  private async pause(): Promise<void> {
    this.attempt += 1;
    const { retryLimit = 10_000, random = Math.random } = this.options;
    const wait = backoff(this.attempt, this.retry, retryLimit, random);
    const offline = typeof navigator !== "undefined" && navigator.onLine === false;
    this.tell(offline ? { state: "offline" } : { state: "reconnecting", attempt: this.attempt, wait });
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, wait);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.wake = undefined;
  }

  private tell(connection: Connection): void {
    this.options.onConnection?.(connection);
  }
}

function parse(data: string): StreamEvent | undefined {
  try {
    const value: unknown = JSON.parse(data);
    const numbered = value !== null && typeof value === "object" && "seq" in value && "type" in value;
    return numbered && Number.isInteger(value.seq) ? (value as StreamEvent) : undefined;
  } catch {
    return undefined;
  }
}

/** Stop a stream. True if it was still running. Rejects with TidewireError. */
export async function cancel(stream: string, options: Pick<StreamOptions, "base" | "fetch" | "headers">): Promise<boolean> {
  const url = `${options.base ?? ""}/v1/streams/${encodeURIComponent(stream)}/cancel`;
  let response: Response;
  try {
    response = await (options.fetch ?? fetch)(url, { method: "POST", headers: options.headers?.() ?? {} });
  } catch {
    throw unreachable();
  }
  if (!response.ok) throw await errorOf(response);
  const body = (await response.json()) as { cancelled?: boolean };
  return body.cancelled === true;
}

/** A new id with 128 random bits. Works on plain http too, where crypto.randomUUID is missing. */
export function newId(prefix: string): string {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const bytes = crypto.getRandomValues(new Uint8Array(22));
  return `${prefix}_${Array.from(bytes, (byte) => alphabet[byte & 63]).join("")}`;
}

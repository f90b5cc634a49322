// The events of the Tidewire protocol, version 1, as they are on the wire. See spec/PROTOCOL.md.

export type Status = "completed" | "incomplete" | "cancelled" | "failed";
export type PartKind = "text" | "thinking" | "tool_call" | "tool_result";

interface Numbered {
  seq: number;
  /** Milliseconds since the stream was opened. */
  at: number;
}

export interface ErrorInfo {
  code: string;
  message: string;
  status?: number;
  retryable?: boolean;
  /** Seconds. */
  retry_after?: number;
  param?: string;
}

/** A stretch of time in milliseconds, counted from the stream's opening. A missing source means measured. */
export interface Span {
  name: string;
  start: number;
  ms: number;
  source?: "measured" | "reported" | "inferred";
}

export interface Opened extends Numbered {
  type: "opened";
  stream: string;
  model: string;
  created: number;
  durability: string;
  on_disconnect: string;
  protocol: string;
  epoch: number;
  chat?: string;
}

export interface Attempt extends Numbered {
  type: "attempt";
  n: number;
  provider: string;
  model: string;
  reason: string;
}

export interface Progress extends Numbered {
  type: "progress";
  stage: string;
  detail?: string;
}

export interface PartStarted extends Numbered {
  type: "part";
  part: number;
  kind: PartKind;
  name?: string;
  call?: string;
}

export interface Delta extends Numbered {
  type: "delta";
  part: number;
  text: string;
}

export interface PartEnded extends Numbered {
  type: "part_end";
  part: number;
}

/** start and end count Unicode code points of the part's text. age: seconds. */
export interface Citation extends Numbered {
  type: "citation";
  part: number;
  start: number;
  end: number;
  source: string;
  title: string;
  passage: string;
  uri?: string;
  age?: number;
  score?: number;
}

export interface Usage extends Numbered {
  type: "usage";
  counted_by: "host" | "server";
  input?: number;
  output?: number;
  cached?: number;
  reasoning?: number;
}

export interface Notice extends Numbered {
  type: "notice";
  code: string;
  message: string;
}

/** ttft in milliseconds, as the server saw it. */
export interface Closed extends Numbered {
  type: "closed";
  status: Status;
  reason: string;
  error?: ErrorInfo;
  input_tokens?: number;
  output_tokens?: number;
  ttft?: number;
  tokens_per_second?: number;
  spans?: Span[];
}

export type StreamEvent =
  | Opened
  | Attempt
  | Progress
  | PartStarted
  | Delta
  | PartEnded
  | Citation
  | Usage
  | Notice
  | Closed;

export interface Message {
  role: "system" | "user" | "assistant" | "tool";
  content: string;
}

/** The body of POST /v1/streams, as far as a chat needs it. */
export interface StartRequest {
  model: string;
  input?: string;
  messages?: Message[];
  stream?: string;
  chat?: string;
  on_disconnect?: string;
  [more: string]: unknown;
}

/** What GET /v1/streams tells of a stream. created and ended: Unix milliseconds. */
export interface StreamInfo {
  stream: string;
  model: string;
  created: number;
  ended?: number;
  chat?: string;
  durability?: string;
  on_disconnect?: string;
  last?: number;
}

export interface ModelInfo {
  id: string;
  provider?: string;
  note?: string;
}

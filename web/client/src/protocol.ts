// The events of the Tidewire protocol, version 1, as they are on the wire. See spec/PROTOCOL.md.

export type Status = "completed" | "incomplete" | "cancelled" | "failed";
export type PartKind = "text" | "thinking" | "refusal" | "tool_call" | "server_call" | "tool_result" | "image" | "audio";

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
  /** Of a tool that the server runs: the call it is about. */
  call?: string;
}

export interface PartStarted extends Numbered {
  type: "part";
  part: number;
  kind: PartKind;
  name?: string;
  call?: string;
  /** Which of several answers it belongs to; 0 where left out. */
  choice?: number;
  /** The MIME type of an image or audio part. */
  media?: string;
  /** Of a tool_result: the call did not succeed, and the text says why. */
  failed?: boolean;
}

export interface Delta extends Numbered {
  type: "delta";
  part: number;
  text: string;
}

/** The code points start to end of a part's text, as it stands then, become `text`. */
export interface Edit extends Numbered {
  type: "edit";
  part: number;
  start: number;
  end: number;
  text: string;
}

export interface PartEnded extends Numbered {
  type: "part_end";
  part: number;
}

/** data: base64. Audio goes on where the last blob ended; an image replaces the one before, and a partial one is a sketch. */
export interface Blob extends Numbered {
  type: "blob";
  part: number;
  data: string;
  partial?: boolean;
}

/** A host's opaque proof of a part, handed back with it in the next request. */
export interface Signature extends Numbered {
  type: "signature";
  part: number;
  value: string;
  redacted?: boolean;
}

export interface Logprobs extends Numbered {
  type: "logprobs";
  part: number;
  content: unknown[];
}

/** Of an answer in JSON: the value at this JSON pointer is complete. */
export interface Field extends Numbered {
  type: "field";
  part: number;
  path: string;
  value: unknown;
}

/** An answer in JSON has ended and was held against its schema. */
export interface Checked extends Numbered {
  type: "checked";
  part: number;
  valid: boolean;
  problems?: string[];
}

export interface ChoiceEnded extends Numbered {
  type: "choice_end";
  choice: number;
  reason: string;
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
  /** Of a passage of the tenant's documents: its chunk, and the version of the document, which is `source`. */
  chunk?: number;
  version?: number;
}

/** A passage that the model was given. published, indexed, expires: Unix seconds. age: seconds, when it was searched. */
export interface Source {
  document: string;
  version: number;
  chunk: number;
  title: string;
  published: number;
  indexed: number;
  age: number;
  score: number;
  uri?: string;
  expires?: number;
  lexical?: number;
  dense?: number;
  recency?: number;
  lift?: number;
  rerank?: number;
}

/** The tenant's documents were searched. passages: in the order of the numbers that the answer cites by, from 1. behind: seconds. */
export interface Retrieved extends Numbered {
  type: "retrieved";
  namespace: string;
  epoch: number;
  passages: Source[];
  ms: number;
  cached?: boolean;
  behind?: number;
  notices?: string[];
}

/** A document that the answer was given has another version now, or is gone. */
export interface Superseded extends Numbered {
  type: "superseded";
  document: string;
  version: number;
  chunks: number[];
  deleted?: boolean;
}

export interface Usage extends Numbered {
  type: "usage";
  counted_by: "host" | "server";
  input?: number;
  output?: number;
  cached?: number;
  reasoning?: number;
  cache_write?: number;
  reused?: "cache" | "shared";
  /** USD for all of them, where the server knows prices. */
  cost?: number;
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
  cached_tokens?: number;
  reasoning_tokens?: number;
  cache_write_tokens?: number;
  reused?: "cache" | "shared";
  cost?: number;
  ttft?: number;
  tokens_per_second?: number;
  spans?: Span[];
  /** What the answer came to rest on; missing where no documents were searched. */
  rested?: { passages: number; cited?: number; superseded?: number; ms?: number };
}

export type StreamEvent =
  | Opened
  | Attempt
  | Progress
  | PartStarted
  | Delta
  | Edit
  | PartEnded
  | Blob
  | Signature
  | Logprobs
  | Field
  | Checked
  | ChoiceEnded
  | Citation
  | Retrieved
  | Superseded
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

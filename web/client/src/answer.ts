// An answer as it stands: what the events so far add up to. Pure; unknown types and fields are ignored.

import type { Attempt, Citation, Closed, Notice, Opened, PartKind, Progress, Retrieved, StreamEvent, Superseded, Usage } from "./protocol.ts";

export interface Part {
  readonly number: number;
  readonly kind: PartKind;
  readonly name: string | undefined;
  readonly call: string | undefined;
  readonly text: string;
  /** How often what was written has been changed. */
  readonly edits: number;
  readonly ended: boolean;
  readonly choice: number;
  /** Of a tool_result: the call did not succeed, and the text says why. */
  readonly failed: boolean;
  /** Of an image or audio part: its MIME type, and its bytes so far in base64, to be joined; of an image, the latest alone. */
  readonly media: string | undefined;
  readonly blobs: readonly string[];
}

export interface Answer {
  /** seq of the last event in it. */
  readonly cursor: number;
  readonly opened: Opened | undefined;
  readonly attempts: readonly Attempt[];
  readonly progress: readonly Progress[];
  readonly parts: readonly Part[];
  readonly citations: readonly Citation[];
  /** The last search of the tenant's documents, and what of them has changed or gone since. */
  readonly retrieved: Retrieved | undefined;
  readonly superseded: readonly Superseded[];
  readonly usage: Usage | undefined;
  readonly notices: readonly Notice[];
  readonly closed: Closed | undefined;
  /** `at` of the first delta of a text part, and how many deltas text and thinking have had. */
  readonly firstText: number | undefined;
  readonly deltas: number;
}

export const EMPTY: Answer = {
  cursor: 0,
  opened: undefined,
  attempts: [],
  progress: [],
  parts: [],
  citations: [],
  retrieved: undefined,
  superseded: [],
  usage: undefined,
  notices: [],
  closed: undefined,
  firstText: undefined,
  deltas: 0,
};

/** The answer with these events added, at the cost of one copy a batch. The one given is left as it was. */
export function fold(answer: Answer, events: readonly StreamEvent[]): Answer {
  const next = { ...answer };
  const text = new Map<number, string[]>(); // joined once at the end: a batch may hold a thousand deltas
  const add = <T>(list: readonly T[], item: T): T[] => [...list, item];
  const settle = (): void => {
    if (!text.size) return;
    next.parts = next.parts.map((part) => {
      const more = text.get(part.number);
      return more ? { ...part, text: part.text + more.join("") } : part;
    });
    text.clear();
  };
  for (const event of events) {
    next.cursor = Math.max(next.cursor, event.seq);
    switch (event.type) {
      case "opened":
        next.opened = event;
        break;
      case "attempt":
        next.attempts = add(next.attempts, event);
        break;
      case "progress":
        next.progress = add(next.progress, event);
        break;
      case "part": {
        const { part: number, kind, name, call, choice = 0, media, failed = false } = event;
        next.parts = add(next.parts, { number, kind, name, call, text: "", edits: 0, ended: false, choice, failed, media, blobs: [] });
        break;
      }
      case "blob":
        settle();
        next.parts = next.parts.map((part) => {
          if (part.number !== event.part) return part;
          return { ...part, blobs: part.kind === "image" ? [event.data] : [...part.blobs, event.data] };
        });
        break;
      case "delta": {
        const waiting = text.get(event.part);
        if (waiting) waiting.push(event.text);
        else text.set(event.part, [event.text]);
        next.deltas += 1;
        if (next.firstText === undefined && kindOf(next, event.part) === "text") next.firstText = event.at;
        break;
      }
      case "edit":
        settle();
        next.parts = next.parts.map((part) => {
          if (part.number !== event.part) return part;
          return { ...part, text: edited(part.text, event), edits: part.edits + 1 };
        });
        break;
      case "part_end":
        settle();
        next.parts = next.parts.map((part) => (part.number === event.part ? { ...part, ended: true } : part));
        break;
      case "citation":
        next.citations = add(next.citations, event);
        break;
      case "retrieved":
        next.retrieved = event;
        break;
      case "superseded":
        next.superseded = add(next.superseded, event);
        break;
      case "usage":
        next.usage = event;
        break;
      case "notice":
        next.notices = add(next.notices, event);
        break;
      case "closed":
        next.closed = event;
        break;
    }
  }
  settle();
  return next;
}

function kindOf(answer: Answer, number: number): PartKind | undefined {
  return answer.parts.find((part) => part.number === number)?.kind;
}

/** The text with this change made; its offsets count code points. */
export function edited(text: string, change: { start: number; end: number; text: string }): string {
  const start = utf16(text, 0, change.start);
  const end = utf16(text, start, change.end - change.start);
  return text.slice(0, start) + change.text + text.slice(end);
}

/** The place so many code points behind `from`. */
function utf16(text: string, from: number, points: number): number {
  let at = from;
  for (let n = 0; n < points && at < text.length; n++) at += (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
  return at;
}

/** All text of one kind, parts joined. */
export function textOf(answer: Answer, kind: PartKind = "text"): string {
  return answer.parts.filter((part) => part.kind === kind).map((part) => part.text).join("");
}

export interface Sourced {
  /** The number that the reader sees, from 1. */
  readonly number: number;
  readonly source: string;
  readonly title: string;
  readonly uri: string | undefined;
  readonly age: number | undefined;
  readonly passages: readonly string[];
  /** What became of it while the answer was written; undefined: nothing. */
  readonly superseded: "changed" | "deleted" | undefined;
}

/** The sources in order of their first citation: citations of the same place share a number. */
export function sourcesOf(answer: Answer): Sourced[] {
  const found = new Map<string, Sourced & { passages: string[] }>();
  const since = new Map(answer.superseded.map((one) => [one.document, one.deleted ? "deleted" : "changed"] as const));
  for (const { source, title, uri, age, passage } of answer.citations) {
    const key = sourceKey({ source, uri });
    const known = found.get(key);
    if (!known) found.set(key, { number: found.size + 1, source, title, uri, age, passages: [passage], superseded: since.get(source) });
    else if (!known.passages.includes(passage)) known.passages.push(passage);
  }
  return [...found.values()];
}

export function sourceKey(citation: { source: string; uri?: string | undefined }): string {
  return `${citation.source}\n${citation.uri ?? ""}`;
}

// What the page says in sentences, from what the server says in figures. Pure: tested without a page.

import { sentence } from "../errors.ts";
import { age, count, duration } from "../format.ts";
import type { Done, Found, Job, Known, Report, Results, Shelf, Source } from "./api.ts";

const KINDS: Record<string, string> = { folder: "Folder", url: "Pages", feed: "Feed", webhook: "Webhook" };

export function kindOf(source: Source): string {
  return KINDS[source.kind] ?? "Source";
}

/** What a shelf is called: documents that no source of the settings brought have their own names. */
export function shelfName(source: string): string {
  return source || "Put by hand";
}

export function bytes(n: number): string {
  if (n < 1000) return `${n} bytes`;
  const units = ["kB", "MB", "GB"];
  let value = n / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < 2) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** A moment as people place it: "3 minutes ago", "in 5 hours". */
export function when(seconds: number, now: number): string {
  const ahead = seconds - now;
  if (ahead > 1) return `in ${age(ahead)}`;
  return -ahead < 45 ? "just now" : `${age(-ahead)} ago`;
}

/** Why a document was not taken, as a sentence. */
export function reason(why: string): string {
  return sentence(why.replace(/^not (read|taken): /i, ""));
}

/** What one pass of a source did. */
export function passed(report: Report): string {
  const parts = [count(report.files, "document looked at", "documents looked at")];
  if (report.indexed) parts.push(`${report.indexed.toLocaleString("en")} indexed`);
  if (report.unchanged) parts.push(`${report.unchanged.toLocaleString("en")} as they were`);
  if (report.removed) parts.push(`${report.removed.toLocaleString("en")} removed`);
  if (report.left_out) parts.push(`${report.left_out.toLocaleString("en")} not taken`);
  return parts.join(", ");
}

export function told(job: Job): string {
  const what = job.what.charAt(0).toUpperCase() + job.what.slice(1);
  const took = job.ended === null ? "" : ` in ${duration(Math.max(0, (job.ended - job.began) * 1000))}`;
  const left = job.failed.length ? ` ${count(job.failed.length, "was left as it was", "were left as they were")}.` : "";
  switch (job.status) {
    case "running":
      return `Indexing again: ${job.what}. ${job.done.toLocaleString("en")} of ${job.total.toLocaleString("en")}.`;
    case "done":
      return `${what}: ${count(job.done, "document")} indexed again${took}.${left}`;
    case "cancelled":
      return `${what}: stopped after ${count(job.done, "document")}. What was done stays done.${left}`;
    case "failed":
      return `${what}: indexing again failed after ${count(job.done, "document")}. ${job.error}`;
  }
}

/** What became of a file that was put. */
export function became(done: Done): string {
  const chunks = count(done.chunks ?? 0, "passage");
  const kept = done.kept ? `, ${done.kept.toLocaleString("en")} kept their vectors` : "";
  const found = done.visible === false ? " It is stored; a search will see it in a moment." : "";
  const warned = done.suspicious ? ` It speaks to a model (“${done.suspicious}”); it is kept as data.` : "";
  if (done.status === "unchanged") return "As it was: nothing to do.";
  if (done.status === "replaced") return `Replaced by version ${done.version ?? 1}: ${chunks}${kept}.${found}${warned}`;
  return `Added: ${chunks}${kept}.${found}${warned}`;
}

/** What a reader must know of a document before its passages: tags of a few words. */
export function tags(known: Known, now: number): { text: string; warn: boolean }[] {
  const out: { text: string; warn: boolean }[] = [];
  if (known.pending) out.push({ text: `${known.pending.toLocaleString("en")} of ${known.chunks.toLocaleString("en")} wait for vectors`, warn: false });
  if (known.expires !== undefined) out.push(known.expires <= now ? { text: "expired", warn: true } : { text: `expires ${when(known.expires, now)}`, warn: known.expires - now < 86_400 });
  if (known.readers?.length) out.push({ text: `for ${known.readers.join(", ")}`, warn: false });
  return out;
}

/** The headings above a passage, without the title that is shown beside them. */
export function beneath(heading: string, title: string): string {
  const path = heading.split(" > ");
  return (path[0] === title ? path.slice(1) : path).join(" › ");
}

export interface Part {
  name: string;
  /** 0 to 1 for the bar; undefined where there is none. */
  bar: number | undefined;
  value: string;
  /** What it means, in a sentence. */
  about: string;
}

/** How a passage came to its place, part by part. */
export function parts(found: Found, embeds: boolean): Part[] {
  const { lexical, dense, recency, lift, rerank } = found.parts;
  const list: Part[] = [
    { name: "Words", bar: lexical ?? undefined, value: lexical === null ? "–" : lexical.toFixed(2), about: lexical === null ? "Not in the list by words." : "By its words (BM25), against the best of that list." },
  ];
  if (embeds) list.push({ name: "Meaning", bar: dense ?? undefined, value: dense === null ? "–" : dense.toFixed(2), about: dense === null ? "Not in the list by meaning." : "By its meaning (cosine), against the best of that list." });
  list.push({ name: "Age", bar: recency, value: `× ${recency.toFixed(2)}`, about: recency < 0.995 ? "What is older counts less." : "It is new, or age counts nothing here." });
  list.push({ name: "Place", bar: undefined, value: `× ${lift.toFixed(2)}`, about: lift > 1 ? "It holds the question, stands under a heading made of its words, or opens its document." : "Neither heading, title nor place lifts it." });
  if (rerank !== undefined && rerank !== null) list.push({ name: "Reranker", bar: undefined, value: rerank.toPrecision(3), about: "The reranker's own score: its order, times the age, is the one shown." });
  return list;
}

/** The sum, in a sentence. */
export function sum(found: Found, embeds: boolean): string {
  const { recency, lift, rerank } = found.parts;
  const fused = found.score / (recency * lift);
  const from = embeds ? "Words and meaning together" : "Words";
  const first = `${from} ${fused.toFixed(2)} × ${recency.toFixed(2)} for its age × ${lift.toFixed(2)} for its place = ${found.score.toFixed(2)}.`;
  return rerank === undefined || rerank === null ? first : `${first} A reranker has read it after that, and its order is the one shown.`;
}

const NOTICES: [RegExp, string][] = [
  [/^dense:(late|timed_out)/, "The question's meaning came too late: these were found by their words alone."],
  [/^dense:/, "The encoder could not be asked: these were found by their words alone."],
  [/^rerank:skipped:(late|timed_out)/, "The reranker came too late: the order is that of the scores."],
  [/^rerank:skipped:loading/, "The reranker is still being loaded: the order is that of the scores."],
  [/^rerank:skipped/, "The reranker could not be asked: the order is that of the scores."],
  [/^index:filling/, "The index is still being filled: there may be more in a moment."],
];

/** What a search did without. */
export function noticed(notice: string): string {
  const read = /^rerank:read:(.+)/.exec(notice)?.[1];
  if (read) return `The reranker had time for the first ${read}: the rest stands as it was.`;
  return NOTICES.find(([words]) => words.test(notice))?.[1] ?? `Done without: ${notice}.`;
}

const TOOK: [string, string][] = [
  ["lexical", "words"],
  ["encode", "encoding the question"],
  ["dense", "meaning"],
  ["fetch", "reading"],
  ["rank", "ranking"],
  ["rerank", "reranker"],
];

/** Milliseconds of a search as a whole: words and meaning are looked for at once. And of its parts, in words. */
export function took(results: Results): { whole: number; parts: string } {
  const ms = results.took_ms;
  const part = (name: string): number => ms[name] ?? 0;
  const whole = Math.max(part("lexical"), part("encode") + part("dense")) + part("fetch") + part("rank") + part("rerank");
  const kept = results.cache === "hit" ? ["kept from an earlier search"] : [];
  return { whole, parts: [...kept, ...TOOK.filter(([name]) => name in ms).map(([name, called]) => `${called} ${duration(part(name))}`)].join(" · ") };
}

/** Shelves and sources as one list: a source may have brought nothing yet, and a shelf may have lost its source. */
export function places(shelves: readonly Shelf[], sources: readonly Source[]): { name: string; shelf: Shelf | undefined; source: Source | undefined }[] {
  const names = new Set([...sources.map((one) => one.name), ...shelves.map((one) => one.source)]);
  return [...names]
    .sort((a, b) => Number(a === "") - Number(b === "") || a.localeCompare(b))
    .map((name) => ({ name, shelf: shelves.find((one) => one.source === name), source: sources.find((one) => one.name === name) }));
}

// What the server says of documents, and what it is asked to do with them. Times are Unix seconds.

import { ask } from "../api.ts";

export interface Shelf {
  source: string;
  documents: number;
  chunks: number;
  pending: number;
  oldest: number;
  newest: number;
  indexed: number;
  expiring: number;
}

export interface Report {
  files: number;
  indexed: number;
  unchanged: number;
  removed: number;
  left_out: number;
  skipped: [string, string][];
  seconds: number;
}

export interface Source {
  name: string;
  kind: string;
  place: string;
  status: "waiting" | "running" | "failing";
  every: number | null;
  last: number | null;
  next: number | null;
  failures: number;
  error: string;
  remedy: string;
  report: Report;
}

export interface Trouble {
  source: string;
  document: string;
  why: string;
  remedy: string;
  at: number | null;
}

export interface Job {
  what: string;
  status: "running" | "done" | "cancelled" | "failed";
  total: number;
  done: number;
  failed: [string, string][];
  error: string;
  began: number;
  ended: number | null;
}

export interface Look {
  documents: number;
  chunks: number;
  characters: number;
  pending: number;
  expiring: number;
  ages: [number | null, number][];
  shelves: Shelf[];
  sources: Source[];
  troubles: Trouble[];
  epoch: number;
  ready: "empty" | "lexical" | "full";
  behind: number;
  encoder: string | null;
  largest: number;
  job: Job | null;
}

export interface Known {
  id: string;
  location: string;
  title: string;
  uri: string;
  source: string;
  kind: string;
  version: number;
  published: number;
  indexed: number;
  size: number;
  chunks: number;
  pending?: number;
  expires?: number;
  readers?: string[];
}

export interface Passage {
  chunk: number;
  start: number;
  heading: string;
  text: string;
  pending: boolean;
}

export interface Copy {
  document: string;
  title: string;
  uri: string;
  published: number;
  likeness: number;
}

export interface Parts {
  lexical: number | null;
  dense: number | null;
  recency: number;
  lift: number;
  rerank?: number | null;
}

export interface Found {
  document: string;
  version: number;
  title: string;
  heading: string;
  uri: string;
  text: string;
  published: number;
  indexed: number;
  expires: number | null;
  score: number;
  parts: Parts;
  copies: Copy[];
}

export interface Results {
  passages: Found[];
  /** hit: given again from an earlier search; only its passages were read. */
  cache?: "hit" | "miss";
  ready: Look["ready"];
  recency_weight: number;
  reranker?: string | null;
  took_ms: Record<string, number>;
  notices: string[];
}

export interface Done {
  location: string;
  status: string;
  version?: number;
  chunks?: number;
  kept?: number;
  suspicious?: string;
  visible?: boolean;
}

export type Only = "all" | "pending" | "expiring";

export interface Wanted {
  documents?: string[];
  source?: string;
  everything?: boolean;
}

const at = (location: string): string => `/v1/documents/${location.split("/").map(encodeURIComponent).join("/")}`;

export async function look(): Promise<Look> {
  return (await ask("/v1/library")) as Look;
}

export async function list(asked: { after?: string; limit: number; source?: string | undefined; like?: string; only?: Only }): Promise<{ documents: Known[]; after: string | null }> {
  const query = new URLSearchParams({ limit: String(asked.limit) });
  if (asked.after) query.set("after", asked.after);
  if (asked.source !== undefined) query.set("source", asked.source);
  if (asked.like) query.set("like", asked.like);
  if (asked.only) query.set("only", asked.only);
  return (await ask(`/v1/documents?${query}`)) as { documents: Known[]; after: string | null };
}

export async function one(id: string): Promise<Known> {
  return (await ask(at(id))) as Known;
}

export async function passages(document: string, after: number, limit: number): Promise<{ passages: Passage[]; after: number | null }> {
  return (await ask(`/v1/passages?${new URLSearchParams({ document, after: String(after), limit: String(limit) })}`)) as { passages: Passage[]; after: number | null };
}

export async function search(asked: Record<string, unknown>): Promise<Results> {
  return (await ask("/v1/search", "POST", asked)) as Results;
}

export async function remove(id: string): Promise<Done> {
  return (await ask(at(id), "DELETE")) as Done;
}

export async function reindex(wanted: Wanted): Promise<Job> {
  return (await ask("/v1/reindex", "POST", wanted)) as Job;
}

export async function stopReindex(): Promise<Job> {
  return (await ask("/v1/reindex", "DELETE")) as Job;
}

/** Where a document is put. given: what is said of it, as the server's query knows it. */
export function place(location: string, given: Record<string, string>): string {
  return `${at(location)}?${new URLSearchParams({ ...given, visible: "lexical" })}`;
}

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Found, Job, Known, Results, Shelf, Source } from "../src/documents/api.ts";
import { wanted } from "../src/documents/files.ts";
import { became, beneath, bytes, noticed, parts, places, reason, sum, tags, told, took, when } from "../src/documents/words.ts";

const found: Found = {
  document: "doc_1",
  version: 1,
  title: "Tides",
  heading: "Tides > High water",
  uri: "tides.md",
  text: "High water.",
  published: 0,
  indexed: 0,
  expires: null,
  score: 0.9 * 0.95 * 1.2,
  parts: { lexical: 1, dense: 0.8, recency: 0.95, lift: 1.2, rerank: null },
  copies: [],
};

test("a score is explained by parts that multiply to it", () => {
  assert.equal(sum(found, true), "Words and meaning together 0.90 × 0.95 for its age × 1.20 for its place = 1.03.");
  assert.deepEqual(parts(found, true).map(({ name, bar, value }) => [name, bar, value]), [
    ["Words", 1, "1.00"],
    ["Meaning", 0.8, "0.80"],
    ["Age", 0.95, "× 0.95"],
    ["Place", undefined, "× 1.20"],
  ]);
});

test("without an encoder nothing is said of meaning, and a list that did not hold it has no bar", () => {
  const words = { ...found, parts: { ...found.parts, lexical: null } };
  assert.deepEqual(parts(words, false).map(({ name, bar }) => [name, bar]).slice(0, 1), [["Words", undefined]]);
  assert.ok(!parts(words, false).some(({ name }) => name === "Meaning"));
  assert.match(sum(words, false), /^Words 0\.90/);
});

test("a reranker's order is said to be its own", () => {
  const read = { ...found, parts: { ...found.parts, rerank: 4.321 } };
  assert.deepEqual(parts(read, true).at(-1)?.value, "4.32");
  assert.match(sum(read, true), /A reranker has read it/);
});

test("words and meaning are looked for at once, so their times do not add up", () => {
  const results: Results = { passages: [], ready: "full", recency_weight: 0.2, notices: [], took_ms: { lexical: 4, encode: 2, dense: 1, fetch: 1, rank: 0.5 } };
  assert.equal(took(results).whole, 5.5);
  assert.equal(took(results).parts, "words 4.0 ms · encoding the question 2.0 ms · meaning 1.0 ms · reading 1.0 ms · ranking 0.5 ms");
  assert.equal(took({ ...results, cache: "hit", took_ms: { fetch: 1 } }).parts, "kept from an earlier search · reading 1.0 ms");
});

test("what a search did without is a sentence, also for a notice that nobody knew", () => {
  assert.match(noticed("dense:late"), /by their words alone/);
  assert.match(noticed("dense:upstream_error"), /encoder could not be asked/);
  assert.match(noticed("rerank:skipped:late"), /too late/);
  assert.match(noticed("rerank:read:7 of 40"), /7 of 40/);
  assert.match(noticed("rerank:skipped:loading"), /still being loaded/);
  for (const why of ["paused", "upstream_error"]) assert.match(noticed(`rerank:skipped:${why}`), /could not be asked/);
  assert.match(noticed("index:filling"), /still being filled/);
  assert.equal(noticed("new:thing"), "Done without: new:thing.");
});

test("a moment is before or ahead", () => {
  assert.equal(when(1000, 1010), "just now");
  assert.equal(when(1000, 1000 + 7200), "2 hours ago");
  assert.equal(when(1000 + 86_400 * 3, 1000), "in 3 days");
});

test("sizes are read at a glance", () => {
  assert.deepEqual([0, 999, 1500, 999_600, 16_777_216, 5e9].map(bytes), ["0 bytes", "999 bytes", "1.5 kB", "1.0 MB", "17 MB", "5.0 GB"]);
});

test("tags say what keeps a document from being found as it should", () => {
  const known: Known = { id: "a", location: "a", title: "A", uri: "a", source: "", kind: "", version: 1, published: 0, indexed: 0, size: 1, chunks: 4, pending: 2, expires: 4600, readers: ["staff"] };
  assert.deepEqual(tags(known, 1000), [
    { text: "2 of 4 wait for vectors", warn: false },
    { text: "expires in 1 hour", warn: true },
    { text: "for staff", warn: false },
  ]);
  assert.deepEqual(tags({ ...known, pending: 0, expires: 900, readers: [] }, 1000), [{ text: "expired", warn: true }]);
});

test("a job is told as it runs and as it ended", () => {
  const job: Job = { what: "everything", status: "running", total: 1200, done: 40, failed: [], error: "", began: 10, ended: null };
  assert.equal(told(job), "Indexing again: everything. 40 of 1,200.");
  assert.equal(told({ ...job, status: "done", done: 1, ended: 12, failed: [["a", "b"]] }), "Everything: 1 document indexed again in 2.00 s. 1 was left as it was.");
  assert.match(told({ ...job, status: "cancelled", ended: 12 }), /What was done stays done/);
});

test("what became of a file is a sentence", () => {
  assert.equal(became({ location: "a", status: "added", chunks: 2, visible: true }), "Added: 2 passages.");
  assert.equal(became({ location: "a", status: "replaced", version: 3, chunks: 2, kept: 1, visible: false }), "Replaced by version 3: 2 passages, 1 kept their vectors. It is stored; a search will see it in a moment.");
  assert.equal(became({ location: "a", status: "unchanged" }), "As it was: nothing to do.");
  assert.equal(reason("not read: binary"), "Binary.");
});

test("sources and shelves are one list, and what was put by hand stands last", () => {
  const shelf = (source: string): Shelf => ({ source, documents: 1, chunks: 1, pending: 0, oldest: 0, newest: 0, indexed: 0, expiring: 0 });
  const list = places([shelf(""), shelf("old")], [{ name: "new" } as Source]);
  assert.deepEqual(list.map(({ name, shelf: held, source }) => [name, held !== undefined, source !== undefined]), [
    ["new", false, true],
    ["old", true, false],
    ["", true, false],
  ]);
});

test("a heading is shown without the title that stands beside it", () => {
  assert.equal(beneath("Tides > High water > When", "Tides"), "High water › When");
  assert.equal(beneath("Other > Part", "Tides"), "Other › Part");
  assert.equal(beneath("Tides", "Tides"), "");
});

test("hidden files, caches and packages of a folder are left out", () => {
  const names = ["a/b.md", ".git/x", "a/.env", "a/node_modules/x.js", "notes.txt"];
  assert.deepEqual(names.filter(wanted), ["a/b.md", "notes.txt"]);
});

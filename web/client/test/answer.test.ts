import assert from "node:assert/strict";
import { test } from "node:test";
import { EMPTY, type StreamEvent, backoff, fold, sourcesOf, textOf } from "../src/index.ts";

const cite = (seq: number, source: string, passage: string): StreamEvent => ({
  type: "citation", seq, at: seq, part: 1, start: 0, end: 5, source, title: source, passage,
});
const EVENTS: StreamEvent[] = [
  { type: "part", seq: 1, at: 1, part: 0, kind: "thinking" },
  { type: "delta", seq: 2, at: 2, part: 0, text: "hm" },
  { type: "part_end", seq: 3, at: 3, part: 0 },
  { type: "part", seq: 4, at: 4, part: 1, kind: "text" },
  { type: "delta", seq: 5, at: 5, part: 1, text: "Hello " },
  { type: "delta", seq: 6, at: 6, part: 1, text: "there" },
  cite(7, "a.md", "one"),
  cite(8, "b.md", "two"),
  cite(9, "a.md", "three"),
  cite(10, "a.md", "one"),
  { type: "later", seq: 11, at: 11 } as unknown as StreamEvent,
  { type: "closed", seq: 12, at: 12, status: "completed", reason: "stop" },
];

test("a call that the server runs is a part of its own, and its result says whether it failed", () => {
  const answer = fold(EMPTY, [
    { type: "part", seq: 1, at: 1, part: 0, kind: "server_call", name: "tide", call: "c1" },
    { type: "part_end", seq: 2, at: 2, part: 0 },
    { type: "part", seq: 3, at: 3, part: 1, kind: "tool_result", name: "tide", call: "c1", failed: true },
  ]);
  assert.deepEqual(answer.parts.map(({ kind, call, failed }) => [kind, call, failed]), [
    ["server_call", "c1", false],
    ["tool_result", "c1", true],
  ]);
});

test("events add up to the same answer however they are batched, and the old one stays as it was", () => {
  const whole = fold(EMPTY, EVENTS);
  const single = EVENTS.reduce((answer, event) => fold(answer, [event]), EMPTY);
  assert.deepEqual(single, whole);
  assert.deepEqual(fold(fold(EMPTY, EVENTS.slice(0, 5)), EVENTS.slice(5)), whole);
  assert.equal(EMPTY.parts.length, 0);
  assert.equal(textOf(whole), "Hello there");
  assert.equal(textOf(whole, "thinking"), "hm");
  assert.equal(whole.firstText, 5);
  assert.equal(whole.cursor, 12);
});

test("edits change the text that is there, in code points, and count", () => {
  const events: StreamEvent[] = [
    { type: "part", seq: 1, at: 1, part: 0, kind: "text" },
    { type: "delta", seq: 2, at: 2, part: 0, text: "👍 Rome lies on the Tibre." },
    { type: "edit", seq: 3, at: 3, part: 0, start: 19, end: 24, text: "Tiber" },
    { type: "edit", seq: 4, at: 4, part: 0, start: 25, end: 25, text: " 🌊" },
    { type: "edit", seq: 5, at: 5, part: 0, start: 0, end: 2, text: "" },
    { type: "part_end", seq: 6, at: 6, part: 0 },
  ];
  const whole = fold(EMPTY, events);
  assert.equal(textOf(whole), "Rome lies on the Tiber. 🌊");
  assert.equal(whole.parts[0]?.edits, 3);
  assert.deepEqual(events.reduce((answer, event) => fold(answer, [event]), EMPTY), whole);
});

test("an image is the last that came, sound goes on, and a part says whose answer it is", () => {
  const answer = fold(EMPTY, [
    { type: "part", seq: 1, at: 1, part: 0, kind: "image", media: "image/png" },
    { type: "blob", seq: 2, at: 2, part: 0, data: "c2tldGNo", partial: true },
    { type: "blob", seq: 3, at: 3, part: 0, data: "d2hvbGU=" },
    { type: "part", seq: 4, at: 4, part: 1, kind: "audio", media: "audio/wav", choice: 1 },
    { type: "blob", seq: 5, at: 5, part: 1, data: "YQ==" },
    { type: "blob", seq: 6, at: 6, part: 1, data: "Yg==" },
  ]);
  assert.deepEqual(answer.parts.map(({ blobs, choice, media }) => [blobs, choice, media]), [
    [["d2hvbGU="], 0, "image/png"],
    [["YQ==", "Yg=="], 1, "audio/wav"],
  ]);
});

test("citations of one source share a number and keep their passages once", () => {
  const sources = sourcesOf(fold(EMPTY, EVENTS));
  assert.deepEqual(sources.map(({ number, source, passages }) => [number, source, passages]), [
    [1, "a.md", ["one", "three"]],
    [2, "b.md", ["two"]],
  ]);
});

test("a source that changed or went while the answer was written says so", () => {
  const answer = fold(EMPTY, [
    ...EVENTS,
    { type: "retrieved", seq: 90, at: 9, namespace: "acme", epoch: 3, passages: [], ms: 2 },
    { type: "superseded", seq: 91, at: 9, document: "a.md", version: 1, chunks: [4] },
    { type: "superseded", seq: 92, at: 9, document: "c.md", version: 1, chunks: [5], deleted: true },
  ]);
  assert.deepEqual(sourcesOf(answer).map(({ source, superseded }) => [source, superseded]), [
    ["a.md", "changed"],
    ["b.md", undefined],
  ]);
  assert.equal(answer.retrieved?.epoch, 3);
  assert.equal(answer.superseded.length, 2);
});

test("waits double up to the limit and are spread over their upper half", () => {
  assert.deepEqual([1, 2, 3, 4, 5, 99].map((n) => backoff(n, 1000, 10_000, () => 1)), [1000, 2000, 4000, 8000, 10_000, 10_000]);
  assert.equal(backoff(2, 1000, 10_000, () => 0), 1000);
});

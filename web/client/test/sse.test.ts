import assert from "node:assert/strict";
import { test } from "node:test";
import { SseDecoder, type Frame } from "../src/index.ts";

const WIRE = 'retry: 1000\n\nid: 1\nevent: delta\ndata: {"text":"flüt 🌊"}\n\n: quiet\n\ndata: a\r\ndata: b\r\rid: 3\ndata\n\n';
const WANT: Frame[] = [
  { event: "delta", data: '{"text":"flüt 🌊"}', id: "1" },
  { event: "", data: "a\nb", id: "1" },
  { event: "", data: "", id: "3" },
];

test("an SSE byte stream reads the same wherever it is cut", () => {
  const bytes = new TextEncoder().encode(WIRE);
  for (let first = 0; first <= bytes.length; first++) {
    for (let second = first; second <= bytes.length; second += 7) {
      const decoder = new SseDecoder();
      const cuts = [bytes.slice(0, first), bytes.slice(first, second), bytes.slice(second)];
      assert.deepEqual(cuts.flatMap((cut) => decoder.feed(cut)), WANT);
      assert.equal(decoder.retry, 1000);
    }
  }
});

test("an unfinished event is not handed out", () => {
  const decoder = new SseDecoder();
  assert.deepEqual(decoder.feed(new TextEncoder().encode('data: {"half":')), []);
});

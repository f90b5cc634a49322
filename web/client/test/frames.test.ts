import assert from "node:assert/strict";
import { test } from "node:test";
import { FrameBatch } from "../src/index.ts";

function page() {
  const frames = new Map<number, () => void>();
  const timers = new Map<number, () => void>();
  let next = 0;
  const clock = {
    frame: (run: () => void) => (frames.set(++next, run), next),
    dropFrame: (id: number) => void frames.delete(id),
    timer: (run: () => void) => (timers.set(++next, run), next),
    dropTimer: (id: unknown) => void timers.delete(id as number),
  };
  const fire = (from: Map<number, () => void>): void => [...from.values()].forEach((run) => run());
  return { clock, frames, timers, paint: () => fire(frames), tick: () => fire(timers) };
}

test("a thousand pushes between two frames are one flush, in order", () => {
  const { clock, frames, timers, paint } = page();
  const flushed: number[][] = [];
  const batch = new FrameBatch<number>((items) => flushed.push(items), clock);
  for (let n = 0; n < 1000; n++) batch.push([n]);
  assert.equal(frames.size, 1);
  paint();
  assert.equal(flushed.length, 1);
  assert.deepEqual(flushed[0], Array.from({ length: 1000 }, (_, n) => n));
  assert.equal(frames.size + timers.size, 0);
});

test("a hidden page without frames is flushed by its timer, once", () => {
  const { clock, frames, tick } = page();
  const flushed: string[][] = [];
  const batch = new FrameBatch<string>((items) => flushed.push(items), clock);
  batch.push(["a"]);
  tick();
  assert.deepEqual(flushed, [["a"]]);
  assert.equal(frames.size, 0);
  batch.flush();
  assert.equal(flushed.length, 1);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Connection, StreamReader, type StreamEvent, cancel, newId } from "../src/index.ts";

const LOG: StreamEvent[] = [
  {
    type: "opened", seq: 1, at: 0, stream: "s", model: "m", created: 0,
    durability: "memory", on_disconnect: "continue", protocol: "tidewire/1", epoch: 1,
  },
  { type: "part", seq: 2, at: 1, part: 0, kind: "text" },
  ...Array.from({ length: 6 }, (_, n): StreamEvent => ({ type: "delta", seq: n + 3, at: n, part: 0, text: `w${n} ` })),
  { type: "closed", seq: 9, at: 20, status: "completed", reason: "stop" },
];
const wire = (events: StreamEvent[]): string =>
  events.map((event) => `id: ${event.seq}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join("");

function answer(text: string): Response {
  return new Response(text, { headers: { "content-type": "text/event-stream" } });
}

interface Call {
  method: string;
  url: string;
}

/** A server made of a list of answers; "down" is a refused connection. */
function server(answers: (Response | "down")[]): { calls: Call[]; fetch: typeof fetch } {
  const calls: Call[] = [];
  const ask = (url: string | URL | Request, init?: RequestInit): Promise<Response> => {
    calls.push({ method: init?.method ?? "GET", url: String(url) });
    const next = answers.shift();
    assert.ok(next, "the client asked more often than expected");
    return next === "down" ? Promise.reject(new TypeError("refused")) : Promise.resolve(next);
  };
  return { calls, fetch: ask as typeof fetch };
}

async function read(answers: (Response | "down")[], start = true) {
  const got: StreamEvent[] = [];
  const states: Connection[] = [];
  const { calls, fetch } = server(answers);
  const options = {
    fetch, retry: 1, retryLimit: 1, random: () => 0,
    onEvents: (events: StreamEvent[]) => got.push(...events),
    onConnection: (connection: Connection) => states.push(connection),
  };
  await new StreamReader("s", options, start ? { model: "m", input: "hi" } : undefined).run();
  return { got, calls, states: states.map((connection) => connection.state) };
}

test("an answer read in one go ends at closed", async () => {
  const { got, states, calls } = await read([answer(wire(LOG))]);
  assert.deepEqual(got, LOG);
  assert.deepEqual(states, ["connecting", "live", "closed"]);
  assert.deepEqual(calls, [{ method: "POST", url: "/v1/streams" }]);
});

test("a cut anywhere is resumed from the cursor, each event once", async () => {
  for (let cut = 1; cut < LOG.length; cut++) {
    const half = wire(LOG.slice(0, cut)) + wire(LOG.slice(cut)).slice(0, 20);
    const { got, calls } = await read([answer(half), answer(wire(LOG.slice(cut)))]);
    assert.deepEqual(got, LOG);
    assert.equal(calls[1]?.url, `/v1/streams/s/events?after=${cut}`);
  }
});

test("an event that came before is skipped and a gap is taken for a lost connection", async () => {
  const repeated = wire([...LOG.slice(0, 3), ...LOG.slice(1, 4)]);
  const gap = wire(LOG.slice(6));
  const { got, calls } = await read([answer(repeated + gap), answer(wire(LOG.slice(4)))]);
  assert.deepEqual(got, LOG);
  assert.equal(calls[1]?.url, "/v1/streams/s/events?after=4");
});

test("a start whose answer was lost is followed, not asked twice", async () => {
  const conflict = Response.json({ error: { code: "conflict", message: "taken", status: 409 } }, { status: 409 });
  const { got, calls } = await read(["down", conflict, answer(wire(LOG))]);
  assert.deepEqual(got, LOG);
  assert.deepEqual(calls.map((call) => call.method), ["POST", "POST", "GET"]);
});

test("a server that is away is tried again and said to be reconnecting", async () => {
  const busy = Response.json({ error: { code: "overloaded", message: "full", retryable: true } }, { status: 503 });
  const { got, states } = await read(["down", busy, "down", answer(wire(LOG))], false);
  assert.deepEqual(got, LOG);
  assert.deepEqual(states, ["connecting", "reconnecting", "reconnecting", "reconnecting", "live", "closed"]);
});

test("a refusal that no retry can help ends the reading, and so does any refused start", async () => {
  const gone = Response.json({ error: { code: "expired", message: "over" } }, { status: 410 });
  assert.equal((await read([gone], false)).states.at(-1), "refused");
  const busy = Response.json({ error: { code: "overloaded", message: "full", retryable: true } }, { status: 429 });
  assert.equal((await read([busy])).states.at(-1), "refused");
});

test("an answer of no use is no reason to fail: nonsense lines are passed over, 204 is the end", async () => {
  const nonsense = 'data: {"no":1}\n\ndata: [\n\ndata: 7\n\ndata: {"type":"later","seq":"x"}\n\n';
  assert.deepEqual((await read([answer(nonsense + wire(LOG))])).got, LOG);
  assert.deepEqual((await read([new Response(null, { status: 204 })], false)).states.at(-1), "closed");
});

test("cancel says whether the stream was still running, or why it cannot", async () => {
  assert.equal(await cancel("s", server([Response.json({ cancelled: true })])), true);
  await assert.rejects(cancel("s", server(["down"])), { message: /cannot be reached/ });
  await assert.rejects(cancel("s", server([new Response("<html>", { status: 502 })])), { message: /502/ });
});

test("ids are ones that the protocol allows and never the same", () => {
  const ids = new Set(Array.from({ length: 1000 }, () => newId("st")));
  assert.equal(ids.size, 1000);
  for (const id of ids) assert.match(id, /^[A-Za-z0-9_-]{1,64}$/);
});

// Put two documents, ask a model that is given passages of them, and replace one while the answer is being written.

import { EMPTY, fold, newId, sourcesOf, StreamReader, textOf } from "../../web/client/src/index.ts";

const base = process.env.TIDEWIRE_URL ?? "http://127.0.0.1:8400";
const leave = "# Days of leave\n\nA year has 30 days of leave. Ask for them two weeks ahead.";
const rest = "# At the end of the year\n\nUp to five days that are left move into the next year, until the end of March.";
// The simulated model says what the line `sim:` tells it, markers included. Any other model is asked the first line alone.
const question = `How many days of leave do I have, and what becomes of the rest?
sim: interval_ms=80 text="You have 30 days of leave a year [1]; ask for them two weeks ahead. Up to five may move [2]; \
plan the others in good time, together with the people you work with."`;

/** Done when searches find it. */
async function put(location: string, text: string): Promise<void> {
  const headers = { "content-type": "text/markdown" };
  const done = await fetch(`${base}/v1/documents/${location}?visible=lexical`, { method: "PUT", headers, body: text });
  if (!done.ok) throw new Error(await done.text());
}

await put("leave.md", leave);
await put("rest.md", rest);

let answer = EMPTY;
let replaced: Promise<void> | undefined;
const reader = new StreamReader(
  newId("st"),
  {
    base,
    onEvents: (events) => {
      answer = fold(answer, events);
      if (answer.citations.length > 0) replaced ??= put("leave.md", leave.replace("30", "32"));
    },
    onConnection: (connection) => {
      if (connection.state === "refused") console.error(connection.error.message);
    },
  },
  { model: "simulated", input: question },
);
await reader.run();
await replaced;

console.log(textOf(answer));
for (const { number, title, passages, superseded } of sourcesOf(answer)) {
  const mark = superseded ? `, ${superseded} while this was being written` : "";
  console.log(`${number}. ${title}${mark}: ${passages[0]?.split("\n").at(-1)}`);
}

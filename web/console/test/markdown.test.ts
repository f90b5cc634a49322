import assert from "node:assert/strict";
import { test } from "node:test";
import { BlockReader, placeIn } from "../src/blocks.ts";
import { inline, safeUrl } from "../src/inline.ts";
import { CodePoints } from "../src/offsets.ts";

const DOCUMENT = `# Title **x**

First paragraph
goes on.

- one
- two with \`code\`
  more of two
    - deep

3. three

\`\`\`py
a = 1

if a: \`\`\`no
\`\`\`
> said
> so

---
| a | b |
|---|---|
| 1 | 2 |
***bold*** end`;

function read(chunks: string[]) {
  const reader = new BlockReader();
  let text = "";
  for (const chunk of chunks) reader.grow((text += chunk));
  reader.end();
  return reader.blocks.map(({ kind, level, ordinal, language, text, pieces, end, open }) => ({
    kind, level, ordinal, language, text, pieces, end, open,
  }));
}

test("blocks are found, each with the place that its text comes from", () => {
  const blocks = read([DOCUMENT]);
  assert.deepEqual(blocks.map(({ kind, text }) => [kind, text]), [
    ["heading", "Title **x**"],
    ["paragraph", "First paragraph\ngoes on."],
    ["item", "one"],
    ["item", "two with `code`\nmore of two"],
    ["item", "deep"],
    ["item", "three"],
    ["code", "a = 1\n\nif a: ```no"],
    ["quote", "said\nso"],
    ["rule", ""],
    ["row", "| a | b |"],
    ["row", "|---|---|"],
    ["row", "| 1 | 2 |"],
    ["paragraph", "***bold*** end"],
  ]);
  assert.equal(blocks[4]?.level, 2);
  assert.equal(blocks[5]?.ordinal, 3);
  assert.equal(blocks[6]?.language, "py");
  for (const { text, pieces } of blocks) {
    for (const [n, piece] of pieces.entries()) {
      const length = (pieces[n + 1]?.at ?? text.length) - piece.at;
      const from = text.slice(piece.at, piece.at + length).replace(/\n$/, "");
      assert.equal(DOCUMENT.slice(piece.source, piece.source + from.length), from);
    }
  }
});

test("a text reads the same in one piece, letter by letter, and cut anywhere", () => {
  const whole = read([DOCUMENT]);
  assert.deepEqual(read([...DOCUMENT]), whole);
  for (let cut = 1; cut < DOCUMENT.length; cut++) assert.deepEqual(read([DOCUMENT.slice(0, cut), DOCUMENT.slice(cut)]), whole);
});

test("what is shown of a growing block is never taken back, only added to", () => {
  const reader = new BlockReader();
  const seen: string[] = [];
  for (let n = 1; n <= DOCUMENT.length; n++) {
    reader.grow(DOCUMENT.slice(0, n));
    reader.blocks.forEach((block, at) => {
      assert.ok(block.text.startsWith(seen[at] ?? ""), `block ${at} took back ${JSON.stringify(seen[at])}`);
      seen[at] = block.text;
    });
  }
});

test("inline marks become styles, and what only looks like one stays text", () => {
  const shape = (text: string, growing = false) =>
    inline(text, growing).map(({ text, bold, italic, code, href }) =>
      [text, bold && "b", italic && "i", code && "c", href].filter(Boolean).join("|"));
  assert.deepEqual(shape("a **b** `c*d*` *e* [f](https://g.h/i)."), ["a ", "b|b", " ", "c*d*|c", " ", "e|i", " ", "f|https://g.h/i", "."]);
  assert.deepEqual(shape("2 * 3 * 4, snake_case_name, **open"), ["2 * 3 * 4, snake_case_name, **open"]);
  assert.deepEqual(shape("**open", true), ["open|b"]);
  assert.deepEqual(shape("see https://a.b/c?d=1, or (http://e.f)"), ["see ", "https://a.b/c?d=1|https://a.b/c?d=1", ", or (", "http://e.f|http://e.f/", ")"]);
  assert.deepEqual(shape("\\*no\\* ``a`b``"), ["*no", "* ", "a`b|c"]);
});

test("a link is only ever http or https, and markup in the text stays text", () => {
  for (const url of ["javascript:alert(1)", "data:text/html,x", " https://a", "//a.b", "https://", undefined]) assert.equal(safeUrl(url), undefined);
  const hostile = "[x](javascript:alert(1)) <img src=x onerror=alert(1)> [y](JaVaScript:1)";
  assert.deepEqual(inline(hostile).map((run) => [run.text, run.href]), [[hostile, undefined]]);
});

test("no text makes the reader slow or throws: runs hold all that is not markup", () => {
  for (const piece of ["*", "`", "[", "_", "**a", "\\", "[a](", "> ", "http://", "|", "``` "]) {
    const text = piece.repeat(4000);
    const reader = new BlockReader();
    reader.grow(text);
    reader.end();
    for (const block of reader.blocks) assert.ok(inline(block.text, true).every((run) => run.text.length > 0));
  }
});

test("a citation's offset leads to the same words in its block, emoji and markup before it or not", () => {
  const text = "🌊🌊 sea\n\n- **first** fact\n- second 🌊 fact";
  const points = new CodePoints();
  for (let n = 1; n <= text.length; n++) if (text.charCodeAt(n - 1) < 0xd800 || text.charCodeAt(n - 1) > 0xdbff) points.grow(text.slice(0, n));
  const reader = new BlockReader();
  reader.grow(text);
  reader.end();
  const end = points.utf16([...text].length);
  assert.equal(end, text.length);
  const block = reader.blocks[2];
  assert.ok(block);
  assert.equal(placeIn(block, end), "second 🌊 fact".length);
  const first = reader.blocks[1];
  assert.ok(first);
  assert.equal(placeIn(first, text.indexOf(" fact")), "**first**".length);
});

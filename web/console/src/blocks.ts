// Markdown blocks out of a text that is still growing. Pure. Each character is looked at once: a finished line is never read again.

export type BlockKind = "paragraph" | "heading" | "item" | "code" | "quote" | "rule" | "row";

export interface Block {
  readonly kind: BlockKind;
  /** Heading: 1 to 6. Item: its indentation in steps of one list level. */
  readonly level: number;
  /** Of an item in a numbered list: its number. */
  readonly ordinal: number | undefined;
  /** Of a code block: the word after the fence. */
  readonly language: string;
  text: string;
  /** Where pieces of `text` come from: text offset → source offset, ascending. */
  readonly pieces: { at: number; source: number }[];
  /** Source offset behind its last character. */
  end: number;
  open: boolean;
  /** Grows with each change, so that a painter sees what it has to paint again. */
  version: number;
}

// What a line may still become a fence, a heading, an item or a rule with: shown once that is decided.
const UNDECIDED = /^\s*(?:[-*+]|\*{2,}|-{2,}|_{1,}|\d{1,9}[.)]?|#{1,6}|`{1,2}|~{1,2}|>|\|)?\s*$/;
const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})\s+/;
const ITEM = /^(\s*)(?:[-*+]|(\d{1,9})[.)])\s+/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}>\s?/;

export class BlockReader {
  readonly blocks: Block[] = [];
  private source = "";
  private lineStart = 0;
  private shown = 0; // source offset up to which the current line is in a block
  private decided = false;
  private fence: string | undefined;
  private codeLines = 0;
  private current: Block | undefined;

  /** Take the whole text so far; what was there before must not have changed. */
  grow(source: string): void {
    this.source = source;
    for (;;) {
      const newline = source.indexOf("\n", Math.max(this.lineStart, this.shown));
      if (newline < 0) break;
      this.line(newline, true);
      this.lineStart = this.shown = newline + 1;
      this.decided = false;
    }
    if (source.length > this.shown) this.line(source.length, false);
  }

  /** Nothing more comes. */
  end(): void {
    if (this.lineStart < this.source.length) this.line(this.source.length, true);
    this.close();
  }

  private line(end: number, whole: boolean): void {
    const text = this.source.slice(this.lineStart, end).replace(/\r$/, "");
    if (this.fence) return this.codeLine(text, end, whole);
    if (!this.decided) {
      if (!whole && (UNDECIDED.test(text) || FENCE.test(text) || RULE.test(text))) return;
      if (whole && !text.trim()) return this.close();
      this.begin(text);
      if (whole && this.fence) return;
      this.decided = true;
    }
    if (this.current) this.append(this.current, this.shown, this.lineStart + text.length);
    this.shown = end;
    if (whole && this.current && (this.current.kind === "heading" || this.current.kind === "rule")) this.close();
  }

  /** The first look at a line: which block it begins or goes on with. Sets `shown` behind its markup. */
  private begin(text: string): void {
    const fence = FENCE.exec(text);
    if (fence?.[1]) {
      this.open("code", { language: (fence[2] ?? "").trim().split(/\s/)[0] ?? "" });
      this.fence = fence[1];
      this.codeLines = 0;
      this.shown = this.lineStart + text.length;
      return;
    }
    const skip = (length: number): void => {
      this.shown = this.lineStart + length;
    };
    if (RULE.test(text)) {
      this.open("rule");
      return skip(text.length);
    }
    const heading = HEADING.exec(text);
    if (heading?.[1]) {
      this.open("heading", { level: heading[1].length });
      return skip(heading[0].length);
    }
    const item = ITEM.exec(text);
    if (item) {
      const indent = (item[1] ?? "").replace(/\t/g, "    ").length;
      this.open("item", { level: Math.min(5, Math.floor(indent / 2)), ordinal: item[2] ? Number(item[2]) : undefined });
      return skip(item[0].length);
    }
    const quote = QUOTE.exec(text);
    if (quote) {
      if (this.current?.kind !== "quote") this.open("quote");
      else this.newline(this.current);
      return skip(quote[0].length);
    }
    if (/^\s*\|/.test(text)) {
      this.open("row");
      return skip(0);
    }
    if (this.current?.kind === "item" && /^\s/.test(text)) {
      this.newline(this.current);
      return skip(text.length - text.trimStart().length);
    }
    if (this.current?.kind === "paragraph" || this.current?.kind === "quote") this.newline(this.current);
    else this.open("paragraph");
    skip(0);
  }

  private codeLine(text: string, end: number, whole: boolean): void {
    const block = this.current;
    const bare = text.trim();
    const mark = this.fence ?? "```";
    if (!block) return;
    if (whole && bare.length >= mark.length && bare === (mark[0] ?? "`").repeat(bare.length)) {
      this.fence = undefined;
      block.end = end;
      return this.close();
    }
    if (!whole && bare && bare === (mark[0] ?? "`").repeat(bare.length)) return; // may be the closing fence
    if (!this.decided) {
      if (this.codeLines++) block.text += "\n";
      this.decided = true;
    }
    this.append(block, this.shown, this.lineStart + text.length);
    this.shown = end;
  }

  private open(kind: BlockKind, more: { level?: number; ordinal?: number | undefined; language?: string } = {}): void {
    this.close();
    const { level = 0, ordinal, language = "" } = more;
    this.current = { kind, level, ordinal, language, text: "", pieces: [], end: this.lineStart, open: true, version: 0 };
    this.blocks.push(this.current);
  }

  private close(): void {
    if (!this.current) return;
    this.current.open = false;
    this.current.version += 1;
    this.current = undefined;
  }

  private newline(block: Block): void {
    block.text += "\n";
  }

  private append(block: Block, from: number, to: number): void {
    if (to > from) {
      block.pieces.push({ at: block.text.length, source: from });
      block.text += this.source.slice(from, to);
      merge(block.pieces);
    }
    block.end = Math.max(block.end, to);
    block.version += 1;
  }
}

/** Two pieces that follow each other in both texts are one: the list does not grow with the number of deltas. */
function merge(pieces: { at: number; source: number }[]): void {
  const [before, last] = pieces.slice(-2);
  if (before && last && last.at - before.at === last.source - before.source) pieces.pop();
}

/** The place in the block's text of a source offset: the nearest one at or before it. */
export function placeIn(block: Block, source: number): number {
  let place = 0;
  for (const piece of block.pieces) {
    if (piece.source > source) break;
    place = piece.at + source - piece.source;
  }
  const next = block.pieces.find((piece) => piece.source > source);
  return Math.min(place, next?.at ?? block.text.length, block.text.length);
}

// Paints a growing Markdown text with its citation markers. What is on the screen stays there: blocks are appended, and inside
// the open block text nodes grow, so that a thousand tokens a second cost one small change a frame.

import type { Citation } from "@tidewire/client";
import { type Block, BlockReader, placeIn } from "./blocks.ts";
import { copy, h } from "./dom.ts";
import { type Run, inline } from "./inline.ts";
import { CodePoints } from "./offsets.ts";

export interface Marker {
  number: number;
  title: string;
}

interface Painted {
  run: Piece;
  node: ChildNode;
  grows: Text;
}

// The open block is scanned once a frame; a paragraph longer than this (UTF-16 units) is shown as it is.
const INLINE_LIMIT = 40_000;

type Piece = Run & { markers?: Marker[] };

interface Slot {
  block: Block;
  target: HTMLElement;
  painted: Painted[];
  marks: { place: number; marker: Marker }[];
  version: number;
}

export class TextPainter {
  private readonly reader = new BlockReader();
  private readonly points = new CodePoints();
  private readonly slots: Slot[] = [];
  private placed = 0; // citations that have their marker
  private lists: { level: number; list: HTMLElement; ordered: boolean }[] = [];
  private table: HTMLElement | undefined;
  private length = 0;
  private ended = false;

  constructor(
    private readonly root: HTMLElement,
    private readonly follow: (marker: Marker) => void,
  ) {}

  /** The text so far, all citations so far with their numbers, and whether more may come. */
  update(text: string, citations: readonly Citation[], number: (citation: Citation) => number, ended: boolean): void {
    if (text.length !== this.length) {
      this.length = text.length;
      this.points.grow(text);
      this.reader.grow(text);
    }
    if (ended && !this.ended) {
      this.ended = true;
      this.reader.end();
    }
    for (let n = this.slots.length; n < this.reader.blocks.length; n++) {
      const block = this.reader.blocks[n];
      if (block) this.slots.push({ block, target: this.element(block), painted: [], marks: [], version: -1 });
    }
    this.place(citations, number);
    for (const slot of this.slots) if (slot.version !== slot.block.version) this.paint(slot);
  }

  /** Citations come in the order of their places, as a rule; one that is ahead of the text waits, and those behind it too. */
  private place(citations: readonly Citation[], number: (citation: Citation) => number): void {
    for (; this.placed < citations.length; this.placed++) {
      const citation = citations[this.placed];
      if (!citation) return;
      const end = this.points.utf16(citation.end);
      const slot = this.slots.findLast(({ block }) => (block.pieces[0]?.source ?? block.end) < end);
      const reached = slot && (slot.block.end >= end || slot !== this.slots.at(-1) || this.ended);
      if (!slot || !reached) {
        if (!this.ended) return;
        continue;
      }
      const marker = { number: number(citation), title: citation.title };
      const place = placeIn(slot.block, end);
      if (slot.marks.some((mark) => mark.place === place && mark.marker.number === marker.number)) continue;
      slot.marks.push({ place, marker });
      slot.marks.sort((a, b) => a.place - b.place);
      slot.version = -1;
    }
  }

  private paint(slot: Slot): void {
    slot.version = slot.block.version;
    const { block } = slot;
    if (block.kind === "row") return this.paintRow(slot);
    const plain: Run[] = block.text ? [{ start: 0, end: block.text.length, text: block.text }] : [];
    const runs = block.kind === "code" || block.text.length > INLINE_LIMIT ? plain : inline(block.text, block.open);
    const pieces = withMarkers(runs, slot.marks, block.text.length);
    let same = 0;
    for (; same < slot.painted.length && same < pieces.length; same++) {
      const old = slot.painted[same];
      const now = pieces[same];
      if (!old || !now || !alike(old.run, now)) break;
      if (old.run.text !== now.text) {
        if (!now.text.startsWith(old.run.text)) break;
        old.grows.appendData(now.text.slice(old.run.text.length));
        old.run = now;
      }
    }
    for (const gone of slot.painted.splice(same)) gone.node.remove();
    for (const run of pieces.slice(same)) {
      const painted = this.node(run);
      slot.painted.push(painted);
      slot.target.append(painted.node);
    }
  }

  private paintRow(slot: Slot): void {
    const text = slot.block.text.replace(/^\s*\|/, "").replace(/\|\s*$/, "");
    const row = slot.target as HTMLTableRowElement;
    if (/^[\s|:-]*-[\s|:-]*$/.test(text)) {
      row.hidden = true;
      row.previousElementSibling?.classList.add("head");
      return;
    }
    const cells = text.split(/(?<!\\)\|/).map((cell) => h("td", {}, ...inline(cell.trim()).map((run) => this.node(run).node)));
    for (const { marker } of slot.marks) cells.at(-1)?.append(this.marker(marker));
    row.replaceChildren(...cells);
  }

  private node(run: Piece): Painted {
    const text = document.createTextNode(run.text);
    let node: ChildNode = text;
    if (run.markers) node = h("sup", { class: "marks" }, ...run.markers.map((marker) => this.marker(marker)));
    if (run.code) node = h("code", {}, node as Text);
    if (run.italic) node = h("em", {}, node as Text);
    if (run.bold) node = h("strong", {}, node as Text);
    if (run.href) node = h("a", { href: run.href, target: "_blank", rel: "noopener noreferrer nofollow" }, node as Text);
    return { run, node, grows: text };
  }

  private marker(marker: Marker): HTMLElement {
    const label = `Source ${marker.number}: ${marker.title}`;
    return h("button", { class: "mark", type: "button", "aria-label": label, title: marker.title, onclick: () => this.follow(marker) }, String(marker.number));
  }

  /** Puts the block's element into its place and returns where its text goes. */
  private element(block: Block): HTMLElement {
    if (block.kind !== "item") this.lists = [];
    if (block.kind !== "row") this.table = undefined;
    switch (block.kind) {
      case "heading":
        return this.put(h(`h${Math.min(6, block.level + 2)}` as "h3"));
      case "item":
        return this.item(block);
      case "code":
        return this.code(block);
      case "rule":
        return this.put(h("hr"));
      case "quote": {
        const text = h("p");
        this.put(h("blockquote", {}, text));
        return text;
      }
      case "row": {
        if (!this.table) {
          this.table = h("tbody");
          this.put(h("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Table" }, h("table", {}, this.table)));
        }
        const row = h("tr");
        this.table.append(row);
        return row;
      }
      default:
        return this.put(h("p"));
    }
  }

  private put(element: HTMLElement): HTMLElement {
    this.root.append(element);
    return element;
  }

  private item(block: Block): HTMLElement {
    const ordered = block.ordinal !== undefined;
    while ((this.lists.at(-1)?.level ?? -1) > block.level) this.lists.pop();
    let top = this.lists.at(-1);
    if (!top || top.level < block.level || top.ordered !== ordered) {
      if (top && top.level === block.level) this.lists.pop();
      const list = ordered ? h("ol", { start: block.ordinal }) : h("ul");
      const parent = this.lists.at(-1)?.list.lastElementChild ?? this.root;
      parent.append(list);
      top = { level: block.level, list, ordered };
      this.lists.push(top);
    }
    const text = h("div", { class: "item" });
    top.list.append(h("li", {}, text));
    return text;
  }

  private code(block: Block): HTMLElement {
    const text = h("code");
    const done = h("button", {
      type: "button",
      class: "quiet small",
      onclick: () => void copy(block.text).then((copied) => (done.textContent = copied ? "Copied" : "Not allowed")),
    }, "Copy");
    const head = h("div", { class: "code-head" }, h("span", {}, block.language || "text"), done);
    this.put(h("div", { class: "code" }, head, h("pre", { tabindex: "0", "aria-label": "Code" }, text)));
    return text;
  }
}

function alike(a: Piece, b: Piece): boolean {
  if (a.markers || b.markers) return a.markers !== undefined && b.markers !== undefined && numbers(a) === numbers(b);
  return a.bold === b.bold && a.italic === b.italic && a.code === b.code && a.href === b.href;
}

function numbers(piece: Piece): string {
  return (piece.markers ?? []).map((marker) => marker.number).join();
}

/** The runs, cut where markers stand, with the markers between them. */
function withMarkers(runs: readonly Run[], marks: readonly { place: number; marker: Marker }[], length: number): Piece[] {
  if (!marks.length) return [...runs];
  const pieces: Piece[] = [];
  let next = 0;
  const put = (limit: number): void => {
    const markers: Marker[] = [];
    let place = -1;
    while (next < marks.length && (marks[next]?.place ?? 0) <= limit) {
      const mark = marks[next++];
      if (!mark) break;
      if (markers.length && mark.place !== place) pieces.push({ start: place, end: place, text: "", markers: markers.splice(0) });
      place = mark.place;
      markers.push(mark.marker);
    }
    if (markers.length) pieces.push({ start: place, end: place, text: "", markers });
  };
  for (let run of runs) {
    put(run.start);
    for (let mark = marks[next]; mark && mark.place < run.end; mark = marks[next]) {
      const cut = mark.place - run.start;
      pieces.push({ ...run, end: mark.place, text: run.text.slice(0, cut) });
      run = { ...run, start: mark.place, text: run.text.slice(cut) };
      put(mark.place);
    }
    pieces.push(run);
  }
  put(length);
  return pieces;
}

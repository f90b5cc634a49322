// The numbered events of one stream, as a developer wants to see them: the last 200 of them, newest at the bottom.

import type { StreamEvent } from "@tidewire/client";
import { copy, h, setText } from "./dom.ts";
import { LOGGED, type Turn } from "./turn.ts";

export class Inspector {
  private readonly rows = h("ol", { class: "events", tabindex: "0", "aria-label": "Events, the last 200" });
  private readonly facts = h("dl", { class: "facts" });
  private readonly curl = h("code");
  private readonly hide = h("input", { type: "checkbox", id: "hide-deltas" });
  private readonly empty = h("p", { class: "hint" }, "Ask something: each event of the answer appears here with its number, as it came over the wire.");
  private readonly filled: HTMLElement;
  private turn: Turn | undefined;
  private shown = false;

  constructor(root: HTMLElement) {
    const copied = h("button", { type: "button", class: "quiet small", onclick: () => void copy(this.curl.textContent).then((done) => setText(copied, done ? "Copied" : "Not allowed")) }, "Copy");
    const choice = h("label", { class: "choice" }, this.hide, "Hide deltas");
    this.hide.addEventListener("change", () => this.rows.classList.toggle("no-deltas", this.hide.checked));
    this.filled = h("div", { class: "filled", hidden: true }, this.facts, h("div", { class: "curl" }, this.curl, copied), h("div", { class: "choice-row" }, h("h3", {}, "Numbered events"), choice), this.rows);
    root.append(this.empty, this.filled);
  }

  /** Whether the panel is on the screen: where it is not, nothing is built. */
  show(shown: boolean): void {
    if (shown === this.shown) return;
    this.shown = shown;
    this.rebuild();
  }

  select(turn: Turn | undefined): void {
    if (turn === this.turn) return;
    this.turn = turn;
    this.rebuild();
  }

  get selected(): Turn | undefined {
    return this.turn;
  }

  update(turn: Turn, events: readonly StreamEvent[]): void {
    if (turn !== this.turn || !this.shown) return;
    this.tell(turn);
    this.add(events.slice(-LOGGED));
  }

  private rebuild(): void {
    this.rows.replaceChildren();
    this.empty.hidden = this.turn !== undefined;
    this.filled.hidden = this.turn === undefined;
    if (!this.turn || !this.shown) return;
    this.tell(this.turn);
    this.add(this.turn.log);
  }

  private add(events: readonly StreamEvent[]): void {
    const { rows } = this;
    const atEnd = rows.scrollTop + rows.clientHeight >= rows.scrollHeight - 40;
    rows.append(...events.map(row));
    while (rows.children.length > LOGGED) rows.firstElementChild?.remove();
    if (atEnd) rows.scrollTop = rows.scrollHeight;
  }

  private tell(turn: Turn): void {
    const { opened, cursor } = turn.answer;
    const facts: [string, string][] = [
      ["stream", turn.stream],
      ["model", turn.model],
      ["cursor", String(cursor)],
      ["survives", opened ? (SURVIVES[opened.durability] ?? opened.durability) : "…"],
      ["if nobody reads", opened?.on_disconnect ?? "…"],
      ["reconnects here", String(turn.reconnects)],
    ];
    for (const [n, [name, value]] of facts.entries()) {
      const found = this.facts.children[n];
      const item = found ?? h("div", {}, h("dt", {}, name), h("dd"));
      if (!found) this.facts.append(item);
      if (item.lastElementChild) setText(item.lastElementChild, value);
    }
    setText(this.curl, `curl -N "${location.origin}/v1/streams/${turn.stream}/events?as=text"`);
  }
}

const SURVIVES: Record<string, string> = {
  memory: "a lost client (memory)",
  process: "a killed server (process)",
  disk: "a power loss (disk)",
  replicated: "a lost machine (replicated)",
};

function row(event: StreamEvent): HTMLElement {
  const open = (opened: Event): void => {
    const details = opened.currentTarget as HTMLDetailsElement;
    if (details.open && details.children.length === 1) details.append(h("pre", {}, JSON.stringify(event, undefined, 2)));
  };
  const line = h("summary", {}, h("span", { class: "seq" }, String(event.seq)), h("span", { class: "type" }, event.type), h("span", { class: "about" }, about(event)), h("span", { class: "at" }, `${event.at}`));
  return h("li", { class: event.type === "delta" ? "delta" : false }, h("details", { ontoggle: open }, line));
}

/** The event's own words, on one line. */
function about(event: StreamEvent): string {
  switch (event.type) {
    case "opened":
      return `${event.model}, ${event.durability}`;
    case "attempt":
      return `${event.n} ${event.provider} (${event.reason})`;
    case "progress":
      return [event.stage, event.detail].filter(Boolean).join(": ");
    case "part":
      return [`#${event.part}`, event.kind, event.name].filter(Boolean).join(" ");
    case "delta":
      return JSON.stringify(event.text.slice(0, 80));
    case "part_end":
      return `#${event.part}`;
    case "citation":
      return `${event.start}–${event.end} ${event.title}`;
    case "retrieved":
      return `${event.passages.length} of ${event.namespace} at ${event.epoch}, ${event.ms} ms${event.cached ? ", from the cache" : ""}`;
    case "superseded":
      return `${event.document} ${event.deleted ? "is gone" : `has a version after ${event.version}`}`;
    case "usage":
      return `${event.output ?? 0} out, by ${event.counted_by}`;
    case "notice":
      return event.code;
    case "closed":
      return `${event.status}, ${event.reason}`;
    default:
      return "";
  }
}

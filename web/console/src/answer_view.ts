// The screen's side of one turn. Each update touches only what has changed.

import { type Citation, type Part, type Sourced, type StreamEvent, sourceKey, sourcesOf, textOf } from "@tidewire/client";
import { copy, h, setText } from "./dom.ts";
import { advice, sentence } from "./errors.ts";
import { ending, figures } from "./figures.ts";
import { age, count } from "./format.ts";
import { icon } from "./icons.ts";
import { type Marker, TextPainter } from "./painter.ts";
import { steps } from "./progress.ts";
import { safeUrl } from "./inline.ts";
import type { Turn } from "./turn.ts";
import { waterfall } from "./waterfall.ts";

export interface TurnActions {
  again: (turn: Turn) => void;
  inspect: (turn: Turn) => void;
  link: (turn: Turn) => string;
}

/** How often the running figures change, in ms: faster cannot be read. */
const FIGURES_EVERY = 250;

/** Characters from which a question is a text to scroll in rather than a headline. */
const LONG = 300;

export class AnswerView {
  readonly root: HTMLElement;
  private readonly steps = h("ol", { class: "steps", "aria-label": "Progress" });
  private readonly body = h("div", { class: "body" });
  private readonly sources = h("section", { class: "sources", "aria-label": "Sources", hidden: true });
  private readonly trouble = h("div", { class: "trouble", hidden: true });
  private readonly line = h("div", { class: "figures" });
  private readonly state = h("span", { class: "state" });
  private readonly values = h("dl");
  private readonly actions = h("div", { class: "actions" });
  private readonly detail: HTMLDetailsElement = h("details", {
    class: "time",
    ontoggle: () => this.detail.open && this.detail.scrollIntoView({ block: "nearest" }),
  });
  private readonly parts = new Map<number, PartView>();
  private numbers = new Map<string, number>();
  private counted = "";
  private figuresAt = Number.NEGATIVE_INFINITY;
  private noticed = 0;
  private finished = false;

  constructor(
    private readonly turn: Turn,
    private readonly act: TurnActions,
  ) {
    const question = h("div", { class: "question" }, turn.question || "The question was asked elsewhere.");
    question.classList.toggle("unknown", !turn.question);
    question.classList.toggle("long", turn.question.length > LONG);
    const heading = h("h2", { class: "visually-hidden" }, "Question");
    const answer = h("h2", { class: "visually-hidden" }, "Answer");
    this.line.append(this.state, this.values);
    this.line.hidden = true;
    this.detail.hidden = true;
    const region = h("div", { class: "answer" }, answer, this.steps, this.body, this.trouble, this.sources, this.line, h("div", { class: "foot" }, this.actions, this.detail));
    this.root = h("article", { class: "turn", id: `turn-${turn.stream}` }, heading, question, region);
    this.update([]);
  }

  update(events: readonly StreamEvent[]): void {
    const { turn } = this;
    const { answer } = turn;
    this.root.classList.toggle("running", turn.running);
    this.root.setAttribute("aria-busy", String(turn.running));
    const counted = `${answer.citations.length} ${answer.superseded.length}`;
    if (answer.citations.length && counted !== this.counted) this.count(counted);
    const ended = answer.closed !== undefined;
    for (const part of answer.parts) this.part(part, ended);
    this.showSteps();
    const final = !turn.running && !this.finished;
    const now = performance.now();
    if (final || (events.length && now - this.figuresAt > FIGURES_EVERY)) {
      this.figuresAt = now;
      this.showFigures();
    }
    if (answer.notices.length > this.noticed) {
      for (const notice of answer.notices.slice(this.noticed)) this.body.append(h("p", { class: "aside" }, notice.message));
      this.noticed = answer.notices.length;
    }
    if (final) this.finish();
  }

  private count(counted: string): void {
    this.counted = counted;
    const sources = sourcesOf(this.turn.answer);
    this.numbers = new Map(sources.map((source) => [sourceKey(source), source.number]));
    this.sources.hidden = false;
    const open = new Set([...this.sources.querySelectorAll("details[open]")].map((item) => item.id));
    const list = h("ol", {}, ...sources.map((source) => this.source(source)));
    for (const item of list.querySelectorAll("details")) item.open = open.has(item.id);
    this.sources.replaceChildren(h("h3", {}, count(sources.length, "source")), list);
  }

  private source(source: Sourced): HTMLElement {
    const uri = safeUrl(source.uri);
    const told = [source.uri && !uri ? source.uri : undefined, source.age === undefined ? undefined : `changed ${age(source.age)} ago`];
    const since = source.superseded && (source.superseded === "deleted" ? "deleted since" : "superseded");
    const summary = h(
      "summary",
      {},
      h("span", { class: "mark" }, String(source.number)),
      h("span", { class: "title" }, source.title || source.source),
      since && h("span", { class: "since", title: `The document was ${source.superseded} while this answer was being written.` }, since),
      h("span", { class: "where" }, told.filter(Boolean).join(" · ") || source.source),
    );
    const passages = source.passages.map((passage) => h("blockquote", {}, passage));
    const link = uri && h("a", { href: uri, target: "_blank", rel: "noopener noreferrer" }, uri);
    return h("li", {}, h("details", { id: this.sourceId(source.number) }, summary, ...passages, link));
  }

  private sourceId(number: number): string {
    return `source-${this.turn.stream}-${number}`;
  }

  private readonly follow = (marker: Marker): void => {
    const item = document.getElementById(this.sourceId(marker.number));
    if (!(item instanceof HTMLDetailsElement)) return;
    item.open = true;
    item.scrollIntoView({ block: "nearest" });
    item.querySelector("summary")?.focus();
  };

  private part(part: Part, ended: boolean): void {
    let view = this.parts.get(part.number);
    if (!view) {
      view = this.view(part);
      this.parts.set(part.number, view);
      this.body.append(view.root);
    }
    const number = (citation: Citation): number => this.numbers.get(sourceKey(citation)) ?? 0;
    view.update(part, this.turn.answer.citations, number, ended);
  }

  private view(part: Part): PartView {
    switch (part.kind) {
      case "text":
      case "refusal":
        return new TextPart(this.follow);
      case "thinking":
        return new ThinkingPart();
      case "image":
      case "audio":
        return new MediaPart(part);
      default:
        return new ToolPart(part);
    }
  }

  private showSteps(): void {
    const { answer, running } = this.turn;
    const list = running ? steps(answer) : [];
    this.steps.hidden = !running;
    if (!running) return;
    if (!list.length) list.push({ stage: "sending", text: "Sending the question" });
    while (this.steps.children.length > list.length) this.steps.lastElementChild?.remove();
    for (const [n, step] of list.entries()) {
      const item = this.steps.children[n] ?? this.steps.appendChild(h("li"));
      item.classList.toggle("now", n === list.length - 1);
      setText(item, step.text);
    }
  }

  private showFigures(): void {
    const { turn } = this;
    const lastAt = turn.log.at(-1)?.at ?? 0;
    const list = figures(turn.answer, turn.ttft, lastAt);
    this.line.hidden = !list.length && turn.running;
    const ended = ending(turn.answer);
    setText(this.state, turn.running ? "" : ended || "Not available");
    this.state.hidden = turn.running;
    this.state.dataset["status"] = turn.answer.closed?.status ?? "";
    while (this.values.children.length > list.length) this.values.lastElementChild?.remove();
    for (const [n, figure] of list.entries()) {
      const found = this.values.children[n];
      const item = found ?? h("div", {}, h("dt"), h("dd"));
      if (!found) this.values.append(item);
      const [name, value] = item.children;
      if (name) setText(name, figure.name);
      if (value) setText(value, figure.value);
      item.setAttribute("title", figure.told);
    }
  }

  /** Once, at the end: what went wrong, the tools of a finished answer, and where its time went. */
  private finish(): void {
    this.finished = true;
    const { turn } = this;
    const { answer, connection } = turn;
    const error = answer.closed?.error ?? (connection.state === "refused" ? connection.error.info : undefined);
    if (error) {
      this.trouble.hidden = false;
      this.trouble.replaceChildren(
        h("p", {}, h("strong", {}, sentence(error.message)), " ", advice(error)),
        h("div", { class: "row" }, turn.question ? this.button("again", "Ask again", () => this.act.again(turn)) : undefined, h("code", {}, error.code)),
      );
    } else if (answer.closed && !answer.parts.some((part) => part.text || part.blobs.length || part.kind === "tool_call")) {
      this.body.append(h("p", { class: "aside" }, answer.closed.status === "cancelled" ? "Stopped before the first word." : "The answer is empty."));
    }
    const text = textOf(answer);
    this.actions.replaceChildren(
      ...(text ? [this.copying("copy", "Copy answer", () => text)] : []),
      this.copying("link", "Copy link to this answer", () => this.act.link(turn)),
      this.button("list", "Show its events", () => this.act.inspect(turn), true),
    );
    if (answer.closed && (answer.closed.spans?.length || answer.progress.length)) {
      this.detail.hidden = false;
      const listed = steps(answer).map((step) => h("li", {}, step.text));
      this.detail.replaceChildren(
        h("summary", {}, icon("chevron"), "Where the time went"),
        waterfall(answer, turn.beats),
        listed.length ? h("ul", { class: "told" }, ...listed) : "",
      );
    }
  }

  private button(name: Parameters<typeof icon>[0], label: string, run: () => void, bare = false): HTMLButtonElement {
    const props = { type: "button", class: bare ? "quiet" : "plain", onclick: run, ...(bare && { "aria-label": label, title: label }) };
    return h("button", props, icon(name), bare ? undefined : label);
  }

  private copying(name: Parameters<typeof icon>[0], label: string, text: () => string): HTMLButtonElement {
    const button = this.button(name, label, () => void copy(text()).then((copied) => show(copied ? "check" : "close")), true);
    const show = (shown: Parameters<typeof icon>[0]): void => {
      button.replaceChildren(icon(shown));
      setTimeout(() => button.replaceChildren(icon(name)), 1500);
    };
    return button;
  }
}

interface PartView {
  readonly root: HTMLElement;
  update(part: Part, citations: readonly Citation[], number: (citation: Citation) => number, ended: boolean): void;
}

class TextPart implements PartView {
  readonly root = h("div", { class: "prose" });
  private readonly text = h("div");
  private readonly mark = h("p", { class: "aside", hidden: true });
  private painter: TextPainter;
  private painted = -1;
  private edits = 0;
  private cited: Citation[] = [];
  private seen = 0;
  private done = false;

  constructor(private readonly follow: (marker: Marker) => void) {
    this.root.append(this.text, this.mark);
    this.painter = new TextPainter(this.text, follow);
  }

  update(part: Part, citations: readonly Citation[], number: (citation: Citation) => number, ended: boolean): void {
    const done = part.ended || ended;
    if (part.text.length === this.painted && part.edits === this.edits && citations.length === this.seen && done === this.done) return;
    if (part.edits !== this.edits) this.repaint(part);
    for (const citation of citations.slice(this.seen)) if (citation.part === part.number) this.cited.push(citation);
    this.painted = part.text.length;
    this.seen = citations.length;
    this.done = done;
    // A citation may come behind its part's end, and a text is only over for its markers once the stream is.
    this.painter.update(part.text, this.cited, number, done);
  }

  /** What is there has changed: it is painted again from its beginning, and the reader is told. */
  private repaint(part: Part): void {
    this.edits = part.edits;
    this.text.replaceChildren();
    this.painter = new TextPainter(this.text, this.follow);
    this.mark.hidden = false;
    setText(this.mark, `Edited in ${count(part.edits, "place")} by a second model`);
  }
}

class ThinkingPart implements PartView {
  private readonly text = document.createTextNode("");
  private readonly title = h("span", {}, "Thinking");
  readonly root = h("details", { class: "thinking" }, h("summary", {}, icon("chevron"), this.title), h("div", { class: "thought" }, this.text));

  update(part: Part, _citations: unknown, _number: unknown, ended: boolean): void {
    if (part.text.length > this.text.length) this.text.appendData(part.text.slice(this.text.length));
    const done = part.ended || ended;
    this.root.classList.toggle("now", !done);
    if (done) setText(this.title, `Thought, ${count(part.text.split(/\s+/).filter(Boolean).length, "word")}`);
  }
}

class ToolPart implements PartView {
  private readonly text = h("code");
  readonly root: HTMLElement;

  constructor(part: Part) {
    const result = part.failed ? "The tool failed" : "Tool result";
    const title = part.kind === "tool_call" ? "Tool call" : part.kind === "server_call" ? "The server runs" : result;
    const name = h("strong", {}, part.name ?? part.call ?? "");
    this.root = h("div", { class: "code tool" }, h("div", { class: "code-head" }, icon("tool"), h("span", {}, `${title} `, name)), h("pre", { tabindex: "0", "aria-label": title }, this.text));
  }

  update(part: Part, _citations: unknown, _number: unknown, ended: boolean): void {
    setText(this.text, part.ended || ended ? pretty(part.text) : part.text);
  }
}

/** A picture, of which a sketch may come first; or sound, which can be played once it is whole. */
class MediaPart implements PartView {
  readonly root = h("div", { class: "media" });
  private shown = "";

  constructor(part: Part) {
    if (part.kind === "audio") setText(this.root, "Sound is coming …");
  }

  update(part: Part, _citations: unknown, _number: unknown, ended: boolean): void {
    const last = part.blobs.at(-1) ?? "";
    const whole = part.ended || ended;
    if (last === this.shown || (part.kind === "audio" && !whole)) return;
    this.shown = last;
    const url = mediaUrl(part);
    this.root.replaceChildren(part.kind === "image" ? h("img", { src: url, alt: "A picture of the answer" }) : h("audio", { src: url, controls: true }));
  }
}

/** A data: URL. The pieces of a sound are base64 each for itself, so that joining them takes a detour over the bytes. */
function mediaUrl(part: Part): string {
  const usual = part.kind === "image" ? "image/png" : "audio/wav";
  const media = /^(image|audio)\/[\w.+-]+$/.test(part.media ?? "") ? part.media : usual;
  return `data:${media};base64,${part.blobs.length === 1 ? part.blobs[0] : btoa(part.blobs.map(atob).join(""))}`;
}

function pretty(json: string): string {
  try {
    return JSON.stringify(JSON.parse(json), undefined, 2);
  } catch {
    return json;
  }
}

// One source: where it is, how it does, when it looks again.

import { h } from "../dom.ts";
import { sentence } from "../errors.ts";
import { duration } from "../format.ts";
import { icon } from "../icons.ts";
import type { Shelf, Source } from "./api.ts";
import { moment } from "./moments.ts";
import { kindOf, passed, shelfName } from "./words.ts";

const STATES = { waiting: "Up to date", running: "Reading", failing: "Failing" } as const;

export class SourceCard {
  readonly root = h("section", { class: "source" });
  private said = "";

  constructor(private readonly again: (source: string) => void) {}

  show(name: string, source: Source | undefined, shelf: Shelf | undefined): void {
    const said = JSON.stringify([name, source, shelf]);
    if (said === this.said) return;
    this.said = said;
    const held = this.root.contains(document.activeElement);
    this.root.setAttribute("aria-label", shelfName(name));
    const button = h("button", { type: "button", class: "plain small", onclick: () => this.again(name) }, icon("again"), source && source.kind !== "webhook" ? "Read it all again" : "Index again");
    this.root.replaceChildren(...(source ? known(source) : [h("p", {}, about(name))]), facts(source, shelf), button);
    if (held) button.focus();
  }
}

function about(name: string): string {
  return name ? "This source is no longer in the settings. Its documents stay until they are deleted or expire." : "Put over HTTP, added on this page, or brought in by tidewire ingest.";
}

function known(source: Source): HTMLElement[] {
  const state = h("span", { class: "pill", "data-state": source.status }, source.kind === "webhook" && source.status === "waiting" ? "Listening" : STATES[source.status]);
  const out = [h("p", { class: "where" }, state, h("span", { class: "kind" }, kindOf(source)), h("code", {}, source.place))];
  if (source.error) out.push(h("p", { class: "wrong" }, sentence(source.error), source.remedy && ` ${source.remedy}`));
  return out;
}

function facts(source: Source | undefined, shelf: Shelf | undefined): HTMLElement {
  const list = h("dl", { class: "facts" });
  const fact = (name: string, ...value: (Node | string)[]): void => void list.append(h("div", {}, h("dt", {}, name), h("dd", {}, ...value)));
  if (source) {
    const webhook = source.kind === "webhook";
    if (source.last !== null) fact(webhook ? "Last message" : "Last pass", moment(source.last), `: ${passed(source.report)}`);
    else fact(webhook ? "Last message" : "Last pass", webhook ? "none since the server began" : "none yet");
    if (source.next !== null && source.status !== "running") fact(source.status === "failing" ? "Tries again" : "Next look", moment(source.next), source.kind === "folder" && source.status !== "failing" ? ", or at once when a file changes" : "");
    if (source.every !== null && source.kind !== "folder") fact("Looks", `every ${duration(source.every * 1000)}`);
    if (source.failures) fact("Failed", `${source.failures} ${source.failures === 1 ? "time" : "times"} in a row`);
  }
  if (shelf) {
    fact("Holds", `${shelf.documents.toLocaleString("en")} documents, ${shelf.chunks.toLocaleString("en")} passages${shelf.pending ? `, ${shelf.pending.toLocaleString("en")} wait for vectors` : ""}`);
    fact("Published", moment(shelf.oldest), " to ", moment(shelf.newest));
  }
  return list;
}

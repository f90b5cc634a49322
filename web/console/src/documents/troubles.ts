// What needs a hand: documents that were not taken and sources that fail, why, and what to do.

import { h } from "../dom.ts";
import type { Source, Trouble } from "./api.ts";
import { Keyed } from "./keyed.ts";
import { moment } from "./moments.ts";
import { reason, shelfName } from "./words.ts";

const SHOWN = 8;

export class Troubles {
  readonly root = h("section", { class: "troubles", "aria-label": "Needs a hand" });
  private readonly head = h("h2");
  private readonly rows: Keyed<Trouble>;
  private readonly more = h("button", { type: "button", class: "plain small", onclick: () => this.open() });
  private all = false;
  private troubles: readonly Trouble[] = [];

  constructor() {
    const list = h("ul");
    this.rows = new Keyed(list, (one: Trouble) => `${one.source} ${one.document}`, item);
    this.root.append(this.head, list, this.more);
  }

  /** total: how many there are, where not all are named. */
  show(troubles: readonly Trouble[], total: number): void {
    this.troubles = troubles;
    this.root.hidden = !troubles.length;
    this.head.textContent = `Needs a hand: ${Math.max(total, troubles.length).toLocaleString("en")}`;
    const shown = this.all ? troubles : troubles.slice(0, SHOWN);
    this.rows.show(shown);
    this.more.hidden = shown.length === troubles.length;
    this.more.textContent = `Show ${troubles.length - shown.length} more`;
  }

  private open(): void {
    this.all = true;
    this.show(this.troubles, this.troubles.length);
  }
}

function item(trouble: Trouble): HTMLElement {
  const from = h("span", { class: "told" }, shelfName(trouble.source));
  if (trouble.at !== null) from.append(" · ", moment(trouble.at));
  return h("li", {}, h("div", {}, h("span", { class: "title" }, trouble.document), from), h("p", {}, reason(trouble.why), trouble.remedy && ` ${trouble.remedy}`));
}

/** Sources that cannot be read as a whole, but for those whose documents say just that already. */
export function failing(sources: readonly Source[], troubles: readonly Trouble[]): Trouble[] {
  return sources
    .filter((source) => source.error && !troubles.some((trouble) => trouble.source === source.name && trouble.why === source.error))
    .map((source) => ({ source: source.name, document: `The source ${source.name}`, why: source.error, remedy: source.remedy, at: source.last }));
}

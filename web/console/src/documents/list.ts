// The documents, a page at a time: filtered, chosen, deleted, indexed again.

import { h, setText } from "../dom.ts";
import { advice, infoOf, sentence } from "../errors.ts";
import { count } from "../format.ts";
import { icon } from "../icons.ts";
import { type Known, type Only, list } from "./api.ts";
import { Keyed } from "./keyed.ts";
import { moment } from "./moments.ts";
import { tags } from "./words.ts";

const PAGE = 50;
const MOST = 1000; // the server's, of one answer
const HEADS: Record<Only, string> = { all: "Documents", pending: "Documents that wait for vectors", expiring: "Documents that expire within a day" };
const PAUSE = 200; // ms after the last key of a filter

export interface Actions {
  remove(documents: readonly Known[]): Promise<boolean>;
  again(documents: readonly Known[]): Promise<boolean>;
}

export class List {
  readonly root = h("section", { class: "documents", "aria-label": "Documents" });
  private readonly filter = h("input", { type: "search", placeholder: "Filter by words of title or place", "aria-label": "Filter documents", autocomplete: "off", oninput: () => this.soon() });
  private readonly head = h("h2");
  private readonly whole = h("a", { href: "#/", class: "quiet small" }, "Show all");
  private readonly body = h("tbody");
  private readonly rows: Keyed<Known>;
  private readonly note = h("p", { class: "hint" });
  private readonly more = h("button", { type: "button", class: "plain small", onclick: () => void this.load(this.documents.length + PAGE) }, "Show more");
  private readonly all = h("input", { type: "checkbox", "aria-label": "Choose all that are shown", onchange: () => this.chooseAll() });
  private readonly bar: HTMLElement;
  private readonly chosenText = h("span");
  private readonly chosen = new Set<string>();
  private documents: Known[] = [];
  private source: string | undefined;
  private only: Only = "all";
  private timer: ReturnType<typeof setTimeout> | undefined;
  private asked = 0;

  constructor(private readonly actions: Actions) {
    this.rows = new Keyed(this.body, (one: Known) => one.id, (one) => this.row(one));
    const head = h("tr", {}, h("th", { class: "choose" }, this.all), h("th", { scope: "col" }, "Document"), h("th", { scope: "col" }, "Published"), h("th", { scope: "col" }, "Indexed"), h("th", { scope: "col", class: "number" }, "Passages"));
    this.bar = h(
      "div",
      { class: "chosen", hidden: true },
      this.chosenText,
      h("button", { type: "button", class: "plain small", onclick: () => void this.act("again") }, icon("again"), "Index again"),
      h("button", { type: "button", class: "plain small danger", onclick: () => void this.act("remove") }, icon("bin"), "Delete"),
      h("button", { type: "button", class: "quiet small", onclick: () => this.clear() }, "Cancel"),
    );
    this.root.append(h("div", { class: "section-head" }, this.head, this.whole, this.filter), h("table", {}, h("thead", {}, head), this.body), this.note, this.more, this.bar);
  }

  /** Another source's documents, or others of them, from the first on. */
  open(source: string | undefined, only: Only = "all"): void {
    if (source !== this.source || only !== this.only) {
      this.filter.value = "";
      this.clear();
      this.rows.show([]);
      this.documents = [];
    }
    this.source = source;
    this.only = only;
    setText(this.head, HEADS[only]);
    this.whole.hidden = only === "all";
    void this.load(PAGE);
  }

  /** Asks again for what is shown. */
  async refresh(): Promise<void> {
    await this.load(Math.max(PAGE, this.documents.length));
  }

  /** True where there was something chosen. */
  clear(): boolean {
    const any = this.chosen.size > 0;
    this.chosen.clear();
    for (const box of this.body.querySelectorAll("input")) box.checked = false;
    this.dress();
    return any;
  }

  private soon(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.load(PAGE), PAUSE);
  }

  private async load(limit: number): Promise<void> {
    const mine = ++this.asked;
    const like = this.filter.value.trim();
    try {
      const found = await list({ limit: Math.min(MOST, limit), source: this.source, like, only: this.only });
      if (mine !== this.asked) return;
      this.documents = found.documents;
      while (found.after !== null && this.documents.length < limit) {
        const rest = await list({ limit: Math.min(MOST, limit - this.documents.length), source: this.source, like, only: this.only, after: found.after });
        if (mine !== this.asked) return;
        this.documents = [...this.documents, ...rest.documents];
        found.after = rest.after;
      }
      this.show(found.after !== null, like);
    } catch (thrown) {
      if (mine !== this.asked) return;
      const info = infoOf(thrown);
      setText(this.note, `${sentence(info.message)} ${advice(info)}`);
    }
  }

  private show(more: boolean, like: string): void {
    for (const id of this.chosen) if (!this.documents.some((one) => one.id === id)) this.chosen.delete(id);
    this.rows.show(this.documents);
    this.more.hidden = !more;
    const none = this.only !== "all" ? "None now." : like ? `No document has “${like}” in its title or place. To find words inside documents, search above.` : "No documents here yet.";
    setText(this.note, this.documents.length ? (more ? `The first ${count(this.documents.length, "document")}, by place.` : "") : none);
    this.dress();
  }

  private row(one: Known): HTMLElement {
    const box = h("input", { type: "checkbox", "aria-label": `Choose ${one.title}`, onchange: () => this.choose(one.id, box.checked) });
    box.checked = this.chosen.has(one.id);
    const told = h("span", { class: "told", title: one.location }, this.source === undefined && one.source ? `${one.source} · ${one.uri}` : one.uri);
    const marks = tags(one, Date.now() / 1000).map(({ text, warn }) => h("span", { class: warn ? "tag warn" : "tag" }, text));
    return h(
      "tr",
      {},
      h("td", { class: "choose" }, box),
      h("th", { scope: "row" }, h("a", { href: `#/d/${one.id}` }, one.title), told, marks.length > 0 && h("span", { class: "tags" }, ...marks)),
      h("td", { "data-name": "Published" }, moment(one.published)),
      h("td", { "data-name": "Indexed" }, moment(one.indexed)),
      h("td", { class: "number", "data-name": "Passages" }, one.chunks.toLocaleString("en")),
    );
  }

  private choose(id: string, on: boolean): void {
    if (on) this.chosen.add(id);
    else this.chosen.delete(id);
    this.dress();
  }

  private chooseAll(): void {
    for (const one of this.documents) this.choose(one.id, this.all.checked);
    for (const box of this.body.querySelectorAll("input")) box.checked = this.all.checked;
  }

  private dress(): void {
    const n = this.chosen.size;
    this.bar.hidden = n === 0;
    setText(this.chosenText, `${count(n, "document")} chosen`);
    this.all.checked = n > 0 && n === this.documents.length;
    this.all.indeterminate = n > 0 && n < this.documents.length;
  }

  private async act(what: keyof Actions): Promise<void> {
    if (await this.actions[what](this.documents.filter((one) => this.chosen.has(one.id)))) this.clear();
  }
}

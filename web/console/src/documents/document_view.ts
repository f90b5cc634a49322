// One document: what is known of it, and its passages as a search sees them.

import { h, setText } from "../dom.ts";
import { advice, infoOf, sentence } from "../errors.ts";
import { icon } from "../icons.ts";
import { type Known, one, passages } from "./api.ts";
import type { Actions } from "./list.ts";
import { moment } from "./moments.ts";
import { shelfName, tags } from "./words.ts";

const PAGE = 30;

export class DocumentView {
  readonly root = h("article", { class: "document" });
  private readonly list = h("ol", { class: "passages" });
  private readonly more = h("button", { type: "button", class: "plain small", hidden: true, onclick: () => void this.page() }, "Show more passages");
  private known: Known | undefined;
  private said = "";
  private after: number | null = 0;
  private id = "";
  private asked = 0;

  /** gone: there is no such document. named: its title is known. */
  constructor(
    private readonly actions: Actions,
    private readonly named: (title: string) => void,
  ) {}

  open(id: string): void {
    if (id !== this.id) {
      this.root.replaceChildren(h("p", { class: "hint" }, "Looking it up"));
      this.said = "";
    }
    this.id = id;
    void this.refresh();
  }

  /** Draws anew only what has changed. */
  async refresh(): Promise<void> {
    const mine = ++this.asked;
    try {
      const known = await one(this.id);
      if (mine !== this.asked) return;
      const { text: _, ...rest } = known as Known & { text: string };
      const said = JSON.stringify(rest);
      if (said === this.said) return;
      this.said = said;
      this.known = rest;
      this.named(rest.title);
      this.root.replaceChildren(this.head(rest), facts(rest), h("h2", {}, "Passages"), this.list, this.more);
      this.list.replaceChildren();
      this.after = 0;
      await this.page();
    } catch (thrown) {
      if (mine !== this.asked) return;
      const info = infoOf(thrown);
      const text = info.status === 404 ? "This document is not here: it was deleted, it has expired, or it is another tenant's." : `${sentence(info.message)} ${advice(info)}`;
      this.said = "";
      this.root.replaceChildren(h("p", { class: "strip" }, text, " ", h("a", { href: "#/" }, "All documents")));
    }
  }

  private head(known: Known): HTMLElement {
    const open = /^https?:\/\//.test(known.uri) && h("a", { class: "plain small", href: known.uri, rel: "noreferrer", target: "_blank" }, icon("link"), "Open the original");
    const act = async (what: keyof Actions): Promise<void> => {
      if ((await this.actions[what]([known])) && what === "remove") location.hash = "#/";
    };
    return h(
      "header",
      {},
      h("a", { class: "back", href: known.source ? `#/source/${encodeURIComponent(known.source)}` : "#/" }, known.source ? shelfName(known.source) : "All documents"),
      h("h2", { class: "headline" }, known.title),
      h(
        "div",
        { class: "row" },
        open,
        h("button", { type: "button", class: "plain small", onclick: () => void act("again") }, icon("again"), "Index again"),
        h("button", { type: "button", class: "plain small danger", onclick: () => void act("remove") }, icon("bin"), "Delete"),
      ),
    );
  }

  private async page(): Promise<void> {
    const id = this.id;
    const held = this.more.contains(document.activeElement);
    const { passages: found, after } = await passages(id, this.after ?? 0, PAGE);
    if (id !== this.id || !this.known) return;
    this.after = after;
    const first = this.list.childElementCount;
    for (const passage of found) {
      this.list.append(
        h(
          "li",
          { tabindex: -1 },
          h("div", { class: "told" }, passage.heading || "Without a heading", ` · from character ${passage.start.toLocaleString("en")}`, passage.pending && h("span", { class: "tag" }, "waits for its vector")),
          h("p", {}, passage.text),
        ),
      );
    }
    this.more.hidden = after === null;
    setText(this.more, `Show more of ${this.known.chunks.toLocaleString("en")} passages`);
    if (held) (this.list.children[first] as HTMLElement | undefined)?.focus();
  }
}

function facts(known: Known): HTMLElement {
  const list = h("dl", { class: "facts wide" });
  const fact = (name: string, ...value: (Node | string)[]): void => void list.append(h("div", {}, h("dt", {}, name), h("dd", {}, ...value)));
  fact("Place", known.location);
  if (known.uri !== known.location) fact("Shown as", known.uri);
  fact("Source", shelfName(known.source));
  fact("Format", known.kind);
  fact("Version", `${known.version}${known.version > 1 ? "; those before it were replaced, and are not kept" : ""}`);
  fact("Published", moment(known.published));
  fact("Indexed", moment(known.indexed));
  if (known.expires === undefined) fact("Expires", "never");
  else fact("Expires", moment(known.expires), "; from then on it is in no answer");
  fact("May be read by", known.readers?.length ? `members of ${known.readers.join(", ")}` : "everybody of this tenant");
  fact("Size", `${known.size.toLocaleString("en")} characters in ${known.chunks.toLocaleString("en")} ${known.chunks === 1 ? "passage" : "passages"}`);
  for (const { text } of tags({ ...known, readers: [] }, Date.now() / 1000).filter(({ text }) => text.includes("wait"))) fact("Vectors", `${text}; until then they are found by words`);
  fact("Id", known.id);
  return list;
}

// All that is indexed in a few figures, and how old it is.

import { h, setText } from "../dom.ts";
import { count } from "../format.ts";
import type { Look } from "./api.ts";

const AGES = ["a day", "a week", "a month", "a year", "older"];

/** What each counts, and where it is listed. */
const NAMES: [string, string][] = [
  ["Documents", ""],
  ["Passages", ""],
  ["Wait for vectors", "#/?only=pending"],
  ["Expire within a day", "#/?only=expiring"],
];

export class Figures {
  readonly root = h("section", { class: "stock", "aria-label": "What is indexed" });
  private readonly boxes = new Map<string, HTMLElement>();
  private readonly bar = h("div", { class: "ages", role: "img" });
  private readonly legend = h("ol", { class: "ages-legend" });
  private said = "";

  constructor() {
    const list = h("dl", {});
    for (const [name, href] of NAMES) {
      const box = h("div", {}, h("dt", {}, href ? h("a", { href }, name) : name), h("dd"));
      this.boxes.set(name, box);
      list.append(box);
    }
    this.root.append(list, this.bar, this.legend);
  }

  show(look: Look): void {
    this.set("Documents", look.documents);
    this.set("Passages", look.chunks);
    this.set("Wait for vectors", look.pending);
    this.box("Wait for vectors").hidden = look.encoder === null; // found by words alone: nothing waits
    this.set("Expire within a day", look.expiring);
    const said = JSON.stringify(look.ages);
    if (said === this.said) return;
    this.said = said;
    const bands = look.ages.map(([, n], at) => n - (look.ages[at - 1]?.[1] ?? 0));
    const told = bands.map((n, at) => (at < 4 ? `${n} no older than ${AGES[at]}` : `${n} older`)).join(", ");
    this.bar.setAttribute("aria-label", `By age: ${told}`);
    this.bar.replaceChildren(
      ...bands.map((n, at) => {
        const part = h("span", { class: `age-${at}`, title: `${count(n, "document")}, ${at < 4 ? `up to ${AGES[at]} old` : "older than a year"}` });
        part.style.flexGrow = String(n);
        part.hidden = n === 0;
        return part;
      }),
    );
    this.legend.replaceChildren(
      ...bands.flatMap((n, at) => (n ? [h("li", {}, h("span", { class: `dot age-${at}` }), at < 4 ? `up to ${AGES[at]}` : "older", h("b", {}, n.toLocaleString("en")))] : [])),
    );
  }

  private set(name: string, n: number): void {
    const box = this.box(name);
    setText(box.querySelector("dd") as HTMLElement, n.toLocaleString("en"));
    box.classList.toggle("nought", n === 0);
  }

  private box(name: string): HTMLElement {
    return this.boxes.get(name) as HTMLElement;
  }
}

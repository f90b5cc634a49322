// What is said of files as they are added: who may read them, and for how long they are served.

import { h } from "../dom.ts";

const DAY = 86_400;
const LIFETIMES: [string, number][] = [
  ["as the settings say", 0],
  ["for a day", DAY],
  ["for a week", 7 * DAY],
  ["for a month", 30 * DAY],
  ["for a year", 365 * DAY],
];

export class Terms {
  private readonly readers = h("input", { autocomplete: "off", spellcheck: "false", placeholder: "everybody", title: "Groups, with commas between them; of what is added from now on" });
  private readonly lifetime = h("select", {}, ...LIFETIMES.map(([text, seconds]) => h("option", { value: seconds }, text)));
  readonly root = h("div", { class: "terms" }, h("label", {}, h("span", {}, "read by"), this.readers), h("label", {}, h("span", {}, "served"), this.lifetime));

  /** As the query of a put. now: Unix seconds. */
  said(now: number): Record<string, string> {
    const readers = this.readers.value.split(",").map((group) => group.trim()).filter(Boolean);
    const seconds = Number(this.lifetime.value);
    return { ...(readers.length && { readers: readers.join(",") }), ...(seconds && { expires: String(Math.round(now + seconds)) }) };
  }
}

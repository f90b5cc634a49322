// The sources beside the page: how many documents each has, how new they are, and whether it is well.

import { h } from "../dom.ts";
import { count } from "../format.ts";
import type { Look, Shelf, Source } from "./api.ts";
import { Keyed } from "./keyed.ts";
import { moment } from "./moments.ts";
import { places, shelfName } from "./words.ts";

interface Entry {
  href: string;
  name: string;
  documents: number;
  newest: number | undefined;
  state: string;
  here: boolean;
}

export class Shelves {
  private readonly list: Keyed<Entry>;

  constructor(root: HTMLElement) {
    this.list = new Keyed(root, (entry: Entry) => entry.href, item);
  }

  /** here: the source that is shown; undefined: none. */
  show(look: Look, here: string | undefined, all: boolean): void {
    const entries = places(look.shelves, look.sources).map(({ name, shelf, source }) => entry(name, shelf, source, here === name));
    const newest = Math.max(0, ...look.shelves.map((shelf) => shelf.indexed));
    this.list.show([{ href: "#/", name: "All documents", documents: look.documents, newest: newest || undefined, state: "", here: all }, ...entries]);
  }
}

function entry(name: string, shelf: Shelf | undefined, source: Source | undefined, here: boolean): Entry {
  return { href: `#/source/${encodeURIComponent(name)}`, name: shelfName(name), documents: shelf?.documents ?? 0, newest: shelf?.indexed, state: source?.status ?? "", here };
}

function item(entry: Entry): HTMLElement {
  const told = h("span", { class: "told" });
  if (entry.state === "failing") told.append("failing · ");
  if (entry.state === "running") told.append("reading · ");
  told.append(count(entry.documents, "document"));
  if (entry.newest !== undefined) told.append(" · ", moment(entry.newest));
  return h("li", {}, h("a", { href: entry.href, "aria-current": entry.here ? "page" : undefined, class: entry.state || undefined }, h("span", { class: "title" }, entry.name), told));
}

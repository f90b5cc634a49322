// A search with its scores explained: each passage says how it came to its place.

import { h } from "../dom.ts";
import { advice, infoOf, sentence } from "../errors.ts";
import { count, duration } from "../format.ts";
import { type Found, type Look, type Results, search } from "./api.ts";
import { moment } from "./moments.ts";
import { beneath, noticed, parts, sum, took } from "./words.ts";

export interface Question {
  query: string;
  recency: string;
  groups: string[];
}

export class SearchView {
  readonly root = h("section", { class: "found", "aria-label": "Found" });
  private asked = 0;

  constructor(
    private readonly look: () => Look | undefined,
    private readonly say: (text: string) => void,
  ) {}

  async open(question: Question): Promise<void> {
    const mine = ++this.asked;
    this.root.setAttribute("aria-busy", "true");
    try {
      const results = await search({ query: question.query, limit: 10, groups: question.groups, ...(question.recency && { recency: question.recency }) });
      if (mine === this.asked) this.show(question, results);
    } catch (thrown) {
      if (mine !== this.asked) return;
      const info = infoOf(thrown);
      this.root.replaceChildren(h("p", { class: "strip" }, `${sentence(info.message)} ${advice(info)}`));
    }
    this.root.removeAttribute("aria-busy");
  }

  private show(question: Question, results: Results): void {
    const n = results.passages.length;
    const { whole, parts: timed } = took(results);
    const said = n ? `${count(n, "passage")} in ${duration(whole)}` : "Nothing fits";
    const encoder = this.look()?.encoder ?? null;
    const weight = Math.round(results.recency_weight * 100);
    const notes = [
      ...(results.ready === "lexical" ? ["The index is still being filled: there may be more in a moment."] : []),
      ...results.notices.map(noticed),
    ];
    this.root.replaceChildren(
      h("div", { class: "section-head" }, h("h2", {}, said), h("p", { class: "told" }, timed)),
      ...notes.map((text) => h("p", { class: "strip" }, text)),
      ...(encoder === null ? [h("p", { class: "hint" }, "This server has no encoder, so search is by words alone; [embedding] in the settings gives it one.")] : []),
      n ? h("p", { class: "hint" }, weight ? `Age may take up to ${weight} % of a score here.` : "Age counts nothing here.", results.reranker ? ` The order is that of the reranker ${results.reranker}.` : "") : nothing(question, encoder !== null),
      h("ol", { class: "results" }, ...results.passages.map((found) => result(found, question.query, encoder !== null))),
    );
    this.say(`${said}.`);
  }
}

function nothing(question: Question, embeds: boolean): HTMLElement {
  const groups = question.groups.length ? ` that members of ${question.groups.join(", ")} may read` : ", of those that everybody may read";
  return h("p", { class: "hint" }, `No passage${groups}, holds a word of this${embeds ? " or comes near its meaning" : ""}. Try other words; or look whether the document is here, and who may read it.`);
}

function result(found: Found, query: string, embeds: boolean): HTMLElement {
  const told = h("p", { class: "told" }, "published ", moment(found.published), " · indexed ", moment(found.indexed), ` · version ${found.version}`);
  if (found.expires !== null) told.append(" · expires ", moment(found.expires));
  const under = beneath(found.heading, found.title);
  const list = h("dl", { class: "parts", "aria-label": "Parts of the score" });
  for (const part of parts(found, embeds)) {
    const fill = h("span", { class: part.name === "Age" ? "fill factor" : "fill measured" });
    fill.style.width = `${Math.round((part.bar ?? 0) * 100)}%`;
    list.append(h("div", { title: part.about }, h("dt", {}, part.name), h("dd", { class: "gauge", "aria-hidden": "true" }, part.bar !== undefined && h("span", { class: "track" }, fill)), h("dd", { class: "value" }, part.value)));
  }
  const why = h("details", { class: "why" }, h("summary", {}, "How it came to its place"), h("p", {}, sum(found, embeds)), h("ul", {}, ...parts(found, embeds).map((part) => h("li", {}, h("b", {}, part.name), ` ${part.about}`))));
  return h(
    "li",
    {},
    h(
      "div",
      { class: "text" },
      h("p", { class: "title" }, h("a", { href: `#/d/${found.document}` }, found.title), under !== "" && h("span", { class: "heading" }, under)),
      h("blockquote", {}, ...marked(found.text.replace(/^#{1,6} .*\n+/, ""), query)),
      told,
      ...copies(found),
      why,
    ),
    h("div", { class: "score" }, h("p", {}, h("span", { class: "visually-hidden" }, "Score "), found.score.toFixed(2)), list),
  );
}

/** What says the same and is not shown, and why. */
function copies(found: Found): HTMLElement[] {
  if (!found.copies.length) return [];
  const items = found.copies.map((copy) => {
    const newer = copy.published < found.published ? "; this one is newer" : "; this one came first";
    const same = copy.likeness >= 1 ? "the same text" : `${Math.round(copy.likeness * 100)} % of the same wording`;
    return h("li", {}, h("a", { href: `#/d/${copy.document}` }, copy.title), `: ${same}${copy.published === found.published ? "" : newer}.`);
  });
  return [h("div", { class: "copies" }, h("p", {}, `${count(found.copies.length, "copy", "copies")} not shown`), h("ul", {}, ...items))];
}

/** The text with the question's words marked. */
export function marked(text: string, query: string): (Node | string)[] {
  const words = [...new Set(query.toLowerCase().match(/[\p{L}\p{N}]{3,}/gu) ?? [])].map((word) => word.replace(/(?:es|s|ed|ing)$/, "")).filter((word) => word.length > 2);
  if (!words.length) return [text];
  return text.split(new RegExp(`((?<![\\p{L}\\p{N}])(?:${words.join("|")})[\\p{L}\\p{N}]*)`, "giu")).map((part, n) => (n % 2 ? h("mark", {}, part) : part));
}

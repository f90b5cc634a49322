// The documents page: puts its parts together, asks the server how things are, and keeps the address in step.

import { byId, h, setText } from "../dom.ts";
import { Drawers } from "../drawers.ts";
import { advice, infoOf, sentence } from "../errors.ts";
import { count } from "../format.ts";
import { type IconName, icon } from "../icons.ts";
import { themeButton } from "../theme_button.ts";
import { toast } from "../toast.ts";
import * as api from "./api.ts";
import { confirmed } from "./confirm.ts";
import { DocumentView } from "./document_view.ts";
import { type Given, chosen, dropped } from "./files.ts";
import { Figures } from "./figures.ts";
import { JobView } from "./job_view.ts";
import { type Actions, List } from "./list.ts";
import { tick } from "./moments.ts";
import { SearchView } from "./search_view.ts";
import { Shelves } from "./shelves.ts";
import { SourceCard } from "./source_card.ts";
import { Terms } from "./terms.ts";
import { Troubles, failing } from "./troubles.ts";
import { Uploads } from "./uploads.ts";
import { welcome } from "./welcome.ts";
import { shelfName } from "./words.ts";

/** ms between two looks: while something is being done, while vectors are made, and else. */
const BUSY = 700;
const FILLING = 2000;
const CALM = 3000;

for (const place of document.querySelectorAll<HTMLElement>("[data-icon]")) place.prepend(icon(place.dataset["icon"] as IconName));

type View = { kind: "all"; only: api.Only } | { kind: "source"; source: string } | { kind: "document"; id: string } | { kind: "search"; query: string };

let known: api.Look | undefined;
let view: View = { kind: "all", only: "all" };
let seen = ""; // of what the lists show
let timer: ReturnType<typeof setTimeout> | undefined;
let looks = 0;

const actions: Actions = { remove, again };
const drawers = new Drawers(() => undefined);
const shelves = new Shelves(byId("shelves"));
const figures = new Figures();
const troubles = new Troubles();
const card = new SourceCard((source) => void reindex({ source }, `Index ${shelfName(source)} again?`));
const list = new List(actions);
const one = new DocumentView(actions, title);
const found = new SearchView(() => known, say);
const job = new JobView(() => void attempt(api.stopReindex), over);
const uploads = new Uploads(() => known?.largest ?? Number.POSITIVE_INFINITY, () => void refresh(), over);
const place = byId("view");
const terms = new Terms();
const empty = welcome(() => byId("files").click());
const buttons = h(
  "div",
  { class: "row" },
  h("button", { type: "button", class: "primary", onclick: () => byId("files").click() }, icon("upload"), "Add files"),
  h("button", { type: "button", class: "plain", onclick: () => byId("folder").click() }, icon("folder"), "Add a folder"),
  terms.root,
  h("button", { type: "button", class: "plain", onclick: () => void reindex({ everything: true }, "Index everything again?") }, icon("again"), "Index everything again"),
);

function say(text: string): void {
  byId("announce").textContent = text;
}

/** Something that ran is over: said, and looked at again. */
function over(text: string): void {
  say(text);
  void refresh();
}

function title(text: string): void {
  setText(byId("title"), text);
  document.title = `${text} · Tidewire`;
}

async function refresh(): Promise<void> {
  clearTimeout(timer);
  const mine = ++looks;
  const strip = byId("notice");
  const pill = byId("connection");
  try {
    const look = await api.look();
    if (mine !== looks) return;
    known = look;
    strip.hidden = pill.hidden = true;
    show(look);
  } catch (thrown) {
    if (mine !== looks) return;
    const info = infoOf(thrown);
    pill.hidden = false;
    setText(pill, "No connection");
    strip.hidden = false;
    setText(strip, `${sentence(info.message)} ${advice(info)}`);
    if (info.status === 401) {
      // Whoever said "Not now" is not asked again until they say so.
      setText(pill, "No key");
      strip.append(" ", h("button", { type: "button", class: "plain small", onclick: () => void refresh().then(route) }, "Enter the key"));
      return;
    }
  }
  const busy = known !== undefined && (known.job?.status === "running" || known.behind > 0 || uploads.running || known.sources.some((source) => source.status === "running"));
  if (!document.hidden) timer = setTimeout(() => void refresh(), busy ? BUSY : known?.pending ? FILLING : CALM);
}

/** What the page shows of the server, where it is another than before. */
function show(look: api.Look): void {
  shelves.show(look, view.kind === "source" ? view.source : undefined, view.kind === "all");
  job.show(look.job);
  uploads.advise(look.troubles);
  figures.show(look);
  const mine = view.kind === "source" ? view.source : undefined;
  const own = mine === undefined ? [...failing(look.sources, look.troubles), ...look.troubles] : look.troubles.filter((trouble) => trouble.source === mine);
  const left = look.sources.filter((source) => mine === undefined || source.name === mine).reduce((sum, source) => sum + source.report.left_out - source.report.skipped.length, 0);
  troubles.show(own, own.length + Math.max(0, left));
  if (mine !== undefined) card.show(mine, look.sources.find((source) => source.name === mine), look.shelves.find((shelf) => shelf.source === mine));
  const now = JSON.stringify([look.epoch, look.pending, look.documents]);
  const changed = now !== seen;
  seen = now;
  arrange(look);
  if (!changed) return;
  if (view.kind === "document") void one.refresh();
  else if (view.kind !== "search") void list.refresh();
}

/** The parts of the view that is open, in their order. */
function arrange(look: api.Look | undefined): void {
  const nothing = look !== undefined && look.documents === 0;
  const parts: HTMLElement[] = [];
  if (view.kind === "document") parts.push(one.root);
  else if (view.kind === "search") parts.push(found.root);
  else if (view.kind === "source") parts.push(card.root, troubles.root, list.root);
  else if (nothing) parts.push(empty, troubles.root);
  else parts.push(figures.root, buttons, troubles.root, list.root);
  byId("finder").hidden = nothing && view.kind === "all";
  if (parts.some((part, n) => place.children[n] !== part) || parts.length !== place.childElementCount) place.replaceChildren(...parts);
}

function route(): void {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const asked = new URLSearchParams(query);
  const before = JSON.stringify(view);
  if (path.startsWith("source/")) view = { kind: "source", source: decodeURIComponent(path.slice(7)) };
  else if (path.startsWith("d/")) view = { kind: "document", id: decodeURIComponent(path.slice(2)) };
  else if (path === "search" && asked.get("q")) view = { kind: "search", query: asked.get("q") ?? "" };
  else view = { kind: "all", only: asked.get("only") === "pending" ? "pending" : asked.get("only") === "expiring" ? "expiring" : "all" };
  drawers.closeAll();
  arrange(known);
  if (known) show(known);
  const field = byId<HTMLInputElement>("query");
  if (view.kind === "search") {
    field.value = view.query;
    byId<HTMLSelectElement>("recency").value = asked.get("recency") ?? "";
    byId<HTMLInputElement>("groups").value = asked.get("groups") ?? "";
    title(`Search: ${view.query}`);
    void found.open({ query: view.query, recency: asked.get("recency") ?? "", groups: named(asked.get("groups") ?? "") });
  } else if (view.kind === "document") {
    title("Document");
    one.open(view.id);
  } else {
    if (document.activeElement !== field) field.value = "";
    title(view.kind === "source" ? shelfName(view.source) : "Documents");
    if (view.kind === "source") list.open(view.source);
    else list.open(undefined, view.only);
  }
  if (before === JSON.stringify(view)) return;
  byId("scroll").scrollTop = 0;
  // The link that led here may be gone with the view it stood in: whoever reads by keyboard or ear goes on in the new one.
  if (document.activeElement === document.body) place.focus({ preventScroll: true });
}

function named(text: string): string[] {
  return text.split(",").map((group) => group.trim()).filter(Boolean);
}

/** Runs what the server is asked to do; an error becomes a sentence. True where it was done. */
async function attempt(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (thrown) {
    const info = infoOf(thrown);
    const text = `${sentence(info.message)} ${advice(info)}`.trim();
    toast(text);
    say(text);
    return false;
  } finally {
    void refresh();
  }
}

async function remove(documents: readonly api.Known[]): Promise<boolean> {
  const [first] = documents;
  if (!first) return false;
  const what = documents.length === 1 ? `“${first.title}”` : count(documents.length, "document");
  const followed = documents.filter((document) => known?.sources.some((source) => source.name === document.source && source.kind !== "webhook"));
  const note = `Its text, passages and vectors are deleted, and no answer quotes it any more.${followed.length ? ` A source that still holds ${followed.length === documents.length ? "it" : `${followed.length} of them`} may bring it in again.` : " This cannot be undone."}`;
  if (!(await confirmed(`Delete ${what}?`, documents.length === 1 ? note : note.replace("Its text", "Their text").replace("quotes it", "quotes them"), "Delete"))) return false;
  const done = await attempt(async () => {
    for (const document of documents) await api.remove(document.id);
  });
  if (done) {
    const text = `${what} deleted. No search finds ${documents.length === 1 ? "it" : "them"} any more.`;
    toast(text);
    say(text);
  }
  return done;
}

/** Documents are indexed again at once: nothing is lost by it. */
function again(documents: readonly api.Known[]): Promise<boolean> {
  return attempt(() => api.reindex({ documents: documents.map((document) => document.id) }));
}

async function reindex(wanted: api.Wanted, question: string): Promise<void> {
  const note = "Sources are read again from their place; all else is cut again from the text that is stored. Passages get new vectors, and the old ones serve until then: nothing is missing meanwhile.";
  if (await confirmed(question, note, "Index again")) await attempt(() => api.reindex(wanted));
}

function add(given: readonly Given[]): void {
  if (!given.length) return toast("There is no file in it that could be added.");
  uploads.add(given, terms.said(Date.now() / 1000));
  byId("scroll").scrollTop = 0;
}

for (const id of ["files", "folder"]) {
  const input = byId<HTMLInputElement>(id);
  input.addEventListener("change", () => {
    if (input.files) add(chosen(input.files));
    input.value = "";
  });
}

const carries = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
addEventListener("dragover", (event) => {
  if (!carries(event)) return;
  event.preventDefault();
  byId("dropping").hidden = false;
});
addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) byId("dropping").hidden = true;
});
addEventListener("drop", (event) => {
  byId("dropping").hidden = true;
  if (!carries(event) || !event.dataTransfer) return;
  event.preventDefault();
  void dropped(event.dataTransfer).then(add, () => toast("What was dropped could not be read."));
});

byId("finder").addEventListener("submit", (event) => {
  event.preventDefault();
  const query = byId<HTMLInputElement>("query").value.trim();
  if (!query) return void (location.hash = "#/");
  const asked = new URLSearchParams({ q: query });
  for (const id of ["recency", "groups"]) {
    const { value } = byId<HTMLInputElement>(id);
    if (value.trim()) asked.set(id, value.trim());
  }
  const address = `#/search?${asked}`;
  if (location.hash === address) route();
  else location.hash = address;
});
byId("recency").addEventListener("change", () => {
  if (view.kind === "search") byId<HTMLFormElement>("finder").requestSubmit();
});

addEventListener("keydown", (event) => {
  const editing = event.target instanceof HTMLElement && event.target.closest("textarea, input, select, dialog") !== null;
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) void (drawers.closeAll() || list.clear());
  else if (event.key === "/" && !editing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    byId("query").focus();
  }
});
addEventListener("hashchange", route);
addEventListener("online", () => void refresh());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) void refresh();
});

themeButton();
tick();
void refresh();
route();

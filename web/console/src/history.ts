// The list of recent conversations: what the server has, with the questions that this browser remembers.

import { type ListedStream, streams } from "./api.ts";
import { h } from "./dom.ts";
import { ago } from "./format.ts";
import * as memory from "./memory.ts";

const LISTED = 60;
/** How often the list is asked for again while an answer in it is still growing, in ms. */
const EVERY = 5000;

interface Entry {
  /** The newest stream of the conversation. */
  stream: string;
  chat: string | undefined;
  title: string;
  model: string;
  at: number;
  running: boolean;
  turns: number;
}

export class History {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private entries: Entry[] = [];
  private current = { stream: "", chat: "" };
  private asked = 0;

  constructor(private readonly root: HTMLElement) {
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) void this.refresh();
    });
    addEventListener("storage", () => void this.refresh());
  }

  mark(stream: string, chat: string): void {
    this.current = { stream, chat };
    this.draw();
  }

  async refresh(): Promise<void> {
    clearTimeout(this.timer);
    const mine = ++this.asked;
    let list: ListedStream[];
    try {
      list = await streams({ limit: LISTED });
    } catch {
      // The page's notice tells of a server that is away; the list stays as it was.
      return;
    }
    if (mine !== this.asked) return;
    this.entries = group(list);
    this.draw();
    if (this.entries.some((entry) => entry.running) && !document.hidden) this.timer = setTimeout(() => void this.refresh(), EVERY);
  }

  private draw(): void {
    if (!this.entries.length) {
      this.root.replaceChildren(h("li", { class: "hint" }, "Your conversations appear here."));
      return;
    }
    const now = Date.now();
    const focused = this.root.contains(document.activeElement) ? document.activeElement?.getAttribute("href") : undefined;
    this.root.replaceChildren(...this.entries.map((entry) => this.item(entry, now)));
    if (focused) this.root.querySelector<HTMLElement>(`a[href="${CSS.escape(focused)}"]`)?.focus();
  }

  private item(entry: Entry, now: number): HTMLElement {
    const here = entry.stream === this.current.stream || (entry.chat !== undefined && entry.chat === this.current.chat);
    const told = [entry.running ? "answering" : ago(entry.at, now), entry.model, entry.turns > 1 ? `${entry.turns} answers` : ""];
    const link = h(
      "a",
      { href: `#/s/${entry.stream}`, title: entry.title, "aria-current": here ? "page" : undefined, class: entry.running ? "running" : undefined },
      h("span", { class: "title" }, entry.title),
      h("span", { class: "told" }, told.filter(Boolean).join(" · ")),
    );
    return h("li", {}, link);
  }
}

function group(list: readonly ListedStream[]): Entry[] {
  const known = new Map(memory.all().map((asked) => [asked.stream, asked]));
  const entries = new Map<string, Entry>();
  for (const info of [...list].sort((a, b) => b.created - a.created)) {
    const key = info.chat ?? info.stream;
    const question = known.get(info.stream)?.question ?? info.title ?? "";
    const running = info.ended === undefined;
    const entry = entries.get(key);
    if (!entry) {
      entries.set(key, { stream: info.stream, chat: info.chat, title: question || "Asked elsewhere", model: info.model, at: info.created, running, turns: 1 });
    } else {
      entry.turns += 1;
      entry.running ||= running;
      if (question) entry.title = question; // the oldest question names the conversation
    }
  }
  return [...entries.values()];
}

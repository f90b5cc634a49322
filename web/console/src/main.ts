// The console: puts the parts of the page together and keeps the address, the buttons and the panels in step.

import type { StreamEvent } from "@tidewire/client";
import { models } from "./api.ts";
import { Composer } from "./composer.ts";
import { Conversation } from "./conversation.ts";
import { byId, copy, h, setText } from "./dom.ts";
import { Drawers } from "./drawers.ts";
import { advice, infoOf, sentence } from "./errors.ts";
import { ending } from "./figures.ts";
import { count } from "./format.ts";
import { History } from "./history.ts";
import { type IconName, icon } from "./icons.ts";
import { Inspector } from "./inspector.ts";
import * as memory from "./memory.ts";
import { Notice } from "./notice.ts";
import { Scrolling } from "./scrolling.ts";
import { themeButton } from "./theme_button.ts";
import { toast } from "./toast.ts";
import type { Turn } from "./turn.ts";

const EXAMPLES = [
  "How do I resume a stream after a lost connection?",
  "What happens to an answer when I close the page?",
  "Which durability classes are there, and what does each survive?",
];

for (const place of document.querySelectorAll<HTMLElement>("[data-icon]")) place.prepend(icon(place.dataset["icon"] as IconName));

const inspector = new Inspector(byId("inspector-body"));
const drawers = new Drawers((shown) => inspector.show(shown));
const history = new History(byId("history-list"));
const scrolling = new Scrolling();
const notice = new Notice(() => conversation.newest?.nudge());
const composer = new Composer(ask, () => void stop());
const conversation = new Conversation({ changed, inspect, shown, listChanged: () => void history.refresh() });

function ask(question: string, model: string): void {
  if (conversation.newest?.running) return;
  shown(conversation.ask(question, model));
  notice.say("Question sent.");
}

/** This turn is what the address, the list and the inspector mean from now on. */
function shown(turn: Turn): void {
  const address = `#/s/${turn.stream}`;
  if (location.hash !== address) window.history.pushState(null, "", address);
  history.mark(turn.stream, turn.chat);
  inspector.select(turn);
  scrolling.toEnd();
  frame();
}

function inspect(turn: Turn): void {
  inspector.select(turn);
  drawers.toggle("inspector", true);
}

function changed(turn: Turn, events: readonly StreamEvent[]): void {
  inspector.update(turn, events);
  if (turn === conversation.newest) {
    composer.setRunning(turn.running, turn.stopping);
    notice.connection(turn.running ? turn.connection : undefined);
    frame();
    const { closed } = turn.answer;
    if (closed && events.at(-1) === closed) {
      const cited = turn.answer.citations.length;
      notice.say(`${ending(turn.answer)}.${cited ? ` ${count(cited, "citation")}.` : ""}${closed.error ? ` ${closed.error.message}` : ""}`);
    } else if (turn.connection.state === "refused") notice.say(turn.connection.error.message);
    else if (turn.connection.state === "live" && turn.reconnects && turn.running) notice.say("Connected again.");
  }
  if (events.length) scrolling.grew();
  else scrolling.settle();
}

async function stop(): Promise<void> {
  try {
    await conversation.newest?.stop();
  } catch (thrown) {
    const text = `The answer could not be stopped. ${sentence(infoOf(thrown).message)}`;
    notice.say(text);
    toast(text);
  }
}

/** What surrounds the conversation: its title, and what an empty page teaches. */
function frame(): void {
  byId("welcome").hidden = !conversation.empty;
  byId("share").hidden = conversation.empty;
  const title = conversation.newest?.question.replace(/\s+/g, " ").slice(0, 120) || (conversation.empty ? "New conversation" : "Answer");
  setText(byId("title"), title);
  document.title = conversation.empty ? "Tidewire" : `${conversation.newest?.running ? "… " : ""}${title} · Tidewire`;
}

function fresh(): void {
  conversation.clear();
  history.mark("", "");
  inspector.select(undefined);
  composer.setRunning(false, false);
  notice.connection(undefined);
  frame();
}

/** Shows what the address names. */
function route(): void {
  const stream = /^#\/s\/([A-Za-z0-9_-]{1,64})$/.exec(location.hash)?.[1];
  drawers.closeAll();
  if (!stream) {
    fresh();
    return composer.focus();
  }
  const here = conversation.find(stream);
  if (here) return inspector.select(here);
  fresh();
  byId("welcome").hidden = true;
  void conversation.open(stream);
  history.mark(stream, memory.find(stream)?.chat ?? "");
}

async function loadModels(): Promise<void> {
  const trouble = byId("model-trouble");
  try {
    const list = await models();
    composer.offer(list);
    trouble.hidden = list.length > 0;
    setText(trouble, "This server offers no model yet: index documents or set a model host, and reload the page.");
  } catch (thrown) {
    const info = infoOf(thrown);
    trouble.hidden = false;
    const retry = h("button", { type: "button", class: "plain small", onclick: () => void loadModels() }, "Try again");
    trouble.replaceChildren(`${sentence(info.message)} ${advice(info)} `, retry);
  }
}

themeButton();

byId("new").addEventListener("click", () => {
  if (location.hash && location.hash !== "#/") location.hash = "#/";
  else route();
});
byId("share").addEventListener("click", () => {
  const stream = conversation.newest?.stream;
  if (!stream) return;
  void copy(`${location.origin}${location.pathname}#/s/${stream}`).then((copied) => toast(copied ? "Link copied. It opens this answer in any tab, even while it grows." : "Copying is not allowed here: the address bar holds the link."));
});

byId("examples").append(
  ...EXAMPLES.map((question) => {
    const use = (): void => {
      if (composer.model) ask(question, composer.model);
    };
    return h("li", {}, h("button", { type: "button", onclick: use }, h("span", {}, question), icon("chevron")));
  }),
);

addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
    if (!drawers.closeAll() && conversation.newest?.running) void stop();
  } else if (event.key === "/" && !event.ctrlKey && !event.metaKey && !isEditing(event.target)) {
    event.preventDefault();
    composer.focus();
  }
});

function isEditing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest("textarea, input, select, dialog") !== null;
}

addEventListener("hashchange", () => route());
addEventListener("popstate", () => route());
addEventListener("online", () => conversation.newest?.nudge());

// A page that was closed while its answer was growing opens where it was.
const left = location.hash ? undefined : memory.running();
if (left) window.history.replaceState(null, "", `#/s/${left.stream}`);
void loadModels();
void history.refresh();
route();

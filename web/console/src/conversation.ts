// The turns of one chat on the screen: ask, open by link, follow what is still growing, stop.

import { type Message, type StartRequest, type StreamEvent, newId, textOf } from "@tidewire/client";
import { AnswerView } from "./answer_view.ts";
import { describe, streams } from "./api.ts";
import { byId } from "./dom.ts";
import { askForKey } from "./keyring.ts";
import * as memory from "./memory.ts";
import { Turn, type TurnInit } from "./turn.ts";

/** Old answers are read back this many at a time: a browser opens six connections to a host. */
const TOGETHER = 3;

export interface Watcher {
  /** Anything about this turn has changed; at most once a frame for events. */
  changed: (turn: Turn, events: readonly StreamEvent[]) => void;
  inspect: (turn: Turn) => void;
  /** A question was asked, or an answer opened by its address: this is what the page is about now. */
  shown: (turn: Turn) => void;
  /** An answer was begun or has ended: lists may be old. */
  listChanged: () => void;
}

export class Conversation {
  private readonly root = byId("turns");
  private turns: { turn: Turn; view: AnswerView }[] = [];
  private chat = newId("chat");
  private generation = 0;

  constructor(private readonly watcher: Watcher) {}

  get newest(): Turn | undefined {
    return this.turns.at(-1)?.turn;
  }

  get id(): string {
    return this.chat;
  }

  get empty(): boolean {
    return this.turns.length === 0;
  }

  find(stream: string): Turn | undefined {
    return this.turns.find(({ turn }) => turn.stream === stream)?.turn;
  }

  /** An empty page. Answers that were growing go on at the server. */
  clear(): void {
    this.generation += 1;
    for (const { turn } of this.turns) turn.release();
    this.turns = [];
    this.chat = newId("chat");
    this.root.replaceChildren();
  }

  ask(question: string, model: string): Turn {
    const init = { stream: newId("st"), chat: this.chat, question, model, created: Date.now() };
    const before = this.messages();
    const request: StartRequest = {
      model,
      chat: this.chat,
      on_disconnect: "continue", // closing the page is no stop: the answer is there when it opens again
      ...(before.length ? { messages: [...before, { role: "user", content: question }] } : { input: question }),
    };
    memory.remember(init);
    const turn = this.add(init, request);
    void turn.read();
    this.watcher.listChanged();
    return turn;
  }

  /** The conversation that this stream belongs to, read from the first event. */
  async open(stream: string): Promise<void> {
    this.clear();
    const mine = this.generation;
    const known = memory.find(stream);
    let inits: TurnInit[] = known ? [known] : [{ stream, chat: stream, question: "", model: "", created: 0 }];
    try {
      const info = known ?? (await describe(stream));
      if (info.chat) {
        const listed = await streams({ chat: info.chat, limit: 50 });
        inits = merge(listed, memory.ofChat(info.chat));
        if (!inits.some((init) => init.stream === stream)) inits.push({ question: "", ...info, chat: info.chat });
      } else if ("title" in info) inits = [{ stream, chat: stream, question: String(info.title), model: info.model, created: info.created }];
    } catch {
      // The reading below meets the same trouble and shows it, or waits until the server is back.
      if (known) inits = memory.ofChat(known.chat);
    }
    if (mine !== this.generation) return;
    inits.sort((a, b) => a.created - b.created);
    this.chat = inits.at(-1)?.chat ?? this.chat;
    const turns = inits.map((init) => this.add(init)).reverse();
    const wanted = turns.find((turn) => turn.stream === stream);
    if (wanted) this.watcher.shown(wanted);
    await this.readAll(turns);
  }

  private async readAll(turns: Turn[]): Promise<void> {
    const queue = [...turns];
    const worker = async (): Promise<void> => {
      for (let turn = queue.shift(); turn; turn = queue.shift()) await turn.read();
    };
    await Promise.all(Array.from({ length: TOGETHER }, worker));
  }

  private add(init: TurnInit, request?: StartRequest): Turn {
    const turn: Turn = new Turn(init, (changed, events) => this.changed(changed, events), request);
    const view = new AnswerView(turn, {
      again: (old) => void this.again(old),
      inspect: this.watcher.inspect,
      link: (old) => `${location.origin}${location.pathname}#/s/${old.stream}`,
    });
    this.turns.push({ turn, view });
    this.root.append(view.root);
    this.watcher.changed(turn, []);
    return turn;
  }

  private async again(old: Turn): Promise<void> {
    const unauthorized = old.connection.state === "refused" && old.connection.error.status === 401;
    if (unauthorized && !(await askForKey())) return;
    this.watcher.shown(this.ask(old.question, old.model));
  }

  private changed(turn: Turn, events: StreamEvent[]): void {
    const found = this.turns.find((one) => one.turn === turn);
    if (!found) return; // released meanwhile
    found.view.update(events);
    const { closed } = turn.answer;
    if (closed && events.at(-1) === closed) {
      memory.amend(turn.stream, { ended: closed.status, ...(turn.ttft !== undefined && { ttft: turn.ttft }) });
      this.watcher.listChanged();
    } else if (turn.connection.state === "refused" && !events.length) {
      const { error } = turn.connection;
      memory.amend(turn.stream, { ended: error.code });
      if (error.status === 401) void this.unlock(turn);
    }
    this.watcher.changed(turn, events);
  }

  /** A reading that was refused for want of a key begins again with the key. */
  private async unlock(turn: Turn): Promise<void> {
    if (!(await askForKey())) return;
    const at = this.turns.findIndex((one) => one.turn === turn);
    if (at < 0) return;
    if (turn.question && turn === this.newest && !turn.answer.opened) {
      this.turns[at]?.view.root.remove();
      this.turns.splice(at, 1);
      memory.forget(new Set([turn.stream]));
      this.watcher.shown(this.ask(turn.question, turn.model));
    } else await this.open(turn.stream);
  }

  /** The turns so far as the model is to see them: questions that this browser knows, with their answers. */
  private messages(): Message[] {
    return this.turns.flatMap(({ turn }): Message[] => {
      const answer = textOf(turn.answer);
      if (!turn.question || !answer) return [];
      return [{ role: "user", content: turn.question }, { role: "assistant", content: answer }];
    });
  }
}

/** What the server has of a chat, with what this browser knows of it; answers that the server has let go of are left out. */
function merge(listed: readonly { stream: string; model: string; created: number; chat?: string; title?: string }[], asked: readonly memory.Asked[]): TurnInit[] {
  const known = new Map(asked.map((one) => [one.stream, one]));
  return listed.map((info) => ({
    chat: info.stream,
    question: info.title ?? "",
    ...info,
    ...known.get(info.stream),
  }));
}

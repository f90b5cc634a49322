// One line above the question that says how the connection is, and a quiet voice for screen readers.

import type { Connection } from "@tidewire/client";
import { byId, h, setText } from "./dom.ts";

export class Notice {
  private readonly root = byId("notice");
  private readonly text = h("span");
  private readonly again: HTMLButtonElement;
  private readonly pill = byId("connection");
  private readonly voice = byId("announce");
  private said = "";

  constructor(nudge: () => void) {
    this.again = h("button", { type: "button", class: "plain small", onclick: nudge }, "Try now");
    this.root.append(this.text, this.again);
  }

  connection(connection: Connection | undefined): void {
    const state = connection?.state ?? "idle";
    this.pill.dataset["state"] = state;
    const attempt = connection?.state === "reconnecting" ? connection.attempt : 0;
    const words: Record<string, string> = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting", offline: "Offline" };
    setText(this.pill, words[state] ?? "");
    this.pill.hidden = !words[state];
    const away = state === "reconnecting" || state === "offline";
    this.root.hidden = !away;
    if (!away) return;
    this.again.hidden = state === "offline";
    setText(
      this.text,
      state === "offline"
        ? "This device is offline. The answer goes on where it stopped once it is back."
        : `The connection is lost. Reconnecting, try ${attempt}: the answer goes on where it stopped.`,
    );
    if (attempt <= 1) this.say("The connection is lost. Reconnecting.");
  }

  /** Said once to a screen reader, after what it is saying now. Never the answer's tokens. */
  say(text: string): void {
    if (text === this.said) return;
    this.said = text;
    this.voice.textContent = text;
  }
}

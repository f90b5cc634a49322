// Where the question is written, and the model chosen.

import type { ModelInfo } from "@tidewire/client";
import { byId, h, setText } from "./dom.ts";
import { icon } from "./icons.ts";

const MODEL = "tidewire.model";
const DRAFT = "tidewire.draft";

export class Composer {
  private readonly field = byId<HTMLTextAreaElement>("question");
  private readonly picker = byId<HTMLSelectElement>("model");
  private readonly note = byId("model-note");
  private readonly send = byId<HTMLButtonElement>("send");
  private notes = new Map<string, string>();
  private running = false;

  constructor(
    private readonly ask: (question: string, model: string) => void,
    private readonly stop: () => void,
  ) {
    byId<HTMLFormElement>("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.field.addEventListener("keydown", (event) => {
      // While an input method composes, Enter chooses a word.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      if (!this.running) this.submit();
    });
    this.field.addEventListener("input", () => this.grew());
    this.picker.addEventListener("change", () => this.chose(true));
    this.field.value = session(DRAFT) ?? "";
    this.grew();
    this.setRunning(false, false);
  }

  get model(): string {
    return this.picker.value;
  }

  focus(): void {
    this.field.focus();
  }

  offer(models: readonly ModelInfo[]): void {
    const wanted = this.picker.value || local(MODEL) || "";
    this.notes = new Map(models.map((model) => [model.id, model.note ?? ""]));
    this.picker.replaceChildren(...models.map((model) => h("option", { value: model.id }, model.id)));
    this.picker.disabled = models.length === 0;
    if (this.notes.has(wanted)) this.picker.value = wanted;
    this.chose(false);
  }

  setRunning(running: boolean, stopping: boolean): void {
    this.running = running;
    this.send.classList.toggle("stop", running);
    const label = running ? (stopping ? "Stopping" : "Stop the answer") : "Send the question";
    if (this.send.getAttribute("aria-label") !== label) {
      this.send.setAttribute("aria-label", label);
      this.send.title = running ? `${label} (Escape)` : `${label} (Enter)`;
      this.send.replaceChildren(icon(running ? "stop" : "send"));
    }
    this.enable();
  }

  private submit(): void {
    if (this.running) return this.stop();
    const question = this.field.value.trim();
    if (!question || !this.picker.value) return this.field.focus();
    this.field.value = "";
    this.grew();
    this.ask(question, this.picker.value);
  }

  private grew(): void {
    this.field.style.height = "auto";
    this.field.style.height = `${Math.min(this.field.scrollHeight, innerHeight * 0.4)}px`;
    session(DRAFT, this.field.value);
    this.enable();
  }

  private enable(): void {
    this.send.disabled = !this.running && (!this.field.value.trim() || !this.picker.value);
  }

  private chose(byHand: boolean): void {
    if (byHand) local(MODEL, this.picker.value);
    setText(this.note, this.notes.get(this.picker.value) ?? "");
    this.note.title = this.note.textContent;
    this.enable();
  }
}

function local(name: string, value?: string): string | null {
  return keep(() => localStorage, name, value);
}

function session(name: string, value?: string): string | null {
  return keep(() => sessionStorage, name, value);
}

function keep(storage: () => Storage, name: string, value?: string): string | null {
  try {
    if (value === undefined) return storage().getItem(name);
    storage().setItem(name, value);
  } catch {
    // Storage is switched off: the page forgets this when it closes.
  }
  return null;
}

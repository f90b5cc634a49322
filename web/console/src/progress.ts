// What is going on before and between the words.

import type { Answer } from "@tidewire/client";

const STAGES: Record<string, string> = {
  queued: "Waiting for a free place",
  retrieving: "Searching the documents",
  connecting: "Connecting to the model",
  waiting: "Waiting for the first word",
  thinking: "Thinking",
  drafting: "Writing",
};

export interface Step {
  name: string;
  detail: string;
  at: number;
}

/** The steps so far, each stage once in a row with its latest detail; attempts after the first are steps too. */
export function steps(answer: Answer): Step[] {
  const list: (Step & { seq: number })[] = [];
  for (const { stage, detail = "", at, seq } of answer.progress) {
    const name = STAGES[stage] ?? stage;
    const last = list.at(-1);
    if (last?.name === name) last.detail = detail || last.detail;
    else list.push({ name, detail, at, seq });
  }
  for (const { n, reason, provider, model, at, seq } of answer.attempts) {
    if (n > 1) list.push({ name: `Try ${n} (${reason})`, detail: `${provider}, ${model}`, at, seq });
  }
  return list.sort((a, b) => a.seq - b.seq);
}

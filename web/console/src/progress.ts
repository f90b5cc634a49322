// What is going on before and between the words.

import type { Answer } from "@tidewire/client";

const STAGES: Record<string, string> = {
  queued: "Waiting for a free place",
  retrieving: "Searching the documents",
  connecting: "Connecting to the model",
  waiting: "Waiting for the first word",
  thinking: "Thinking",
  calling: "Running a tool",
  drafting: "Writing",
  refining: "Bettering the answer",
};

export interface Step {
  stage: string;
  text: string;
}

/** The steps so far, each stage once in a row with its latest words; attempts after the first are steps too. */
export function steps(answer: Answer): Step[] {
  const list: (Step & { seq: number })[] = [];
  for (const { stage, detail, seq } of answer.progress) {
    const text = detail ? capital(detail) : (STAGES[stage] ?? capital(stage));
    const last = list.at(-1);
    if (last?.stage !== stage) list.push({ stage, text, seq });
    else if (detail) last.text = text;
  }
  for (const { n, reason, provider, model, seq } of answer.attempts) {
    if (n > 1) list.push({ stage: "attempt", text: reason === "tools" ? "Going on with the results" : `Try ${n} (${reason}): ${provider}, ${model}`, seq });
  }
  return list.sort((a, b) => a.seq - b.seq);
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

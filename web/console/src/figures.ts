// The line of figures under an answer.

import type { Answer } from "@tidewire/client";
import { duration, rate } from "./format.ts";

export interface Figure {
  name: string;
  value: string;
  told: string;
}

/** Tokens a second so far: deltas after the first text, over the time that they took. */
function liveRate(answer: Answer, lastAt: number): number | undefined {
  const tokens = answer.usage?.output ?? answer.deltas;
  const ms = answer.firstText === undefined ? 0 : lastAt - answer.firstText;
  return ms > 250 && tokens > 2 ? (tokens / ms) * 1000 : undefined;
}

export function figures(answer: Answer, ttft: number | undefined, lastAt: number): Figure[] {
  const { closed } = answer;
  const list: Figure[] = [];
  const served = closed?.ttft ?? answer.firstText;
  if (ttft !== undefined) {
    const server = served === undefined ? "" : ` (server ${duration(served)})`;
    list.push({ name: "TTFT", value: duration(ttft) + server, told: "Time to first token: from the press of Enter to the first text here, and as the server saw it" });
  } else if (served !== undefined) {
    list.push({ name: "TTFT", value: `server ${duration(served)}`, told: "Time to first token as the server saw it; this page came later" });
  }
  const speed = closed ? closed.tokens_per_second : liveRate(answer, lastAt);
  if (speed !== undefined) list.push({ name: "Speed", value: rate(speed), told: "Tokens a second after the first" });
  const output = closed?.output_tokens ?? answer.usage?.output;
  const input = closed?.input_tokens ?? answer.usage?.input;
  if (output !== undefined) {
    const counted = answer.usage?.counted_by === "host" ? "counted by the model host" : "counted by the server, one a delta";
    const value = input === undefined ? output.toLocaleString("en") : `${input.toLocaleString("en")} in, ${output.toLocaleString("en")} out`;
    list.push({ name: "Tokens", value, told: `Tokens, ${counted}` });
  }
  if (closed?.cost !== undefined) list.push({ name: "Cost", value: `${closed.cost.toFixed(6)} USD`, told: "What all models of this answer took, at the prices that the server was given" });
  if (closed) list.push({ name: "Total", value: duration(closed.at), told: "From opened to closed" });
  return list;
}

const REASONS: Record<string, string> = {
  stop: "Complete",
  stop_string: "Ended at a stop string",
  length: "Cut at the token limit",
  tool_calls: "Waiting for tools",
  content_filter: "Stopped by the content filter",
  time_limit: "Cut at the time limit",
  size_limit: "Cut at the size limit",
  client: "Stopped",
  disconnect: "Stopped: nobody was reading",
  shutdown: "Cut by a shutdown of the server",
  error: "Failed",
};

export function ending(answer: Answer): string {
  const { closed } = answer;
  if (!closed) return "";
  return REASONS[closed.reason] ?? closed.status;
}

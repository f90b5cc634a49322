// What a person can do about an error, in a sentence. What happened is the server's to say.

import { type ErrorInfo, TidewireError } from "@tidewire/client";

const ADVICE: Record<string, string> = {
  unauthorized: "This server wants an API key: enter it and ask again.",
  unknown_stream: "It may have been deleted, or it belongs to another key. Ask the question again to get a new answer.",
  expired: "Answers are kept for a limited time. Ask the question again to get a new one.",
  unknown_model: "Choose another model below the question.",
  overloaded: "Wait a moment and try again.",
  server_lost: "", // its message says what to do
  shutting_down: "The server is restarting: try again in a moment.",
  timed_out: "Try again, or ask for something shorter.",
  too_large: "Shorten the question, or begin a new conversation.",
  unreachable: "Check that the server is running and that this device is connected.",
  cursor_ahead: "The server has lost a part of this answer. Ask the question again.",
};

export function advice(info: ErrorInfo): string {
  const known = ADVICE[info.code];
  if (known !== undefined) return known;
  const status = info.status ?? 0;
  if (info.retryable) return "Try again in a moment.";
  if (status === 400 || status === 422) return "Change the question or the model and try again.";
  if (info.code.startsWith("upstream_")) return "Choose another model; on the server, tidewire doctor looks at this one's host.";
  return status >= 500 ? "Try again; if it stays, the server's log says more." : "";
}

/** Any thrown value as an error to show. */
export function infoOf(thrown: unknown): ErrorInfo {
  if (thrown instanceof TidewireError) return thrown.info;
  return { code: "console_error", message: thrown instanceof Error ? thrown.message : String(thrown) };
}

/** A message as a sentence of its own: a capital at its beginning and a full stop at its end. */
export function sentence(message: string): string {
  const text = message.trim();
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?:]$/.test(text) ? "" : ".");
}

// The plain requests: models, lists, one stream's description. Each asks for the key where the server wants it.

import { type ModelInfo, type StreamInfo, errorOf, unreachable } from "@tidewire/client";
import { askForKey, headers } from "./keyring.ts";

export interface ListedStream extends StreamInfo {
  title?: string;
}

/** The answer's JSON. body: sent as JSON. Throws TidewireError. */
export async function ask(path: string, method = "GET", body?: unknown): Promise<unknown> {
  const json = body === undefined ? {} : { body: JSON.stringify(body) };
  for (;;) {
    let response: Response;
    try {
      response = await fetch(path, { method, headers: headers(), cache: "no-store", ...json });
    } catch {
      throw unreachable();
    }
    if (response.ok) return response.json();
    const error = await errorOf(response);
    if (error.status !== 401 || !(await askForKey())) throw error;
  }
}

function list<T>(body: unknown, ...names: string[]): T[] {
  if (Array.isArray(body)) return body as T[];
  for (const name of names) {
    const found = (body as Record<string, unknown> | null)?.[name];
    if (Array.isArray(found)) return found as T[];
  }
  return [];
}

export async function models(): Promise<ModelInfo[]> {
  return list<ModelInfo>(await ask("/v1/models"), "data", "models");
}

/** The newest streams first. */
export async function streams(query: { chat?: string; limit: number }): Promise<ListedStream[]> {
  const search = new URLSearchParams({ limit: String(query.limit), ...(query.chat && { chat: query.chat }) });
  return list<ListedStream>(await ask(`/v1/streams?${search}`), "streams");
}

export async function describe(stream: string): Promise<ListedStream> {
  return (await ask(`/v1/streams/${encodeURIComponent(stream)}`)) as ListedStream;
}

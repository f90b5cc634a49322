// What can go wrong between a client and a server, as one error with the server's own words.

import type { ErrorInfo } from "./protocol.ts";

/** A refusal by the server, or by the network (code "unreachable", status 0). */
export class TidewireError extends Error {
  readonly info: ErrorInfo;

  constructor(info: ErrorInfo) {
    super(info.message);
    this.name = "TidewireError";
    this.info = info;
  }

  get code(): string {
    return this.info.code;
  }

  get status(): number {
    return this.info.status ?? 0;
  }

  /** Whether the same request may do better later. */
  get retryable(): boolean {
    return this.info.retryable ?? (this.status === 429 || this.status >= 500 || this.status === 0);
  }
}

export function unreachable(): TidewireError {
  return new TidewireError({ code: "unreachable", message: "The server cannot be reached.", status: 0, retryable: true });
}

/** The error in an HTTP answer, in the server's words where it has any: a proxy in between may answer with a page of its own. */
export async function errorOf(response: Response): Promise<TidewireError> {
  let info: Partial<ErrorInfo> = {};
  try {
    const body: unknown = await response.json();
    if (body && typeof body === "object" && "error" in body && body.error && typeof body.error === "object") {
      info = body.error as Partial<ErrorInfo>;
    }
  } catch {
    // not JSON: the status says enough
  }
  return new TidewireError({
    ...info,
    code: typeof info.code === "string" ? info.code : `http_${response.status}`,
    message: typeof info.message === "string" ? info.message : `The server answered with HTTP status ${response.status}.`,
    status: response.status,
  });
}

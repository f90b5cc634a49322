export * from "./answer.ts";
export * from "./backoff.ts";
export * from "./errors.ts";
export * from "./frames.ts";
export * from "./protocol.ts";
export * from "./sse.ts";
export * from "./stream.ts";

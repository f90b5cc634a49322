import assert from "node:assert/strict";
import { test } from "node:test";
import { advice } from "../src/errors.ts";

test("nobody is told to try again where that cannot help", () => {
  assert.equal(advice({ code: "upstream_unreachable", message: "", status: 502, retryable: true }), "Try again in a moment.");
  assert.match(advice({ code: "upstream_auth", message: "", status: 502 }), /^Choose another model; .*tidewire doctor/);
  assert.match(advice({ code: "upstream_refused", message: "", status: 400 }), /^Change the question/);
  assert.match(advice({ code: "internal_error", message: "", status: 500 }), /the server's log/);
  assert.equal(advice({ code: "server_lost", message: "what it said is kept: ask again", status: 503, retryable: true }), "");
});

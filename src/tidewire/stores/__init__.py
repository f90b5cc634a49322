"""Logs: where streams are kept. Each passes the contract tests of `core.ports.Log`."""

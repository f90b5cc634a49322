"""Tidewire: one request becomes one durable, numbered, cancellable, resumable stream of events."""

__version__ = "0.1.0"

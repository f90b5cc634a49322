"""The Python client: typed events of a stream, resumed by itself after a lost connection. Knows the core and no room."""

from tidewire.client.asynchronous import AsyncAnswer, AsyncTidewire
from tidewire.client.calls import ConnectionLost
from tidewire.client.synchronous import Answer, Tidewire

__all__ = ["Answer", "AsyncAnswer", "AsyncTidewire", "ConnectionLost", "Tidewire"]

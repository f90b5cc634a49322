"""The messages of an AG-UI run, as a client holds them that was told its events."""

from __future__ import annotations

from typing import Any


class Messages:
    """What they say is filled in by `fill`: a text comes in hundreds of events, and is needed once."""

    def __init__(self) -> None:
        self._messages: dict[str, dict[str, Any]] = {}
        self._calls: dict[str, dict[str, Any]] = {}

    def tell(self, kind: str, fields: dict[str, Any]) -> None:
        """An event: its type and what it says."""
        match kind:
            case "TEXT_MESSAGE_START" | "REASONING_MESSAGE_START":
                name, role = fields["messageId"], fields["role"]
                self._messages[name] = {"id": name, "role": role, "content": ""}
            case "TOOL_CALL_START":
                name, call = fields["parentMessageId"], fields["toolCallId"]
                message = self._messages.setdefault(name, {"id": name, "role": "assistant"})
                function = {"name": fields["toolCallName"], "arguments": ""}
                self._calls[call] = {"id": call, "type": "function", "function": function}
                message.setdefault("toolCalls", []).append(self._calls[call])
            case "TOOL_CALL_RESULT":
                told = {name: fields[name] for name in ("role", "toolCallId", "content")}
                self._messages[fields["messageId"]] = {"id": fields["messageId"], **told}
            case "REASONING_ENCRYPTED_VALUE":
                held = self._calls if fields["subtype"] == "tool-call" else self._messages
                held.get(fields["entityId"], {})["encryptedValue"] = fields["encryptedValue"]
            case _:
                pass

    def fill(self, name: str, text: str) -> None:
        """What a message says, or the arguments of a call."""
        if name in self._calls:
            self._calls[name]["function"]["arguments"] = text
        elif name in self._messages:
            self._messages[name]["content"] = text

    def all(self) -> list[dict[str, Any]]:
        return list(self._messages.values())

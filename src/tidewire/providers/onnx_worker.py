"""The process in which ONNX Runtime GenAI runs: `python -m tidewire.providers.onnx_worker FOLDER LIBRARY`, spoken to in lines of JSON.

A process, for the library holds the interpreter's lock through a prompt and through each token: on a thread of the server it would stop
every other answer meanwhile (measured with 0.18). It ends when its standard input does.

In:  {"id", "messages" or null, "prompt", "limit" or null, "options"}, and {"id", "stop": true} for an answer that nobody waits for
Out: {"id", "text"} …, then {"id", "input", "output", "finish"}, or {"id", "error", "blame": "asked" or "model"}
"""

from __future__ import annotations

import importlib
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

_json = msgspec.json.encode


class Model(msgspec.Struct):
    """Of genai_config.json, what is needed here."""

    context_length: int = 4096
    eos_token_id: int | list[int] = []


class Config(msgspec.Struct):
    model: Model


class TooLong(Exception):
    """The prompt leaves no room for an answer."""


class Worker:
    """One model, loaded when the first question comes; questions are answered in their order."""

    def __init__(self, folder: Path, library: str, tell: Callable[[dict[str, Any]], None]) -> None:
        self._folder = folder
        self._name = library
        self._tell = tell
        self._library: Any = None
        self._model: Any = None
        self._tokenizer: Any = None
        self._about = msgspec.json.decode((folder / "genai_config.json").read_bytes(), type=Config).model
        self.stopped: set[int] = set()

    def answer(self, asked: dict[str, Any]) -> None:
        number = asked["id"]
        try:
            if number not in self.stopped:
                self._load()
                self._generate(number, asked)
        except TooLong as error:
            self._tell({"id": number, "error": str(error), "blame": "asked"})
        except Exception as error:  # noqa: BLE001 - supervisor boundary: the library raises errors of many kinds
            self._tell({"id": number, "error": str(error)[:200], "blame": "model"})
        self.stopped.discard(number)

    def _load(self) -> None:
        if self._model is None:
            self._library = importlib.import_module(self._name)
            model = self._library.Model(str(self._folder))
            self._tokenizer = self._library.Tokenizer(model)
            self._model = model

    def _generate(self, number: int, asked: dict[str, Any]) -> None:
        tokens = self._tokens(asked)
        room = self._about.context_length - len(tokens)
        if room < 1:
            raise TooLong(
                f"the messages have {len(tokens)} tokens, and the model takes {self._about.context_length} with its answer; "
                "send fewer"
            )
        limit = room if asked["limit"] is None else min(room, asked["limit"])
        params = self._library.GeneratorParams(self._model)
        params.set_search_options(**asked["options"], max_length=len(tokens) + limit)
        generator = self._library.Generator(self._model, params)
        generator.append_tokens(tokens)
        stream = self._tokenizer.create_stream()
        ends = self._about.eos_token_id
        ends = [ends] if isinstance(ends, int) else ends
        made, last = 0, -1
        while made < limit and not generator.is_done():
            if number in self.stopped:
                return
            generator.generate_next_token()
            last = int(generator.get_next_tokens()[0])
            made += 1
            if text := stream.decode(last):
                self._tell({"id": number, "text": text})
        finish = "stop" if last in ends or made < limit else "length"
        self._tell({"id": number, "input": len(tokens), "output": made, "finish": finish})

    def _tokens(self, asked: dict[str, Any]) -> Any:
        """Of the conversation in the model's own template, where there is one, else of the plain text."""
        if not self._has_template():
            return self._tokenizer.encode(asked["prompt"])
        said = _json(asked["messages"]).decode()
        return self._tokenizer.encode(self._tokenizer.apply_chat_template(said, add_generation_prompt=True))

    def _has_template(self) -> bool:
        if (self._folder / "chat_template.jinja").is_file():
            return True
        try:
            said = msgspec.json.decode((self._folder / "tokenizer_config.json").read_bytes())
        except (OSError, msgspec.DecodeError):
            return False
        return isinstance(said, dict) and bool(said.get("chat_template"))


def main(folder: str, library: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then closes our input
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what the library prints is no line of ours

    def tell(said: dict[str, Any]) -> None:
        out.write(_json(said) + b"\n")

    worker = Worker(Path(folder), library, tell)
    asked: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_hear, args=(sys.stdin.buffer, asked, worker.stopped), daemon=True).start()
    while True:
        worker.answer(asked.get())


def _hear(lines: BinaryIO, asked: queue.SimpleQueue[dict[str, Any]], stopped: set[int]) -> None:
    for line in lines:
        said = msgspec.json.decode(line)
        if said.get("stop"):
            stopped.add(said["id"])
        else:
            asked.put(said)
    os._exit(0)  # the server is gone, or done with us; a token that is being made is not waited for


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

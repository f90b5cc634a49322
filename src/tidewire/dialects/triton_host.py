"""Triton Inference Server over HTTP, the generate extension: what we send, what it streams.

Source: the server's docs/protocol/extension_generate.md, and for the counts and reasons that a vLLM model adds where it is asked,
docs/additional_outputs.md of its vLLM backend. There is no mark of the end: an answer ends where its body does, and a body that was cut off
is told by HTTP's own framing. Each output counts as one token.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import msgspec

from tidewire.core import events as ev
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Delta, Event, Reason
from tidewire.core.ports import ModelInfo, Question
from tidewire.core.request import Request
from tidewire.core.sse import Frames
from tidewire.dialects.plain_prompt import plain

REASONS: Final[dict[str, Reason]] = {"stop": "stop", "length": "length"}


class _Output(msgspec.Struct, gc=False):
    """text_output: a text, or a list of them where the model's output has more than one element."""

    text_output: Any = None
    error: Any = None
    finish_reason: Any = None
    num_input_tokens: Any = None
    num_output_tokens: Any = None


_output: Final = msgspec.json.Decoder(_Output)


def asked(request: Request) -> tuple[str, dict[str, Any]]:
    """The prompt, and the parameters by the names that both the vLLM and the TensorRT-LLM backend know. Raises BadRequest.

    Stop strings are not sent: the backends differ in how they take them, and they are found here in any case.
    """
    parameters: dict[str, Any] = {**request.options_for("triton"), "stream": True}
    for name in ("max_tokens", "temperature", "top_p"):
        if (value := getattr(request, name)) is not None:
            parameters[name] = value
    return plain(request), parameters


class TritonHost:
    """`core.ports.Speaker`. Triton lists its models by POST only, so they are named in the settings."""

    listing = ""

    def ask(self, request: Request, model: str) -> Question:
        text, parameters = asked(request)
        body = msgspec.json.encode({"text_input": text, "parameters": parameters})
        return Question(path=f"/v2/models/{quote(model)}/generate_stream", body=body)

    def decoder(self, request: Request) -> TritonDecoder:
        return TritonDecoder(request.max_tokens)

    def models(self, body: bytes) -> list[ModelInfo]:
        return []


class TritonDecoder:
    """The bytes of one streamed answer as events, however they are cut. limit: the tokens asked for, which tell why it ended."""

    __slots__ = ("_answer", "_frames", "_over")

    def __init__(self, limit: int | None = None) -> None:
        self._frames = Frames()
        self._answer = Outputs(limit)
        self._over = False

    def feed(self, data: bytes) -> list[Event]:
        out: list[Event] = []
        if self._over:
            return out
        try:
            for _, payload in self._frames.feed(data):
                output = _output.decode(payload)
                if output.error is not None:
                    raise broken(output.error)
                self._answer.take(output.text_output, out)
                if output.finish_reason or output.num_input_tokens or output.num_output_tokens:
                    self._answer.note(output.finish_reason, output.num_input_tokens, output.num_output_tokens)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._failed(bad(str(error)), out) from None
        except UpstreamError as error:
            raise self._failed(error, out) from None
        return out

    def end(self) -> list[Event]:
        if self._over:
            return []
        try:
            out = self.feed(b"\n\n")  # a last event may lack its empty line
        except UpstreamError as error:
            if error.kind != "upstream_bad_event":
                raise
            raise UpstreamError("the host closed the answer in the middle of an event", code="upstream_cut") from None
        self._over = True
        return [*out, *self._answer.end()]

    def _failed(self, error: UpstreamError, out: list[Event]) -> UpstreamError:
        self._over = True
        error.before = out
        return error


class Outputs:
    """One answer, output by output, over HTTP or gRPC alike."""

    __slots__ = ("_begun", "_finish", "_input", "_limit", "_output", "_some", "_tokens")

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._begun = self._some = False
        self._tokens = 0
        self._finish: Reason | None = None
        self._input: int | None = None
        self._output: int | None = None

    def take(self, text: Any, out: list[Event]) -> None:
        """Raises UpstreamError for what is no text."""
        if type(text) is not str:
            text = _joined(text)
        self._some = True
        if text:
            if not self._begun:
                self._begun = True
                out.append(ev.PartStarted(part=0, kind="text"))
            self._tokens += 1
            out.append(Delta(part=0, text=text))

    def note(self, finish: Any, read: Any, made: Any) -> None:
        """What a vLLM model says beside the text: the prompt's tokens each time, the answer's since the last output."""
        if isinstance(finish, str) and finish not in ("", "None"):
            self._finish = REASONS.get(finish, "stop")
        if type(read) is int:
            self._input = read
        if type(made) is int:
            self._output = made + (self._output or 0)

    def end(self) -> list[Event]:
        """The last events. Raises UpstreamError where nothing at all had come."""
        if not self._some:
            raise UpstreamError("the host closed the answer without any output", code="upstream_cut")
        out: list[Event] = [ev.PartEnded(part=0)] if self._begun else []
        if self._input is not None or self._output is not None:
            out.append(ev.Usage(counted_by="host", input=self._input, output=self._output))
        full = self._limit is not None and self._tokens >= self._limit
        return [*out, ev.Finish(reason=self._finish or ("length" if full else "stop"))]


def _joined(text: Any) -> str:
    if text is None:  # other outputs of the model, and no text this time
        return ""
    if isinstance(text, list) and all(isinstance(t, str) for t in text):
        return "".join(text)
    raise bad("text_output is no text")


def bad(why: str) -> UpstreamError:
    return UpstreamError(f"the host sent an event that is no output of a model: {why[:120]}", code="upstream_bad_event")


def broken(error: Any) -> UpstreamError:
    """error: the host's own sentence; or whatever stands in its place."""
    said = error if isinstance(error, str) else "no message"
    return UpstreamError(f"the host broke off with an error: {said[:200]}", code="upstream_error")

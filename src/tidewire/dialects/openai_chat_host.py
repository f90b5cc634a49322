"""OpenAI Chat Completions, the side that faces hosts: the request we send and the chunks we read.

Variants taken, each seen in recorded streams of public hosts: reasoning under `reasoning` or `reasoning_content`; content
as a list of parts (Mistral); errors inside a chunk or a line of their own, followed by [DONE] (vLLM) or not; chunks without
`object`; tool calls without index, or with an empty name in later fragments; usage in its own last chunk, in the finish chunk, in its choice
(Moonshot), in every chunk, or under `x_groq`.
"""

from __future__ import annotations

from itertools import count

import msgspec

from tidewire.core import events as ev
from tidewire.core.embeddings import Embedded, EmbeddingRequest
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Delta, Event, Span
from tidewire.core.ports import ModelInfo, Question
from tidewire.core.request import Request
from tidewire.core.sse import Frames
from tidewire.dialects.bad_events import BAD, broken
from tidewire.dialects.openai_chat_choice import Answer
from tidewire.dialects.openai_chat_chunk import Choice, Chunk, Report, read_chunk, read_report
from tidewire.dialects.openai_chat_question import write_body
from tidewire.dialects.openai_chat_reports import broken_off, counted, progress, spans, usage_in
from tidewire.dialects.openai_embeddings import read_embedding, write_embedding
from tidewire.dialects.openai_models import read_models
from tidewire.dialects.openai_quirks import PLAIN, Quirks

_json = msgspec.json.encode


class ChatHost:
    """`core.ports.Speaker` for OpenAI-compatible hosts. quirks: what the host at hand takes."""

    listing = "/models"

    def __init__(self, quirks: Quirks = PLAIN) -> None:
        self._quirks = quirks

    def models(self, body: bytes) -> list[ModelInfo]:
        return read_models(body)

    def ask(self, request: Request, model: str) -> Question:
        body = _json(write_body(request, model, self._quirks))
        return Question(path=self.path("chat/completions", model), body=body)

    def path(self, what: str, model: str) -> str:
        """Where the host's API has it, below its base URL."""
        return f"/{what}"

    def ask_vectors(self, request: EmbeddingRequest, model: str) -> Question:
        """`core.embeddings.EmbeddingSpeaker`."""
        body = write_embedding(request, model, encoding=self._quirks.base64)
        return Question(path=self.path("embeddings", model), body=body)

    def vectors(self, body: bytes, count: int) -> Embedded:
        return read_embedding(body, count)

    def decoder(self, request: Request) -> ChatDecoder:
        audio = request.options.get("audio")
        written = audio.get("format") if isinstance(audio, dict) else None
        return ChatDecoder(request.n, f"audio/{written}" if isinstance(written, str) else "audio/pcm16")


class ChatDecoder:
    """The bytes of one streamed answer as events, however they are cut. `core.ports.Decoder`."""

    __slots__ = ("_answers", "_done", "_first", "_frames", "_kind", "_part", "_spans")

    def __init__(self, n: int = 1, media: str = "audio/pcm16") -> None:
        """n: how many choices were asked for; others are left out. media: of audio."""
        self._frames = Frames()
        number = count().__next__
        self._answers = [Answer(choice, number, media) for choice in range(n)]
        self._first = self._answers[0]
        self._part = -1  # the open part of the first choice, and its kind: what most chunks go on with
        self._kind = ""
        self._spans: list[Span] = []  # as the host reported them last
        self._done = False

    def feed(self, data: bytes) -> list[Event]:
        out: list[Event] = []
        decode = read_chunk.decode
        try:
            for name, payload in self._frames.feed(data):
                if payload == b"[DONE]" and not self._done:
                    self._finished(out)
                if self._done:
                    break
                chunk = decode(payload)
                # the usual chunk, straight: more of the text that is open, and nothing else
                if (
                    len(chunk.choices) == 1
                    and (choice := chunk.choices[0]).finish_reason is None
                    and choice.index == 0
                    and (delta := choice.delta) is not None
                    and type(text := delta.content) is str
                    and text
                    and self._kind == "text"
                    and delta.tool_calls is None
                    and delta.reasoning is None
                    and delta.reasoning_content is None
                    and delta.refusal is None
                    and choice.logprobs is None
                    and chunk.usage is None
                    and chunk.error is None
                    and not name
                ):
                    out.append(Delta(part=self._part, text=text))
                else:
                    self._chunk(name, payload, chunk, out)
        except BAD as error:
            raise broken(error, out, "a chat chunk") from None
        return out

    def _chunk(self, name: bytes, payload: bytes, chunk: Chunk, out: list[Event]) -> None:
        if chunk.error or name == b"error":
            raise broken_off(chunk.error, payload)
        before, last = len(out), not chunk.choices
        for choice in chunk.choices:
            if 0 <= choice.index < len(self._answers):
                self._choice(choice.index, choice, out)
            last = last or bool(choice.finish_reason)
        if last or len(out) == before:
            self._report(chunk, read_report.decode(payload), out)
        elif chunk.usage is not None:
            out.append(counted(chunk.usage))
        self._part, self._kind = self._first.part, self._first.kind

    def _report(self, chunk: Chunk, report: Report, out: list[Event]) -> None:
        """What comes at the end, or before the first word."""
        if (read := progress(report.prompt_progress)) is not None:
            out.append(read)
        if (usage := chunk.usage or usage_in(report)) is not None:
            out.append(counted(usage))
        self._spans = spans(report, usage) or self._spans

    def _choice(self, index: int, choice: Choice, out: list[Event]) -> None:
        answer = self._answers[index]
        several = len(self._answers) > 1
        if several and answer.finish is not None:
            return  # it has ended
        reason = answer.feed(choice, out)
        if several and reason is not None:
            answer.close(out)
            out.append(ev.ChoiceEnded(choice=index, reason=reason))

    def end(self) -> list[Event]:
        out: list[Event] = []
        if not self._done:
            if any(answer.finish is None for answer in self._answers):
                raise UpstreamError(
                    "the host closed the answer before its end: no finish reason and no [DONE] came",
                    code="upstream_cut",
                )
            self._finished(out)  # some hosts leave [DONE] out; the finish reason says that all is there
        return out

    def _finished(self, out: list[Event]) -> None:
        self._done = True
        if len(self._answers) == 1:
            self._first.close(out)
        missing = sum(answer.finish is None for answer in self._answers)
        if missing:
            which = "" if len(self._answers) == 1 else f" in {missing} of its {len(self._answers)} choices"
            raise UpstreamError(f"the host ended the answer without a finish reason{which}", code="upstream_unfinished")
        out.extend(ev.Timing(span=span) for span in self._spans)
        assert self._first.finish is not None
        out.append(ev.Finish(reason=self._first.finish))

"""An answer that was asked for in JSON: its values are announced as they become complete, and at its end it is held against the schema."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from tidewire.core.events import Attempt, Checked, ChoiceEnded, Delta, Event, Field, Finish, Notice, PartStarted
from tidewire.stages.partial_json import Malformed, PartialJson
from tidewire.stages.schema import check

DEPTH: Final = (
    8  # levels; what lies deeper comes with what holds it. A value is told once, and once with each level above it
)
SIZE: Final = 64 * 1024  # characters of a value's text; a longer one is not told again, its deltas have been
FIELDS: Final = 4096  # of one answer
UNJUDGED: Final = frozenset({"tool_calls", "content_filter"})  # such an answer is not the one that was asked for

NOTICES: Final = {
    "json_fenced": "the answer has its JSON in a code fence, which a parser of the bare text refuses; the fields are those inside",
    "json_fields_limit": f"the answer has more than {FIELDS} fields; the further ones are not announced",
    "json_schema_unchecked": "the answer was not held against all of its schema; left out: ",
}


class Structured:
    """A `core.ports.Stage`. Follows each delta of text with the `Field` events that it completes, and ends with one `Checked`.

    response_format: as Chat Completions has it, of type json_object or json_schema. No delta is held back or changed. All text of
    one choice is read as one JSON text, also where a host divides it into parts.
    """

    def __init__(self, response_format: dict[str, Any]) -> None:
        self._schema = _schema(response_format)
        self._object = response_format.get("type") == "json_object"
        self._answers: dict[int, _Answer] = {}  # by choice
        self._parts: dict[int, _Answer] = {}  # of text

    def feed(self, event: Event) -> Sequence[Event]:
        if type(event) is Delta:
            answer = self._parts.get(event.part)
            return (event,) if answer is None else (event, *answer.read(event))
        if type(event) is PartStarted and event.kind == "text":
            answer = self._answers.setdefault(event.choice, _Answer())
            answer.part = event.part
            self._parts[event.part] = answer
        elif type(event) is Attempt and event.reason == "tools":
            self._answers.clear()  # what was said on the way to the server's tools is not the answer
            self._parts.clear()
        elif type(event) is ChoiceEnded:
            answer = self._answers.pop(event.choice, None)
            if answer is not None and event.reason not in UNJUDGED:
                return (*self._judge(answer), event)
        elif type(event) is Finish and event.reason not in UNJUDGED:
            out = [made for answer in self._answers.values() for made in self._judge(answer)]
            self._answers.clear()
            return (*out, event)
        return (event,)

    def end(self) -> Sequence[Event]:
        return ()  # an answer without its end is not judged: closed says what became of it

    def _judge(self, answer: _Answer) -> Iterator[Event]:
        answer.end()
        problems: list[str] = []
        if answer.malformed is not None:
            problems = [f"this is not the JSON that was asked for: {answer.malformed}"]
        elif self._schema is not None:
            verdict = check(self._schema, answer.value)
            problems = verdict.problems
            if verdict.unchecked:
                yield _notice("json_schema_unchecked", ", ".join(verdict.unchecked)[:200])
        elif self._object and not isinstance(answer.value, dict):
            problems = ["the root must be an object"]
        yield Checked(part=answer.part, valid=not problems, problems=problems)


class _Answer:
    """The JSON of one choice as it grows. malformed: what is wrong with it; nothing behind that is read."""

    def __init__(self) -> None:
        self.part = 0
        self.malformed: str | None = None
        self._json = PartialJson()
        self._fields = 0
        self._told_of_fence = False

    @property
    def value(self) -> Any:
        return self._json.value

    def read(self, delta: Delta) -> Iterator[Event]:
        if self.malformed is not None:
            return
        try:
            for complete in self._json.feed(delta.text):
                if complete.depth <= DEPTH and complete.size <= SIZE and complete.path is not None:
                    self._fields += 1
                    if self._fields <= FIELDS:
                        yield Field(part=delta.part, path=complete.path, value=complete.value)
                    elif self._fields == FIELDS + 1:
                        yield _notice("json_fields_limit")
        except Malformed as wrong:
            self.malformed = str(wrong)
        if self._json.fenced and not self._told_of_fence:
            self._told_of_fence = True
            yield _notice("json_fenced")

    def end(self) -> None:
        if self.malformed is None:
            try:
                self._json.end()
            except Malformed as wrong:
                self.malformed = str(wrong)


def _notice(code: str, more: str = "") -> Notice:
    return Notice(code=code, message=NOTICES[code] + more)


def _schema(response_format: dict[str, Any]) -> dict[str, Any] | None:
    given = response_format.get("json_schema")
    schema = given.get("schema") if isinstance(given, dict) else None
    return schema if isinstance(schema, dict) else None

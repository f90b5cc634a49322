"""The fuzzer in its short form; and decoders that are wrong in one way each, which it must find."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tidewire.core.errors import UpstreamError
from tidewire.core.events import Blob, Delta, Finish, PartEnded, PartStarted
from tidewire.core.ports import ModelInfo
from tidewire.dialects.openai_chat_host import ChatDecoder, ChatHost

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "fuzz"))

import corpus
import fuzzing

INPUTS = 250
SPEAKERS = corpus.speakers()
PLAIN = [b"one\ntwo\nend\n", b"\xc3\xa9\nend\n"]


@pytest.mark.parametrize("decoder", SPEAKERS)
def test_no_broken_answer_breaks_a_decoder(decoder):
    assert [str(found) for found in fuzzing.fuzz(decoder, SPEAKERS[decoder], "tests", range(INPUTS))] == []


class Lines:
    """A decoder of lines that does all that it must: each line is a text, and the line "end" ends the answer."""

    def __init__(self):
        self.rest = b""
        self.begun = self.done = False

    def feed(self, data):
        *lines, self.rest = (self.rest + data).split(b"\n")
        out = []
        for line in [] if self.done else lines:
            if line == b"end":
                self.done = True
                out += [PartEnded(part=0)] if self.begun else []
                out.append(Finish(reason="stop"))
                break
            if not self.begun:
                self.begun = True
                out.append(PartStarted(part=0, kind="text"))
            out += self.text(line)
        if len(self.rest) > 100_000:
            raise UpstreamError("a line of more than 100000 bytes", code="upstream_event_too_large")
        return out

    def text(self, line):
        return [Delta(part=0, text=line.decode("utf-8", "replace"))] if line else []

    def end(self):
        if not self.done:
            raise UpstreamError("it was cut", code="upstream_cut")
        return []


class Crashes(Lines):
    def text(self, line):
        return [Delta(part=0, text=line.decode())] if line else []


class DependsOnCuts(Lines):
    def feed(self, data):
        out = super().feed(data)
        if self.rest and not self.done and self.begun:
            out.append(Delta(part=0, text=self.rest.decode("utf-8", "replace")))
        return out


class SaysNothing(Lines):
    def text(self, line):
        return [Delta(part=0, text="")]


class ForgetsAPart(Lines):
    def feed(self, data):
        return [e for e in super().feed(data) if not isinstance(e, PartEnded)]


class SkipsANumber(Lines):
    def feed(self, data):
        return [PartStarted(part=1, kind="text") if isinstance(e, PartStarted) else e for e in super().feed(data)]


class NeverFinishes(Lines):
    def feed(self, data):
        return [e for e in super().feed(data) if not isinstance(e, Finish)]


class GoesOn(Lines):
    def feed(self, data):
        if self.done:
            return [Finish(reason="stop")]
        return super().feed(data)


class Minds(Lines):
    def feed(self, data):
        if self.done:
            raise UpstreamError("what is this?")
        return super().feed(data)


class Multiplies(Lines):
    def text(self, line):
        return [Delta(part=0, text="x" * 10_000)]


class CannotBeStored(Lines):
    def text(self, line):
        return [Blob(part=0, data="no bytes")]


class Hangs(Lines):
    def text(self, line):
        while True:
            pass


class Host(ChatHost):
    def __init__(self, decoder):
        self._decoder = decoder

    def decoder(self, request):
        return self._decoder()


def found(decoder):
    return [f.says for f in fuzzing.fuzz("x", [("x", Host(decoder))], "tests", range(INPUTS), PLAIN)]


def test_a_decoder_that_does_all_it_must_is_left_alone():
    assert found(Lines) == []


@pytest.mark.parametrize(
    ("decoder", "says"),
    [
        (Crashes, "raised UnicodeDecodeError"),
        (DependsOnCuts, "cut otherwise"),
        (SaysNothing, "a delta without text"),
        (ForgetsAPart, "Finish while the parts [0] are open"),
        (SkipsANumber, "part 1 begins where 0 was next"),
        (NeverFinishes, "without Finish"),
        (GoesOn, "events after the end"),
        (Minds, "what came after the end counted"),
        (Multiplies, "characters out of"),
        (CannotBeStored, "cannot be stored"),
    ],
)
def test_a_decoder_that_is_wrong_in_one_way_is_found(decoder, says):
    assert any(says in one for one in found(decoder))


def test_a_decoder_that_hangs_is_found(monkeypatch):
    monkeypatch.setattr(fuzzing, "HANGS", 1)
    finding = next(fuzzing.fuzz("x", [("x", Host(Hangs))], "tests", range(INPUTS), [b"one\nend\n"]))
    assert finding.says == "was still at it after 1 s"


def test_a_list_of_models_that_breaks_its_reader_is_found():
    class Naive(ChatHost):
        def models(self, body):
            return [ModelInfo(id=row["id"], provider="x") for row in __import__("json").loads(body)["data"]]

    said = [f.says for f in fuzzing.fuzz("x", [("x", Naive())], "tests", range(160), [b"{}"])]
    assert any("models() raised" in one for one in said)


def test_an_event_without_an_end_is_not_held():
    class Holds(ChatDecoder):
        def feed(self, data):
            return []

    assert all("went on" in f.says for f in fuzzing.endless("x", [("x", Host(Holds))]))
    assert list(fuzzing.endless("x", [("x", Host(Holds))]))
    assert list(fuzzing.endless("x", [("x", Host(Lines))])) == []


def test_the_same_number_makes_the_same_input():
    def wires():
        return [f.wire for f in fuzzing.fuzz("x", [("x", Host(NeverFinishes))], "7", range(40), PLAIN)]

    assert wires() == wires() != []

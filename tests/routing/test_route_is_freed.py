"""What a route held of an answer is freed when that is over, by reference counts: a collector that finds it stops the whole server."""

from __future__ import annotations

import gc

import pytest

from collected import collected
from routing.played import Cup, Down, Host, plan, question, route, virtually
from tidewire.core.errors import TidewireError

OF_AN_ANSWER = {"_Answering", "Try", "Numbered", "Unbroken", "Request", "Down", "traceback"}


@pytest.mark.parametrize(
    ("hosts", "whole"),
    [
        ([Host("a")], True),
        ([Host("a", error=Down), Host("b")], True),
        ([Host("a", error=Down, at=1), Host("b")], True),  # cut behind its first word
        ([Host("a", error=Down), Host("b", error=Down)], False),
        ([Host("a", error=Down, at=1), Host("b", error=Down)], False),
    ],
)
def test_it_is_freed_however_the_answer_went(hosts, whole):
    async def work():
        one = route(plan("a", "b", continuations=1, retries=0), hosts)
        gc.collect()
        gc.disable()
        try:
            failed = False
            try:
                await one.answer(question(), Cup())
            except TidewireError as error:
                failed = True
                error.__traceback__ = None  # as a run does with what ends it
            assert failed is not whole
            assert collected(OF_AN_ANSWER) == {}
        finally:
            gc.enable()

    virtually(work())

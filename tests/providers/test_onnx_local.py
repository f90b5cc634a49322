"""ONNX Runtime GenAI: one model, one process, answers in turn. The real library answers too where it is installed, with onnx to make its model."""

from __future__ import annotations

import array
import asyncio
import fcntl
import importlib.util
import sys
import termios
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_onnx
from plain_chat import Cup, question

from serving import eventually, serving
from tidewire.core.errors import BadRequest, Overloaded, SettingsError, UpstreamError
from tidewire.core.events import Delta, Finish, Progress, Usage
from tidewire.core.request import Tool
from tidewire.dialects.plain_prompt import plain
from tidewire.providers.onnx_local import LIBRARY, OnnxLocal
from tidewire.server.settings import Provider

REAL = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in (LIBRARY, "onnx")),
    reason="onnxruntime-genai and onnx are not installed",
)
STEPS = len(tiny_onnx.SAYS.encode()) + 1
Make = Callable[..., OnnxLocal]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_onnx.folder(tmp_path / "tiny")


@pytest.fixture
async def make(monkeypatch: pytest.MonkeyPatch, folder: Path) -> AsyncIterator[Make]:
    """Providers whose process finds the library of the tests; closed in the end, whatever holds them up."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    made: list[OnnxLocal] = []

    def one(at: Path = folder, **options: Any) -> OnnxLocal:
        made.append(OnnxLocal("mine", str(at), plain, **({"library": "tiny_onnx"} | options)))
        return made[-1]

    yield one
    (folder / "hold").unlink(missing_ok=True)
    for provider in made:
        await provider.close()


def unread(provider: OnnxLocal) -> int:
    """Bytes on their way to the process."""
    assert provider._process is not None
    assert provider._process.stdin is not None
    pipe = provider._process.stdin.get_extra_info("pipe")
    waiting = array.array("i", [0])
    fcntl.ioctl(pipe.fileno(), termios.FIONREAD, waiting)
    return waiting[0]


async def answered(provider: OnnxLocal, request: Any) -> Cup:
    cup = Cup()
    await provider.answer(request, cup)
    return cup


async def test_a_conversation_is_answered_in_the_models_own_template(make: Make, folder: Path) -> None:
    cup = await answered(make(), question("Hi", options={"top_k": 3, "max_length": 9, "deep": {}}))
    assert cup.text == tiny_onnx.SAYS
    assert [e.text for e in cup.events if isinstance(e, Delta)] == list(tiny_onnx.SAYS)
    assert cup.events[-1] == Finish(reason="stop")
    [used] = [e for e in cup.events if isinstance(e, Usage)]
    assert (used.counted_by, used.input, used.output) == ("host", 4, STEPS)
    [[options, tokens]] = tiny_onnx.log(folder, "ask")
    assert tokens == [tiny_onnx.USER, *b"Hi", tiny_onnx.ASSISTANT]
    assert options == {"top_k": 3, "max_length": 4096}


async def test_without_a_template_the_plain_text_is_gone_on_from(make: Make, tmp_path: Path) -> None:
    provider = make(tiny_onnx.folder(tmp_path / "plain", template=False))
    assert (await answered(provider, question("H"))).text == tiny_onnx.SAYS[1:]


@pytest.mark.parametrize(
    ("asked", "options"),
    [
        ({"temperature": 0.5, "top_p": 0.9}, {"do_sample": True, "temperature": 0.5, "top_p": 0.9}),
        ({"temperature": 0.0}, {"do_sample": False}),
        ({}, {}),
    ],
)
async def test_how_to_choose_tokens_goes_to_the_library(make: Make, folder: Path, asked: Any, options: Any) -> None:
    await answered(make(), question("Hi", max_tokens=2, **asked))
    assert tiny_onnx.log(folder, "ask")[0][0] == options | {"max_length": 6}


@pytest.mark.parametrize(("limit", "reason"), [(1, "length"), (3, "length"), (99, "stop")])
async def test_a_limit_ends_an_answer_and_says_so(make: Make, limit: int, reason: str) -> None:
    cup = await answered(make(), question("Hi", max_tokens=limit))
    assert cup.events[-1] == Finish(reason=reason)
    assert [e.output for e in cup.events if isinstance(e, Usage)] == [min(limit, STEPS)]


async def test_the_models_own_length_bounds_prompt_and_answer(make: Make, tmp_path: Path) -> None:
    provider = make(tiny_onnx.folder(tmp_path / "short", context=6))
    assert (await answered(provider, question("Hi"))).events[-1] == Finish(reason="length")
    with pytest.raises(BadRequest, match="8 tokens, and the model takes 6") as caught:
        await answered(provider, question("Hello!"))
    assert caught.value.param == "messages"
    assert (await answered(provider, question("Hi"))).text


async def test_one_model_is_loaded_once_and_answers_take_turns(make: Make, folder: Path) -> None:
    (folder / "hold").touch()
    provider = make()
    cups = [Cup() for _ in range(4)]
    asked = [asyncio.create_task(provider.answer(question(f"{n}"), cup)) for n, cup in enumerate(cups)]
    await eventually(lambda: tiny_onnx.log(folder, "ask"))
    details = [e.detail for cup in cups for e in cup.events if isinstance(e, Progress)]
    assert details[0] == "loading mine"
    assert details[3] == "behind 3 other answers"
    (folder / "hold").unlink()
    await asyncio.gather(*asked)
    assert (len(tiny_onnx.log(folder, "load")), len(tiny_onnx.log(folder, "ask"))) == (1, 4)
    assert [tokens[1:-1] for _, tokens in tiny_onnx.log(folder, "ask")] == [[48], [49], [50], [51]]
    assert [cup.text for cup in cups] == [tiny_onnx.SAYS] * 4


async def test_more_answers_than_may_wait_are_refused(make: Make, folder: Path) -> None:
    (folder / "hold").touch()
    provider = make(most=2)
    asked = [asyncio.create_task(provider.answer(question(), Cup())) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as caught:
        await provider.answer(question(), Cup())
    assert caught.value.kind == "upstream_connections"
    (folder / "hold").unlink()
    await asyncio.gather(*asked)
    assert (await answered(provider, question())).text


async def test_a_cancelled_answer_stops_at_its_next_token_and_one_that_waits_never_begins(
    make: Make, folder: Path
) -> None:
    (folder / "hold").touch()
    provider = make()
    running, waiting, after = (Cup() for _ in range(3))
    tasks = [asyncio.create_task(provider.answer(question(), cup)) for cup in (running, waiting, after)]
    await eventually(lambda: tiny_onnx.log(folder, "ask"))
    for task in tasks[:2]:
        task.cancel()
    await asyncio.gather(*tasks[:2], return_exceptions=True)
    await eventually(lambda: unread(provider) == 0)
    await asyncio.sleep(0.1)  # the other process has taken the word of it, and no answer comes back
    (folder / "hold").unlink()
    await tasks[2]
    assert after.text == tiny_onnx.SAYS
    assert (len(tiny_onnx.log(folder, "ask")), len(tiny_onnx.log(folder, "step"))) == (2, 1 + STEPS)
    assert running.text == waiting.text == ""


async def test_a_full_log_stops_the_reading(make: Make) -> None:
    provider, cup = make(), Cup(size=3)
    task = asyncio.create_task(provider.answer(question(), cup))
    while not task.done():
        await eventually(lambda: task.done() or cup.waited)
        cup.waited = 0
        cup.drink()
    await task
    assert cup.text == tiny_onnx.SAYS


async def test_a_failure_of_the_library_is_that_answers_own(make: Make, folder: Path) -> None:
    provider = make()
    (folder / "fail").touch()
    with pytest.raises(UpstreamError, match="not enough memory"):
        await provider.answer(question(), Cup())
    (folder / "fail").unlink()
    assert (await answered(provider, question())).text == tiny_onnx.SAYS


async def test_a_process_that_dies_takes_its_answer_with_it_and_the_next_question_starts_another(
    make: Make, folder: Path
) -> None:
    provider = make()
    (folder / "die").touch()
    with pytest.raises(UpstreamError, match="ended with 3") as caught:
        await provider.answer(question(), Cup())
    assert caught.value.kind == "upstream_cut"
    (folder / "die").unlink()
    assert (await answered(provider, question())).text == tiny_onnx.SAYS
    assert len(tiny_onnx.log(folder, "load")) == 2


async def test_what_a_text_cannot_say_is_refused_before_anything_is_loaded(make: Make, folder: Path) -> None:
    with pytest.raises(BadRequest) as caught:
        await make().answer(question(tools=[Tool("f")]), Cup())
    assert caught.value.param == "tools"
    assert not tiny_onnx.log(folder, "load")


async def test_closing_ends_the_process_in_the_middle_of_an_answer(make: Make, folder: Path) -> None:
    (folder / "hold").touch()
    provider = make()
    task = asyncio.create_task(provider.answer(question(), Cup()))
    await eventually(lambda: tiny_onnx.log(folder, "ask"))
    await provider.close()
    with pytest.raises(UpstreamError) as caught:
        await task
    assert caught.value.kind == "upstream_cut"


async def test_the_model_is_named_after_its_folder_or_by_the_settings(make: Make) -> None:
    assert [m.id for m in await make().models()] == ["mine/tiny"]
    assert [m.id for m in await make(models=["small"]).models()] == ["mine/small"]


@pytest.mark.parametrize(
    ("named", "said"),
    [("", "is not set"), ("nowhere", "no genai_config.json"), (".", "no genai_config.json"), ("bad", "cannot be read")],
)
def test_a_folder_without_a_model_is_named(tmp_path: Path, named: str, said: str) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "genai_config.json").write_text('{"model": 3}')
    with pytest.raises(SettingsError, match=said) as caught:
        OnnxLocal("mine", named and str(tmp_path / named), plain, library="tiny_onnx")
    assert caught.value.param == "providers.mine.folder"


def test_without_the_extra_the_settings_say_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, LIBRARY, raising=False)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(SettingsError, match=r"tidewire\[onnx\]"):
        OnnxLocal("mine", str(folder), plain)


@REAL
async def test_the_real_library_answers_the_same(folder: Path) -> None:
    provider = OnnxLocal("mine", str(tiny_onnx.with_weights(folder)), plain)
    try:
        first = await answered(provider, question("Hi"))
        second = await answered(provider, question("Hi", max_tokens=3, temperature=0.7))
    finally:
        await provider.close()
    assert first.text == tiny_onnx.SAYS
    assert [e.text for e in first.events if isinstance(e, Delta)] == list(tiny_onnx.SAYS)
    assert first.events[-1] == Finish(reason="stop")
    assert [e.input for e in first.events if isinstance(e, Usage)] == [4]
    assert (second.text, second.events[-1]) == ("Hé", Finish(reason="length"))


@REAL
async def test_the_real_library_goes_on_from_a_plain_text_and_answers_in_a_server(tmp_path: Path) -> None:
    folder = tiny_onnx.with_weights(tiny_onnx.folder(tmp_path / "tiny", template=False))
    async with serving(tmp_path, providers={"mine": Provider(kind="onnx", folder=str(folder))}) as tidewire:
        asked = {"model": "mine/tiny", "input": "H"}
        status, _, body = await tidewire.ask("POST", "/v1/streams", asked, accept="text/plain")
    assert (status, body.decode()) == (200, tiny_onnx.SAYS[1:] + "\n")

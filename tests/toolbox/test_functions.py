"""Python functions as tools: what a model is told of them, how they are called, and what is said at start of those that cannot be."""

from __future__ import annotations

import asyncio
import threading
from typing import Annotated, Any, Literal

import msgspec
import pytest

from tidewire.core.errors import SettingsError
from tidewire.toolbox.function import FunctionTools
from tidewire.toolbox.port import CallContext, ToolOutput
from tidewire.toolbox.threads import Threads

HERE = "toolbox.test_functions" if __name__.startswith("toolbox.") else __name__


class Place(msgspec.Struct):
    city: str
    country: str = "DE"


def weather(place: Place, days: int = 1, unit: Literal["C", "F"] = "C") -> dict[str, Any]:
    """The weather of the next days.

    Somebody measured it.

    Args:
        place: where to look
        days: how many days, the
            first of them today
    """
    return {"city": place.city, "days": days, "unit": unit}


async def slowly(text: str, call: CallContext) -> str:
    """Says it again.

    :param text: what to say
    """
    call.progress("half")
    await asyncio.sleep(0)
    return text * 2


def from_a_thread(call: CallContext) -> str:
    call.progress("from a thread")
    return threading.current_thread().name


def picky(age: Annotated[int, msgspec.Meta(ge=0)]) -> str:
    raise ValueError(f"{age} is not an age that I know")


def wrong(x: int) -> object:
    return object()


def bare(x) -> str:  # type: ignore[no-untyped-def]
    return str(x)


def starred(*many: int) -> int:
    return sum(many)


def odd(x: threading.Thread) -> int:
    return 1


def context(said: list[str]) -> CallContext:
    return CallContext("st", "c1", "key", 1e9, said.append, lambda: False)


async def called(name: str, arguments: dict[str, Any], said: list[str] | None = None) -> ToolOutput:
    (tool,) = FunctionTools("t", f"{HERE}:{name}", threads=Threads(2)).tools()
    out = await tool.call(arguments, context([] if said is None else said))
    await asyncio.sleep(0)
    return out


def test_the_model_is_told_what_the_docstring_and_the_hints_say() -> None:
    tool = FunctionTools("weather", f"{HERE}:weather", threads=Threads(1)).tool
    assert tool.name == "weather"
    assert tool.description == "The weather of the next days.\n\nSomebody measured it."
    schema = tool.parameters
    assert schema is not None
    assert schema["type"] == "object"
    assert schema["required"] == ["place"]
    assert schema["properties"]["days"] == {
        "type": "integer",
        "default": 1,
        "description": "how many days, the first of them today",
    }
    assert schema["properties"]["unit"]["enum"] == ["C", "F"]
    assert schema["$defs"]["Place"]["required"] == ["city"]


def test_an_argument_that_takes_the_call_is_not_shown_to_the_model() -> None:
    tool = FunctionTools("slowly", f"{HERE}:slowly", threads=Threads(1)).tool
    assert tool.parameters is not None
    assert list(tool.parameters["properties"]) == ["text"]
    assert tool.parameters["properties"]["text"]["description"] == "what to say"


async def test_what_it_returns_is_text_or_becomes_json() -> None:
    assert (await called("weather", {"place": {"city": "Kiel"}})).text == '{"city":"Kiel","days":1,"unit":"C"}'
    said: list[str] = []
    assert await called("slowly", {"text": "a"}, said) == ToolOutput("aa")
    assert said == ["half"]


async def test_a_plain_function_runs_in_a_thread_and_its_progress_comes_back() -> None:
    said: list[str] = []
    assert (await called("from_a_thread", {}, said)).text == "tool t"
    assert said == ["from a thread"]


async def test_arguments_that_do_not_fit_are_told_to_the_model_and_nothing_runs() -> None:
    out = await called("weather", {"place": {"city": "Kiel"}, "days": "two"})
    assert out.failed
    assert "Expected `int`, got `str` - at `$.days`" in out.text
    assert (await called("weather", {"place": {"city": "Kiel"}, "more": 1})).failed


async def test_a_value_error_is_what_the_function_says_to_the_model() -> None:
    assert await called("picky", {"age": 3}) == ToolOutput("t refused: 3 is not an age that I know", failed=True)


async def test_what_is_no_json_is_a_defect_of_the_function() -> None:
    with pytest.raises(TypeError, match="returned a object, which is no JSON"):
        await called("wrong", {"x": 1})


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("", 'it must be a place such as "package.module:name"'),
        ("weather", "it must be a place"),
        ("no_such_module_here:f", "cannot be imported: ModuleNotFoundError"),
        (f"{HERE}:no_such_name", "cannot be imported: AttributeError"),
        (f"{HERE}:Place", "is a StructMeta and no function"),
        (f"{HERE}:bare", "the argument x has no type hint"),
        (f"{HERE}:starred", "the argument many has no name"),
        (f"{HERE}:odd", "its arguments are no JSON: type "),
    ],
)
def test_a_function_that_cannot_be_a_tool_is_said_at_start(place: str, says: str) -> None:
    with pytest.raises(SettingsError) as error:
        FunctionTools("t", place, threads=Threads(1))
    assert error.value.message.startswith("tools.t")
    assert says in error.value.message


async def test_a_thread_that_does_not_end_keeps_its_place_and_only_that() -> None:
    threads = Threads(1)
    go = threading.Event()
    first = asyncio.create_task(threads.run("a", go.wait))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    second = asyncio.create_task(threads.run("b", lambda: 7))
    await asyncio.sleep(0)
    assert not second.done()
    go.set()
    assert await second == 7

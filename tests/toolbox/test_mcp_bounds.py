"""Lines, names and results of MCP servers: made valid, and bounded, without input or output."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidewire.core.errors import SettingsError
from tidewire.toolbox.mcp_lines import Bucket, Lines, TooLong
from tidewire.toolbox.mcp_results import described, output
from tidewire.toolbox.names import Names, valid
from tidewire.toolbox.port import NAME

said = pytest.importorskip("mcp_types")


def fed(data, size, limit):
    lines = Lines(limit)
    return [line for i in range(0, len(data), size) for line in lines.feed(data[i : i + size])]


@given(st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"")), max_size=8), st.integers(1, 64))
def test_lines_are_the_same_however_they_are_cut(lines, size):
    data = b"".join(line + b"\n" for line in lines)
    assert fed(data, size, 20) == fed(data, max(1, len(data)), 20)
    assert [line for line in fed(data, size, 30) if isinstance(line, TooLong)] == []


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 100_000])
@pytest.mark.parametrize(
    ("line", "number"),
    [
        (b'{"jsonrpc":"2.0","id":7,"result":{"text":"%s"}}', 7),
        (b'{"result":{"text":"%s","id":5},"jsonrpc":"2.0","id":8}', 8),
        (b'{"result":{"text":"%s"}, "id": 9, "jsonrpc": "2.0"}', 9),
        (b'{"jsonrpc":"2.0","result":{"text":"%s"}}', None),
    ],
)
def test_a_line_over_the_limit_is_left_out_and_says_which_request_it_answered(line, number, size):
    data = b"before\n" + line % (b"x" * 5000) + b"\nafter\n"
    before, cut, after = fed(data, size, 1000)
    assert (before, after) == (b"before", b"after")
    assert cut == TooLong(len(line) - 2 + 5000, number)


def test_a_line_without_an_end_holds_no_memory():
    lines = Lines(1000)
    for _ in range(10_000):
        assert lines.feed(b"x" * 1000) == []
    assert sum(map(len, lines._pieces)) + len(lines._first) + len(lines._last) <= 2000


def test_a_bucket_gives_no_more_than_so_many_a_second():
    now = [0.0]
    bucket = Bucket(10, lambda: now[0])
    assert sum(bucket.take() for _ in range(100)) == 10
    now[0] += 0.5
    assert sum(bucket.take() for _ in range(100)) == 5


@given(st.text(max_size=200))
def test_every_name_becomes_one_that_hosts_take(name):
    assert NAME.match(valid(name))


@given(st.lists(st.text(max_size=80), max_size=6, unique=True), st.lists(st.text(max_size=80), max_size=6, unique=True))
def test_no_two_tools_are_called_the_same(first, second):
    names = Names(fixed={"clock"})
    names.use("a", first)
    names.use("b", second)
    called = [*names.given("a"), *names.given("b"), "clock"]
    assert list(names.given("a").values()) == first
    assert len(set(called)) == len(called)


def test_long_names_that_begin_alike_are_told_apart():
    names = Names()
    names.use("a", ["x" * 70 + "1", "x" * 70 + "2", "b.c", "b c"])
    long, longer, *short = names.given("a")
    assert (len(long), len(longer), *short) == (64, 64, "a_b_c", "a_b_c_2")


def result(*blocks, **more):
    return said.CallToolResult(content=list(blocks), **more)


def test_what_a_model_cannot_be_shown_is_named_in_its_place():
    got = output(
        result(
            said.TextContent(type="text", text="Look:"),
            said.AudioContent(type="audio", data="AAAA", mime_type="audio/wav"),
            said.EmbeddedResource(
                type="resource", resource=said.TextResourceContents(uri="file:///a.txt", text="inside")
            ),
            said.EmbeddedResource(
                type="resource",
                resource=said.BlobResourceContents(uri="file:///a.png", mime_type="image/png", blob="AAAA"),
            ),
            said.EmbeddedResource(
                type="resource", resource=said.BlobResourceContents(uri="file:///a.zip", blob="AAAA")
            ),
        ),
        1000,
    )
    assert got.text.split("\n") == [
        "Look:",
        "[audio, audio/wav, 3 bytes, which cannot be shown]",
        "file:///a.txt:",
        "inside",
        "[file:///a.zip, application/octet-stream, 3 bytes, which cannot be shown]",
    ]
    assert [image.url for image in got.images] == ["data:image/png;base64,AAAA"]


def test_structured_content_stands_in_for_text_and_does_not_double_it():
    assert output(result(structured_content={"a": [1, "ü"]}), 1000).text == '{"a":[1,"ü"]}'
    both = result(said.TextContent(type="text", text='{"a": 1}'), structured_content={"a": 1})
    assert output(both, 1000).text == '{"a": 1}'


def test_a_failure_without_words_says_that_there_are_none():
    got = output(result(is_error=True), 1000)
    assert (got.failed, got.text) == (True, "the tool failed and did not say why")


def listed(**fields):
    return said.Tool(**({"name": "go", "input_schema": {"type": "object"}} | fields))


def test_a_description_and_a_schema_have_limits():
    assert len(described(listed(description="x" * 10_000), "tools.x").description) == 4096
    with pytest.raises(SettingsError, match="more than 65536 bytes"):
        described(listed(input_schema={"type": "object", "description": "x" * 70_000}), "tools.x")


def test_a_schema_without_a_type_is_one_of_an_object():
    assert described(listed(input_schema={}), "tools.x").parameters == {"type": "object"}

from __future__ import annotations

import asyncio
import io
import logging

import msgspec
import pytest

from tidewire.core.errors import UpstreamError
from tidewire.telemetry.logs import setup

PROMPT = "my secret question about the merger"


@pytest.fixture
def written():
    root = logging.getLogger()
    before = root.handlers[:], root.level
    out = io.StringIO()

    def start(form: str = "json", level: str = "info") -> io.StringIO:
        setup(level, form, out)  # type: ignore[arg-type]
        return out

    yield start
    root.handlers[:], level = before[0], before[1]
    root.setLevel(level)
    logging.getLogger("uvicorn.access").disabled = False
    for name in ("httpx", "httpcore", "websockets", "asyncio"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def lines(out: io.StringIO) -> list[dict]:
    return [msgspec.json.decode(line) for line in out.getvalue().splitlines()]


def test_a_line_of_json_holds_the_message_and_the_known_fields(written):
    out = written()
    logging.getLogger("tidewire.engine").info(
        "stream ended", extra={"stream": "s_1", "tokens": 7, "status": "completed"}
    )
    (line,) = lines(out)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info", "logger": "tidewire.engine", "message": "stream ended", "stream": "s_1", "tokens": 7, "status": "completed",
    }  # fmt: skip


def test_no_prompt_gets_in_by_any_way(written):
    out = written()
    log = logging.getLogger("tidewire.engine")
    log.info("asked", extra={"input": PROMPT, "messages": [PROMPT], "reason": PROMPT, "stream": PROMPT})
    log.info("asked %s", PROMPT)
    log.info("asked %(what)s", {"what": PROMPT})
    log.info("asked %s", [PROMPT])
    log.info("問", extra={"reason": "会社の合併についての秘密の質問"})
    try:
        try:
            raise ValueError(PROMPT)
        except ValueError as cause:
            raise KeyError(PROMPT) from cause
    except KeyError as error:
        log.exception("failed", extra={"error": error})
        log.error("failed %s", error)
    assert "merger" not in out.getvalue()
    assert "合併" not in out.getvalue()
    assert "test_logs.py" in lines(out)[5]["trace"]
    assert "ValueError" in lines(out)[5]["trace"]


def test_numbers_and_short_words_are_kept_in_a_message(written):
    out = written()
    logging.getLogger("uvicorn.error").info("Uvicorn running on %s://%s:%d", "http", "127.0.0.1", 8400)
    assert lines(out)[0]["message"] == "Uvicorn running on http://127.0.0.1:8400"


def test_an_error_of_our_tree_says_what_happened(written):
    out = written()
    logging.getLogger("tidewire.engine").warning("attempt failed", extra={"error": UpstreamError("host answered 500")})
    assert lines(out)[0]["error"] == {"code": "upstream_error", "message": "host answered 500"}


def test_asyncio_says_what_happened_without_the_arguments(written):
    out = written()
    loop = asyncio.new_event_loop()

    def broken(text: str) -> None:
        raise RuntimeError(text)

    loop.call_soon(broken, PROMPT)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert "merger" not in out.getvalue()
    assert "question" not in out.getvalue()
    assert lines(out)[0]["message"].startswith("Exception in callback")
    assert "RuntimeError" in lines(out)[0]["trace"]


def test_the_access_log_which_would_show_keys_in_queries_is_off(written):
    out = written()
    logging.getLogger("uvicorn.access").info('%s - "GET %s"', "127.0.0.1", "/v1/streams/x/events?key=sesame")
    assert out.getvalue() == ""


def test_text_for_a_terminal_reads_as_a_line(written):
    out = written("text")
    logging.getLogger("tidewire.server").warning("log is full", extra={"bytes": 5, "error": UpstreamError("gone")})
    assert out.getvalue()[9:] == "warning log is full bytes=5 error=upstream_error (gone)\n"


def test_what_is_below_the_level_is_not_written(written):
    out = written(level="warning")
    logging.getLogger("tidewire.server").info("hello")
    assert out.getvalue() == ""

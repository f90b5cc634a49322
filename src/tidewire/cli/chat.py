"""`tidewire chat`."""
# ruff: noqa: D301, PLR0917 - click takes \b as it is, and flags as parameters

from __future__ import annotations

import sys
import time
from typing import Any

import click

from tidewire.cli.main import FAILED, STOPPED
from tidewire.cli.options import server_options
from tidewire.cli.screen import Screen
from tidewire.client import Answer, Tidewire
from tidewire.core.errors import TidewireError


@click.command(short_help="Ask a question, or talk.")
@click.argument("question", required=False)
@click.option("--model", "-m", default="default", help="Model to ask; `tidewire models` lists them.", show_default=True)
@click.option("--max-tokens", type=click.IntRange(min=1), help="Longest answer.")
@click.option("--stats", is_flag=True, help="Show time to first token, tokens/s and where the time went.")
@server_options
def chat(
    question: str | None, model: str, max_tokens: int | None, stats: bool, url: str | None, key: str | None
) -> None:
    """Ask QUESTION and see the answer as it is written; without one, talk, or read the question from standard input.

    Text and sources go to standard output, progress and thinking to standard error. A lost connection is resumed.
    Ctrl-C stops the answer, at the model too; while talking, Ctrl-D ends.

    \b
    Examples:
      tidewire chat "How long are streams kept?"
      tidewire chat --stats -m simulated "hello"
      cat question.txt | tidewire chat > answer.txt

    \b
    Exit codes: 0 answered, 1 the answer failed, 3 no server reached, 130 stopped by Ctrl-C.
    """
    with Tidewire(url, key, sleep=_patience) as client:
        if question is None and not sys.stdin.isatty():
            question = sys.stdin.read()
        if question is not None and not question.strip():
            raise click.UsageError("there is no question: give one, or write one to standard input")
        ask = {"model": model, "max_tokens": max_tokens, **({} if sys.stdout.isatty() else {"edits": False})}
        if question is not None:
            screen = Screen(stats=stats)
            if not answer(client, screen, question, ask):
                sys.exit(STOPPED)
            sys.exit(FAILED if screen.closed is not None and screen.closed.error else 0)
        _talk(client, ask, stats=stats)


def answer(client: Tidewire, screen: Screen, given: str | list[dict[str, Any]], ask: dict[str, Any]) -> str | None:
    """Ask and paint until the end; the text, or None when Ctrl-C stopped it."""
    reply = client.stream(given=given, **ask)
    try:
        with reply:
            screen.paint(reply)
    except KeyboardInterrupt:
        _stop(client, screen, reply)
        return None
    return reply.text or " "


def _stop(client: Tidewire, screen: Screen, reply: Answer) -> None:
    """Stop it at the server, and show what was still on its way. A second Ctrl-C leaves at once."""
    try:
        client.cancel(reply.stream)
        with client.follow(reply.stream, screen.seq) as rest:
            screen.paint(rest)
    except TidewireError as error:
        screen.remark(f"stopped here; the server was not told: {error.message}")


def _talk(client: Tidewire, ask: dict[str, Any], *, stats: bool) -> None:
    """Questions and answers in turn; each question carries those before it. An answer that was stopped is left out."""
    messages: list[dict[str, Any]] = []
    while True:
        try:
            question = input("> ").strip()
        except EOFError:
            click.echo()
            return
        if not question:
            continue
        asked = {"role": "user", "content": question}
        try:
            text = answer(client, Screen(stats=stats), [*messages, asked], ask)
        except TidewireError as error:
            click.secho(error.message, err=True, fg="red")
            continue
        if text is not None:
            messages += [asked, {"role": "assistant", "content": text}]


def _patience(seconds: float) -> None:
    click.secho(f"the connection was lost; trying again in {seconds:.1f} s", err=True, dim=True)
    time.sleep(seconds)

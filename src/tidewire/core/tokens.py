"""How many tokens a message takes, estimated from its characters by script. Pure.

The figures are measured: `docs/context.md` has the table, and how far they are off. Hosts have many tokenizers, few can be had as a small
package, and a budget needs no exact number; where a model's own is at hand, it counts texts instead (`of_text`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from tidewire.core.request import Audio, File, Image, Message, Request, Text, Thought, Tool, ToolCall, ToolResult

MESSAGE: Final = 4  # tokens that a host puts around each message; OpenAI's cookbook counts 3 and the role
IMAGE: Final = 1000  # what hosts charge is 85 to 1,600 by size and detail, which an address does not tell
FILE: Final = 2000  # what is in it is not known here
SECOND: Final = 32_000 * 4 // 3  # base64 characters of a second of sound as WAV, 16 kHz; OpenAI counts 10 tokens for it

# Characters per token. Of ASCII: letters, and digits and signs; white space goes with the word behind it.
LETTERS: Final = 4.2
SIGNS: Final = 1.35
SCRIPTS: Final = (
    (re.compile("[\u0400-\u052f]"), 3.2),  # Cyrillic
    (re.compile("[\u0370-\u03ff\u1f00-\u1fff]"), 2.3),  # Greek
    (re.compile("[\u0590-\u06ff\u0750-\u077f]"), 2.1),  # Hebrew, Arabic
    (re.compile("[\u0900-\u0dff]"), 2.8),  # of India
    (re.compile("[\u0e00-\u0eff]"), 1.9),  # Thai, Lao
    (re.compile("[\uac00-\ud7af]"), 1.35),  # Hangul
    (re.compile("[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]"), 1.1),  # Chinese, Japanese
)
LATIN: Final = re.compile("[\u00a0-\u024f\u1e00-\u1eff]")
LATIN_EACH: Final = 1.0  # characters per token: a letter with a mark breaks a word up
OTHERS: Final = 0.7  # emoji and what is rare take more than one token each

_BLANK: Final = b" \t\r\n"
_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def of_text(text: str) -> int:
    """Tokens of a text, rounded up."""
    plain = text.encode("ascii", "ignore").translate(None, _BLANK)
    signs = len(plain.translate(None, _LETTERS))
    tokens = (len(plain) - signs) / LETTERS + signs / SIGNS
    if not text.isascii():
        left = sum(map(len, re.findall("[^\x00-\x7f]+", text)))
        for script, each in (*SCRIPTS, (LATIN, LATIN_EACH)):
            found = len(script.findall(text))
            tokens += found / each
            left -= found
        tokens += left / OTHERS
    return int(tokens + 0.999999)


def of_message(message: Message, of_text: Callable[[str], int] = of_text) -> int:
    """Tokens of a message with all that is in it. of_text: counts those of a text."""
    tokens = MESSAGE
    for c in message.content:
        match c:
            case Text(text=text) | Thought(text=text):
                tokens += of_text(text)
            case ToolCall(name=name, arguments=arguments):
                tokens += MESSAGE + of_text(name) + of_text(arguments)
            case ToolResult(text=text, images=images):
                tokens += MESSAGE + of_text(text) + IMAGE * len(images)
            case Image():
                tokens += IMAGE
            case Audio(data=data):
                tokens += 10 * (1 + len(data) // SECOND)
            case File():
                tokens += FILE
    return tokens


def of_request(request: Request) -> int:
    """Tokens of all that a model is given: the conversation, and its tools."""
    return sum(map(of_message, request.messages)) + of_tools(request.tools)


def of_tools(tools: Sequence[Tool], of_text: Callable[[str], int] = of_text) -> int:
    """Tokens of what a model is told of its tools, as JSON."""
    return of_text(msgspec.json.encode(tools).decode()) if tools else 0

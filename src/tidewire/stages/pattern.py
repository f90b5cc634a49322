"""How long a regular expression of a caller may take. Python's engine tries every way to match, and cannot be stopped while it does."""

from __future__ import annotations

import re
from typing import Final

LENGTH: Final = 500  # characters of an expression
WAYS: Final = 200_000  # to match; trying them all takes some 20 ms
_COUNTS: Final = re.compile(r"\{(\d*)(,?)(\d*)\}")


def patience(expression: str, length: int) -> int | None:
    """How many steps of work to count for a search in a text of this length, or None for an expression that may take too long.

    The ways to match are bounded by the product of all choices: two for an optional piece, for a repeat as many as it has counts,
    one more for each alternative, and each place of the text that the match may begin at. A choice within a repeat has it raised to
    a power, and is refused.
    """
    if len(expression) > LENGTH:
        return None
    ways = 1 if expression.startswith("^") and "|" not in expression else length + 1
    groups = [False]  # whether each group that is open holds a choice
    chosen = False  # whether the piece that ends here does
    at = 0
    while at < len(expression):
        sign = expression[at]
        choices = 1
        quantifier = _quantifier(expression, at, length)
        if quantifier is not None:
            least, most, at = quantifier
            if chosen and most > 1:
                return None
            choices = most - least + 1
            at += expression[at : at + 1] in ("?", "+")  # lazy or possessive
            chosen = True
        elif sign == "(":
            groups.append(False)
            at += 2 if expression[at + 1 : at + 2] == "?" else 1  # what stands behind it says what group it is
        elif sign == ")":
            chosen = groups.pop() if len(groups) > 1 else False
            groups[-1] |= chosen
            at += 1
        else:
            choices = 2 if sign == "|" else 1
            chosen = False
            at = _behind_class(expression, at) if sign == "[" else at + (2 if sign == "\\" else 1)
        if choices > 1:
            groups[-1] = True
            ways *= choices
        if ways > WAYS:
            return None
    return 1 + ways // 100


def _quantifier(expression: str, at: int, length: int) -> tuple[int, int, int] | None:
    """The least and the most that the quantifier at this place takes of the piece before it, and where it ends."""
    sign = expression[at]
    if sign == "?":
        return 0, 1, at + 1
    if sign in "*+":
        return sign == "+", max(length, 2), at + 1
    counts = _COUNTS.match(expression, at)
    if counts is None or not (counts[1] or counts[3]):
        return None
    least = int(counts[1] or 0)
    most = least if not counts[2] else int(counts[3]) if counts[3] else max(length, least, 2)
    return least, max(most, least), counts.end()


def _behind_class(expression: str, at: int) -> int:
    at += 2 if expression[at + 1 : at + 2] == "^" else 1
    if expression[at : at + 1] == "]":  # the first one stands for itself
        at += 1
    while at < len(expression) and expression[at] != "]":
        at += 2 if expression[at] == "\\" else 1
    return at + 1

"""How long an answer a question asks for, by rules that look at its words. Pure, a few microseconds.

The rules know English, and greetings in some other languages. What they do not know is normal: they err on that side.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from tidewire.core.request import Intent

SHORT: Final = 12  # words; nothing longer is a short question
LONG: Final = 250  # words; whoever writes so much wants more than a sentence
_GREETING: Final = re.compile(
    r"(hi|hello|hey|good (morning|afternoon|evening|night)|thanks?|thank you|thx|ok(ay)?|great|perfect|bye|goodbye|yes|no|hallo|guten "
    r"(morgen|tag|abend)|danke|tschüss|bonjour|salut|merci|au revoir|hola|buenos días|gracias|adiós|ciao|grazie|olá|obrigad[oa])"
    r"( (there|you|so much|very much|a lot|again|all|everyone|sehr|beaucoup|mucho))*",
    re.IGNORECASE,
)
_YES_NO: Final = re.compile(
    r"(is|are|was|were|do|does|did|has|have|had|can|could|will|would|should|may|must|am|isn't|aren't|don't|doesn't|can't) [^?]+\?",
    re.IGNORECASE,
)
_TASK: Final = re.compile(
    r"\b(write|draft|compose|rewrite|translate|summari[sz]e|explain|describe|list|enumerate|compare|generate|create|implement|refactor|code|"
    r"story|essay|poem|report|table|plan|step by step|in detail|how|why|what|which|tell me|show me|help)\b",
    re.IGNORECASE,
)
_WORK: Final = re.compile(
    r"\b(write|draft|compose|rewrite|translate|implement|refactor|generate|list (all|every)|step by step|in (full )?detail|essay|story|report"
    r"|tutorial|(program|script|function|class) (that|which|to|for|in))\b",
    re.IGNORECASE,
)


class Shares(msgspec.Struct, frozen=True):
    """Tokens of an answer, and of the conversation that a model is given; 0: no bound but those of the model."""

    answer: int = 0
    context: int = 0


def intent_of(question: str) -> Intent:
    """short: a greeting, or to be answered by yes or no. long: a piece of work, or much to read. normal: the rest."""
    text = question.strip()
    words = len(text.split())
    if words > LONG or "```" in text or _WORK.search(text):
        return "long"
    bare = text.rstrip(" .!?…")
    if words <= SHORT and (
        _GREETING.fullmatch(bare) or (_YES_NO.fullmatch(text) and not _TASK.search(text) and " or " not in text)
    ):
        return "short"
    return "normal"

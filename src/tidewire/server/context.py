"""What [context] comes to: the step that keeps a conversation within bounds."""

from __future__ import annotations

from pathlib import Path

from tidewire.context.step import Budget, Context
from tidewire.context.tokenizer import Tokenizer, Tokenizers
from tidewire.core.errors import SettingsError
from tidewire.core.ports import Step
from tidewire.server.settings import Settings


def context_steps(settings: Settings) -> list[Step]:
    """None where nothing is bounded. Raises SettingsError for a tokenizer that cannot be used."""
    given = settings.context
    tokenizers = _tokenizers(given.tokenizers)  # looked at where nothing is bounded, too: a wrong path is said now
    shares = given.intents.shares
    if not given.tokens and not given.models and not shares:
        return []
    budget = Budget(given.tokens, given.answer_tokens, given.recent_turns, given.keep_files, given.passage_tokens)
    return [Context(budget, given.models, shares, tokenizers)]


def _tokenizers(given: dict[str, str]) -> Tokenizers:
    out: dict[str, Tokenizer] = {}
    known: dict[str, Tokenizer] = {}
    for pattern, path in given.items():
        param = f"context.tokenizers.{pattern}"
        try:
            out[pattern] = known.get(path) or known.setdefault(path, Tokenizer(Path(path)))
        except ImportError:
            raise SettingsError(
                f"{param} needs the package tokenizers: pip install 'tidewire[embed]'", param=param
            ) from None
        except ValueError as error:
            raise SettingsError(
                f"{param} is {path!r}, which is no tokenizer.json that can be read: {error}", param=param
            ) from None
    return Tokenizers(out)

"""What the rooms report as they work. telemetry/ counts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Meter(Protocol):
    """Cheap, never raises. Times in seconds; label values come from small fixed sets or from the configuration."""

    def opened(self, model: str) -> None: ...

    def closed(self, model: str, status: str, reason: str, seconds: float, tokens: int) -> None:
        """tokens: of the output, as `closed` says; 0 for an answer that is reused: they are counted where they were made."""

    def failed(self, provider: str, code: str) -> None:
        """A stream ended with this error; a code that begins with upstream_ is the host's fault."""

    def first_token(self, model: str, seconds: float) -> None: ...

    def gap(self, seconds: float) -> None:
        """Between two batches of tokens of one stream. Called for every batch: a few hundred nanoseconds at most."""

    def reader(self, change: int) -> None:
        """+1 and -1 as readers come and go."""

    def resumed(self, dialect: str) -> None: ...

    def cancelled(self, seconds: float) -> None:
        """From the wish to stop to the last event, the host let go of."""

    def refused(self, code: str) -> None: ...

    def over_budget(self, term: str, plan: str = "") -> None:
        """A stream ended whose `term` took more than its plan allows; plan: "" for [budget]."""


class ToolMeter(Protocol):
    """What the tools of the server report. tool: its name. Times in seconds."""

    def tool_called(self, tool: str, result: str, seconds: float) -> None:
        """A call is over. result: ok, failed (the tool says so), refused (it was not made), timeout, too_large, defect or cancelled."""

    def tool_retried(self, tool: str) -> None:
        """A try failed, and another is made."""


class RouteMeter(Protocol):
    """What routes report. model: a candidate's name in the configuration."""

    def tried(self, route: str, model: str) -> None:
        """A request goes to this candidate."""

    def try_failed(self, route: str, model: str, code: str) -> None: ...

    def route_cost(self, route: str, model: str, usd: float) -> None:
        """What one try at this candidate took, as its host counted."""

    def continued(self, route: str, model: str, result: str) -> None:
        """This candidate was to go on with an answer that broke off. result: whole, failed or unjoinable."""

    def breaker(self, model: str, state: str) -> None:
        """state: closed, half_open or open."""

    def warmed(self, provider: str, dialled: float, answered: float | None) -> None:
        """A connection was opened before anybody asked for it, and the host answered on it; seconds that each took. None: it was not asked."""

    def not_warmed(self, provider: str, code: str) -> None:
        """It could not be opened, or the host did not answer as it should: the error."""


class EncoderMeter(Protocol):
    """What encoders report, and what keeps documents' vectors whole. encoder: its name. Times in seconds."""

    def encoded(self, encoder: str, kind: str, texts: int, waited: float, took: float) -> None:
        """A batch ended. kind: query or document. waited: the longest that one of its texts had waited. took: the batch itself."""

    def encode_failed(self, encoder: str, code: str) -> None:
        """A batch failed with this error."""

    def truncated(self, encoder: str, texts: int) -> None:
        """So many texts were longer than the model reads; their ends are not in their vectors."""

    def loaded(self, encoder: str, seconds: float) -> None:
        """The model can be used from now on; seconds: from the wish to load it."""

    def kept(self, hits: int, misses: int) -> None:
        """So many queries had their vectors kept, so many had not."""

    def pending(self, chunks: int) -> None:
        """So many chunks wait for a vector."""


class RerankMeter(Protocol):
    """What rerankers report. reranker: its name."""

    def reranked(self, reranker: str, result: str, seconds: float) -> None:
        """A search was to be ordered anew. result: done, part (some were read), late, paused, loading, cancelled, or the code of an error."""


class SearchMeter(Protocol):
    """What searches of the documents and their index report. Times in seconds; nothing of a question or a document."""

    def searched(self, how: str, *, found: bool, seconds: float, took: Mapping[str, float]) -> None:
        """A search is over. took: by part.

        how: hybrid, words (there is no encoder), encoder_late or encoder_failed (by words instead), cached, abandoned (nobody waited
        any longer), failed.
        """

    def served(self, published: float, indexed: float) -> None:
        """A passage went out, that old by its date and since it was stored."""

    def expired_served(self) -> None:
        """A search let a passage through whose time was over before it began: a defect, and it must never be called."""

    def visible(self, stage: str, seconds: float) -> None:
        """What one change brought can be found, so long after it was stored. stage: lexical or dense."""

    def grounded(self, result: str, passages: int) -> None:
        """A model is asked with so many passages. result: given, or why there are none: nothing, filling, late, failed, no_room."""

    def cited(self, *, known: bool) -> None:
        """A model cited a passage. known: one that it was given."""

    def superseded(self, *, deleted: bool) -> None:
        """An answer under way was told that a document of its passages has changed, or is gone."""


class CacheMeter(Protocol):
    """What the cache reports."""

    def reused(self, tier: str, seconds: float, tokens: int, usd: float) -> None:
        """An answer was not asked for again. tier: exact, semantic or shared. seconds, tokens (of the output), usd: what that saved."""

    def missed(self) -> None:
        """An answer was looked for and not there."""


class CascadeMeter(Protocol):
    """What cascades report. cascade: its name in the configuration."""

    def cascaded(self, cascade: str, result: str) -> None:
        """An answer ended. result: kept, refined, unchanged, failed, unfit, draft_only; or share, cost, late: what forbade to refine it."""

    def cascade_cost(self, cascade: str, role: str, usd: float) -> None:
        """What a model of it took. role: draft, judge or refine."""


class IntakeMeter(Protocol):
    """What is reported as documents come in. source: its name in the configuration; "" for those put by hand."""

    def document(self, source: str, result: str) -> None:
        """result: added, replaced, unchanged, removed, skipped, suspicious, expired; failed: of the source itself."""

    def ingested(self, stage: str, seconds: float) -> None:
        """What a document took in the stage read (read and cut), a batch of them in the stage store."""


class SessionMeter(Protocol):
    """What sessions report."""

    def turn_ended(self, result: str) -> None:
        """An answer of a session has ended. result: kept, dropped (nothing was said, or the session is deleted) or failed (to keep it)."""

    def summarised(self, result: str, tokens_in: int, tokens_out: int) -> None:
        """A model was asked for a summary. result: made, failed, late or cancelled."""

"""Where an answer of Gemini's has its words from, and how sure it was of them: grounding, citations and log probabilities as events.

Source: the reference of the Gemini API, "GroundingMetadata", "CitationMetadata" and "LogprobsResult". Offsets there count bytes of UTF-8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tidewire.core.events import Citation

_any: Final = msgspec.json.Decoder()
MANY: Final = 1000  # citations of one answer that are read


def logprobs(raw: bytes | msgspec.Raw) -> list[dict[str, Any]]:
    """A LogprobsResult as OpenAI writes log probabilities; [] for one that cannot be read."""
    said = _read(raw)
    tops = [_dicts(one.get("candidates")) for one in _dicts(said.get("topCandidates"))]
    out = []
    for i, chosen in enumerate(_dicts(said.get("chosenCandidates"))):
        beside = [_token(one) for one in tops[i]] if i < len(tops) else []
        out.append(_token(chosen) | {"top_logprobs": beside})
    return out


def _token(raw: dict[str, Any]) -> dict[str, Any]:
    token, value = raw.get("token"), raw.get("logProbability")
    text = token if isinstance(token, str) else ""
    known = isinstance(value, int | float)
    return {"token": text, "logprob": value if known else 0.0, "bytes": list(text.encode("utf-8", "replace"))}


def citations(name: str, raw: bytes, said: Sequence[tuple[int, str]]) -> list[Citation]:
    """What grounding or citation metadata says of the text. said: the pieces of text and the part of each. Unreadable ones give nothing."""
    found = _read(raw)
    text = _Text(said)
    if name == "grounding_metadata":
        return _grounded(found, text)[:MANY]
    out = []
    for one in _dicts(found.get("citationSources") or found.get("citations"))[:MANY]:
        uri, title = _text(one.get("uri")), _text(one.get("title"))
        place = text.place(_index(one, "startIndex"), _index(one, "endIndex"))
        if place is not None and (uri or title):
            out.append(
                Citation(
                    part=place[0],
                    start=place[1],
                    end=place[2],
                    source=uri or title,
                    title=title,
                    passage="",
                    uri=uri or None,
                )
            )
    return out


def _grounded(found: dict[str, Any], text: _Text) -> list[Citation]:
    raw = found.get("groundingChunks")
    chunks = [one if isinstance(one, dict) else {} for one in raw] if isinstance(raw, list) else []
    out = []
    for support in _dicts(found.get("groundingSupports"))[:MANY]:
        segment = support.get("segment")
        if not isinstance(segment, dict):
            continue
        place = text.place(_index(segment, "startIndex"), _index(segment, "endIndex"), _text(segment.get("text")))
        indices = support.get("groundingChunkIndices")
        for index in indices if isinstance(indices, list) and place is not None else ():
            if not isinstance(index, int) or not 0 <= index < len(chunks):
                continue
            kind = next((k for k in ("web", "retrievedContext", "maps") if isinstance(chunks[index].get(k), dict)), "")
            source = chunks[index].get(kind, {})
            uri, title = _text(source.get("uri")), _text(source.get("title"))
            named = _text(source.get("documentName")) or uri or title
            if named and place is not None:
                out.append(
                    Citation(
                        part=place[0],
                        start=place[1],
                        end=place[2],
                        source=named,
                        title=title,
                        passage=_text(source.get("text")),
                        uri=uri or None,
                    )
                )
    return out


class _Text:
    """The text of an answer, in which places are given in bytes from its first."""

    def __init__(self, said: Sequence[tuple[int, str]]) -> None:
        pieces: dict[int, list[str]] = {}
        for part, text in said:
            pieces.setdefault(part, []).append(text)
        self._parts = {part: "".join(texts) for part, texts in pieces.items()}
        self._raws = {part: text.encode("utf-8", "replace") for part, text in self._parts.items()}

    def place(self, start: int, end: int, words: str = "") -> tuple[int, int, int] | None:
        """Part, first and last offset in its characters. words: what stands there, which counts more than the numbers."""
        for part, text in self._parts.items():
            raw = self._raws[part]
            if start < len(raw):
                first = len(raw[:start].decode("utf-8", "ignore"))
                last = len(raw[: max(start, end)].decode("utf-8", "ignore"))
                if not words or text[first:last] == words:
                    return part, first, last
                break
            start, end = start - len(raw), end - len(raw)
        for part, text in self._parts.items():
            if words and (at := text.find(words)) >= 0:
                return part, at, at + len(words)
        return None


def _read(raw: bytes | msgspec.Raw) -> dict[str, Any]:
    try:
        said = _any.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _dicts(raw: Any) -> list[dict[str, Any]]:
    return [one for one in raw if isinstance(one, dict)] if isinstance(raw, list) else []


def _text(raw: Any) -> str:
    return raw if isinstance(raw, str) else ""


def _index(raw: dict[str, Any], name: str) -> int:
    value = raw.get(name)
    return value if type(value) is int and value >= 0 else 0

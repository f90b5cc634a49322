"""Two public collections with questions that people judged the documents for: CACM (abstracts, dated) and NPL (Vaswani; undated).

They are read where they lie: a folder with cacm/cacm.tar.gz, cacm/topics.cacm.txt, cacm/qrels.cacm.txt (as in castorini's anserini) and
npl/doc-text.trec, npl/query-text.trec, npl/qrels (as in terrier-org's pyterrier).
"""

from __future__ import annotations

import datetime as dt
import math
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_DOC: Final = re.compile(r"<DOC>(.*?)</DOC>|<top>(.*?)</top>", re.DOTALL)
_NUMBER: Final = re.compile(r"<(?:DOCNO|num)>\s*(\S+?)\s*</(?:DOCNO|num)>")
_TAG: Final = re.compile(r"<[^>]*>")
_DATE: Final = re.compile(r"^CACM\s+(\w+)\s*,?\s*(\d{4})", re.MULTILINE)
_STAMP: Final = re.compile(r"^CA\d{6}\w?\s.*$", re.MULTILINE)
_LINKS: Final = re.compile(r"^\d+\t\d+\t\d+\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Judged:
    """documents: title, text and date (Unix seconds; None: undated) by name. questions and the names of what answers them, by number."""

    name: str
    documents: Mapping[str, tuple[str, str, float | None]]
    questions: Mapping[str, str]
    right: Mapping[str, frozenset[str]]


def collections(folder: Path) -> list[Judged]:
    return [_cacm(folder / "cacm"), _npl(folder / "npl")]


def _cacm(folder: Path) -> Judged:
    documents = {}
    with tarfile.open(folder / "cacm.tar.gz") as archive:
        for member in archive:
            opened = archive.extractfile(member)
            if opened is None:
                continue
            text = _TAG.sub("", opened.read().decode("utf-8", "replace")).strip()
            when = _DATE.search(text)
            text = _LINKS.sub("", _STAMP.sub("", _DATE.sub("", text))).strip()
            title, _, rest = text.partition("\n\n")
            name = member.name.rpartition("/")[2].removesuffix(".html")
            documents[name] = (" ".join(title.split()), rest.strip() or title, _month(when))
    return Judged(
        "CACM", documents, dict(_texts(folder / "topics.cacm.txt")), _right(folder / "qrels.cacm.txt", _padded)
    )


def _npl(folder: Path) -> Judged:
    documents = {name: ("", text, None) for name, text in _texts(folder / "doc-text.trec")}
    return Judged("NPL", documents, dict(_texts(folder / "query-text.trec")), _right(folder / "qrels", str))


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    for found in _DOC.finditer(path.read_text(encoding="utf-8", errors="replace")):
        whole = found[1] or found[2]
        number = _NUMBER.search(whole)
        if number is not None:
            text = _TAG.sub(" ", whole.replace(number[0], ""))
            yield number[1], " ".join(text.split())


def _right(path: Path, name: Callable[[str], str]) -> dict[str, frozenset[str]]:
    out: dict[str, set[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        question, _, document, grade = line.split()
        if int(grade) > 0:
            out.setdefault(question, set()).add(name(document))
    return {question: frozenset(names) for question, names in out.items()}


def _padded(name: str) -> str:
    """CACM-115 in the judgements is CACM-0115 among the documents."""
    start, _, number = name.partition("-")
    return f"{start}-{int(number):04}"


def _month(found: re.Match[str] | None) -> float | None:
    if found is None:
        return None
    try:
        return dt.datetime.strptime(f"{found[1]} {found[2]}", "%B %Y").replace(tzinfo=dt.UTC).timestamp()
    except ValueError:
        return None


def ndcg(names: Sequence[str], right: frozenset[str], depth: int = 10) -> float:
    """Of one question: 1 where the first `depth` are all right, or all that is right comes first."""
    gained = sum(1 / math.log2(rank + 1) for rank, name in enumerate(names[:depth], 1) if name in right)
    return gained / sum(1 / math.log2(rank + 1) for rank in range(1, min(depth, len(right)) + 1))

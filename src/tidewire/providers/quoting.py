"""Which sentences of the passages found answer a question best, cleaned of markup. Pure: no search, no stream, no clock."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from tidewire.core import prose
from tidewire.core.ports import Passage

MOST: Final = 5  # sentences in an answer
PASSAGE: Final = 600  # characters of a source shown with a citation
# A further sentence must be worth this share of the best one.
WORTH: Final = 0.6
# Two sentences that share this much of their words say the same.
SAME: Final = 0.6

# Words that point at what was said before: such a sentence needs the one before it.
_POINTS_BACK: Final = re.compile(
    r"(?:what it|it|its|this|that|these|those|they|them|he|she|such|however|therefore|thus|otherwise|instead|then|also|but|and|so|or)\b",
    re.IGNORECASE,
)
_DEFINED: Final = re.compile(
    r"\W*(?:(?:an?|the)\s+)?(?:[^\s.,;:]+\s+){1,4}?(?:is|are|means|refers|provides|lets|allows|represents|contains)\b"
    "|[^.:]{1,40}(?: [\u2014\u2013-] |: )",
    re.IGNORECASE,
)
_ASKS_WHAT: Final = re.compile(r"\W*(?:what|who)(?:\s+(?:is|are|does|do)\b|'s\b)|\W*define\b|.*\bmean\b", re.IGNORECASE)
_LINK: Final = re.compile(r"(?<![\w`!\]])\[((?:`[^`]*`|[^\[\]`])+)\](?:\([^)\s]*(?:\s\"[^\"]*\")?\)|\[[^\]]*\])")
_CODE: Final = re.compile(
    r"[{};=<>|\\$]|\(\)|->|::|==|^\s*(?:def|class|import|from|return|const|let|var|if|for|while)\b"
)
_LABEL: Final = re.compile(r"(?:stability|version|added|since|changed)\b[^.]{0,30}?[:\d]|`[^`]+` \{", re.IGNORECASE)
# A line of a program; one in five makes a block code. Chunks cut out of a source file bring no fence with them.
_CODE_LINE: Final = re.compile(
    r"\s*(?:@\w+|def |class |from \S+ import|import |return\b|(?:if|for|while|elif|else|try|with)\b.*[:{]$|[\w.\[\]]+ (?:=|\+=|:=) "
    r"|[\w.]+ = |[)}\]]+[,;:]?$|(?:const|let|var|static|public|private|void|int|function|fn|func)\b)|.*(?:[{};(\[]|\) ->.*:)$|.*\bself\.|.*\"{3}"
)
_CLUTTER: Final = re.compile(
    r"\b(?:copyright|all rights reserved|table of contents|click here|see also)\b", re.IGNORECASE
)


class Quote(NamedTuple):
    """A sentence to be said. text: as it reads in the answer. source: where it stands; context: the words around it."""

    text: str
    source: Passage
    at: int
    context: str


class Choice(NamedTuple):
    """The quotes, in the order in which they are to be said: the best document and passage first, each in reading order.

    covered: the share of the question's meaning in them, 0 to 1; near: that of the one passage that holds most of it.
    places: for want of a sentence to quote, the names of the best passages.
    """

    quotes: list[Quote]
    covered: float
    near: float = 0.0
    places: tuple[Quote, ...] = ()


class _Candidate(NamedTuple):
    quote: Quote
    rank: int
    place: int  # of the sentence in its block
    block: int
    first: bool  # the first prose under a heading
    words: tuple[str, ...]
    above: frozenset[str]


def choose(question: str, passages: Sequence[Passage], rarity: Mapping[str, float], *, before: str = "") -> Choice:
    """The two to five sentences that answer best; none where no sentence shares a word with the question.

    passages: best first. rarity: how much each content word of the question (and of `before`, the question before, whose
    words count half) tells passages apart.
    """
    weights = _weights(question, before, rarity)
    total = sum(weights.values())
    found = [c for rank, passage in enumerate(passages) for c in _candidates(rank, passage)]
    near = max((_held(p, weights) for p in passages), default=0.0) / total if total else 0.0
    if not near or not found:
        return Choice([], 0.0, near, _places(passages))
    top = max(p.score for p in passages) or 1.0
    asks_what = _ASKS_WHAT.match(question) is not None
    pairs = _pairs(question)
    scored = sorted(
        (
            (
                _score(
                    c, weights=weights, pairs=pairs, total=total, rank=passages[c.rank].score / top, asks_what=asks_what
                ),
                -n,
                c,
            )
            for n, c in enumerate(found)
        ),
        reverse=True,
        key=lambda entry: entry[:2],
    )
    kept = _best(scored, weights, total, found)
    said = {w for c in kept for w in c.words} | {w for c in kept for w in c.above}
    covered = sum(weight for word, weight in weights.items() if word in said) / total
    documents = list(dict.fromkeys(c.quote.source.source for c in kept))
    ranks = list(dict.fromkeys(c.rank for c in kept))
    kept.sort(key=lambda c: (documents.index(c.quote.source.source), ranks.index(c.rank), c.quote.at))
    return Choice([c.quote for c in kept], covered, near, _places(passages))


def _held(passage: Passage, weights: Mapping[str, float]) -> float:
    there = {prose.stem(w) for w in prose.words(f"{passage.title} {passage.heading} {passage.text}")}
    return sum(weight for word, weight in weights.items() if word in there)


def _places(passages: Sequence[Passage]) -> tuple[Quote, ...]:
    names: dict[str, Quote] = {}
    for p in passages[:8]:
        title = p.uri if p.uri and p.uri.endswith(f"/{p.title}") else p.title
        head, _, last = p.heading.rpartition(" > ")
        name = f"{title}, \u201c{last}\u201d" if last and (head or last != p.title) else title
        names.setdefault(name, Quote(name, p, p.start, p.text[:PASSAGE].strip()))
    return tuple(names.values())[:3]


def _weights(question: str, before: str, rarity: Mapping[str, float]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for text, share in ((question, 1.0), (before, 0.5)):
        for word in prose.content_words(text):
            weights.setdefault(prose.stem(word), share * rarity.get(word, 1.0))
    return weights


def _pairs(question: str) -> set[tuple[str, str]]:
    stems = [prose.stem(w) for w in prose.words(question) if w not in prose.STOPWORDS]
    return set(itertools.pairwise(stems))


def _score(
    c: _Candidate,
    *,
    weights: Mapping[str, float],
    pairs: set[tuple[str, str]],
    total: float,
    rank: float,
    asks_what: bool,
) -> float:
    """About 0 to 1.5. Its own words count most, the headings over it half, then closeness, the passage's rank and its place."""
    own = set(c.words)
    value = sum(w if word in own else 0.5 * w if word in c.above else 0.0 for word, w in weights.items()) / total
    if not value:
        return 0.0
    if not own & weights.keys():
        value *= 0.7  # only its heading speaks of it
    close = sum(1 for a, b in pairs if _near(c.words, a, b))
    value += 0.15 * close / max(1, len(pairs)) + 0.25 * rank
    value += 0.06 * (c.place == 0) + 0.1 * c.first
    if asks_what and c.place == 0 and _DEFINED.match(c.quote.text):
        start = {prose.stem(w) for w in prose.words(c.quote.text[:60])[:6]}
        value += (
            (0.4 if c.first and c.quote.source.start < 50 else 0.3)
            * sum(weights[w] for w in start & weights.keys())
            / total
        )
    return value * _quality(c)


def _quality(c: _Candidate) -> float:
    """Between 0 and 1: how well it reads when it stands alone."""
    text, size = c.quote.text, len(c.quote.text.split())
    value = 1.0
    if size < 6:
        value *= 0.75
    elif size > 70:
        value *= 0.6
    elif size > 45:
        value *= 0.85
    if _POINTS_BACK.match(text):
        value *= 0.85
    if not text.endswith((".", "!", "?", "\u3002", "\uff01", "\uff1f", ".)", '."')):
        value *= 0.6 if text.endswith(":") else 0.8
    if text.endswith("?"):
        value *= 0.6
    if not (text[0].isupper() or text[0] in "`\"'(\u201c" or text[0].isdigit()):
        value *= 0.9
    if _CLUTTER.search(text):
        value *= 0.5
    if text.count("`") > max(8, size * 0.8):
        value *= 0.45  # a list of names
    if _LABEL.match(text):
        value *= 0.7  # a remark or an argument's description
    return value


def _near(words: Sequence[str], a: str, b: str) -> bool:
    places = [n for n, w in enumerate(words) if w == a]
    return any(b in words[max(0, n - 2) : n + 4] for n in places)


def _best(
    scored: Sequence[tuple[float, int, _Candidate]],
    weights: Mapping[str, float],
    total: float,
    found: Sequence[_Candidate],
) -> list[_Candidate]:
    """The best, and after it what still adds something: other words of the question, or much the same worth."""
    kept: list[_Candidate] = []
    said: set[str] = set()
    least = scored[0][0] * WORTH
    for score, _, candidate in scored:
        if len(kept) >= MOST or score <= 0:
            break
        own = set(candidate.words)
        new = sum(weights[w] for w in own & weights.keys() - said) / total
        left = sum(weight for word, weight in weights.items() if word not in said) / total
        gain = 0.8 + new if new or left < 0.25 else 0.65  # the same words again, while others wait for an answer
        if kept and score * gain < (least if len(kept) < 3 else least * 1.4):
            continue
        if any(_same(own, set(k.words)) for k in kept):
            continue
        leading = _leading(candidate, found) if _POINTS_BACK.match(candidate.quote.text) else None
        if (
            leading
            and leading not in kept
            and len(kept) < MOST - 1
            and not any(_same(set(leading.words), set(k.words)) for k in kept)
        ):
            kept.append(leading)
        kept.append(candidate)
        said |= own
    return kept


def _leading(candidate: _Candidate, found: Sequence[_Candidate]) -> _Candidate | None:
    """The sentence before it in the same block."""
    return next(
        (f for f in found if (f.rank, f.block, f.place) == (candidate.rank, candidate.block, candidate.place - 1)), None
    )


def _same(a: set[str], b: set[str]) -> bool:
    return len(a & b) > SAME * min(len(a), len(b)) and len(a & b) > 0.45 * max(len(a), len(b))


def _candidates(rank: int, passage: Passage) -> Iterator[_Candidate]:
    """The sentences of a passage that can be said: no code, no table, no heading, no list of links."""
    text = passage.text
    above = frozenset(prose.stem(w) for w in prose.content_words(f"{passage.title} {passage.heading}"))
    first = True
    for n, block in enumerate(prose.blocks(text)):
        if block.kind == "heading":
            first = True
            above |= {prose.stem(w) for w in prose.content_words(text[block.start : block.end])}
        if block.kind == "table":
            yield from _rows(rank, passage, block, n, above)
        if block.kind not in ("paragraph", "item") or _is_code(text[block.start : block.end]):
            continue
        for place, (start, end) in enumerate(prose.sentences(text, block.start, block.end)):
            if block.start == 0 and place == 0 and passage.start and text[start].islower():
                continue  # the tail of a sentence that was cut
            said = clean(text[start:end])
            if said and _readable(said):
                words = tuple(prose.stem(w) for w in prose.words(said) if w not in prose.STOPWORDS)
                context = _context(text, block, start, end)
                yield _Candidate(
                    Quote(said, passage, passage.start + start, context),
                    rank,
                    place,
                    n,
                    first and block.kind == "paragraph",
                    words,
                    above,
                )
        first = False


def _rows(rank: int, passage: Passage, block: prose.Block, n: int, above: frozenset[str]) -> Iterator[_Candidate]:
    """A row of two cells that explains something: "name: what it is"."""
    at = block.start
    for row in passage.text[block.start : block.end].split("\n"):
        cells = [clean(cell) for cell in re.split(r"(?<!\\)\|", row.strip().strip("|"))]
        if len(cells) == 2 and all(cells) and _readable(cells[1]):
            said = f"{cells[0]}: {cells[1]}"
            words = tuple(prose.stem(w) for w in prose.words(said) if w not in prose.STOPWORDS)
            context = _context(passage.text, prose.Block("item", at, at + len(row)), at, at + len(row))
            yield _Candidate(Quote(said, passage, passage.start + at, context), rank, 0, n, False, words, above)
        at += len(row) + 1


def _context(text: str, block: prose.Block, start: int, end: int) -> str:
    """The passage, its block or the sentence alone: the longest that is short enough to be shown."""
    for a, b in ((0, len(text)), (block.start, block.end), (start, end)):
        if b - a <= PASSAGE:
            return text[a:b].strip()
    return text[start : start + PASSAGE].strip()


def clean(sentence: str) -> str:
    """As it reads: one line, links by their words, no bullets, emphasis or tags. Inline code keeps its ticks."""
    line = " ".join(re.sub(r"^[ \t]*>[ \t]?", "", sentence, flags=re.MULTILINE).split())
    parts = re.split(r"(`+[^`]+`+)", _LINK.sub(r"\1", line))
    text = "".join(part if part.startswith("`") else _plain(part) for part in parts)
    text = re.sub(r"^(?:>\s*|[-*+•]\s+|\d{1,3}[.)]\s+|\[[ xX]\]\s+)+", "", text.strip())
    return re.sub(r"\s+([,.;:])(?=\s|$)", r"\1", " ".join(text.split())).strip()


def _plain(text: str) -> str:
    text = re.sub(r"!\[[^\]]*\](?:\([^)]*\)|\[[^\]]*\])", "", text)
    text = re.sub(r"\[\^[^\]]*\]", "", text)
    text = re.sub(r"</?[A-Za-z][^<>]*>", "", text)
    text = re.sub(r"(\*{1,3})(?=\S)([^*]+?)(?<=\S)\1", r"\2", text)
    text = re.sub(r"(?<!\w)(_{1,3})(?=\S)([^_]+?)(?<=\S)\1(?!\w)", r"\2", text)
    return text.replace("**", "").replace("\\_", "_").replace("\\*", "*")


def _is_code(block: str) -> bool:
    lines = [line.rstrip() for line in block.split("\n")]
    return sum(1 for line in lines if _CODE_LINE.match(line)) * 5 > len(lines)


def _readable(text: str) -> bool:
    """Whether it is a sentence and not code, a row of numbers, a path or a list of names."""
    bare = re.sub(r"`[^`]*`", "code", text)
    words = re.findall(r"[^\W\d_]{2,}", bare)
    cjk = len(re.findall(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]", bare))
    if cjk >= 6:
        return True
    if len(words) < 4 or len(text) > 700 or re.match(r"[\"'\u201d)\].,;:]+[,;.\s]", text):
        return False
    letters = sum(len(w) for w in words)
    if letters < 0.6 * len(bare.replace(" ", "")) or len(_CODE.findall(bare)) > max(1, len(words) // 8):
        return False
    return (
        len(re.findall(r"https?://|www\.", bare)) * 8 <= len(words) and len(re.findall(r"\.{4,}|[-_=]{4,}", bare)) == 0
    )

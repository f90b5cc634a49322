"""Results on disk, and benchmarks/README.md made of them: what stands between its markers is written here and nowhere else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from relay import tables
from relay.machine import ROOT

PAGE = ROOT / "benchmarks" / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
NOTHING = "Nothing is recorded yet.\n"
_SECTION = re.compile(r"(<!-- (\w+): generated -->\n).*?(<!-- end -->)", re.DOTALL)


def save_rows(path: Path, context: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"context": context}), *(json.dumps(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def save(path: Path, result: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def load_rows(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    first, *rest = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return first["context"], rest


def _relay(folder: Path) -> str:
    path = folder / "relay.jsonl"
    return tables.report(*load_rows(path)) if path.exists() else NOTHING


def _printed(name: str) -> Callable[[Path], str]:
    """What a program printed, as it printed it."""

    def section(folder: Path) -> str:
        path = folder / f"{name}.json"
        if not path.exists():
            return NOTHING
        result = json.loads(path.read_text(encoding="utf-8"))
        return f"{tables.machine(result['context'])}\n```text\n{result['text'].rstrip()}\n```\n"

    return section


SECTIONS: Mapping[str, Callable[[Path], str]] = {
    "relay": _relay,
    **{
        name: _printed(name)
        for name in (
            "cancel",
            "backpressure",
            "pipeline",
            "dialects",
            "arranging",
            "cascading",
            "semantic_cache",
            "kept_answers",
            "embedding",
            "hotspots",
            "retrieval_quality",
            "retrieval_speed",
            "retrieval_others",
            "retrieval_others_20000",
        )
    },
}


def rendered(text: str, folder: Path = RESULTS) -> str:
    """The page with its sections made anew. Raises KeyError for a marker that nobody fills."""
    return _SECTION.sub(lambda found: f"{found[1]}{SECTIONS[found[2]](folder)}{found[3]}", text)


def write() -> None:
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

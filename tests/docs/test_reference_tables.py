"""What the pages list is what the code has: settings, error codes, metrics, directives, events."""

from __future__ import annotations

import ast
import re

import msgspec
from pages import ROOT, table

from tidewire.core import errors
from tidewire.core import events as ev
from tidewire.providers.simulated import Script
from tidewire.server import reference
from tidewire.telemetry.metrics import Metrics

DOCS = ROOT / "docs"
# Codes that are put together where they are raised.
MADE = {
    "upstream_{setting}_timeout": ("upstream_header_timeout", "upstream_first_token_timeout", "upstream_idle_timeout"),
    "upstream_": ("upstream_error", "upstream_abort"),
}
NOT_CODES = {"upstream_status"}


def ticked(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def documented() -> dict[str, list[str]]:
    rows = table(DOCS / "errors.md", "Errors")
    codes = [ticked(row[0])[0] for row in rows]
    assert len(codes) == len(set(codes)), "a code is listed twice"
    return {code: row for code, row in zip(codes, rows, strict=True)}


def raised() -> set[str]:
    """Every code in the source: of the error classes, of code=…, of refusals, and whatever begins with upstream_."""
    found: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.keyword(arg="code", value=value):
                    found |= _codes(value)
                case ast.ClassDef(body=body):
                    for line in body:
                        match line:
                            case ast.Assign(targets=[ast.Name(id="code")], value=value):
                                found |= _codes(value)
                            case ast.AnnAssign(target=ast.Name(id="code"), value=ast.expr() as value):
                                found |= _codes(value)
                case ast.Call(func=ast.Attribute(attr="refuse"), args=[_, code, *_]):
                    found |= _codes(code)
                case ast.Constant(value=str(text)) if re.fullmatch(r"upstream_\w+", text):
                    found.add(text)
    return found - NOT_CODES


def _codes(value: ast.expr) -> set[str]:
    if isinstance(value, ast.Constant):
        return {value.value} if isinstance(value.value, str) else set()
    if isinstance(value, ast.JoinedStr):
        made = "".join(p.value if isinstance(p, ast.Constant) else f"{{{ast.unparse(p.value)}}}" for p in value.values)
        return set(MADE[made])
    if isinstance(value, ast.BinOp) and isinstance(value.left, ast.Constant):
        return set(MADE[value.left.value])
    return set()


def test_the_table_of_settings_is_the_generated_one():
    assert reference.table() in (DOCS / "settings.md").read_text(encoding="utf-8"), (
        "write it again: tidewire config --table"
    )


def test_every_error_code_is_explained_and_none_is_invented():
    assert set(documented()) == raised()


def test_the_statuses_of_errors_are_those_of_their_classes():
    rows = documented()
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.TidewireError):
            _, status, retryable, *_ = rows[kind.code]
            assert (status, retryable) == (str(kind.status), "yes" if kind.retryable else "no"), kind.code


def test_every_metric_is_explained_with_its_labels():
    rows = table(DOCS / "operations.md", "Metrics")
    metrics = Metrics()
    metrics.opened("m")
    metrics.closed("m", "s", "r", 1.0, 1)
    metrics.first_token("m", 1.0)
    metrics.resumed("d")
    metrics.failed("p", "upstream_c")
    metrics.refused("c")
    metrics.over_budget("t")
    metrics.tried("r", "m")
    metrics.try_failed("r", "m", "c")
    metrics.breaker("m", "open")
    metrics.warmed("p", 0.1, 0.1)
    metrics.not_warmed("p", "upstream_c")
    metrics.cascaded("c", "kept")
    metrics.cascade_cost("c", "draft", 0.1)
    metrics.route_cost("r", "m", 0.1)
    metrics.tool_called("t", "ok", 0.1)
    metrics.tool_retried("t")
    metrics.continued("r", "m", "whole")
    metrics.reused("exact", 0.1, 1, 0.1)
    metrics.rerankers.reranked("r", "done", 0.1)
    metrics.searches.searched("words", found=True, seconds=0.1, took={})
    metrics.searches.grounded("given", 1)
    metrics.searches.cited(known=True)
    metrics.mcp_called("search", "ok")
    metrics.searches.superseded(deleted=False)
    metrics.encoders.encoded("e", "query", 1, 0.1, 0.1)
    metrics.encoders.encode_failed("e", "c")
    metrics.encoders.truncated("e", 1)
    metrics.encoders.loaded("e", 0.1)
    metrics.encoders.kept(1, 1)
    metrics.intake.document("s", "added")
    metrics.intake.ingested("read", 0.1)
    metrics.sessions.turn_ended("kept")
    metrics.sessions.summarised("made", 1, 1)
    kinds = {}
    for family in metrics.collect():
        labels = " and ".join(name for name in family.samples[0].labels if name != "le")
        kinds[family.name] = f"{family.type}, by {labels}" if labels else family.type
    assert {ticked(name)[0]: kind for name, kind, _ in rows} == kinds


def test_every_directive_of_the_simulated_model_is_explained():
    rows = table(DOCS / "providers.md", "The simulated model")
    assert [ticked(row[0])[0] for row in rows] == list(Script.__struct_fields__)


def test_the_protocol_lists_every_event_with_its_fields():
    rows = table(ROOT / "spec" / "PROTOCOL.md", "4. Events")
    told = {ticked(kind)[0]: ticked(fields) for kind, fields, _ in rows}
    assert list(told) == [kind.__struct_config__.tag for kind in ev.LOGGED]
    for kind in ev.LOGGED:
        fields = [f for f in msgspec.structs.fields(kind) if f.name not in ("seq", "at")]
        here = {f.name if f.required else f"{f.name}?" for f in fields}
        assert set(told[kind.__struct_config__.tag]) == here, kind.__name__


def test_the_protocol_names_every_reason_status_and_stage():
    text = (ROOT / "spec" / "PROTOCOL.md").read_text(encoding="utf-8")
    for words in (ev.Reason, ev.Status, ev.Stage, ev.DurabilityClass, ev.PartKind):
        for word in words.__args__:
            assert re.search(rf"\b{word}\b", text), word

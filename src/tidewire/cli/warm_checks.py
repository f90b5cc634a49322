"""The doctor's look at what a running server keeps warm: its own figures say when, and what it took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tidewire.cli.checks import Finding
from tidewire.server.settings import Settings

WARMED: Final = "tidewire_warmed_timestamp_seconds"
DIAL: Final = "tidewire_dial_seconds"
PROBE: Final = "tidewire_probe_seconds"
FAILED: Final = "tidewire_warm_failures_total"


def warm(settings: Settings) -> Iterator[Finding]:
    """One line for each host of a warm route. Nothing where no such server runs here, or its figures may not be read."""
    if not any(plan.warm for plan in settings.routes.values()):
        return
    figures = _figures(settings)
    for name in sorted(figures.get(WARMED, {}).keys() | figures.get(FAILED, {}).keys()):
        what = f"warm {name}"
        since = figures.get(WARMED, {}).get(name)
        failed = figures.get(FAILED, {}).get(name, 0.0)
        if since is None:
            todo = "Is it running, and are its address and key right?"
            yield Finding(what, "warn", f"could not be warmed, {failed:.0f} times since the server started", todo)
            continue
        said = f"{max(0.0, time.time() - since):.0f} s ago, connected in {figures[DIAL][name] * 1000:.0f} ms"
        if (answered := figures.get(PROBE, {}).get(name)) is not None:
            said += f", answered in {answered * 1000:.0f} ms"
        yield Finding(what, "ok", said + (f"; {failed:.0f} times it could not be" if failed else ""))


def _figures(settings: Settings) -> dict[str, dict[str, float]]:
    """By metric and provider, as the server at the settings' address tells them; {} where none does."""
    given = settings.server
    try:
        answer = httpx.get(
            f"{'https' if given.tls_cert else 'http'}://{given.host}:{given.port}/metrics",
            headers={"Authorization": f"Bearer {given.api_key}"} if given.api_key else {},
            timeout=2.0,
            trust_env=False,
            verify=False,  # noqa: S501 - our own server on this machine
        )
    except (httpx.HTTPError, httpx.InvalidURL):
        return {}
    if answer.status_code != 200 or answer.headers.get("server") != "tidewire":
        return {}
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            if sample.name in (WARMED, DIAL, PROBE, FAILED):
                of = found.setdefault(sample.name, {})
                provider = sample.labels["provider"]
                of[provider] = of.get(provider, 0.0) + sample.value
    return found

"""`tidewire doctor`: what is missing, and what to do about it."""
# ruff: noqa: D301 - click takes \b as it is

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Final

import click

from tidewire.cli.checks import Finding, everything, of_settings
from tidewire.cli.document_checks import documents
from tidewire.cli.main import FAILED
from tidewire.cli.options import settings, settings_options
from tidewire.cli.tool_checks import tools
from tidewire.cli.warm_checks import warm
from tidewire.core.errors import SettingsError
from tidewire.server.settings import Settings

COLOURS: Final = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command(short_help="Find out what is missing.")
@settings_options
def doctor(config: Path | None, data: str | None) -> None:
    """Look at everything that a server needs on this machine. Each line is ok, warn or fail, and says what to do.

    \b
    Example:
      tidewire doctor --config /etc/tidewire.toml

    \b
    Exit codes: 0 a server can run, 1 something fails.
    """
    findings: list[Finding] = []
    try:
        loaded = settings(config, data=data)
    except SettingsError as error:
        findings.append(Finding("settings", "fail", error.message))
        chosen = Settings()
    else:
        findings.append(of_settings(loaded))
        chosen = loaded.settings
    for finding in findings:
        _say(finding)
    for finding in itertools.chain(everything(chosen), documents(chosen), tools(chosen), warm(chosen)):
        _say(finding)
        findings.append(finding)
    failures = sum(finding.level == "fail" for finding in findings)
    if failures:
        click.echo(f"\n{failures} of {len(findings)} checks failed", err=True)
        sys.exit(FAILED)


def _say(finding: Finding) -> None:
    click.echo(f"{click.style(f'{finding.level:4}', fg=COLOURS[finding.level])}  {finding.name}: {finding.said}")
    if finding.todo:
        click.echo(f"      {finding.todo}")

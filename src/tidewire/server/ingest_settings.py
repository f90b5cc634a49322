"""The settings of what brings documents in: bounds, and sources."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from tidewire.core.errors import SettingsError
from tidewire.server.group import Bytes, Group, Seconds

Lifetime = Annotated[float, Meta(gt=0, le=3_200_000_000, extra={"unit": "s"})]


class Ingest(Group, frozen=True):
    """What reading one document may take."""

    file_bytes: Annotated[Bytes, Meta(description="Size of a file, a page or a feed; larger ones are not read.")] = (
        32 << 20
    )
    characters: Annotated[int, Meta(ge=1000, le=1_000_000_000, description="Characters of one document's text.")] = (
        20_000_000
    )
    memory_bytes: Annotated[Bytes, Meta(description="Memory of a process that reads documents and feeds.")] = 1 << 30
    read_s: Annotated[Seconds, Meta(description="Time that such a process has for one document.")] = 30.0
    readers: Annotated[int, Meta(ge=1, le=64, description="Such processes at once.")] = 2
    private: Annotated[
        bool, Meta(description="Fetch from addresses that are not public, too: this machine and the network behind it.")
    ] = False
    ttl: Annotated[
        dict[str, Lifetime],
        Meta(
            description='How long documents are served from their date on: "source:NAME", "path:GLOB" or a media type = seconds; '
            "the first of these three that fits. None fits: for ever."
        ),
    ] = {}


class SourceSettings(Group, frozen=True):
    """Where documents come from: [sources.NAME]."""

    kind: Annotated[
        Literal["folder", "url", "feed", "webhook"],
        Meta(description="folder: watched. url: pages. feed: RSS or Atom. webhook: others send, signed."),
    ] = "folder"
    path: Annotated[str, Meta(description="The folder or file, for folder.")] = ""
    urls: Annotated[list[str], Meta(description="The pages, for url; the feed, for feed.")] = []
    namespace: Annotated[str, Meta(min_length=1, description="Whose documents they are: the tenant.")] = "default"
    every_s: Annotated[
        Seconds, Meta(description="Time between two looks; a watched folder is looked at after each change, too.")
    ] = 300.0
    include: Annotated[list[str], Meta(description="Globs of the files taken, for folder; none: all.")] = []
    exclude: Annotated[list[str], Meta(description="Globs of the files left out, for folder.")] = []
    readers: Annotated[list[str], Meta(description="Groups of which one is needed to read them; none: everybody.")] = []
    key_env: Annotated[
        str,
        Meta(description="Name of the environment variable that holds the webhook's secret (whsec_..., or any text)."),
    ] = ""


def fault(sources: dict[str, SourceSettings], ttl: dict[str, float]) -> SettingsError | None:
    """What no single field can say."""
    for name, source in sources.items():
        needed, held = {
            "folder": ("path", source.path),
            "webhook": ("key_env", source.key_env),
        }.get(source.kind, ("urls", "".join(source.urls)))
        if not held:
            said = f"sources.{name} is a {source.kind}, and its {needed} is empty; say where it is"
            return SettingsError(said, param=f"sources.{name}.{needed}")
        if source.kind == "feed" and len(source.urls) != 1:
            said = f"sources.{name}.urls has {len(source.urls)} addresses; a feed has one, and several feeds are several sources"
            return SettingsError(said, param=f"sources.{name}.urls")
    for rule in ttl:
        if not (rule.startswith(("source:", "path:")) or rule.count("/") == 1):
            said = f'ingest.ttl has a rule {rule!r}; it must be "source:NAME", "path:GLOB" or a media type such as text/html'
            return SettingsError(said, param="ingest.ttl")
    return None

"""Pages by their addresses, asked for again only where they changed; and the one client that fetches anything for an ingest.

Whoever names an address must not reach the network behind this server with it: each host is looked up once, every address of
it must be a public one, and the connection goes to that very address. The same holds for each redirect.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec

from tidewire.core.addresses import shown, without_user
from tidewire.retrieval.intake import Delivery, Found
from tidewire.retrieval.reading.dates import seconds
from tidewire.retrieval.sources.port import SourceFailed

REDIRECTS: Final = 5
CONNECT: Final = 10.0  # seconds
SILENCE: Final = 30.0  # seconds between two pieces
WHOLE: Final = 120.0  # seconds for one page
AGENT: Final = "tidewire-ingest"

Look = Callable[[str, int], Awaitable[Sequence[str]]]


class Fetched(msgspec.Struct, frozen=True):
    """url: behind all redirects. raw: None where it is as it was. etag, modified: to ask with the next time."""

    url: str
    raw: bytes | None
    kind: str = ""
    etag: str = ""
    modified: str = ""


class Gone(SourceFailed):
    """The host says that it is gone for good."""


async def look_up(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[4][0]) for address in found]


class Web:
    """private: allows addresses that are not public. largest: bytes of an answer, unpacked. Proxies of the environment are not used."""

    def __init__(self, *, largest: int, private: bool = False, look: Look = look_up) -> None:
        self.largest = largest
        self._private = private
        self._look = look
        self._client = httpx.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(SILENCE, connect=CONNECT),
            headers={"user-agent": AGENT, "accept-encoding": "gzip, deflate"},
        )

    async def get(self, url: str, etag: str = "", modified: str = "") -> Fetched:
        """etag, modified: of the version at hand. Raises SourceFailed with why, Gone for 410."""
        asked = {"if-none-match": etag} if etag else {}
        asked |= {"if-modified-since": modified} if modified else {}
        try:
            async with asyncio.timeout(WHOLE):
                for _ in range(REDIRECTS + 1):
                    found = await self._once(url, asked)
                    if isinstance(found, Fetched):
                        return found
                    url = found
        except TimeoutError:
            raise SourceFailed(f"{shown(url)} took longer than {WHOLE:g} s") from None
        except httpx.HTTPError as error:
            raise SourceFailed(f"{shown(url)} cannot be reached: {type(error).__name__}") from error
        raise SourceFailed(f"{shown(url)}: more than {REDIRECTS} redirects")

    async def close(self) -> None:
        await self._client.aclose()

    async def _once(self, url: str, asked: dict[str, str]) -> Fetched | str:
        """What is there, or where it says that it is."""
        at, headers, extensions = await self._pinned(url)
        async with self._client.stream("GET", at, headers={**asked, **headers}, extensions=extensions) as answer:
            if answer.status_code in (301, 302, 303, 307, 308) and "location" in answer.headers:
                return str(httpx.URL(url).join(answer.headers["location"]))
            if answer.status_code == 304:
                return Fetched(url, None)
            if answer.status_code == 410:
                raise Gone(f"{shown(url)} is gone (410)")
            if answer.status_code != 200:
                raise SourceFailed(f"{shown(url)} answered {answer.status_code}")
            declared = answer.headers.get("content-length", "")
            if declared.isdecimal() and int(declared) > self.largest:
                raise SourceFailed(f"{shown(url)} is {int(declared):,} bytes, and {self.largest:,} is the limit")
            raw = bytearray()
            async for piece in answer.aiter_bytes(65536):
                raw += piece
                if len(raw) > self.largest:
                    raise SourceFailed(f"{shown(url)} is over {self.largest:,} bytes, which is the limit")
            given = answer.headers
            return Fetched(
                url, bytes(raw), given.get("content-type", ""), given.get("etag", ""), given.get("last-modified", "")
            )

    async def _pinned(self, url: str) -> tuple[httpx.URL, dict[str, str], dict[str, Any]]:
        """The address to connect to in place of the name, and how the host is still told its name."""
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            raise SourceFailed(f"{shown(url)!r} is no address") from None
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise SourceFailed(f"{shown(url)} is no http:// or https:// address")
        port = parsed.port or (443 if parsed.scheme == "https" else 80)
        try:
            addresses = await self._look(parsed.host, port)
        except (OSError, UnicodeError):
            raise SourceFailed(f"there is no host {parsed.host!r}") from None
        closed = [one for one in addresses if not public(one)]
        if not addresses or (closed and not self._private):
            raise SourceFailed(
                f"{parsed.host!r} is at {', '.join(closed)}, which is not a public address; ingest.private = true allows it"
            )
        headers = {"host": parsed.netloc.decode("ascii").rpartition("@")[2]}
        return parsed.copy_with(host=addresses[0]), headers, {"sni_hostname": parsed.host}


def public(address: str) -> bool:
    """Whether an IP address is one of the internet's own; one that carries another inside is judged by both."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    inner = [parsed]
    if isinstance(parsed, ipaddress.IPv6Address):
        inner += [one for one in (parsed.ipv4_mapped, parsed.sixtofour) if one is not None]
        inner += list(parsed.teredo or ())
        if parsed in ipaddress.ip_network("64:ff9b::/96"):
            inner.append(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF))
    return all(one.is_global and not one.is_multicast for one in inner)


class Pages:
    """`sources.port.Source`: pages at given addresses. One that cannot be fetched is reported; 410 takes it out."""

    def __init__(
        self, web: Web, urls: Sequence[str], readers: tuple[str, ...] = (), published: float | None = None
    ) -> None:
        self._web = web
        self._urls = urls
        self._readers = readers
        self._published = published

    async def run(self, delivery: Delivery) -> None:
        """Raises SourceFailed where none of the addresses could be fetched."""
        failed, answered = "", 0
        for url in self._urls:
            try:
                await self._page(delivery, url)
                answered += 1
            except Gone as gone:
                answered += 1
                delivery.skip(shown(url), str(gone), looked=True, meant=True)
                await delivery.remove([without_user(url)])
            except SourceFailed as why:
                delivery.skip(shown(url), str(why), looked=True)
                failed = str(why)
        if failed and not answered:
            raise SourceFailed(failed)

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """The web is its maker's to close."""

    async def _page(self, delivery: Delivery, url: str) -> None:
        store = delivery.intake.store
        place = without_user(url)  # what is stored of it, readers are shown
        note = f"page {delivery.namespace} {place}"
        known = (await store.known(delivery.namespace, [place])).get(place)
        way = delivery.way(self._readers, self._published)
        etag, modified, before, *_ = f"{await store.note(note) or ''}\n\n".split("\n")
        whole = known is None or delivery.again or before != way
        page = await self._web.get(url, *(("", "") if whole else (etag, modified)))
        if page.raw is None:
            delivery.same()
            return
        behind = urlsplit(without_user(page.url))
        found = Found(
            location=place,
            name=behind.path.rpartition("/")[2] or behind.netloc,
            uri=place,
            raw=page.raw,
            kind=page.kind,
            published=self._published,
            changed=seconds(page.modified),
            readers=self._readers,
        )
        if await delivery.offer(found, known.digest if known is not None else None):
            await delivery.flush()  # the note is true only of what is stored
            await store.set_note(note, f"{page.etag}\n{page.modified}\n{way}")

"""The operations of an HTTP service as tools: read once from its OpenAPI document, called over connections that are kept.

Requests go to the base address of the settings, and nowhere else: not where the document points, not where a redirect leads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

import tidewire
from tidewire.core.addresses import shown
from tidewire.core.errors import SettingsError
from tidewire.core.request import Tool
from tidewire.toolbox.names import Names
from tidewire.toolbox.openapi_call import Unfit, asked, output, written
from tidewire.toolbox.openapi_document import SAFE, Choice, Operation, operations
from tidewire.toolbox.openapi_reading import DOCUMENT, read
from tidewire.toolbox.port import CallContext, ServerTool, Terms, ToolFault, ToolOutput

log = logging.getLogger("tidewire.tools")

CONNECT: Final = 10.0  # seconds
FETCH: Final = 30.0  # seconds for the document
MEDIA: Final = 8 * 1024 * 1024  # bytes of an image, or of an answer that is only named with its size
REDIRECTS: Final = 3
SAID: Final = 20  # operations left out that the log tells of, the sentence that counts them included
CONNECTIONS: Final = 100
AGAIN: Final = frozenset({429, 502, 503, 504})  # another try may find the service better
_ACCEPT: Final = "application/json, text/*;q=0.9, image/*;q=0.8, */*;q=0.5"


class Service(msgspec.Struct, frozen=True):
    """document: a file, or an address of http or https. headers: sent with every request to the service, and for a document of the same origin."""

    document: str
    base_url: str
    headers: Mapping[str, str] = {}
    choice: Choice = Choice()


class OpenApiTools:
    """`Toolset`. trouble: what the service has shows with a call, and the document was read at the start."""

    trouble = ""

    def __init__(self, name: str, service: Service, *, terms: Terms = Terms(), names: Names | None = None) -> None:  # noqa: B008 - frozen
        """names: shared with other tool servers, so that no two tools are called the same."""
        self.name = name
        self.terms = terms
        self._service = service
        self._names = names or Names()
        self._base = service.base_url.rstrip("/")
        self._operations: dict[str, Operation] = {}
        self._given: Mapping[str, str] = {}
        self._tools: list[_Tool] = []
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(max(FETCH, terms.timeout), connect=CONNECT),
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=20),
            trust_env=False,
            headers={"User-Agent": f"tidewire/{tidewire.__version__}"},
        )

    # Toolset

    async def start(self) -> None:
        """Reads the document. Raises SettingsError for one that cannot be had or used, or has nothing to offer."""
        where = f"tools.{self.name}"
        data = await self._document(where)
        found, left = await asyncio.to_thread(self._understood, data, where)
        for sentence in left[-SAID:]:
            log.warning(sentence)
        if not found:
            raise SettingsError(
                f"{where}: no operation of {_shown(self._service.document)} becomes a tool; look at include, exclude and writes"
                + (f" ({left[-1].removeprefix(f'{where}: ')})" if left else ""),
                param=where,
            )
        self._operations = {one.tool.name: one for one in found}
        self._names.use(self.name, self._operations)

    def tools(self) -> Sequence[ServerTool]:
        given = self._names.given(self.name)
        if given is not self._given:  # another object whenever a server's list has changed
            self._given = given
            self._tools = [_Tool(self, self._operations[own], name) for name, own in given.items()]
        return self._tools

    async def close(self) -> None:
        await self._client.aclose()

    # Calls

    async def call(self, operation: Operation, arguments: dict[str, Any], context: CallContext) -> ToolOutput:
        """A connection that fails, and a service that is busy, are a ToolFault."""
        try:
            what = asked(operation, arguments)
        except Unfit as error:
            return ToolOutput(f"the call was not made: {error}", failed=True)
        headers = httpx.Headers({"Accept": _ACCEPT, "Accept-Encoding": "identity"} | what.headers)
        if what.method not in SAFE:
            headers["Idempotency-Key"] = context.key
        headers.update(self._service.headers)
        try:
            return await self._exchanged(what.method, self._base + what.target, headers, what.body)
        except httpx.TimeoutException:
            raise ToolFault(f"{self._is} did not answer in time") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ToolFault(f"{self._is} could not be reached ({type(error).__name__})") from None

    @property
    def _is(self) -> str:
        return f"the service {self.name}"

    async def _exchanged(self, method: str, url: str, headers: httpx.Headers, body: bytes | None) -> ToolOutput:
        for _ in range(REDIRECTS + 1):
            async with self._client.stream(method, url, headers=headers, content=body) as response:
                target = response.next_request.url if response.next_request is not None else None
                if target is not None and method in SAFE and _origin(target) == _origin(response.url):
                    url = str(target)
                    continue
                if target is not None:
                    return ToolOutput(
                        f"{self._is} answered {response.status_code}: look elsewhere; only a question of the kind GET is "
                        "sent on, and only within the same origin",
                        failed=True,
                    )
                return await self._answer(response)
        return ToolOutput(f"{self._is} sent the question on more than {REDIRECTS} times", failed=True)

    async def _answer(self, response: httpx.Response) -> ToolOutput:
        media = response.headers.get("content-type", "")
        kind = media.partition(";")[0].strip().lower()
        good = response.is_success
        limit = self.terms.result_bytes if written(kind) or not good else MEDIA
        if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            return ToolOutput(f"{self._is} answered in a compressed form that it was not asked for", failed=True)
        data, whole = await _taken(response, limit)
        if not whole and good:
            told = response.headers.get("content-length", "")
            size = f"{told} bytes" if told.isdecimal() else f"more than {limit} bytes"
            allowed = f"{limit} are allowed" + (" (result_bytes)" if limit != MEDIA else " of this kind")
            return ToolOutput(f"{self._is} answered with {size}; {allowed}; ask for less", failed=True)
        result = output(response.status_code, response.reason_phrase, media, data)
        if response.status_code in AGAIN:
            raise ToolFault(result.text)
        return result

    # The document

    async def _document(self, where: str) -> bytes:
        source = self._service.document
        if not source.startswith(("http://", "https://")):
            return await asyncio.to_thread(_file, source, where)
        shown = _shown(source)
        try:
            url = httpx.URL(source)
            headers = {"Accept": "application/json, application/yaml;q=0.9, */*;q=0.5", "Accept-Encoding": "identity"}
            if _origin(url) == _origin(httpx.URL(self._base)):
                headers |= self._service.headers
            async with asyncio.timeout(FETCH), self._client.stream("GET", url, headers=headers) as response:
                data, whole = await _taken(response, DOCUMENT)
        except TimeoutError:
            raise SettingsError(f"{where}: {shown} did not answer within {FETCH:g} s", param=where) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = f"{type(error).__name__}; save the document as a file to start without it"
            raise SettingsError(f"{where}: {shown} cannot be reached: {why}", param=where) from None
        if response.status_code != 200:
            raise SettingsError(f"{where}: {shown} answered {response.status_code}, not with a document", param=where)
        if not whole:
            raise SettingsError(
                f"{where}: the document has more than {DOCUMENT} bytes; no more are allowed", param=where
            )
        return data

    def _understood(self, data: bytes, where: str) -> tuple[list[Operation], list[str]]:
        return operations(read(data, where), self._service.choice, where, self._service.headers)


class _Tool:
    """`ServerTool`. name: as the model calls it."""

    def __init__(self, service: OpenApiTools, operation: Operation, name: str) -> None:
        self._service = service
        self._operation = operation
        self.tool: Tool = msgspec.structs.replace(operation.tool, name=name)

    @property
    def name(self) -> str:
        return self.tool.name

    @property
    def terms(self) -> Terms:
        """What only reads may be asked again, whatever the settings say of the others."""
        terms = self._service.terms
        return msgspec.structs.replace(terms, idempotent=True) if self._operation.method in SAFE else terms

    async def call(self, arguments: dict[str, Any], context: CallContext) -> ToolOutput:
        return await self._service.call(self._operation, arguments, context)


def _file(source: str, where: str) -> bytes:
    try:
        path = Path(source).expanduser()
        size = path.stat().st_size
        if size > DOCUMENT:
            raise SettingsError(f"{where}: the document has {size} bytes; {DOCUMENT} are allowed", param=where)
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{where}: {source} cannot be read: {error.strerror}", param=where) from None


async def _taken(response: httpx.Response, limit: int) -> tuple[bytes, bool]:
    """What was read of the body, and whether that is all of it. No more than `limit` bytes and one read are ever held."""
    told = response.headers.get("content-length", "")
    if told.isdecimal() and int(told) > limit and response.is_success:
        return b"", False
    data = bytearray()
    async for piece in response.aiter_raw():
        data += piece
        if len(data) > limit:
            return bytes(data[:limit]), False
    return bytes(data), True


def _shown(source: str) -> str:
    """A file as it is; an address without what may be a secret in it."""
    return shown(source) if "://" in source else source


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)

"""The console's files, read once, and the small answers that operators ask for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tidewire.core.errors import NotFound
from tidewire.doors.call import Call

TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
SAFETY: Final = [
    (
        "content-security-policy",
        "default-src 'self'; img-src 'self' data:; media-src 'self' data:; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
]


class ConsoleRoutes:
    """folder: the built page. Files are looked up by name, so that no path of a client reaches the disk."""

    def __init__(self, folder: Path) -> None:
        files = sorted(f for f in folder.iterdir() if f.suffix in TYPES) if folder.is_dir() else []
        self._files = {f.name: f.read_bytes() for f in files}
        self._tags = {name: f'"{hashlib.sha256(data).hexdigest()[:16]}"' for name, data in self._files.items()}

    async def page(self, call: Call) -> None:
        """GET /"""
        await self._send(call, "index.html")

    async def documents(self, call: Call) -> None:
        """GET /documents"""
        await self._send(call, "documents.html")

    async def file(self, call: Call) -> None:
        """GET /console/{file}"""
        await self._send(call, call.path["file"])

    async def _send(self, call: Call, name: str) -> None:
        data = self._files.get(name)
        if data is None:
            raise NotFound(f"there is no file {name[:80]!r} in the console")
        tag = self._tags[name]
        headers = [("etag", tag), ("cache-control", "no-cache"), *SAFETY]
        if call.headers.get("if-none-match") == tag:
            await call.reply(304, headers)
            return
        await call.reply(200, [("content-type", TYPES[Path(name).suffix]), *headers], data)


class HealthRoutes:
    """ready: why the server is not ready, or None. metrics: the Prometheus text and its content type."""

    def __init__(self, ready: Callable[[], str | None], metrics: Callable[[], bytes], content_type: str) -> None:
        self._ready = ready
        self._metrics = metrics
        self._content_type = content_type

    async def healthz(self, call: Call) -> None:
        """GET /healthz: the process answers."""
        await call.json({"status": "ok"})

    async def readyz(self, call: Call) -> None:
        """GET /readyz: 503 while the server takes no new streams."""
        why = self._ready()
        await call.json(
            {"status": "ready"} if why is None else {"status": "not ready", "reason": why}, 200 if why is None else 503
        )

    async def metrics(self, call: Call) -> None:
        """GET /metrics"""
        await call.reply(200, [("content-type", self._content_type)], self._metrics())

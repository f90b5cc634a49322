"""AWS Signature Version 4, and where its keys are found: the environment, or a credentials file.

Source: the AWS documentation, "Signature Version 4 for API requests". Roles of machines and single sign-on are not asked here.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from configparser import ConfigParser
from configparser import Error as NotAFile
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from tidewire.core.errors import SettingsError

ALGORITHM: Final = "AWS4-HMAC-SHA256"
CONTENT_TYPE: Final = "application/json"  # of every body that the driver sends


class Credentials(msgspec.Struct, frozen=True):
    """token: of a session, for keys that expire."""

    access_key: str
    secret_key: str
    token: str = ""

    def __repr__(self) -> str:
        return f"Credentials({self.access_key[:4]}…)"


class SigV4:
    """A `Signer`. credentials: asked for each request, for they may change. clock: Unix seconds."""

    def __init__(
        self,
        credentials: Callable[[], Credentials],
        region: str,
        service: str,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._credentials = credentials
        self._region = region
        self._service = service
        self._clock = clock

    async def sign(self, method: str, url: str, body: bytes) -> Mapping[str, str]:
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock()))
        return signed(self._credentials(), method, url, body, region=self._region, service=self._service, now=now)


def signed(
    credentials: Credentials, method: str, url: str, body: bytes, *, region: str, service: str, now: str
) -> dict[str, str]:
    """The headers that sign a request. now: as 20250102T030405Z. A body is JSON, and its content-type is signed too."""
    digest = hashlib.sha256(body).hexdigest()
    headers = {"X-Amz-Date": now, "X-Amz-Content-SHA256": digest}
    if credentials.token:
        headers["X-Amz-Security-Token"] = credentials.token
    names, request = canonical(method, url, headers | ({"Content-Type": CONTENT_TYPE} if body else {}), digest)
    scope = f"{now[:8]}/{region}/{service}/aws4_request"
    text = f"{ALGORITHM}\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = b"AWS4" + credentials.secret_key.encode()
    for piece in (*scope.split("/"), text):
        key = hmac.digest(key, piece.encode(), "sha256")
    headers["Authorization"] = (
        f"{ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
    )
    return headers


def canonical(method: str, url: str, headers: Mapping[str, str], digest: str) -> tuple[str, str]:
    """The names of the signed headers, and the request as both sides write it down before they sign.

    The path is percent-encoded once more, as for every service but S3.
    """
    parts = urlsplit(url)
    host = parts.netloc.removesuffix({"https": ":443", "http": ":80"}.get(parts.scheme, " "))
    lines = {name.lower(): " ".join(value.split()) for name, value in headers.items()} | {"host": host}
    names = ";".join(sorted(lines))
    pairs = sorted(tuple(pair.partition("=")[::2]) for pair in parts.query.split("&") if pair)
    query = "&".join(f"{name}={value}" for name, value in pairs)
    said = "".join(f"{name}:{lines[name]}\n" for name in sorted(lines))
    return names, f"{method}\n{quote(_path(parts.path), safe='/~')}\n{query}\n{said}\n{names}\n{digest}"


def _path(path: str) -> str:
    """Without dots and double slashes (RFC 3986, section 5.2.4)."""
    out: list[str] = []
    for piece in path.split("/"):
        if piece == "..":
            del out[-1:]
        elif piece not in ("", "."):
            out.append(piece)
    end = "/" if out and path.endswith("/") else ""
    return "/" + "/".join(out) + end


def credentials(file: str, environ: Mapping[str, str], setting: str) -> Callable[[], Credentials]:
    """Where the keys come from: `file` where it is given, else the environment, else ~/.aws/credentials.

    Of a file, the profile AWS_PROFILE, or "default". It is read again when it changes. Raises SettingsError, naming `setting`, where
    there are none.
    """
    if not file:
        key, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
        if key and secret:
            found = Credentials(key, secret, environ.get("AWS_SESSION_TOKEN", ""))
            return lambda: found
    usual = environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials"
    path = Path(file or usual).expanduser()
    if not file and not path.is_file():
        raise SettingsError(
            f"no AWS credentials were found: set AWS_BEARER_TOKEN_BEDROCK, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or {setting} "
            f"to a credentials file (there is none at {usual})",
            param=setting,
        )
    kept = _File(path, environ.get("AWS_PROFILE") or "default", setting)
    kept()
    return kept


class _File:
    """A credentials file, whose keys other programs renew. While it is being written, the keys from before hold."""

    def __init__(self, path: Path, profile: str, setting: str) -> None:
        self._path = path
        self._profile = profile
        self._setting = setting
        self._read: tuple[int, Credentials] | None = None

    def __call__(self) -> Credentials:
        try:
            changed = self._path.stat().st_mtime_ns
            if self._read is None or self._read[0] != changed:
                self._read = changed, self._keys()
        except (OSError, SettingsError) as error:
            if self._read is not None:
                return self._read[1]
            raise self._wrong(f"cannot be read ({error.strerror})") if isinstance(error, OSError) else error from None
        return self._read[1]

    def _keys(self) -> Credentials:
        file = ConfigParser(interpolation=None, default_section="")
        try:
            file.read_string(self._path.read_text(encoding="utf-8"))
        except (NotAFile, UnicodeDecodeError):
            raise self._wrong("is not an AWS credentials file") from None
        if not file.has_section(self._profile):
            raise self._wrong(f"has no profile {self._profile!r}; AWS_PROFILE names another")
        profile = file[self._profile]
        key, secret = profile.get("aws_access_key_id", ""), profile.get("aws_secret_access_key", "")
        if not key or not secret:
            raise self._wrong(
                f"has no aws_access_key_id and aws_secret_access_key in its profile {self._profile!r}; "
                "`aws configure export-credentials` makes them from a role or single sign-on"
            )
        return Credentials(key, secret, profile.get("aws_session_token", ""))

    def _wrong(self, what: str) -> SettingsError:
        return SettingsError(f"{self._setting}: {self._path} {what}", param=self._setting)

"""Who asks, at Google's cloud: access tokens for a service account, or for a person whom gcloud has logged in.

Source: Google's documentation, "Using OAuth 2.0 for server to server applications" (RFC 7523) and "application default credentials".
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import msgspec

from tidewire.core.errors import SettingsError, TidewireError, UpstreamError
from tidewire.providers.http import Host, Timeouts
from tidewire.providers.refusals import excerpt

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
TOKEN_URI: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
LIFE: Final = 3600  # seconds that an assertion is good for: the most that Google takes
EARLY: Final = 300.0  # seconds before its end that a token is replaced
DEADLINE: Final = 10.0  # seconds for a new token


class Account(msgspec.Struct, frozen=True):
    """A credentials file. type: service_account, or authorized_user, as `gcloud auth application-default login` writes it."""

    type: str = ""
    project_id: str = ""
    client_email: str = ""
    private_key: str = ""
    private_key_id: str = ""
    token_uri: str = TOKEN_URI
    client_id: str = ""
    client_secret: str = ""
    refresh_token: str = ""
    quota_project_id: str = ""

    def __repr__(self) -> str:
        return f"Account({self.type!r}, {self.client_email or self.client_id!r})"


def read_account(path: str, param: str = "credentials") -> Account:
    """Raises SettingsError for a file that cannot be used."""
    try:
        account = msgspec.json.decode(Path(path).read_bytes(), type=Account)
    except OSError as error:
        raise SettingsError(f"{param} is {path!r}, which cannot be read: {error.strerror}", param=param) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise SettingsError(f"{param} is {path!r}, which is no credentials file of Google's", param=param) from None
    needed = {
        "service_account": ("client_email", "private_key"),
        "authorized_user": ("client_id", "client_secret", "refresh_token"),
    }.get(account.type)
    if needed is None:
        raise SettingsError(
            f"{param} is {path!r}, of type {account.type[:40]!r}; it may be a service account's key, or what "
            "'gcloud auth application-default login' writes",
            param=param,
        )
    for name in needed:
        if not getattr(account, name):
            raise SettingsError(f"{param} is {path!r}, and {name} is missing in it", param=param)
    return account


class GoogleAccount:
    """A `Signer`. One token for all requests, replaced before its end by one refresh at a time.

    clock: Unix seconds. Raises SettingsError for a key that cannot sign, or where the package for signing is missing.
    """

    def __init__(
        self,
        account: Account,
        *,
        clock: Callable[[], float] = time.time,
        ca_file: str | None = None,
        proxy: str | None = None,
    ) -> None:
        self._account = account
        self._clock = clock
        self._sign = _signer(account.private_key) if account.type == "service_account" else None
        where = urlsplit(account.token_uri)
        self._path = where.path or "/"
        self._host = Host(
            f"{where.scheme}://{where.netloc}",
            timeouts=Timeouts(connect=5.0),
            idle_connections=0,
            ca_file=ca_file,
            proxy=proxy,
        )
        self._token = ""
        self._until = 0.0
        self._refreshing = asyncio.Lock()

    async def sign(self, method: str, url: str, body: bytes) -> Mapping[str, str]:
        headers = {"Authorization": f"Bearer {await self.token()}"}
        if self._account.quota_project_id:
            headers["x-goog-user-project"] = self._account.quota_project_id
        return headers

    async def token(self) -> str:
        """One that is good for a while. Raises UpstreamError or TimedOut."""
        if self._clock() < self._until - EARLY:
            return self._token
        async with self._refreshing:
            if self._clock() < self._until - EARLY:  # somebody else has fetched it meanwhile
                return self._token
            try:
                await self._refresh()
            except TidewireError:
                if self._clock() >= self._until:
                    raise  # else the old one is still good, and the next request tries again
            return self._token

    async def _refresh(self) -> None:
        began = self._clock()
        status, _, body = await self._host.fetch(
            "POST",
            self._path,
            urlencode(self._grant(began)).encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            deadline=DEADLINE,
        )
        said = _object(body)
        token, seconds = said.get("access_token"), said.get("expires_in", LIFE)
        if status != 200 or not isinstance(token, str) or not token or not isinstance(seconds, int | float):
            raise self._refused(status, said)
        self._token, self._until = token, began + seconds

    def _refused(self, status: int, said: dict[str, Any]) -> UpstreamError:
        why = excerpt(str(said.get("error_description") or said.get("error") or ""), [self._account.refresh_token])
        quoted = f': "{why}"' if why else ""
        error = UpstreamError(
            f"{self._host.address} gave no access token and answered {status}{quoted}; check the credentials of this host",
            code="upstream_auth",
            upstream_status=status,
        )
        error.retryable = status >= 500
        return error

    def _grant(self, now: float) -> dict[str, str]:
        if self._sign is None:
            return {
                "grant_type": "refresh_token",
                "client_id": self._account.client_id,
                "client_secret": self._account.client_secret,
                "refresh_token": self._account.refresh_token,
            }
        return {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": self._assertion(self._sign, int(now)),
        }

    def _assertion(self, sign: Callable[[bytes], bytes], now: int) -> str:
        """A JSON Web Token, signed with RS256 (RFC 7515, 7518)."""
        head = {"alg": "RS256", "typ": "JWT"}
        if self._account.private_key_id:
            head["kid"] = self._account.private_key_id
        claims = {
            "iss": self._account.client_email,
            "scope": SCOPE,
            "aud": self._account.token_uri,
            "iat": now,
            "exp": now + LIFE,
        }
        text = b".".join(_base64url(msgspec.json.encode(part)) for part in (head, claims))
        return (text + b"." + _base64url(sign(text))).decode()


def _signer(key: str) -> Callable[[bytes], bytes]:
    try:
        from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - an extra
        from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415
    except ImportError:
        raise SettingsError(
            "a service account needs the package cryptography, which is not installed; pip install 'tidewire[vertex]'",
            param="credentials",
        ) from None
    try:
        private = serialization.load_pem_private_key(key.encode(), password=None)
    except (ValueError, TypeError):
        private = None
    if not isinstance(private, rsa.RSAPrivateKey):
        raise SettingsError("private_key of the service account is no RSA key in PEM", param="credentials")
    return lambda text: private.sign(text, padding.PKCS1v15(), hashes.SHA256())


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return said if isinstance(said, dict) else {}

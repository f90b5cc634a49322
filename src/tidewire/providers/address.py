"""Where a host is: its URL, its TLS, and the proxy on the way to it. No connection is made here."""

from __future__ import annotations

import base64
import ipaddress
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from tidewire.core.addresses import shown
from tidewire.core.errors import SettingsError

_PORTS: Final = {"http": 80, "https": 443}


class Address(msgspec.Struct, frozen=True):
    """A host's URL, taken apart. base and query: what goes before and after each path. basic: an Authorization value."""

    scheme: str
    host: str
    port: int
    base: str = ""
    query: str = ""
    basic: str | None = None

    @classmethod
    def parse(cls, url: str, setting: str = "base_url") -> Address:
        """Raises SettingsError naming `setting` for anything but http(s)://host[:port][/path][?query]."""
        hidden = f"{setting} is {shown(url)!r}"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise SettingsError(f"{hidden}: its port or address is not valid", param=setting) from None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise SettingsError(f"{hidden}; it must look like http://host:port/v1 or https://host/v1", param=setting)
        if any(c <= " " or c == "\x7f" for c in url):
            raise SettingsError(f"{hidden}: it holds a space or a control character", param=setting)
        basic = None
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            basic = "Basic " + base64.b64encode(pair.encode()).decode()
        return cls(
            scheme=parts.scheme,
            host=parts.hostname,
            port=_PORTS[parts.scheme] if port is None else port,
            base=parts.path.rstrip("/"),
            query=parts.query,
            basic=basic,
        )

    def __str__(self) -> str:
        """host:port, the way errors name it: no credentials, no path."""
        return f"{self._bracketed}:{self.port}"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def authority(self) -> str:
        """What the Host header says: the port only where it is not the scheme's own."""
        return self._bracketed if self.port == _PORTS[self.scheme] else str(self)

    @property
    def loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def target(self, path: str) -> str:
        """The request target for a path below the base; a query of the base goes behind the path's own."""
        mark = "&" if "?" in path else "?"
        return f"{self.base}{path}{mark + self.query if self.query else ''}"

    def url(self, path: str) -> str:
        """The whole address of a path below the base, as it is asked for."""
        return f"{self.scheme}://{self.authority}{self.target(path)}"


def proxy_for(address: Address, setting: str | None, environ: Mapping[str, str]) -> Address | None:
    """The proxy to go through. setting: a URL; "" for none whatever the environment says; None to follow the environment.

    The environment's http_proxy, https_proxy and all_proxy (either case) do not count for hosts in no_proxy, nor for
    this machine itself: a model server on 127.0.0.1 is never behind them.
    """
    if setting is not None:
        return _proxy(setting, "proxy") if setting else None
    if address.loopback or _excluded(address, _either(environ, "no_proxy")):
        return None
    for name in (f"{address.scheme}_proxy", "all_proxy"):
        if url := _either(environ, name):
            return _proxy(url, name)
    return None


def _proxy(url: str, setting: str) -> Address:
    address = Address.parse(url if "://" in url else f"http://{url}", setting)
    if address.scheme != "http":
        raise SettingsError(f"{setting} is an https:// address; only http:// proxies are spoken to", param=setting)
    return address


def _either(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.upper()) or ""


def _excluded(address: Address, no_proxy: str) -> bool:
    """no_proxy as curl reads it: names match themselves and what is below them; * is all; networks as 10.0.0.0/8."""
    host = address.host.lower()
    for entry in no_proxy.lower().replace(",", " ").split():
        if entry == "*":
            return True
        if "/" in entry:
            try:
                if ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False):
                    return True
            except ValueError:
                continue
        name, _, port = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
        name = name.lstrip(".").removeprefix("*.")
        if (host == name or host.endswith("." + name)) and port in ("", str(address.port)):
            return True
    return False


def tls_context(ca_file: str | None = None, *, verify: bool = True) -> ssl.SSLContext:
    """TLS towards hosts: the system's authorities and those of ca_file. Raises SettingsError for an unreadable file."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"ca_file {ca_file!r} cannot be read: {error}", param="ca_file") from None
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context

"""Where a host is, and which proxy leads to it."""

from __future__ import annotations

import pytest
from plain_chat import local

from tidewire.core.errors import SettingsError
from tidewire.providers.address import Address, proxy_for, tls_context


@pytest.mark.parametrize(
    ("url", "environ", "expected"),
    [
        ("https://a.example", {"https_proxy": "http://p:1"}, "p:1"),
        ("https://a.example", {"HTTPS_PROXY": "p:1"}, "p:1"),
        ("https://a.example", {"ALL_PROXY": "http://p:1"}, "p:1"),
        ("https://a.example", {"http_proxy": "http://p:1"}, None),
        ("https://a.example", {"https_proxy": "http://p:1", "no_proxy": "b.example, .example"}, None),
        ("https://a.example", {"https_proxy": "http://p:1", "NO_PROXY": "a.example:8443"}, "p:1"),
        ("https://10.1.2.3", {"https_proxy": "http://p:1", "no_proxy": "10.0.0.0/8"}, None),
        ("https://xa.example", {"https_proxy": "http://p:1", "no_proxy": "a.example"}, "p:1"),
        ("http://localhost:11434", {"http_proxy": "http://p:1"}, None),
        ("http://127.0.0.1:8000", {"http_proxy": "http://p:1"}, None),
    ],
)
def test_the_environment_names_the_proxy(url: str, environ: dict[str, str], expected: str | None) -> None:
    found = proxy_for(Address.parse(url), None, environ)
    assert (None if found is None else str(found)) == expected
    assert proxy_for(Address.parse(url), "", environ) is None


@pytest.mark.parametrize(
    "url", ["ftp://x", "localhost:8000", "http://", "http://x:99999", "http://x y", "http://a:b@x:z"]
)
def test_an_unusable_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Address.parse(url)
    assert "base_url" in caught.value.message
    assert ":b" not in caught.value.message


def test_a_header_cannot_smuggle_another() -> None:
    with pytest.raises(SettingsError, match="X-Key"):
        local("http://h", headers={"X-Key": "a\r\nHost: b"})


def test_an_unreadable_ca_file_is_named() -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.pem"):
        tls_context("nowhere.pem")

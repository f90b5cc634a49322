from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidewire.core.addresses import shown, without_user


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://example.org/v1", "https://example.org/v1"),
        ("http://127.0.0.1:8000/@me/feed.xml", "http://127.0.0.1:8000/@me/feed.xml"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("https://anna:hidden@example.org:8443/v1?key=hidden#hidden", "https://example.org:8443/v1"),
        ("https://anna:hid@den@example.org/", "https://example.org/"),
        ("anna:hidden@example.org/v1", "example.org/v1"),
        ("example.org/v1", "example.org/v1"),
        ("https://anna:hid/den@example.org/", "https://***"),  # cut by whoever reads it, too
        ("https://anna:hid?den@example.org/", "https://***"),
        ("https://anna:hidden@[::1/", "https://***"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_what_may_be_a_secret(url: str, said: str) -> None:
    assert shown(url) == said


@given(st.text(max_size=40))
def test_whatever_is_no_address_is_shown_without_an_error(text: str) -> None:
    assert "anna:secret" not in shown(f"https://anna:secret@{text}")
    shown(text)


def test_the_user_part_of_each_address_in_a_text_is_taken_away() -> None:
    text = "https://u:p@a.example/x@y?q=1 postgres://u:p@q@b.example/name me@example.org"
    assert without_user(text) == "https://a.example/x@y?q=1 postgres://b.example/name me@example.org"
    assert without_user("//u:p@a", "***@") == "//***@a"

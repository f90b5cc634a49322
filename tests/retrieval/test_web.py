"""Pages and feeds from a scripted host: asked again only where they changed, bounded, and never from behind the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from storing import MemoryStore
from tidewire.retrieval.intake import Delivery, Intake, Report
from tidewire.retrieval.reading.reader import Bounds, Reader
from tidewire.retrieval.sources.feed import Feed
from tidewire.retrieval.sources.port import Source, SourceFailed
from tidewire.retrieval.sources.web import Pages, Web, public
from upstream import Call, Upstream

PAGE = b"<html><title>Tides</title><body><p>High water at noon.</p></body></html>"


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    web = Web(largest=100_000, private=True)
    yield web
    await web.close()


async def bring(store: MemoryStore, source: Source, *, again: bool = False) -> Report:
    reader = Reader()
    delivery = Delivery(Intake(store, reader), "acme", "news", again=again)
    try:
        await source.run(delivery)
    finally:
        report = await delivery.end()
        await reader.close()
    return report


def answers(body: bytes = b"", status: int = 200, **headers: str) -> object:
    async def script(call: Call) -> None:
        call.head(status, length=len(body), **{"content_type": "text/html"} | headers)
        call.raw(body)

    return script


async def test_a_page_is_asked_for_again_only_where_it_changed(web: Web) -> None:
    store = MemoryStore()
    day = "Mon, 06 May 2024 00:00:00 GMT"
    first = answers(PAGE, etag='"1"', last_modified=day)
    async with Upstream(first, answers(status=304), answers(PAGE.replace(b"noon", b"one"), etag='"2"')) as host:
        url = f"{host.url}/tides"
        source = Pages(web, [url])
        assert (await bring(store, source)).indexed == 1
        known, document = store.held["acme"][url]
        assert (known.title, document.text, known.published) == ("Tides", "High water at noon.", 1714953600.0)
        assert (await bring(store, source)).unchanged == 1
        assert (host.calls[1].headers["if-none-match"], host.calls[1].headers["if-modified-since"]) == ('"1"', day)
        assert (await bring(store, source)).indexed == 1
        assert "one" in store.held["acme"][url][1].text


async def test_a_page_that_is_to_be_read_anew_is_asked_for_whole(web: Web) -> None:
    store = MemoryStore()
    page = answers(PAGE, etag='"1"')
    async with Upstream(page, page) as host:
        source = Pages(web, [f"{host.url}/tides"])
        await bring(store, source)
        assert (await bring(store, source, again=True)).indexed == 1
        assert "if-none-match" not in host.calls[1].headers


@pytest.mark.parametrize("kind", ["page", "feed"])
async def test_who_may_read_is_changed_also_where_the_host_says_that_nothing_has(web: Web, kind: str) -> None:
    if kind == "feed":
        pytest.importorskip("feedparser")
    store = MemoryStore()
    body, media = (
        (PAGE, "text/html") if kind == "page" else (a_feed(("1", "One", "High water.")), "application/rss+xml")
    )

    async def unchanged(call: Call) -> None:
        answer = (
            answers(status=304) if "if-none-match" in call.headers else answers(body, etag='"1"', content_type=media)
        )
        await answer(call)

    async with Upstream(unchanged, unchanged, unchanged) as host:
        for readers in ((), ("staff",), ("staff",)):
            url = f"{host.url}/news"
            await bring(store, Pages(web, [url], readers) if kind == "page" else Feed(web, url, readers))
            assert [document.readers for _, document in store.held["acme"].values()] == [readers]
        assert ["if-none-match" in call.headers for call in host.calls] == [False, False, True]


async def test_a_page_that_is_gone_is_taken_out_and_one_that_fails_is_kept(web: Web) -> None:
    store = MemoryStore()
    async with Upstream(answers(PAGE), answers(status=404), answers(status=410)) as host:
        source = Pages(web, [f"{host.url}/a"])
        await bring(store, source)
        with pytest.raises(SourceFailed, match="answered 404"):
            await bring(store, source)
        assert len(store.texts()) == 1
        report = await bring(store, source)
        assert (report.removed, [why.rpartition("/a ")[2] for _, why in report.skipped]) == (1, ["is gone (410)"])
        assert store.texts() == {}


async def test_one_page_that_fails_fails_its_source_only_where_no_other_answers(web: Web) -> None:
    store = MemoryStore()
    async with Upstream(answers(status=404), answers(b"\0\1", content_type="text/plain")) as host:
        report = await bring(store, Pages(web, [f"{host.url}/a", f"{host.url}/b"]))
    first, second = (why for _, why in report.skipped)
    assert first.endswith("answered 404")
    assert second == "not read: binary"


async def test_an_answer_of_a_gigabyte_is_refused_by_what_it_declares_and_while_it_comes(web: Web) -> None:
    async def endless(call: Call) -> None:
        call.head(200)
        while not call.gone.is_set():
            call.chunk(b"x" * 50_000)
            await asyncio.sleep(0.001)

    async def declares(call: Call) -> None:
        call.head(200, length=1 << 30)
        await call.stall()

    async with Upstream(declares, endless) as host:
        with pytest.raises(SourceFailed, match="is 1,073,741,824 bytes, and 100,000 is the limit"):
            await web.get(host.url + "/big")
        with pytest.raises(SourceFailed, match="over 100,000 bytes"):
            await web.get(host.url + "/big")


async def test_redirects_are_followed_and_not_for_ever(web: Web) -> None:
    async with Upstream(answers(status=302, location="/there"), answers(PAGE)) as host:
        assert (await web.get(host.url + "/here")).url == host.url + "/there"
    async with Upstream(answers(status=302, location="/round")) as host:
        with pytest.raises(SourceFailed, match="more than 5 redirects"):
            await web.get(host.url + "/round")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/",
        "http://[::1]/",
        "http://169.254.169.254/latest",
        "http://0x7f.1/",
        "http://[::ffff:10.0.0.1]/",
    ],
)
async def test_addresses_behind_the_server_are_refused(url: str) -> None:
    web = Web(largest=1000)
    with pytest.raises(SourceFailed, match=r"not a public address|no host"):
        await web.get(url)
    await web.close()


async def test_a_redirect_to_an_address_behind_the_server_is_refused() -> None:
    """The first host counts as public here, though it is on loopback: only the redirect is looked up for what it is."""
    async with Upstream(answers(status=302, location="http://metadata.internal/")) as host:
        port = int(host.url.rpartition(":")[2])

        async def look(name: str, port: int) -> list[str]:
            return ["8.8.8.8"] if name == "public.example" else ["169.254.169.254"]

        web = Web(largest=1000, look=look)
        at, headers, extensions = await web._pinned(f"http://public.example:{port}/x")
        assert (at.host, headers["host"], extensions["sni_hostname"]) == (
            "8.8.8.8",
            f"public.example:{port}",
            "public.example",
        )
        with pytest.raises(
            SourceFailed, match=r"'metadata.internal' is at 169.254.169.254, which is not a public address"
        ):
            await web.get("http://metadata.internal/")
        await web.close()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/", "http://", "nonsense"])
async def test_only_addresses_of_the_web_are_fetched(web: Web, url: str) -> None:
    with pytest.raises(SourceFailed):
        await web.get(url)


def test_which_addresses_are_public() -> None:
    assert all(public(one) for one in ("8.8.8.8", "2606:4700:4700::1111"))
    private = ("10.0.0.1", "127.0.0.1", "169.254.1.1", "0.0.0.0", "100.64.0.1", "224.0.0.1", "::1", "fe80::1%eth0")
    assert not any(public(one) for one in private)
    assert not any(public(one) for one in ("::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "fd00::1"))


def a_feed(*items: tuple[str, str, str]) -> bytes:
    """guid, link, text."""
    inside = "".join(
        f"<item><title>T {guid}</title><link>{link}</link><guid>{guid}</guid><description>{text}</description>"
        "<pubDate>Mon, 06 May 2024 00:00:00 GMT</pubDate></item>"
        for guid, link, text in items
    )
    return f'<?xml version="1.0"?><rss version="2.0"><channel><title>News</title>{inside}</channel></rss>'.encode()


async def test_who_logs_in_is_told_the_host_and_no_reader(web: Web) -> None:
    pytest.importorskip("feedparser")
    store = MemoryStore()
    feed = a_feed(("1", "", "Spring tide."))
    async with Upstream(answers(PAGE), answers(feed, content_type="application/rss+xml"), answers(status=500)) as host:
        login = host.url.replace("//", "//anna:hidden@")
        await bring(store, Pages(web, [f"{login}/"]))
        await bring(store, Feed(web, f"{login}/feed"))
        with pytest.raises(SourceFailed, match=f"^{host.url}/ answered 500$"):
            await bring(store, Pages(web, [f"{login}/"]))
        assert {call.headers["authorization"] for call in host.calls} == {"Basic YW5uYTpoaWRkZW4="}
    assert sorted(store.held["acme"]) == [f"{host.url}/", f"{host.url}/feed#1"]
    assert "hidden" not in repr(store.held)


async def test_what_is_no_address_is_said_without_a_trace(web: Web) -> None:
    for url in ("http://[x", "https://anna:hid/den@example.org/"):
        with pytest.raises(SourceFailed) as caught:
            await bring(MemoryStore(), Pages(web, [url]))
        assert "hid" not in str(caught.value)


async def test_items_of_a_feed_are_documents_with_dates_and_only_changed_ones_are_replaced(web: Web) -> None:
    pytest.importorskip("feedparser")
    store = MemoryStore()
    one, two = ("1", "http://x/1", "Spring tide."), ("2", "http://x/2", "Neap tide.")
    feed = "application/rss+xml"
    async with Upstream(
        answers(a_feed(one, two), content_type=feed, etag='"a"'),
        answers(status=304),
        answers(a_feed((*one[:2], "Spring tide, corrected."), two), content_type=feed),
        answers(a_feed(("1-moved", "http://x/1", "Spring tide, corrected.")), content_type=feed),
    ) as host:
        source = Feed(web, f"{host.url}/feed")
        assert (await bring(store, source)).indexed == 2
        known, document = store.held["acme"][f"{host.url}/feed#1"]
        assert (known.title, known.uri, known.published, document.text) == (
            "T 1",
            "http://x/1",
            1714953600.0,
            "Spring tide.",
        )
        assert (await bring(store, source)).files == 0
        assert host.calls[1].headers["if-none-match"] == '"a"'
        report = await bring(store, source)
        assert (report.indexed, report.unchanged) == (1, 1)
        report = await bring(store, source)  # a guid that moved; and what left the feed stays
        assert (report.indexed, report.removed, report.kept) == (1, 1, 1)
        assert sorted(store.held["acme"]) == [f"{host.url}/feed#1-moved", f"{host.url}/feed#2"]


async def test_a_feed_that_answers_html_is_reported_and_what_it_brought_is_kept(web: Web) -> None:
    pytest.importorskip("feedparser")
    store = MemoryStore()
    async with Upstream(answers(a_feed(("1", "http://x/1", "Spring tide."))), answers(PAGE)) as host:
        source = Feed(web, f"{host.url}/feed")
        await bring(store, source)
        with pytest.raises(SourceFailed, match="answered text/html, and no feed is in it"):
            await bring(store, source)
        assert len(store.texts()) == 1


async def test_a_feed_is_read_within_the_bounds_of_any_document(web: Web) -> None:
    pytest.importorskip("feedparser")
    store, reader = MemoryStore(), Reader(Bounds(characters=1000))
    delivery = Delivery(Intake(store, reader), "acme", "news")
    long = a_feed(("1", "http://x/1", "Spring tide."), ("2", "http://x/2", "ebb and flow " * 100))
    try:
        async with Upstream(answers(long, content_type="application/rss+xml")) as host:
            with pytest.raises(SourceFailed, match="characters of text, and 1,000 is the limit"):
                await Feed(web, f"{host.url}/feed").run(delivery)
        assert (await delivery.end()).indexed == 0
    finally:
        await reader.close()

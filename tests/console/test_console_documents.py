"""The documents page in a real browser, on a real server: documents are added, found, looked at, indexed again and deleted."""

from __future__ import annotations

import json
import time

import httpx
import pytest
import pytest_asyncio

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module")
async def page(address, browse):
    page = (await browse()).page
    await page.goto(f"{address}/documents")
    await page.locator(".documents tbody tr").first.wait_for()
    return page


async def put(address: str, location: str, text: str, **more: object) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        answer = await client.put(f"{address}/v1/documents/{location}?visible=lexical", json={"text": text, **more})
        assert answer.status_code in (200, 201)


async def listed(address: str) -> dict[str, dict]:
    async with httpx.AsyncClient(timeout=60) as client:
        return {one["location"]: one for one in (await client.get(f"{address}/v1/documents")).json()["documents"]}


async def test_files_are_added_with_what_became_of_each_and_deleted_after_a_question(address, page):
    given = [
        {"name": "kelp.md", "mimeType": "text/markdown", "buffer": b"# Kelp\n\nKelp grows a foot a day."},
        {"name": "kelp.json", "mimeType": "application/json", "buffer": json.dumps({"text": "kelp"}).encode()},
        {"name": "kelp.raw", "mimeType": "", "buffer": b"\0\1"},
    ]
    await page.set_input_files("#files", given)
    await page.get_by_role("heading", name="2 documents added, 1 not taken").wait_for()
    refused = page.locator(".uploads .failed .said")
    await refused.filter(has_text="Binary. It is no text").wait_for()
    needs = page.get_by_role("region", name="Needs a hand")
    await needs.get_by_text("kelp.raw").wait_for()
    row = page.locator("tbody tr", has=page.get_by_role("link", name="Kelp", exact=True))
    await row.get_by_role("checkbox").check()
    await page.locator(".chosen").get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog", name="Delete \u201cKelp\u201d?")
    assert await dialog.get_by_role("button", name="Cancel").evaluate("button => button === document.activeElement")
    await page.keyboard.press("Escape")
    await dialog.wait_for(state="hidden")
    assert "kelp.md" in await listed(address)
    await page.locator(".chosen").get_by_role("button", name="Delete").click()
    await dialog.get_by_role("button", name="Delete").click()
    await row.wait_for(state="detached")
    assert "kelp.md" not in await listed(address)
    await page.locator("#announce", has_text="deleted").wait_for(state="attached")


async def test_what_is_dropped_anywhere_on_the_page_is_added(address, page):
    await page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(['# Squid\\n\\nA squid has three hearts.'], 'squid.md'));
            for (const type of ['dragover', 'drop'])
                document.body.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
        }"""
    )
    await page.get_by_role("heading", name="1 document added").wait_for()
    assert await page.locator("#dropping").is_hidden()
    await page.get_by_role("link", name="Squid", exact=True).wait_for()
    await page.get_by_role("button", name="Put this list away").click()
    assert await page.locator("#uploads").is_hidden()
    assert (await listed(address))["squid.md"]["title"] == "Squid"


async def test_what_is_added_may_be_for_a_group_and_for_a_time(address, page):
    await page.get_by_label("read by").fill("crew, pilots")
    await page.get_by_label("served").select_option("for a week")
    await page.set_input_files("#files", [{"name": "chart.md", "mimeType": "", "buffer": b"# Chart\n\nDepths."}])
    row = page.locator("tbody tr", has=page.get_by_role("link", name="Chart", exact=True))
    await row.get_by_text("for crew, pilots").wait_for()
    assert "expires in " in await row.inner_text()
    assert (await listed(address))["chart.md"]["readers"] == ["crew", "pilots"]


async def test_a_search_says_of_each_passage_how_it_came_to_its_place_and_which_copy_it_hides(address, page):
    text = " ".join(f"Pilot number {n} boards at buoy {n} with the flood." for n in range(1, 12))
    await put(address, "pilots/old", text, title="Old pilots", published="2020-01-01")
    await put(address, "pilots/new", text, title="New pilots", published="2026-01-01")
    await put(address, "pilots/staff", "The pilot rota of the buoy.", title="Rota", readers=["crew"])
    await page.keyboard.press("/")
    await page.keyboard.type("pilot buoy")
    await page.keyboard.press("Enter")
    first = page.locator(".results > li").first
    await first.get_by_role("link", name="New pilots").wait_for()
    assert await page.get_by_text("This server has no encoder").count() == 1  # a choice of the settings, and no fault
    assert await page.locator(".strip:visible").count() == 0
    assert await first.locator(".parts dt").all_inner_texts() == ["Words", "Age", "Place"]
    assert "the same text; this one is newer" in await first.locator(".copies").inner_text()
    await first.get_by_text("How it came to its place").click()
    score = (await first.locator(".score > p").inner_text()).split()[-1]
    assert f"= {score}." in await first.locator(".why").inner_text()
    assert await page.get_by_role("link", name="Rota").count() == 0
    await page.get_by_label("As a member of these groups").fill("crew")
    await page.keyboard.press("Enter")
    await page.get_by_role("link", name="Rota").click()
    await page.get_by_text("members of crew").wait_for()
    await page.go_back()
    await page.get_by_role("link", name="Rota").wait_for()


async def test_a_document_shows_its_passages_and_is_indexed_again(address, page):
    await put(address, "atlas", "# Atlas\n\nA map of the sound.", title="Atlas")
    await page.get_by_label("Filter documents").fill("atlas")
    await page.get_by_role("link", name="Atlas", exact=True).click()
    await page.locator(".passages").get_by_text("A map of the sound.").wait_for()
    assert await page.evaluate("document.activeElement.id") == "view"
    await page.get_by_role("button", name="Index again").click()
    await page.locator("#job").get_by_text("Atlas: 1 document indexed again").wait_for()
    await page.locator(".facts").get_by_text("2; those before it were replaced, and are not kept").wait_for()
    assert (await listed(address))["atlas"]["version"] == 2


async def test_what_expires_soon_is_listed_by_itself(address, page):
    await put(address, "tide-table", "Today's tides.", title="Tide table", expires=time.time() + 3600)
    await page.get_by_role("link", name="Expire within a day").click()
    await page.get_by_role("heading", name="Documents that expire within a day").wait_for()
    await page.get_by_role("link", name="Tide table", exact=True).wait_for()
    assert await page.locator("tbody tr").count() == 1
    await page.get_by_role("link", name="Show all").click()
    await page.locator("tbody tr").nth(1).wait_for()


async def test_what_others_change_appears_by_itself_and_what_is_chosen_stays(address, page):
    await page.locator("tbody").get_by_role("checkbox").first.check()
    await put(address, "zebra", "Stripes.", title="Zebra")
    await page.get_by_role("link", name="Zebra", exact=True).wait_for()
    assert await page.locator("tbody").get_by_role("checkbox").first.is_checked()


async def test_a_new_server_says_how_documents_come_in_and_a_broken_one_says_so(serve_here, browse):
    page = (await browse()).page
    async with serve_here() as address:
        await page.goto(f"{address}/documents")
        await page.get_by_text("Nothing is indexed yet.").wait_for()
        await page.get_by_role("button", name="Choose files").wait_for()
        await put(address, "first", "The first of them.")
        await page.evaluate("dispatchEvent(new Event('online'))")
        await page.get_by_role("link", name="first", exact=True).wait_for()
    await page.evaluate("dispatchEvent(new Event('online'))")
    await page.locator("#notice", has_text="The server cannot be reached. Check that the server is running").wait_for()
    await page.get_by_role("link", name="first", exact=True).wait_for()


async def test_the_page_asks_for_the_key_once_and_uses_it_for_all_it_does(serve_here, browse):
    page = (await browse()).page
    async with serve_here(TIDEWIRE_API_KEY="k3y") as address:
        await page.goto(f"{address}/documents")
        await page.get_by_role("button", name="Not now").click()
        await page.get_by_role("button", name="Enter the key").click()
        await page.get_by_label("Key", exact=True).fill("k3y")
        await page.get_by_role("button", name="Use this key").click()
        await page.get_by_text("Nothing is indexed yet.").wait_for()
        await page.set_input_files("#files", [{"name": "a.md", "mimeType": "", "buffer": b"Some words."}])
        await page.get_by_role("heading", name="1 document added").wait_for()


async def test_on_a_small_screen_nothing_is_wider_than_the_screen(address, browse):
    page = (await browse(360, 740)).page
    for path in ("/documents", "/documents#/source/", "/documents#/search?q=stream"):
        await page.goto(address + path)
        await page.reload()
        await page.locator("tbody tr, .results > li").first.wait_for()
        assert await page.evaluate("document.querySelector('#scroll').scrollWidth") <= 360
        # the list scrolls, the page does not
        assert await page.evaluate("document.documentElement.scrollHeight") <= 740
    told = page.locator("#scroll p:visible").first  # as a message may name a path that no line holds
    await told.evaluate("told => { told.textContent = 'there is no folder /' + 'deep'.repeat(40); }")
    assert await page.evaluate("document.querySelector('#scroll').scrollWidth") <= 360
    await page.get_by_role("button", name="Sources").click()
    await page.get_by_role("link", name="Put by hand").click()
    await page.get_by_text("brought in by tidewire ingest").wait_for()

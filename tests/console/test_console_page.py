"""The console in a real browser, on a real server: what a person can do, and what must not break."""

from __future__ import annotations

import httpx
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

QUESTION = "What must a client do after a lost connection?"
HALVED = "Half of it first"  # to far/m
ENDLESS = "sim: tokens=100000 interval_ms=5 ttft_ms=20"


async def document(address: str, stream: str) -> dict:
    async with httpx.AsyncClient(timeout=60) as client:
        return (await client.get(f"{address}/v1/streams/{stream}/events", params={"as": "json"})).json()


async def server_text(address: str, stream: str) -> str:
    return " ".join((await document(address, stream))["text"].split())


async def test_an_answer_arrives_with_its_sources_its_figures_and_where_its_time_went(address, browse):
    console = await browse()
    page = console.page
    await console.open(address)
    assert await page.locator("#model-note").inner_text() != ""
    stream = await console.ask(QUESTION, "extractive")
    assert await console.ended() == "Complete"
    whole = await document(address, stream)
    assert (await console.text()).replace("`", "") == " ".join(whole["text"].replace("`", "").split())
    assert await page.locator(".turn .prose .mark").count() == len(whole["citations"]) > 0
    await page.locator(".turn .prose .mark").first.click()
    passage = page.locator(".sources details[open] blockquote").first
    assert (await passage.inner_text()).split() == whole["citations"][0]["passage"].split()
    figures = await page.locator(".figures").inner_text()
    assert "TTFT" in figures
    assert "(server" in figures
    assert "tokens/s" in figures
    await page.locator(".time summary").click()
    assert await page.locator(".bars .fill.measured").count() >= 2
    assert "measured by this server" in await page.locator(".legend").inner_text()


async def test_a_marker_stands_behind_the_words_that_it_vouches_for(address, browse):
    console = await browse()
    await console.open(address)
    stream = await console.ask(QUESTION, "extractive")
    await console.ended()
    whole = await document(address, stream)
    before = await console.page.evaluate(
        """() => [...document.querySelectorAll('.prose .marks')].map(marks => {
            const range = document.createRange();
            range.setStart(document.querySelector('.prose'), 0);
            range.setEndBefore(marks);
            const part = range.cloneContents();
            part.querySelectorAll('.marks').forEach(inner => inner.remove());
            return part.textContent.trim().split(/\\s+/).at(-1);
        })"""
    )
    wanted = [whole["text"][: c["end"]].replace("`", "").split()[-1] for c in whole["citations"]]
    assert before == wanted


@pytest.mark.parametrize("how", ["button", "Escape"])
async def test_stop_stops_the_server_and_keeps_what_was_said(address, browse, how):
    console = await browse()
    await console.open(address)
    stream = await console.ask(ENDLESS)
    await console.words(20)
    if how == "button":
        await console.page.locator("#send.stop").click()
    else:
        await console.page.keyboard.press("Escape")
    assert await console.ended() == "Stopped"
    whole = await document(address, stream)
    assert whole["status"] == "cancelled"
    assert await console.text() == " ".join(whole["text"].split())
    assert await console.page.locator("#send:not(.stop)").count() == 1


async def test_a_refresh_in_mid_answer_goes_on_and_ends_with_the_same_text(address, halves, browse):
    console = await browse()
    await console.open(address)
    stream = await console.ask(HALVED, "far/m")
    await console.words(30)
    await console.page.reload()
    await console.words(30)
    assert await console.page.locator(".turn.running").count() == 1
    assert await console.page.locator(".question").inner_text() == HALVED
    halves.go.set()
    assert await console.ended() == "Complete"
    assert await console.text() == await server_text(address, stream)


async def test_a_page_that_was_closed_in_mid_answer_opens_where_it_was(address, halves, browse):
    console = await browse()
    await console.open(address)
    stream = await console.ask(HALVED, "far/m")
    await console.words(10)
    again = await browse(beside=console)
    await console.page.close()
    await again.open(address)
    await again.words(20)
    assert again.page.url.endswith(f"#/s/{stream}")
    halves.go.set()
    assert await again.ended() == "Complete"
    assert await again.text() == await server_text(address, stream)
    # What has ended is not forced on the next visit.
    third = await browse(beside=again)
    await third.open(address)
    assert await third.page.locator("#welcome").is_visible()


async def test_a_second_visitor_opens_the_same_stream_by_its_link_while_it_grows(address, halves, browse):
    console = await browse()
    await console.open(address)
    stream = await console.ask(HALVED, "far/m")
    await console.words(10)
    other = await browse(1440)
    await other.open(address, f"/#/s/{stream}")
    await other.words(10)
    await other.page.locator("main [data-drawer=inspector]").click()
    assert stream in await other.page.locator(".facts").inner_text()
    assert await other.page.locator(".turn.running").count() == 1
    halves.go.set()
    assert "Complete" == await console.ended() == await other.ended()
    assert await other.text() == await console.text() == await server_text(address, stream)
    # Either may follow up: the conversation goes on with what was said before.
    async with other.page.expect_request("**/v1/streams") as asked:
        await other.ask("sim: tokens=3")
    roles = [message["role"] for message in (await asked.value).post_data_json["messages"]]
    assert roles == ["user", "assistant", "user"]


async def test_a_server_that_goes_away_is_told_of_and_its_answer_goes_on(wire, halves, browse):
    proxy, near = wire
    console = await browse()
    await console.open(near)
    stream = await console.ask(HALVED, "far/m")
    await console.words(20)
    proxy.cut()
    notice = console.page.locator("#notice")
    await notice.wait_for()
    assert "Reconnecting" in await notice.inner_text()
    assert "Reconnecting" in await console.page.locator("#connection").inner_text()
    halves.go.set()
    proxy.mend()
    await notice.get_by_role("button").click()
    await notice.wait_for(state="hidden")
    assert await console.ended() == "Complete"
    assert await console.text() == await server_text(near, stream)


async def test_painting_keeps_up_with_a_thousand_tokens_a_second_at_one_paint_a_frame(address, browse):
    console = await browse()
    page = console.page
    await page.add_init_script(
        """
        window.seen = { frames: 0, paints: 0, twice: 0, arrived: 0, painted: 0 };
        let painted = 0;
        const tick = () => {
          if (painted > 1) seen.twice += 1;
          painted = 0;
          seen.frames += 1;
          requestAnimationFrame(tick);
        };
        requestAnimationFrame(tick);
        const read = ReadableStreamDefaultReader.prototype.read;
        ReadableStreamDefaultReader.prototype.read = async function () {
          const result = await read.call(this);
          if (!result.done) seen.arrived = seen.frames;
          return result;
        };
        new MutationObserver((changes) => {
          if (!changes.some(({ target }) => (target.parentElement ?? target).closest?.('.prose'))) return;
          seen.paints += 1;
          seen.painted = seen.frames;
          painted += 1;
        }).observe(document, { subtree: true, childList: true, characterData: true });
        """
    )
    await console.open(address)
    await page.evaluate("() => Object.assign(seen, { frames: 0, paints: 0, twice: 0 })")
    stream = await console.ask("sim: tokens=2000 interval_ms=1 ttft_ms=20")
    assert await console.ended() == "Complete"
    seen = await page.evaluate("seen")
    whole = await document(address, stream)
    assert await console.text() == " ".join(whole["text"].split())  # complete as soon as `closed` is told of
    assert 3 < seen["paints"] <= seen["frames"], seen
    assert seen["twice"] == 0, seen
    assert seen["painted"] - seen["arrived"] <= 2, seen  # frames from the last bytes to the last words


async def test_the_inspector_shows_the_numbered_events_and_no_more_than_the_last_200(address, browse):
    console = await browse(1440, 900)
    page = console.page
    await console.open(address)
    await page.locator("main [data-drawer=inspector]").click()
    await console.ask("sim: tokens=600 interval_ms=0")
    await console.ended()
    rows = page.locator(".events > li")
    assert await rows.count() == 200
    numbers = [int(n) for n in await page.locator(".events .seq").all_inner_texts()]
    assert numbers == list(range(numbers[0], numbers[0] + 200))
    await rows.last.locator("summary").click()
    assert '"type": "closed"' in await rows.last.locator("pre").inner_text()
    await page.get_by_label("Hide deltas").check()
    assert await page.locator(".events > .delta").first.is_hidden()


async def test_a_phone_of_360_pixels_scrolls_only_downwards(address, browse):
    console = await browse(360, 640, has_touch=True)
    page = console.page
    await console.open(address)
    wide = "| " + " | ".join(["column"] * 20) + " |"
    await console.ask(
        rf'sim: text="{"x" * 300} `{"y" * 200}`\n\n{wide}\n\n```\n{"z " * 200}\n```" tool=look interval_ms=0'
    )
    await console.ended()
    await page.locator(".time summary").click()
    for opened in (None, "history", "inspector"):
        if opened:
            await page.keyboard.press("Escape")
            await page.locator(f"main [data-drawer={opened}]").click()
        assert await page.evaluate("document.scrollingElement.scrollWidth") <= 360
        assert await page.evaluate("(a => a.scrollWidth - a.clientWidth)(document.querySelector('#scroll'))") <= 0
    await page.keyboard.press("Escape")
    await page.locator("#inspector").wait_for(state="hidden")
    small = await page.evaluate(
        """() => [...document.querySelectorAll('main button, main select')].filter(b => b.offsetParent)
            .map(b => [b.getAttribute('aria-label') ?? b.textContent, b.offsetWidth, b.offsetHeight])
            .filter(([, width, height]) => width < 24 || height < 24)"""
    )
    assert small == []  # WCAG 2.2, 2.5.8: a target has at least 24 by 24 pixels


async def test_all_of_it_works_by_keyboard_alone(address, browse):
    console = await browse()
    page = console.page
    await console.open(address)
    assert await page.evaluate("document.activeElement.id") == "question"
    await page.keyboard.type("two lines,")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type(ENDLESS)
    assert (await page.input_value("#question")).count("\n") == 1
    await page.keyboard.press("Enter")
    await console.words(5)
    assert await page.input_value("#question") == ""
    await page.keyboard.press("Enter")  # asks nothing while an answer grows
    await page.keyboard.press("Escape")
    assert await console.ended() == "Stopped"
    assert await page.locator(".turn").count() == 1
    for _ in range(40):
        await page.keyboard.press("Shift+Tab")
        if await page.evaluate("document.activeElement.closest('.time') !== null"):
            break
    await page.keyboard.press("Enter")
    await page.wait_for_function(
        """() => document.querySelector('.waterfall').getBoundingClientRect().bottom <= document.querySelector('.dock').getBoundingClientRect().top"""
    )
    outline = "(getComputedStyle(document.activeElement).outlineStyle)"
    assert await page.evaluate(outline) == "solid"
    await page.keyboard.press("/")
    assert await page.evaluate("document.activeElement.id") == "question"
    unnamed = await page.evaluate(
        """() => [...document.querySelectorAll('button, a[href], input, select, textarea')].filter(e => e.offsetParent)
            .filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length)).map(e => e.outerHTML)"""
    )
    assert unnamed == []


CONTRAST = """() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (colour.startsWith('rgb(')) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const low = [];
  for (const e of document.querySelectorAll('body *')) {
    if (!e.offsetParent || e.disabled || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) low.push(`${e.className || e.tagName} ${e.textContent.slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return low;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_can_be_read_in_light_and_dark_and_the_choice_is_kept(address, browse, scheme):
    console = await browse(1440, 900, color_scheme=scheme)
    page = console.page
    await console.open(address)
    assert await page.evaluate(CONTRAST) == []
    await page.locator("main [data-drawer=inspector]").click()
    await console.ask(QUESTION, "extractive")
    await console.ended()
    await console.ask("sim: tokens=10 thinking=5 tool=look error=unavailable fail_after=3")
    await console.ended()
    assert await page.evaluate(CONTRAST) == []
    ground = "getComputedStyle(document.body).backgroundColor"
    before = await page.evaluate(ground)
    await page.locator("#theme").click()
    chosen = await page.evaluate(ground)
    assert chosen != before
    assert await page.evaluate(CONTRAST) == []
    await page.reload()
    assert await page.evaluate(ground) == chosen


async def test_a_server_with_a_key_asks_for_it_and_then_answers(serve_here, browse):
    async with serve_here(TIDEWIRE_API_KEY="open sesame") as address:
        console = await browse()
        page = console.page
        await page.goto(address)
        await page.locator("#key-field").fill("wrong")
        await page.keyboard.press("Enter")
        await page.get_by_text("was refused").wait_for()
        await page.locator("#key-field").fill("open sesame")
        await page.keyboard.press("Enter")
        await page.wait_for_function("() => document.querySelector('#model').value !== ''")
        await console.ask("sim: tokens=5 interval_ms=0")
        assert await console.ended() == "Complete"
        stored = await page.evaluate("[JSON.stringify(localStorage), sessionStorage['tidewire.key']]")
        assert "open sesame" not in stored[0]
        assert stored[1] == "open sesame"


async def test_errors_are_sentences_with_a_code_and_a_way_on(address, browse):
    console = await browse()
    page = console.page
    await console.open(address)
    await console.ask("sim: tokens=9 interval_ms=0 error=overloaded fail_after=3")
    assert await console.ended() == "Failed"
    trouble = page.locator(".turn:last-child .trouble")
    assert "overloaded" in await trouble.inner_text()
    assert "upstream_rate_limited" in await trouble.locator("code").inner_text()
    await trouble.get_by_role("button", name="Ask again").click()
    await page.locator(".turn").nth(1).wait_for()
    await console.ended()
    await page.goto(address + "/#/s/st_never_was")
    await page.get_by_text("unknown_stream").wait_for()


async def test_nonsense_never_breaks_the_page(address, browse):
    console = await browse()
    page = console.page
    await page.add_init_script(
        """localStorage['tidewire.asked'] ??= '{"not": "a list"}'; localStorage['tidewire.theme'] = 'plaid';"""
    )
    await console.open(address, "/#/s/%%%/../x")
    assert await page.locator("#welcome").is_visible()
    hostile = "<img src=x onerror=window.broken=1><script>window.broken=1</script> [x](javascript:window.broken=1)"
    await console.ask(f'{hostile} sim: text="{hostile} ** ` [ _ ``` > 1. |" interval_ms=0')
    await console.ended()
    assert hostile.partition(" [x]")[0].split() == (await console.text()).partition(" [x]")[0].split()
    assert await page.evaluate("window.broken") is None
    assert await page.locator(".prose img, .prose script, .question img, a[href^=javascript]").count() == 0
    for text in ["\u0000\ufffe🌊\u202e", "   ", "\\", "sim: tokens=-1", "a" * 20_000]:
        await page.fill("#question", text)
        await page.keyboard.press("Enter")
        await page.wait_for_function("() => !document.querySelector('#send').classList.contains('stop')")
    assert await page.locator("#question").is_visible()


async def test_the_list_shows_what_was_asked_and_opens_it_again(address, browse):
    console = await browse()
    page = console.page
    await console.open(address)
    await console.ask("sim: tokens=4 interval_ms=0 seed=11")
    await console.ended()
    await console.ask("sim: tokens=5 interval_ms=0 seed=12")
    await console.ended()
    mine = page.locator("#history-list a[aria-current]")
    await mine.get_by_text("2 answers").wait_for()
    assert "seed=11" in await mine.inner_text()
    await page.locator("#new").click()
    assert await page.locator("#welcome").is_visible()
    assert await page.locator(".turn").count() == 0
    await page.locator("#history-list a").first.click()
    await page.locator(".turn").nth(1).wait_for()
    assert await console.ended() == "Complete"
    assert await page.locator(".question").all_inner_texts() == [
        "sim: tokens=4 interval_ms=0 seed=11",
        "sim: tokens=5 interval_ms=0 seed=12",
    ]
    await page.go_back()
    await page.locator("#welcome").wait_for()


async def test_a_screen_reader_hears_the_end_and_not_the_tokens(address, browse):
    console = await browse()
    page = console.page
    await console.open(address)
    await page.evaluate(
        """window.heard = []; new MutationObserver(() => heard.push(document.querySelector('#announce').textContent))
            .observe(document.querySelector('#announce'), { childList: true, characterData: true, subtree: true })"""
    )
    await console.ask("sim: tokens=100 interval_ms=2")
    await console.ended()
    assert await page.evaluate("heard") == ["Question sent.", "Complete."]
    assert await page.locator("[aria-live]:not(#announce)").count() == 0

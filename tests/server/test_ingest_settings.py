from __future__ import annotations

import pytest

from storing import MemoryStore
from tidewire.core.errors import SettingsError
from tidewire.retrieval.intake import Intake
from tidewire.retrieval.reading.reader import Reader
from tidewire.server.ingest_settings import Ingest, SourceSettings
from tidewire.server.intake import Sources
from tidewire.server.settings import Settings, check


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (SourceSettings(), "its path is empty"),
        (SourceSettings(kind="url"), "its urls is empty"),
        (SourceSettings(kind="feed", urls=["http://a/", "http://b/"]), "a feed has one"),
        (SourceSettings(kind="webhook"), "its key_env is empty"),
    ],
)
def test_a_source_that_does_not_say_where_it_is_is_a_wrong_setting(source: SourceSettings, why: str) -> None:
    with pytest.raises(SettingsError, match=why) as wrong:
        check(Settings(sources={"news": source}))
    assert wrong.value.param is not None
    assert wrong.value.param.startswith("sources.news.")


def test_a_rule_of_a_lifetime_is_of_a_source_a_path_or_a_media_type() -> None:
    check(Settings(ingest=Ingest(ttl={"source:news": 1.0, "path:*/a*": 1.0, "text/html": 1.0})))
    with pytest.raises(SettingsError, match="has a rule 'html'"):
        check(Settings(ingest=Ingest(ttl={"html": 1.0})))


@pytest.mark.parametrize(("held", "why"), [("", "that variable is empty"), ("whsec_!", "holds no secret")])
async def test_a_webhook_without_its_secret_is_a_wrong_setting(held: str, why: str) -> None:
    hook = SourceSettings(kind="webhook", key_env="HOOK")
    with pytest.raises(SettingsError, match=why):
        Sources(Settings(sources={"crm": hook}), Intake(MemoryStore(), Reader()), {"HOOK": held})  # type: ignore[arg-type]

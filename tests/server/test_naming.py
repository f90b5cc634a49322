"""Settings that name a model which nothing answers to: said at the start and by the doctor, each by its path."""

from __future__ import annotations

import pytest

from tidewire.cli.checks import routes
from tidewire.routing.table import Candidate, Plan
from tidewire.server import naming
from tidewire.server.assemble import offered
from tidewire.server.plan_settings import UsePlan
from tidewire.server.settings import Context, Embedding, Models, Provider, Retrieval, Sessions, Settings
from tidewire.server.tools_settings import Tools

GIVEN = Settings(
    embedding=Embedding(kind="none"),
    models=Models(discover=False, default="quick", aliases={"short": "simulated", "old": "gone"}),
    providers={"simulated": Provider(kind="simulated")},
    routes={"quick": Plan(candidates=[Candidate(model="simulated")])},
    retrieval=Retrieval(models=["simulatd", "short", "quick", "default"]),
    context=Context(tokens=9000),
    sessions=Sessions(summary_model="scribe"),
    plans={"voice": UsePlan(models=["simulated", "speaker"])},
    tools={"tide": Tools(function="os:getcwd", models=["sailor"])},
)
VAIN = [
    ("sessions.summary_model", "scribe"),
    ("models.aliases.old", "gone"),
    ("retrieval.models", "simulatd"),
    ("plans.voice.models", "speaker"),
    ("tools.tide.models", "sailor"),
]


async def test_a_name_that_nothing_answers_to_is_said_with_the_setting_that_holds_it(tmp_path, caplog):
    async with offered(GIVEN) as book:
        assert await naming.unanswered(GIVEN, book) == VAIN
        await naming.warn(GIVEN, book)
    assert [(record.path, record.model) for record in caplog.records if "not on offer" in record.message] == VAIN


def test_the_doctor_says_the_same():
    found = [(finding.name, finding.said) for finding in routes(GIVEN) if finding.level == "warn"]
    assert found == [(path, f"not on offer: {model}") for path, model in VAIN]


@pytest.mark.parametrize("settings", [Settings(), Settings(models=Models(default="extractive"))])
async def test_nothing_is_said_where_nothing_is_named_in_vain(settings):
    async with offered(settings) as book:
        assert await naming.unanswered(settings, book) == []

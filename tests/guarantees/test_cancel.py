"""A client that leaves, or says stop, closes the connection to the model host: on every route, in every phase."""

from __future__ import annotations

import pytest
import pytest_asyncio

from leaving import PHASES, WAYS, phases
from serving import eventually, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def scene(tmp_path_factory):
    async with phases() as hosts:
        names = {name: f"h{i}" for i, name in enumerate(hosts)}
        given = {names[name]: phase.url for name, phase in hosts.items()}
        async with serving(tmp_path_factory.mktemp("cancel"), hosts=given) as tidewire:
            yield tidewire, hosts, names


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("phase", PHASES)
async def test_the_host_is_let_go_of(scene, phase, way):
    tidewire, hosts, names = scene
    host = hosts[phase]
    before = host.asked()
    leave, tidy = await WAYS[way](tidewire.port, f"{names[phase]}/m")
    await eventually(lambda: host.asked() > before)
    await leave()
    await eventually(lambda: host.held() == 0)
    await tidy()
    await eventually(lambda: tidewire.house.desk.open_streams == 0 and tidewire.readers == 0)

"""The kinds of provider that a configuration may name. Hosts over HTTP are rows of hosts.py; others
are a file in providers/, a test, and a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from tidewire.core.ports import Provider
from tidewire.core.registry import Registry
from tidewire.dialects import plain_prompt, triton_host
from tidewire.providers.answers import Timeouts
from tidewire.providers.extractive import Corpus, Extractive
from tidewire.providers.onnx_local import OnnxLocal
from tidewire.providers.simulated import Simulated
from tidewire.providers.triton_grpc import TritonGrpc
from tidewire.server import settings as s
from tidewire.server.hosts import HOSTS, hosted


class Parts(msgspec.Struct, frozen=True):
    """What a provider may be made from, beside its own settings."""

    settings: s.Settings
    corpus: Corpus


def simulated(name: str, given: s.Provider, parts: Parts) -> Provider:
    return Simulated(name, models=given.models or (name,))


def extractive(name: str, given: s.Provider, parts: Parts) -> Provider:
    retrieval = parts.settings.retrieval
    return Extractive(parts.corpus, interval=1 / retrieval.pace, passages=retrieval.passages)


def triton_grpc(name: str, given: s.Provider, parts: Parts) -> Provider:
    return TritonGrpc(
        name,
        given.base_url or "http://127.0.0.1:8001",
        triton_host.asked,
        triton_host.Outputs,
        models=given.models,
        headers=given.headers,
        retries=given.retries,
        timeouts=Timeouts(header=given.header_s, first_token=given.first_token_s, idle=given.idle_s),
        ca_file=given.ca_file or None,
    )


def onnx(name: str, given: s.Provider, parts: Parts) -> Provider:
    return OnnxLocal(name, given.folder, plain_prompt.plain, models=given.models, most=given.connections)


def _host(kind: str) -> Callable[[str, s.Provider, Parts], Provider]:
    return lambda name, given, parts: hosted(kind, name, given)


KINDS: Final = Registry(
    "provider",
    "tidewire.providers",
    {kind: _host(kind) for kind in HOSTS}
    | {"simulated": simulated, "extractive": extractive, "triton-grpc": triton_grpc, "onnx": onnx},
)

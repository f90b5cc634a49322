"""Triton over gRPC, against a server of its own protocol made here with grpcio."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import sys
from typing import Any

import grpc
import pytest
from plain_chat import Cup, question
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as stubs

from serving import eventually, serving
from tidewire.core.errors import BadRequest, SettingsError, TidewireError, TimedOut, UpstreamError
from tidewire.core.events import Attempt, Finish, Usage
from tidewire.dialects import triton_host
from tidewire.providers.answers import Timeouts
from tidewire.providers.triton_grpc import TritonGrpc
from tidewire.server.settings import Provider

VLLM = {"text_input": ("BYTES", [1]), "stream": ("BOOL", [1])}
ENSEMBLE = {
    "text_input": ("BYTES", [-1, 1]),
    "max_tokens": ("INT32", [-1, 1]),
    "temperature": ("FP32", [-1, 1]),
    "stop_words": ("BYTES", [-1, 1]),
    "stream": ("BOOL", [-1, 1]),
}


def said(text: str | bytes | None, *, final: bool = False, error: str = "", **more: Any) -> pb.ModelStreamInferResponse:
    response = pb.ModelInferResponse(model_name="m")
    if text is not None:
        data = text if isinstance(text, bytes) else text.encode()
        response.outputs.add(name="text_output", datatype="BYTES", shape=[1])
        response.raw_output_contents.append(struct.pack("<I", len(data)) + data)
    for name, value in more.items():
        text_like = isinstance(value, str)
        raw = struct.pack("<I", len(value)) + value.encode() if text_like else struct.pack("<I", value)
        response.outputs.add(name=name, datatype="BYTES" if text_like else "UINT32", shape=[1])
        response.raw_output_contents.append(raw)
    response.parameters["triton_final_response"].bool_param = final
    return pb.ModelStreamInferResponse(infer_response=response, error_message=error)


END = said(None, final=True)


class Triton(stubs.GRPCInferenceServiceServicer):
    """Answers each call by a script: responses, an exception's status, or an event to wait for."""

    def __init__(self, *script: Any, inputs: dict[str, Any] = VLLM) -> None:
        self.script = script
        self.inputs = inputs
        self.asked: list[pb.ModelInferRequest] = []
        self.metadata: dict[str, str] = {}
        self.gone = asyncio.Event()

    async def ModelMetadata(self, request, context):
        if request.name == "nowhere":
            await context.abort(grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'nowhere' is not found")
        known = pb.ModelMetadataResponse(name=request.name)
        for name, (datatype, shape) in self.inputs.items():
            known.inputs.add(name=name, datatype=datatype, shape=shape)
        return known

    async def RepositoryIndex(self, request, context):
        assert request.ready
        listed = pb.RepositoryIndexResponse()
        listed.models.add(name="ensemble", version="1", state="READY")
        return listed

    async def ModelStreamInfer(self, request_iterator, context):
        context.add_done_callback(lambda _: self.gone.set())
        self.metadata = dict(context.invocation_metadata())
        async for request in request_iterator:
            self.asked.append(request)
            for step in self.script:
                if isinstance(step, grpc.StatusCode):
                    await context.abort(step, "so it is")
                elif step is None:
                    await asyncio.Event().wait()
                else:
                    yield step


@contextlib.asynccontextmanager
async def listening(servicer: Triton):
    server = grpc.aio.server()
    stubs.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await server.stop(None)


def provider(url: str, **options: Any) -> TritonGrpc:
    return TritonGrpc("edge", url, triton_host.asked, triton_host.Outputs, **({"retries": 0} | options))


async def answered(triton: Triton, request: Any = None, **options: Any) -> Cup:
    cup = Cup()
    async with listening(triton) as url:
        edge = provider(url, **options)
        try:
            await edge.answer(request or question(model="edge/m"), cup)
        finally:
            await edge.close()
    return cup


async def failed(*script: Any, **options: Any) -> TidewireError:
    with pytest.raises(TidewireError) as caught:
        await answered(Triton(*script), **options)
    return caught.value


async def test_an_answer_ends_with_its_final_response() -> None:
    triton = Triton(said("Hé"), said("llo 👋"), said(""), END)
    cup = await answered(triton, headers={"Authorization": "Bearer k"})
    assert cup.text == "Héllo 👋"
    assert cup.events[-1] == Finish(reason="stop")
    assert cup.events[0] == Attempt(n=1, provider="edge", model="m", reason="start")
    [asked] = triton.asked
    assert asked.model_name == "m"
    assert asked.parameters["triton_enable_empty_final_response"].bool_param
    assert triton.metadata["authorization"] == "Bearer k"


async def test_the_final_response_may_carry_the_last_word_and_a_models_own_counts() -> None:
    last = said("b", final=True, finish_reason="length", num_input_tokens=5, num_output_tokens=1)
    cup = await answered(Triton(said("a", num_output_tokens=2), last))
    assert cup.text == "ab"
    [used] = [e for e in cup.events if isinstance(e, Usage)]
    assert (used.counted_by, used.input, used.output) == ("host", 5, 3)
    assert cup.events[-1] == Finish(reason="length")


async def test_parameters_without_an_input_of_their_name_stay_parameters() -> None:
    triton = Triton(said("a"), END)
    request = question(model="m", max_tokens=9, temperature=0.5, options={"detail": "high", "echo": False})
    await answered(triton, request)
    [asked] = triton.asked
    assert [(i.name, i.datatype, list(i.shape)) for i in asked.inputs] == [
        ("text_input", "BYTES", [1]),
        ("stream", "BOOL", [1]),
    ]
    text, stream = asked.raw_input_contents
    assert text[4:].decode() == request.question
    assert stream == b"\x01"
    got = {
        name: (p.WhichOneof("parameter_choice"), getattr(p, p.WhichOneof("parameter_choice")))
        for name, p in asked.parameters.items()
    }
    assert got == {
        "max_tokens": ("int64_param", 9),
        "temperature": ("double_param", 0.5),
        "detail": ("string_param", "high"),
        "echo": ("bool_param", False),
        "triton_enable_empty_final_response": ("bool_param", True),
    }


async def test_what_a_model_has_an_input_for_is_a_tensor_of_its_shape() -> None:
    triton = Triton(said("a"), END, inputs=ENSEMBLE)
    request = question(model="m", max_tokens=9, temperature=0.5, options={"stop_words": ["a", "bc"]})
    await answered(triton, request)
    [asked] = triton.asked
    tensors = {i.name: (list(i.shape), raw) for i, raw in zip(asked.inputs, asked.raw_input_contents, strict=True)}
    assert tensors["max_tokens"] == ([1, 1], struct.pack("<i", 9))
    assert tensors["temperature"] == ([1, 1], struct.pack("<f", 0.5))
    assert tensors["stop_words"] == ([1, 2], b"\x01\0\0\0a\x02\0\0\0bc")
    assert list(asked.parameters) == ["triton_enable_empty_final_response"]


@pytest.mark.parametrize("options", [{"stop_words": {}}, {"max_tokens": "x"}, {"max_tokens": None}])
async def test_an_option_that_is_no_such_tensor_is_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        await answered(Triton(END, inputs=ENSEMBLE | {"stop_words": ("INT32", [1])}), question(options=options))
    assert caught.value.param == f"options.{next(iter(options))}"


async def test_an_option_that_is_no_parameter_is_refused_by_name() -> None:
    with pytest.raises(BadRequest) as caught:
        await answered(Triton(END), question(options={"deep": {"a": 1}}))
    assert caught.value.param == "options.deep"


async def test_an_error_in_the_stream_ends_it() -> None:
    error = await failed(said("Half "), said(None, error="out of memory"), said("more"), END)
    assert (error.kind, error.begun) == ("upstream_error", True)
    assert "out of memory" in error.message


@pytest.mark.parametrize("script", [(), (said("Half "),)])
async def test_a_call_that_ends_without_its_final_response_was_cut(script: Any) -> None:
    error = await failed(*script)
    assert (error.kind, error.begun) == ("upstream_cut", bool(script))


@pytest.mark.parametrize(
    ("code", "kind", "status"),
    [
        (grpc.StatusCode.UNAVAILABLE, "upstream_unavailable", 502),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "upstream_rate_limited", 429),
        (grpc.StatusCode.INVALID_ARGUMENT, "upstream_refused", 400),
        (grpc.StatusCode.UNAUTHENTICATED, "upstream_auth", 502),
        (grpc.StatusCode.DATA_LOSS, "upstream_error", 502),
    ],
)
async def test_a_status_is_an_error_with_a_name(code: Any, kind: str, status: int) -> None:
    error = await failed(code)
    assert (error.kind, error.status) == (kind, status)
    assert "so it is" in error.message


async def test_a_failure_before_the_first_token_is_tried_again_and_none_after_it() -> None:
    cup = Cup()
    triton = Triton(grpc.StatusCode.UNAVAILABLE)
    async with listening(triton) as url:
        edge = provider(url, retries=2)
        with pytest.raises(UpstreamError):
            await edge.answer(question(), cup)
        assert [(e.n, e.reason) for e in cup.events if isinstance(e, Attempt)] == [
            (1, "start"),
            (2, "retry"),
            (3, "retry"),
        ]
        triton.script = (said("a"), grpc.StatusCode.UNAVAILABLE)
        with pytest.raises(UpstreamError):
            await edge.answer(question(), cup)
        assert len(triton.asked) == 4
        await edge.close()


async def test_a_model_that_is_not_there_and_a_host_that_is_not_there() -> None:
    async with listening(Triton()) as url:
        edge = provider(url)
        with pytest.raises(UpstreamError) as caught:
            await edge.answer(question(model="edge/nowhere"), Cup())
        assert caught.value.kind == "upstream_model_or_path_unknown"
        await edge.close()
    gone = provider("http://127.0.0.1:1")  # what gRPC keeps of a host that was there may outlive it
    with pytest.raises(UpstreamError) as caught:
        await gone.answer(question(), Cup())
    assert caught.value.kind == "upstream_unreachable"
    assert await gone.models() == []
    await gone.close()


@pytest.mark.parametrize("raw", [b"\x05\0\0\0a", b"\x01\0", b"\x02\0\0\0\xff\xff"])
async def test_an_output_that_cannot_be_read_is_an_error_with_a_name(raw: bytes) -> None:
    wrong = said("x")
    wrong.infer_response.raw_output_contents[0] = raw
    assert (await failed(wrong, END)).kind == "upstream_bad_event"


@pytest.mark.parametrize(("script", "kind"), [((), "first_token"), ((said("a"),), "idle")])
async def test_a_host_that_falls_silent_is_given_up(script: Any, kind: str) -> None:
    triton = Triton(*script, None)
    with pytest.raises(TimedOut) as caught:
        await answered(triton, timeouts=Timeouts(first_token=0.05, idle=0.05))
    assert caught.value.kind == f"upstream_{kind}_timeout"
    await triton.gone.wait()


async def test_a_cancelled_answer_is_cancelled_at_the_host() -> None:
    triton, cup = Triton(said("a"), None), Cup()
    async with listening(triton) as url:
        edge = provider(url)
        task = asyncio.create_task(edge.answer(question(), cup))
        await cup.got.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(triton.gone.wait(), 30)
        await edge.close()


async def test_a_full_log_stops_the_reading() -> None:
    triton, cup = Triton(*[said(f"{n} ") for n in range(50)], END), Cup(size=5)
    async with listening(triton) as url:
        edge = provider(url)
        task = asyncio.create_task(edge.answer(question(), cup))
        while not task.done():
            await eventually(lambda: task.done() or cup.waited)
            cup.waited = 0
            cup.drink()
        await task
        await edge.close()
    assert cup.text == "".join(f"{n} " for n in range(50))


async def test_the_models_are_those_of_the_settings_or_those_that_are_loaded() -> None:
    async with listening(Triton()) as url:
        edge = provider(url)
        assert [m.id for m in await edge.models()] == ["edge/ensemble"]
        await edge.close()
        assert [m.id for m in await provider(url, models=["a"]).models()] == ["edge/a"]


def test_without_the_extra_the_settings_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(SettingsError, match=r"tidewire\[triton\]") as caught:
        provider("http://127.0.0.1:1")
    assert caught.value.param == "providers.edge.kind"


async def test_a_client_that_leaves_ends_the_call_at_the_host(tmp_path: Any) -> None:
    triton = Triton(said("Hello "), None)
    async with listening(triton) as url:
        far = Provider(kind="triton-grpc", base_url=url, models=["m"], retries=0)
        async with serving(tmp_path, providers={"edge": far}) as tidewire:
            peer = await tidewire.peer()
            body = {"model": "edge/m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
            peer.post("/v1/chat/completions", body)
            assert (await peer.head())[0] == 200
            await peer.until(b"Hello")
            assert not triton.gone.is_set()
            peer.reset()
            await asyncio.wait_for(triton.gone.wait(), 30)

"""Triton Inference Server over gRPC: ModelStreamInfer, one call an answer. Needs the extra `triton`, whose stubs are used and no more of it.

How a request becomes a prompt with parameters, and outputs become events, is the dialect's: it is handed in. Sources: the server's
docs/protocol/grpc_core_service.proto, and for `triton_final_response` its docs/user_guide/decoupled_models.md.
"""

from __future__ import annotations

import asyncio
import importlib
import struct
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from tidewire.core.errors import BadRequest, SettingsError, TidewireError, TimedOut, UpstreamError
from tidewire.core.events import Attempt, Delta, Event, Progress
from tidewire.core.ports import ModelInfo, Sink
from tidewire.core.request import Request
from tidewire.providers.address import Address
from tidewire.providers.answers import Timeouts

LIST_DEADLINE: Final = 3.0
LARGEST: Final = 16 * 1024 * 1024  # bytes of one message of the host: some models send their logits along
_PAUSE: Final = 0.2  # seconds before a failed call is tried again, times the number of the try
_NUMBERS: Final = {
    "INT32": "<i",
    "INT64": "<q",
    "UINT32": "<I",
    "UINT64": "<Q",
    "FP32": "<f",
    "FP64": "<d",
    "BOOL": "<?",
}
T = TypeVar("T")

Asked = Callable[[Request], tuple[str, dict[str, Any]]]


class Answer(Protocol):
    """Outputs of a model become events."""

    def take(self, text: Any, out: list[Event]) -> None: ...

    def note(self, finish: Any, read: Any, made: Any) -> None: ...

    def end(self) -> list[Event]: ...


class TritonGrpc:
    """A `Provider`. A model's inputs are asked for once: parameters that it has an input for go as tensors, as over HTTP."""

    def __init__(
        self,
        name: str,
        base_url: str,
        asked: Asked,
        answer: Callable[[int | None], Answer],
        *,
        models: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        retries: int = 1,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
        ca_file: str | None = None,
    ) -> None:
        """asked: the prompt and parameters of a request. answer: made of a request's token limit. Raises SettingsError without the extra."""
        self.name = name
        self._address = Address.parse(base_url)
        self._grpc, self._pb, self._stubs = _library(name)
        self._asked = asked
        self._answer = answer
        self._models = tuple(models)
        self._headers = tuple((k.lower(), v) for k, v in (headers or {}).items())
        self._retries = retries
        self._timeouts = timeouts
        self._ca = Path(ca_file).read_bytes() if ca_file else None
        self._channel: Any = None
        self._inputs: dict[str, dict[str, tuple[str, list[int]]]] = {}

    async def answer(self, request: Request, sink: Sink) -> None:
        model = request.model.removeprefix(f"{self.name}/")
        text, parameters = self._asked(request)
        for n in range(1, self._retries + 2):
            opening: list[Event] = [
                Attempt(n=n, provider=self.name, model=model, reason="start" if n == 1 else "retry")
            ]
            if n == 1:
                opening.append(Progress(stage="waiting", detail=f"waiting for {self.name}"))
            sink.feed(opening)
            try:
                message = await self._message(model, text, parameters)
                left = None if request.deadline is None else max(0.001, request.deadline - time.monotonic())
                await self._stream(message, self._answer(request.max_tokens), sink, left)
                return
            except (UpstreamError, TimedOut) as error:
                self._inputs.pop(model, None)  # the model may be another by now
                if (
                    n > self._retries
                    or error.begun
                    or error.kind not in ("upstream_unreachable", "upstream_unavailable")
                ):
                    raise
            await asyncio.sleep(_PAUSE * n)

    def prefills(self, model: str) -> bool:
        """`core.ports.Prefilling`: a text is gone on with."""
        return True

    async def models(self) -> Sequence[ModelInfo]:
        """What is configured; else what the server has loaded, or nothing where it cannot say."""
        names = list(self._models)
        if not names:
            try:
                listed = await self._ask("RepositoryIndex", self._pb.RepositoryIndexRequest(ready=True), LIST_DEADLINE)
                names = [m.name for m in listed.models]
            except TidewireError:
                return []
        return [ModelInfo(id=f"{self.name}/{m}", provider=self.name) for m in names]

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()

    async def _stream(self, message: Any, answer: Answer, sink: Sink, left: float | None) -> None:
        """left: seconds that the answer may take, which the server is told."""
        call = self._stub().ModelStreamInfer(metadata=self._headers, timeout=left)
        begun = False
        try:
            await self._within(self._timeouts.header, "header", call.write(message))
            await call.done_writing()
            while True:
                patience = ("idle", self._timeouts.idle) if begun else ("first_token", self._timeouts.first_token)
                response = await self._within(patience[1], patience[0], call.read())
                if response is self._grpc.aio.EOF:
                    await self._why(call)
                events: list[Event] = []
                final = self._take(response, answer, events)
                if final:
                    events += answer.end()
                if events:
                    begun = begun or any(type(e) is Delta for e in events)
                    sink.feed(events)
                if final:
                    return
                if sink.full:
                    await sink.room()
        except self._grpc.aio.AioRpcError as error:
            raise _marked(self._refusal(error), begun=begun) from None
        except TidewireError as error:
            raise _marked(error, begun=begun) from None
        finally:
            call.cancel()  # however this is left, the host hears it now

    async def _why(self, call: Any) -> None:
        """The host closed the call. Raises what it said, or that the end was missing."""
        code = await call.code()
        if code is not self._grpc.StatusCode.OK:
            raise self._failed(code, await call.details())
        raise UpstreamError(f"{self._address} closed the call before the final response", code="upstream_cut")

    def _take(self, response: Any, answer: Answer, events: list[Event]) -> bool:
        """Whether that was the last response. Raises UpstreamError."""
        if response.error_message:
            raise UpstreamError(
                f"{self._address} broke off with an error: {response.error_message[:200]}", code="upstream_error"
            )
        inferred = response.infer_response
        values = dict(_outputs(inferred))
        if "text_output" in values:
            answer.take(values["text_output"], events)
        answer.note(values.get("finish_reason"), values.get("num_input_tokens"), values.get("num_output_tokens"))
        return bool(inferred.parameters["triton_final_response"].bool_param) if inferred.parameters else False

    # What is sent

    async def _message(self, model: str, text: str, parameters: Mapping[str, Any]) -> Any:
        inputs = self._inputs.get(model)
        if inputs is None:
            asked = self._pb.ModelMetadataRequest(name=model)
            known = await self._ask("ModelMetadata", asked, self._timeouts.header)
            inputs = self._inputs[model] = {i.name: (i.datatype, list(i.shape)) for i in known.inputs}
        message = self._pb.ModelInferRequest(model_name=model)
        for name, value in {"text_input": text, **parameters}.items():
            if name in inputs:
                self._tensor(message, name, *inputs[name], value)
            else:
                _parameter(message, name, value)
        message.parameters["triton_enable_empty_final_response"].bool_param = True
        return message

    def _tensor(self, message: Any, name: str, datatype: str, shape: list[int], value: Any) -> None:
        values = value if isinstance(value, list) else [value]
        sizes = [1 if size < 0 else size for size in shape] or [1]
        if len(values) > 1:
            sizes[-1] = len(values)
        try:
            raw = b"".join(_packed(datatype, v) for v in values)
        except (struct.error, TypeError, ValueError, KeyError):
            raise BadRequest(
                f"the model wants {name} as {datatype}, and a {type(value).__name__} was given", param=f"options.{name}"
            ) from None
        message.inputs.add(name=name, datatype=datatype, shape=sizes)
        message.raw_input_contents.append(raw)

    # The way to the host

    def _stub(self) -> Any:
        if self._channel is None:
            target = f"{self._address}"
            options = [("grpc.max_receive_message_length", LARGEST)]
            aio = self._grpc.aio
            if self._address.scheme == "https":
                trusted = self._grpc.ssl_channel_credentials(self._ca)
                self._channel = aio.secure_channel(target, trusted, options=options)
            else:
                self._channel = aio.insecure_channel(target, options=options)
        return self._stubs.GRPCInferenceServiceStub(self._channel)

    async def _ask(self, method: str, message: Any, patience: float) -> Any:
        try:
            return await getattr(self._stub(), method)(message, metadata=self._headers, timeout=patience)
        except self._grpc.aio.AioRpcError as error:
            raise self._refusal(error) from None

    async def _within(self, seconds: float, setting: str, awaited: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await awaited
        except TimeoutError:
            raise TimedOut(
                f"{self._address} was silent for {seconds:g} s; raise {setting}_s of this host if it needs longer",
                code=f"upstream_{setting}_timeout",
            ) from None

    def _refusal(self, error: Any) -> UpstreamError:
        return self._failed(error.code(), error.details())

    def _failed(self, code: Any, details: str | None) -> UpstreamError:
        said = (details or code.name)[:200]
        if code.name == "UNAVAILABLE" and "connect" in said.lower():
            return UpstreamError(f"no connection to {self._address}: is the host up?", code="upstream_unreachable")
        kind, status, retryable = _CODES.get(code.name, ("upstream_error", 502, True))
        error = UpstreamError(f'{self._address} answered {code.name}: "{said}"', code=kind)
        error.status, error.retryable = status, retryable
        return error


_CODES: Final = {
    "UNAVAILABLE": ("upstream_unavailable", 502, True),
    "RESOURCE_EXHAUSTED": ("upstream_rate_limited", 429, True),
    "INVALID_ARGUMENT": ("upstream_refused", 400, False),
    "UNAUTHENTICATED": ("upstream_auth", 502, False),
    "PERMISSION_DENIED": ("upstream_auth", 502, False),
    "NOT_FOUND": ("upstream_model_or_path_unknown", 502, False),
    "UNIMPLEMENTED": ("upstream_model_or_path_unknown", 502, False),
    "DEADLINE_EXCEEDED": ("upstream_timeout", 504, True),
}


def _library(name: str) -> tuple[Any, Any, Any]:
    try:
        modules = ("grpc", "tritonclient.grpc.service_pb2", "tritonclient.grpc.service_pb2_grpc")
        grpc, messages, stubs = (importlib.import_module(module) for module in modules)
    except ImportError as error:
        raise SettingsError(
            f"providers.{name}.kind is 'triton-grpc', which needs more than is installed ({error}); "
            "install tidewire with its extra: pip install 'tidewire[triton]'",
            param=f"providers.{name}.kind",
        ) from None
    return grpc, messages, stubs


def _marked(error: TidewireError, *, begun: bool) -> TidewireError:
    error.begun = begun
    return error


def _packed(datatype: str, value: Any) -> bytes:
    if datatype == "BYTES":
        data = value if isinstance(value, bytes) else str(value).encode()
        return struct.pack("<I", len(data)) + data
    number = _NUMBERS[datatype]
    return struct.pack(number, value if number in ("<f", "<d", "<?") else int(value))


def _parameter(message: Any, name: str, value: Any) -> None:
    kinds = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
    kind = kinds.get(type(value))
    if kind is None:
        raise BadRequest(
            f"{name} is a {type(value).__name__}, and the model has no input of that name; a parameter is a text, a "
            "number or a boolean",
            param=f"options.{name}",
        )
    setattr(message.parameters[name], kind, value)


def _outputs(inferred: Any) -> list[tuple[str, Any]]:
    """Name and value of the tensors that we read; texts of more than one element are joined. Raises UpstreamError."""
    out: list[tuple[str, Any]] = []
    for n, tensor in enumerate(inferred.outputs):
        if tensor.name not in ("text_output", "finish_reason", "num_input_tokens", "num_output_tokens"):
            continue
        try:
            raw = inferred.raw_output_contents[n] if inferred.raw_output_contents else None
            out.append((tensor.name, _value(tensor, raw)))
        except (struct.error, UnicodeDecodeError, IndexError, KeyError):
            raise UpstreamError(
                f"the host sent an output {tensor.name} that cannot be read", code="upstream_bad_event"
            ) from None
    return out


def _value(tensor: Any, raw: bytes | None) -> Any:
    if tensor.datatype == "BYTES":
        pieces = list(tensor.contents.bytes_contents) if raw is None else []
        at = 0
        while raw is not None and at < len(raw):
            (size,) = struct.unpack_from("<I", raw, at)
            pieces.append(raw[at + 4 : at + 4 + size])
            if len(pieces[-1]) < size:
                raise IndexError
            at += 4 + size
        return b"".join(pieces).decode()
    if raw is None:
        contents = tensor.contents
        return next(iter([*contents.uint_contents, *contents.int_contents, *contents.uint64_contents]), None)
    return struct.unpack_from(_NUMBERS[tensor.datatype], raw)[0] if raw else None

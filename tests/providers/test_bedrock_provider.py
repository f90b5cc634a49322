"""Bedrock as a provider, from its settings to the bytes on a socket: who signs, what is asked, what comes of a refusal."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import time

import pytest
from botocore import auth, awsrequest
from botocore.credentials import Credentials

from tidewire.core.errors import SettingsError, UpstreamError
from tidewire.core.events import Attempt, Delta, Finish
from tidewire.core.request import Message, Request, Text
from tidewire.dialects.aws_eventstream import MEDIA_TYPE, message, write_headers
from tidewire.providers.hosted import Hosted
from tidewire.server.hosts import hosted
from tidewire.server.settings import Provider
from upstream import Upstream, refuses

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "IQoJb3JpZ2luX2VjEXAMPLEEXAMPLEEXAMPLE=="
MODEL = "anthropic.claude-3-haiku-20240307-v1:0"


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    for name in ("AWS_BEARER_TOKEN_BEDROCK", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)


def event(name: str, payload: dict, kind: str = "event") -> bytes:
    return message(write_headers({f":{kind}-type": name, ":message-type": kind}), json.dumps(payload).encode())


WIRE = (
    event("messageStart", {"role": "assistant"})
    + event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Grüezi "}})
    + event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "👋"}})
    + event("messageStop", {"stopReason": "end_turn"})
)


def answers(wire: bytes = WIRE, *, size: int = 10_000, chunked: bool = True):
    async def script(call):
        call.head(200, content_type=MEDIA_TYPE, length=None if chunked else len(wire))
        for at in range(0, len(wire), size):
            call.chunk(wire[at : at + size])
            await asyncio.sleep(0)
        call.end()

    return script


class Collected(list):
    """A sink."""

    full = False

    def feed(self, events):
        self.extend(events)

    async def room(self): ...


def made(url: str = "", kind: str = "bedrock", **more) -> Hosted:
    return hosted(kind, "aws", Provider(kind=kind, base_url=url, **({"region": "eu-west-1"} | more)))


async def asked(provider: Hosted) -> Collected:
    sink = Collected()
    try:
        request = Request(model=f"aws/{MODEL}", messages=[Message("user", [Text("Hello?")])])
        await provider.answer(request, sink)
    finally:
        await provider.close()
    return sink


def text(events) -> str:
    return "".join(e.text for e in events if isinstance(e, Delta))


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
async def test_an_answer_comes_through_a_socket_however_it_is_cut(chunked, size):
    async with Upstream(answers(size=size, chunked=chunked)) as host:
        events = await asked(made(host.url))
    assert text(events) == "Grüezi 👋"
    assert events[-1] == Finish(reason="stop")


async def test_the_request_is_signed_as_the_sdk_would_sign_it(monkeypatch):
    async with Upstream(answers()) as host:
        await asked(made(host.url))
        [call] = host.calls
        url = f"{host.url}{call.path}"
    assert call.path == f"/model/{MODEL.replace(':', '%3A')}/converse-stream"
    assert call.headers["accept"] == MEDIA_TYPE
    assert call.headers["x-amz-security-token"] == TOKEN
    signed = dt.datetime.strptime(call.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    assert abs(signed.timestamp() - time.time()) < 3600
    monkeypatch.setattr(auth, "get_current_datetime", lambda: signed)
    headers = {n: call.headers[n] for n in ("content-type", "host", "x-amz-content-sha256")}
    request = awsrequest.AWSRequest(method="POST", url=url, data=call.body, headers=headers)
    auth.SigV4Auth(Credentials("AKIAIOSFODNN7EXAMPLE", SECRET, TOKEN), "bedrock", "eu-west-1").add_auth(request)
    assert call.headers["authorization"] == request.headers["Authorization"]


async def test_an_api_key_goes_as_a_bearer_token_and_nothing_is_signed(monkeypatch):
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "the-key")
    async with Upstream(answers()) as host:
        await asked(made(host.url))
        [call] = host.calls
    assert call.headers["authorization"] == "Bearer the-key"
    assert "x-amz-date" not in call.headers


async def test_the_vendors_own_words_are_asked_for_by_the_other_kind():
    async with Upstream(answers(event("chunk", {}))) as host:
        with pytest.raises(UpstreamError, match="before its end"):
            await asked(made(host.url, "bedrock-invoke"))
        [call] = host.calls
    assert call.path == f"/model/{MODEL.replace(':', '%3A')}/invoke-with-response-stream"
    assert call.json["anthropic_version"]


async def test_a_refusal_names_the_host_and_shows_no_key():
    said = f"The security token {TOKEN} of AKIAIOSFODNN7EXAMPLE included in the request is expired"
    async with Upstream(refuses(403, {"message": said})) as host:
        with pytest.raises(UpstreamError, match=r"127\.0\.0\.1.*included in the request is expired") as caught:
            await asked(made(host.url))
    assert (caught.value.kind, caught.value.upstream_status) == ("upstream_auth", 403)
    assert TOKEN not in caught.value.message
    assert "AKIA" not in caught.value.message


@pytest.mark.parametrize("first", ["status", "exception"])
async def test_throttling_before_the_first_word_is_tried_again(first):
    busy = {"message": "Too many requests, please wait before trying again."}
    refused = refuses(429, busy) if first == "status" else answers(event("throttlingException", busy, "exception"))
    async with Upstream(refused, answers()) as host:
        events = await asked(made(host.url, retries=1))
    assert [e.reason for e in events if isinstance(e, Attempt)] == ["start", "retry"]
    assert text(events) == "Grüezi 👋"


async def test_an_exception_after_the_first_word_keeps_it_and_is_not_tried_again():
    wire = event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Half "}})
    wire += event("modelStreamErrorException", {"message": "The stream broke."}, "exception")
    sink = Collected()
    async with Upstream(answers(wire)) as host:
        provider = made(host.url, retries=3)
        with pytest.raises(UpstreamError, match=r"127\.0\.0\.1:\d+: .*The stream broke\."):
            await provider.answer(Request(model="aws/m", messages=[Message("user", [Text("Hello?")])]), sink)
        await provider.close()
        assert len(host.calls) == 1
    assert text(sink) == "Half "


# Settings


def test_the_address_follows_the_region(monkeypatch):
    assert made().host.address.host == "bedrock-runtime.eu-west-1.amazonaws.com"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    assert made(region="").host.address.host == "bedrock-runtime.us-west-2.amazonaws.com"
    monkeypatch.setenv("AWS_REGION", "ap-south-1")
    assert made(region="").host.address.host == "bedrock-runtime.ap-south-1.amazonaws.com"


def test_without_a_region_nothing_is_asked():
    with pytest.raises(SettingsError, match=r"region is not set.*AWS_REGION"):
        made(region="")


def test_without_credentials_the_settings_say_where_they_are_looked_for(monkeypatch):
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(SettingsError, match="AWS_BEARER_TOKEN_BEDROCK") as caught:
        made()
    assert caught.value.param == "credentials"


def test_a_credentials_file_is_a_setting(tmp_path):
    file = tmp_path / "keys"
    file.write_text("[default]\naws_access_key_id = AKIDFILE\naws_secret_access_key = s\n")
    assert "AKID" in repr(made(credentials=str(file))._signer._credentials())
    with pytest.raises(SettingsError, match="cannot be read"):
        made(credentials=str(tmp_path / "other"))


async def test_models_are_those_that_are_configured():
    provider = made(models=[MODEL])
    assert [m.id for m in await provider.models()] == [f"aws/{MODEL}"]
    nothing = made()
    assert list(await nothing.models()) == []

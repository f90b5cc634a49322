"""Access tokens for Google's cloud: made from a service account's key, kept, replaced before their end, one refresh at a time."""

from __future__ import annotations

import asyncio
import base64
import builtins
import json
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tidewire.core.errors import SettingsError, UpstreamError
from tidewire.core.request import Message, Request, Text
from tidewire.dialects.gemini_host import VertexHost
from tidewire.providers.google_account import EARLY, SCOPE, Account, GoogleAccount, read_account
from tidewire.providers.hosted import Hosted
from tidewire.server.hosts import hosted
from tidewire.server.settings import Provider
from upstream import Call, Upstream, refuses, streams

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()


def account(url: str, **more) -> Account:
    given = {"type": "service_account", "project_id": "p-1", "client_email": "me@p-1.example", "private_key": PEM}
    return Account(**given | {"private_key_id": "k1", "token_uri": f"{url}/token"} | more)


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Tokens:
    """A host that gives out tokens, numbered."""

    def __init__(self) -> None:
        self.given = 0
        self.fails = False

    async def __call__(self, call: Call) -> None:
        if self.fails:
            await refuses(503, {"error": "unavailable"})(call)
            return
        self.given += 1
        said = json.dumps({"access_token": f"ya29.{self.given}", "expires_in": 3600, "token_type": "Bearer"}).encode()
        call.head(200, length=len(said), content_type="application/json")
        call.raw(said)


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def test_an_assertion_is_signed_as_rfc_7523_has_it():
    async with Upstream(Tokens()) as host:
        signer = GoogleAccount(account(host.url), clock=Clock())
        assert await signer.sign("POST", "https://x", b"{}") == {"Authorization": "Bearer ya29.1"}
        [call] = host.calls
        url = host.url
    assert (call.method, call.path) == ("POST", "/token")
    assert call.headers["content-type"] == "application/x-www-form-urlencoded"
    form = parse_qs(call.body.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    head, claims, signature = form["assertion"][0].split(".")
    assert json.loads(unpadded(head)) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    assert json.loads(unpadded(claims)) == {
        "iss": "me@p-1.example",
        "scope": SCOPE,
        "aud": f"{url}/token",
        "iat": 1_700_000_000,
        "exp": 1_700_003_600,
    }
    KEY.public_key().verify(unpadded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())


async def test_a_token_is_kept_until_shortly_before_its_end():
    clock, tokens = Clock(), Tokens()
    async with Upstream(tokens) as host:
        signer = GoogleAccount(account(host.url), clock=clock)
        assert [await signer.token() for _ in range(3)] == ["ya29.1"] * 3
        clock.now += 3600 - EARLY - 1
        assert await signer.token() == "ya29.1"
        clock.now += 2
        assert await signer.token() == "ya29.2"
        assert tokens.given == 2


async def test_many_requests_at_once_fetch_one_token():
    tokens = Tokens()
    async with Upstream(tokens) as host:
        signer = GoogleAccount(account(host.url), clock=Clock())
        assert set(await asyncio.gather(*(signer.token() for _ in range(50)))) == {"ya29.1"}
        assert tokens.given == len(host.calls) == 1


async def test_a_refresh_that_fails_leaves_the_old_token_while_it_is_good():
    clock, tokens = Clock(), Tokens()
    async with Upstream(tokens) as host:
        signer = GoogleAccount(account(host.url), clock=clock)
        await signer.token()
        tokens.fails = True
        clock.now += 3600 - EARLY + 1
        assert await signer.token() == "ya29.1"
        clock.now += EARLY
        with pytest.raises(UpstreamError, match="answered 503") as caught:
            await signer.token()
        assert caught.value.retryable
        tokens.fails = False
        assert await signer.token() == "ya29.2"


@pytest.mark.parametrize(
    ("status", "said", "quoted"),
    [
        (400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, "Invalid JWT Signature"),
        (401, {"error": "unauthorized_client"}, "unauthorized_client"),
        (200, {"id_token": "x"}, "gave no access token"),
        (200, b"<html>", "gave no access token"),
    ],
)
async def test_a_refusal_says_what_the_host_said(status, said, quoted):
    async with Upstream(refuses(status, said)) as host:
        with pytest.raises(UpstreamError, match=quoted) as caught:
            await GoogleAccount(account(host.url)).token()
    assert (caught.value.kind, caught.value.retryable) == ("upstream_auth", False)


async def test_somebody_whom_gcloud_has_logged_in_needs_no_key():
    async with Upstream(Tokens()) as host:
        given = Account(
            type="authorized_user",
            client_id="id",
            client_secret="hush",
            refresh_token="1//again",
            token_uri=f"{host.url}/token",
            quota_project_id="q-1",
        )
        headers = await GoogleAccount(given).sign("POST", "https://x", b"")
        form = parse_qs(host.calls[0].body.decode())
    assert headers == {"Authorization": "Bearer ya29.1", "x-goog-user-project": "q-1"}
    assert (form["grant_type"], form["refresh_token"], form["client_secret"]) == (
        ["refresh_token"],
        ["1//again"],
        ["hush"],
    )
    assert "hush" not in repr(given)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "cannot be read"),
        ("no json", "no credentials file"),
        ("[]", "no credentials file"),
        ('{"type": "external_account"}', "of type 'external_account'"),
        ('{"type": "service_account", "private_key": "x"}', "client_email is missing"),
        ('{"type": "authorized_user", "client_id": "x"}', "client_secret is missing"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_setting_at_fault(tmp_path, text, why):
    file = tmp_path / "key.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsError, match=why):
        read_account(str(file))


def test_a_key_that_cannot_sign_is_a_setting_at_fault():
    for pem in ("", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        with pytest.raises(SettingsError, match="no RSA key"):
            GoogleAccount(account("http://127.0.0.1:1", private_key=pem))


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def missing(name, *more):
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(SettingsError, match=r"pip install 'tidewire\[vertex\]'"):
        GoogleAccount(account("http://127.0.0.1:1"))


# The row


ANSWER = b'data: {"candidates":[{"content":{"parts":[{"text":"hi"}]},"finishReason":"STOP"}]}\r\n\r\n'


class Fed:
    full = False

    def __init__(self) -> None:
        self.events: list[object] = []
        self.feed = self.events.extend

    async def room(self) -> None: ...


async def test_a_vertex_is_asked_with_a_token_of_the_service_account(tmp_path, monkeypatch):
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    async with Upstream(Tokens(), streams(ANSWER)) as host:
        file = tmp_path / "key.json"
        file.write_text(json.dumps({n: getattr(account(host.url), n) for n in Account.__struct_fields__}))
        given = Provider(kind="vertex", base_url=host.url, region="europe-west1", credentials=str(file), models=["m"])
        provider = hosted("vertex", "far", given)
        await provider.answer(Request(model="far/m", messages=[Message("user", [Text("x")])]), Fed())
        await provider.close()
        token, asked = host.calls
    assert token.path == "/token"
    place = "/v1/projects/p-1/locations/europe-west1"
    assert asked.path == f"{place}/publishers/google/models/m:streamGenerateContent?alt=sse"
    assert asked.headers["authorization"] == "Bearer ya29.1"
    assert asked.headers["content-type"] == "application/json"


def made(monkeypatch, **given) -> Hosted:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("A_TOKEN", "ya29.x")
    return hosted("vertex", "far", Provider(kind="vertex", **given))


@pytest.mark.parametrize(
    ("region", "host"),
    [("europe-west1", "europe-west1-aiplatform.googleapis.com"), ("", "aiplatform.googleapis.com")],
)
def test_the_address_follows_the_region(monkeypatch, region, host):
    provider = made(monkeypatch, project="p", region=region, api_key_env="A_TOKEN")
    assert str(provider.host.address) == f"{host}:443"
    assert isinstance(provider._speaker, VertexHost)


@pytest.mark.parametrize(
    ("given", "param"), [({"api_key_env": "A_TOKEN"}, "project"), ({"project": "p"}, "credentials")]
)
def test_what_a_vertex_cannot_do_without_is_asked_for(monkeypatch, given, param):
    with pytest.raises(SettingsError) as caught:
        made(monkeypatch, **given)
    assert caught.value.param == param


async def test_the_gemini_api_gets_its_key_in_its_own_header(monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "AIza-secret")
    async with Upstream(streams(ANSWER)) as host:
        provider = hosted("gemini", "g", Provider(kind="gemini", base_url=host.url, models=["m"]))
        await provider.answer(Request(model="g/m", messages=[Message("user", [Text("x")])]), Fed())
        await provider.close()
        assert host.calls[0].headers["x-goog-api-key"] == "AIza-secret"

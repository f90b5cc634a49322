"""Signature Version 4: against recorded vectors where they are, and against botocore's own signer."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
from pathlib import Path

import pytest
from botocore import auth, awsrequest
from botocore import credentials as botocore_credentials
from hypothesis import given
from hypothesis import strategies as st

from tidewire.core.errors import SettingsError
from tidewire.providers import aws_signing
from tidewire.providers.aws_signing import Credentials, SigV4, canonical, signed

VECTORS = Path(__file__).parents[3] / "shared" / "recordings" / "aws-sigv4" / "sigv4.json"
NOW = "20250102T030405Z"
KEYS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
URL = "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-3%3A0/converse-stream"


@pytest.mark.skipif(not VECTORS.exists(), reason=f"no vectors at {VECTORS}")
def test_a_recorded_request_is_signed_as_it_was():
    vector = json.loads(VECTORS.read_text())
    asked, given_, expected = vector["request"], vector["credentials"], vector["expected"]
    keys = Credentials(given_["accessKeyId"], given_["secretAccessKey"], given_["sessionToken"])
    headers = signed(
        keys,
        asked["method"],
        asked["url"],
        asked["body"].encode(),
        region=vector["region"],
        service=vector["service"],
        now=expected["date"],
    )
    assert headers["Authorization"] == expected["authorization"]
    assert headers["X-Amz-Content-SHA256"] == expected["payloadHash"]
    assert headers["X-Amz-Date"] == expected["date"]
    assert headers["X-Amz-Security-Token"] == given_["sessionToken"]
    unsigned = {k: v for k, v in headers.items() if k != "Authorization"} | {"Content-Type": asked["contentType"]}
    _, request = canonical(asked["method"], asked["url"], unsigned, expected["payloadHash"])
    assert hashlib.sha256(request.encode()).hexdigest() == expected["canonicalRequestHash"]


def ours_of(keys: Credentials, method: str, url: str, body: bytes) -> str:
    return signed(keys, method, url, body, region="eu-west-1", service="bedrock", now=NOW)["Authorization"]


def of_botocore(keys: Credentials, method: str, url: str, body: bytes, monkeypatch) -> str:
    """The Authorization that botocore makes of the same headers, at the same time."""
    now = dt.datetime(2025, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    monkeypatch.setattr(auth, "get_current_datetime", lambda: now)
    headers = {"X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest()}
    if body:
        headers["Content-Type"] = "application/json"
    request = awsrequest.AWSRequest(method=method, url=url, data=body, headers=headers)
    secret = botocore_credentials.Credentials(keys.access_key, keys.secret_key, keys.token or None)
    auth.SigV4Auth(secret, "bedrock", "eu-west-1").add_auth(request)
    return request.headers["Authorization"]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("token", ["", "a/session+token=="])
@pytest.mark.parametrize(
    "url",
    [
        URL,
        "http://127.0.0.1:8000/model/a/converse-stream",
        "https://host.example:443/x",
        "http://host.example:80/",
        "https://host.example:8443/base/model/arn%3Aaws%3Abedrock%3A%3A1%3Ax%2Fy~z/converse-stream",
        "https://host.example",
        "https://host.example/a//b/./c/../d/",
        "https://host.example/..",
        "https://host.example/model/%C3%A9?b=2&a=1&a=0&empty=&flag",
    ],
)
def test_the_signature_is_that_of_botocore(method, token, url, monkeypatch):
    keys = Credentials(KEYS.access_key, KEYS.secret_key, token)
    body = b"" if method == "GET" else '{"é": 1}'.encode()
    ours = ours_of(keys, method, url, body)
    assert ours == of_botocore(keys, method, url, body, monkeypatch)


@given(st.text("abcXYZ019-_.~%/", max_size=30), st.binary(max_size=50))
def test_the_signature_is_that_of_botocore_whatever_the_path(path, body):
    url = f"https://host.example/{path}"
    with pytest.MonkeyPatch.context() as monkeypatch:
        theirs = of_botocore(KEYS, "POST", url, body, monkeypatch)
    assert ours_of(KEYS, "POST", url, body) == theirs


async def test_the_clock_is_asked_for_every_request():
    times = iter([1735787045.9, 1735787046.0])
    signer = SigV4(lambda: KEYS, "us-east-1", "bedrock", clock=lambda: next(times))
    first, second = await signer.sign("POST", URL, b"{}"), await signer.sign("POST", URL, b"{}")
    assert (first["X-Amz-Date"], second["X-Amz-Date"]) == ("20250102T030405Z", "20250102T030406Z")
    assert first["Authorization"] != second["Authorization"]


def test_another_body_path_or_key_is_another_signature():
    def of(**other):
        args = {"keys": KEYS, "url": URL, "body": b"{}"} | other
        return ours_of(args["keys"], "POST", args["url"], args["body"])

    said = [of(), of(body=b"{ }"), of(url=URL + "x"), of(keys=Credentials(KEYS.access_key, "other"))]
    assert len(set(said)) == len(said)


def test_no_secret_is_in_a_repr():
    shown = repr(Credentials("AKIDEXAMPLE", "the-secret", "the-token"))
    assert "secret" not in shown
    assert "token" not in shown


# Where the keys come from


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "credentials"
    path.write_text(
        "# keys\n[default]\naws_access_key_id = AKIDFILE\naws_secret_access_key = a%b;c\n"
        "[work]\naws_access_key_id=AKIDWORK\naws_secret_access_key=s\naws_session_token=t\n[sso]\nsso_session = x\n"
    )
    return path


def found(file="", **environ):
    return aws_signing.credentials(
        str(file), {"AWS_SHARED_CREDENTIALS_FILE": "/nowhere/at/all"} | environ, "credentials"
    )()


def test_keys_of_the_environment():
    environ = {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "s"}
    assert found(**environ) == Credentials("AKIDENV", "s")
    assert found(**environ, AWS_SESSION_TOKEN="t") == Credentials("AKIDENV", "s", "t")


def test_a_file_that_is_named_comes_before_the_environment(file):
    environ = {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "s"}
    assert found(file, **environ) == Credentials("AKIDFILE", "a%b;c")


def test_the_usual_file_comes_last(file):
    assert found(AWS_SHARED_CREDENTIALS_FILE=str(file)) == Credentials("AKIDFILE", "a%b;c")


def test_a_profile_is_chosen_by_the_environment(file):
    assert found(file, AWS_PROFILE="work") == Credentials("AKIDWORK", "s", "t")


def test_that_nothing_was_found_is_said_with_all_that_could_be_set():
    with pytest.raises(SettingsError, match=r"AWS_BEARER_TOKEN_BEDROCK.*AWS_ACCESS_KEY_ID.*AWS_SECRET.*credentials"):
        found(AWS_ACCESS_KEY_ID="half")


@pytest.mark.parametrize(("profile", "said"), [("none", "no profile 'none'"), ("sso", "export-credentials")])
def test_a_profile_without_keys_is_said_with_what_to_do(file, profile, said):
    with pytest.raises(SettingsError, match=said) as caught:
        found(file, AWS_PROFILE=profile)
    assert caught.value.param == "credentials"


@pytest.mark.parametrize("content", [b"nonsense", b"[default\n", b"\xff\xfe", b"[a]\nx=1\nx=2\n", b""])
def test_a_file_that_holds_no_keys_is_named(tmp_path, content):
    (tmp_path / "c").write_bytes(content)
    with pytest.raises(SettingsError, match=str(tmp_path)):
        found(tmp_path / "c")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        found(tmp_path / "none")


def test_keys_that_another_program_renews_are_read_again_and_half_written_ones_are_not(file):
    keys = aws_signing.credentials(str(file), {}, "credentials")
    assert keys().access_key == "AKIDFILE"

    def write(text, at):
        file.write_text(text)
        os.utime(file, (at, at))

    write("[default]\naws_access_key_id = AKIDNEW\naws_secret_access_key = n\n", 1)
    assert keys() == Credentials("AKIDNEW", "n")
    write("[default]\naws_access_key_id = AKIDH", 2)
    assert keys() == Credentials("AKIDNEW", "n")
    file.unlink()
    assert keys() == Credentials("AKIDNEW", "n")
    write("[default]\naws_access_key_id = AKIDLAST\naws_secret_access_key = l\n", 3)
    assert keys() == Credentials("AKIDLAST", "l")

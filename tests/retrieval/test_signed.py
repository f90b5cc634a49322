from __future__ import annotations

import base64

import pytest

from tidewire.core.errors import BadRequest, Unauthorized
from tidewire.retrieval.sources.signed import WINDOW, check, key_of, sign

KEY, NOW, BODY = b"0123456789abcdef", 1_700_000_000, b'{"a":1}'


def headers(**changed: str) -> dict[str, str]:
    given = {"webhook-id": "msg_1", "webhook-timestamp": str(NOW), "webhook-signature": sign(KEY, "msg_1", NOW, BODY)}
    return given | {f"webhook-{name}": value for name, value in changed.items()}


def test_a_signature_is_that_of_the_standard() -> None:
    """The example of its libraries' tests: secret, id, time and body as they stand there."""
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_right_one_passes_beside_others() -> None:
    right = headers()["webhook-signature"]
    assert check(KEY, headers(signature=f"v1,AAAA v1a,xyz {right}"), BODY, NOW + WINDOW) == "msg_1"


@pytest.mark.parametrize(
    ("given", "body", "now"),
    [
        (headers(), b'{"a":2}', NOW),
        (headers(id="msg_2"), BODY, NOW),
        (headers(timestamp=str(NOW + 1)), BODY, NOW),
        (headers(signature="v1,ü"), BODY, NOW),
        (headers(), BODY, NOW + WINDOW + 1),
        (headers(), BODY, NOW - WINDOW - 1),
    ],
)
def test_another_body_id_time_or_key_is_refused(given: dict[str, str], body: bytes, now: float) -> None:
    with pytest.raises(Unauthorized):
        check(KEY, given, body, now)


@pytest.mark.parametrize(
    "changed", [{"id": ""}, {"timestamp": "soon"}, {"timestamp": "9" * 13}, {"signature": ""}, {"id": "x" * 300}]
)
def test_headers_that_are_missing_or_odd_are_a_bad_request(changed: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        check(KEY, headers(**changed), BODY, NOW)


def test_a_secret_is_base64_behind_its_prefix_or_plain() -> None:
    assert key_of("whsec_" + base64.b64encode(KEY).decode()) == KEY
    assert key_of("plain") == b"plain"
    with pytest.raises(ValueError, match="base64"):
        key_of("whsec_!")

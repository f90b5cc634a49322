"""Headers that say how long somebody waits."""

from __future__ import annotations

import pytest

from tidewire.core.errors import BadRequest
from tidewire.core.request import Message, Request, Text
from tidewire.doors.deadline import time_limit
from tidewire.doors.streaming import Manner, Streaming


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"x-request-timeout-ms": "1500"}, 1.5),
        ({"x-envoy-expected-rq-timeout-ms": "15000"}, 15.0),
        ({"x-envoy-expected-rq-timeout-ms": "0"}, None),
        ({"grpc-timeout": "2S"}, 2.0),
        ({"grpc-timeout": "250m"}, 0.25),
        ({"grpc-timeout": "1H"}, 3600.0),
        ({"x-request-timeout-ms": "9000", "grpc-timeout": "2S", "x-envoy-expected-rq-timeout-ms": "3000"}, 2.0),
        ({"grpc-timeout": "soon", "x-envoy-expected-rq-timeout-ms": "-4"}, None),
        ({"grpc-timeout": "123456789S"}, None),
        ({"grpc-timeout": "0S"}, None),
        ({"x-stainless-timeout": "1", "x-stainless-read-timeout": "1"}, None),
    ],
)
def test_the_shortest_deadline_of_the_headers_counts(headers, seconds):
    assert time_limit(headers) == seconds


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "soon", "\u0663", "1" * 9])
def test_our_own_header_is_refused_where_it_says_no_time(text):
    with pytest.raises(BadRequest) as caught:
        time_limit({"x-request-timeout-ms": text})
    assert caught.value.param == "x-request-timeout-ms"


class Asked:
    def __init__(self):
        self.limits = []

    async def start(self, request):
        self.limits.append(request.time_limit)


class Call:
    began = 0.0
    tenant = "t"
    headers = {"x-request-timeout-ms": "1500"}  # noqa: RUF012 - never changed


@pytest.mark.parametrize(("said", "limit"), [(None, 1.5), (60.0, 60.0)])
async def test_the_body_says_it_before_the_headers_do(said, limit):
    desk = Asked()
    request = Request(model="m", messages=[Message(role="user", content=[Text("hi")])], time_limit=said)
    await Streaming(desk, Manner(), None).open(Call(), request)
    assert desk.limits == [limit]

"""Embeddings: bodies of clients, answers of hosts, and vectors in whichever encoding was asked for."""

from __future__ import annotations

import base64
import json
import struct

import pytest
from openai.types import CreateEmbeddingResponse

from tidewire.core.embeddings import Embedded, EmbeddingRequest
from tidewire.core.errors import BadRequest, UpstreamError
from tidewire.dialects.openai_embeddings import MOST, OpenAIEmbeddings, read_embedding, write_embedding

DIALECT = OpenAIEmbeddings()
NUMBERS = [0.5, -1.25, 3.0]
PACKED = base64.b64encode(struct.pack("<3f", *NUMBERS)).decode()


def parse(**body) -> EmbeddingRequest:
    return DIALECT.parse(json.dumps({"model": "m"} | body).encode())


@pytest.mark.parametrize(
    ("said", "meant"),
    [("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1], [2, 3]], [[1], [2, 3]]), ("", [""])],
)
def test_inputs_are_texts_or_tokens(said, meant):
    assert parse(input=said).input == meant


def test_every_field_has_its_place_and_unknown_ones_go_to_the_host():
    request = parse(input="a", dimensions=3, encoding_format="base64", user="ada", input_type="query")
    assert (request.dimensions, request.encoding) == (3, "base64")
    assert json.loads(write_embedding(request, "far", encoding=True)) == {
        "model": "far",
        "input": ["a"],
        "dimensions": 3,
        "encoding_format": "base64",
        "user": "ada",
        "input_type": "query",
    }
    assert "encoding_format" not in json.loads(write_embedding(request, "far", encoding=False))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, None),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 5}, "input"),
        ({"input": {}}, "input"),
        ({"input": ["a", 1]}, "input"),
        ({"input": [[1], "a"]}, "input"),
        ({"input": [[]]}, "input"),
        ({"input": [True, False]}, "input"),
        ({"input": ["a"] * (MOST + 1)}, "input"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "dimensions": "3"}, "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
    ],
)
def test_what_cannot_be_understood_is_refused_and_the_field_named(body, param):
    with pytest.raises(BadRequest) as caught:
        parse(**body)
    assert caught.value.param == param


@pytest.mark.parametrize("from_host", [NUMBERS, PACKED])
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_a_vector_comes_in_the_encoding_that_was_asked_for(from_host, encoding):
    request = parse(input="a", encoding_format=encoding)
    document = json.loads(DIALECT.answer(request, Embedded(vectors=[from_host], tokens=2)))
    assert document["data"] == [
        {"object": "embedding", "index": 0, "embedding": NUMBERS if encoding == "float" else PACKED}
    ]
    assert document["usage"] == {"prompt_tokens": 2, "total_tokens": 2}
    if encoding == "float":
        CreateEmbeddingResponse.model_validate(document, strict=True)


@pytest.mark.parametrize("packed", ["?", "AAA", "AAAA", "é"])
def test_base64_that_is_none_is_the_hosts_error(packed):
    with pytest.raises(UpstreamError) as caught:
        DIALECT.answer(parse(input="a"), Embedded(vectors=[packed]))
    assert caught.value.kind == "upstream_bad_answer"


def answer(*vectors, **more) -> bytes:
    rows = [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)]
    return json.dumps({"object": "list", "data": rows} | more).encode()


def test_vectors_are_read_in_the_order_of_their_index():
    mixed = {"data": [{"index": 1, "embedding": [2]}, {"index": 0, "embedding": "AA=="}]}
    assert read_embedding(json.dumps(mixed).encode(), 2).vectors == ["AA==", [2.0]]
    unnumbered = {"data": [{"embedding": [2]}, {"embedding": [1]}]}
    assert read_embedding(json.dumps(unnumbered).encode(), 2).vectors == [[2.0], [1.0]]


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"usage": {"prompt_tokens": 3, "total_tokens": 4}}, 3),
        ({"usage": {"total_tokens": 4}}, 4),
        ({"usage": None}, None),
        ({}, None),
    ],
)
def test_tokens_are_counted_where_the_host_counts(usage, tokens):
    assert read_embedding(answer([1], **usage), 1).tokens == tokens


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'{"data":5}',
        b'{"data":[{"embedding":{}}]}',
        b'{"data":[{}]}',
        b'{"data":[]}',
        answer([1], [2]),
        b"\xff",
        b'{"data":' + b"[" * 100_000,
    ],
)
def test_an_answer_without_the_vectors_is_the_hosts_error(raw):
    with pytest.raises(UpstreamError) as caught:
        read_embedding(raw, 1)
    assert caught.value.kind == "upstream_bad_answer"

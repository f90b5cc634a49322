"""What a document says becomes tools; what it must not do, it does not do."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_service import ALL, PETS, document, made

from tidewire.core.errors import SettingsError
from tidewire.toolbox.openapi_document import Choice, operations
from tidewire.toolbox.openapi_reading import read
from tidewire.toolbox.port import NAME, declared


def chosen(choice: Choice, document: Any = PETS, headers: tuple[str, ...] = ()) -> Any:
    return operations(document, choice, "tools.pets", headers)


def refused(document: Any, choice: Choice = ALL) -> str:
    with pytest.raises(SettingsError) as error:
        operations(document, choice, "tools.pets")
    assert error.value.message.startswith("tools.pets: ")
    return error.value.message


def test_operations_become_tools_with_one_schema_of_arguments() -> None:
    found = {one.tool.name: one for one in chosen(ALL)[0]}
    assert set(found) == {"getPet", "changePet", "list_pets"}
    listing = found["list_pets"]
    assert listing.tool.description == "All pets"
    assert listing.tool.parameters == {
        "type": "object",
        "properties": {
            "limit": {"type": ["integer", "null"]},
            "tag__": {"type": "array", "items": {"type": "string"}},
            "X-Trace": {"type": "string"},
        },
    }
    change = found["changePet"].tool.parameters
    assert change is not None
    assert change["required"] == ["id", "body"]
    body = change["properties"]["body"]
    assert body["required"] == ["name"]  # what only answers hold is nobody's to say
    assert body["properties"] == {"name": {"type": "string"}, "friend": {"description": "as Pet above"}}


def test_only_reading_operations_become_tools_unless_the_settings_allow_others() -> None:
    found, left = chosen(Choice())
    assert {one.tool.name for one in found} == {"getPet", "list_pets"}
    assert left == ["tools.pets: 1 operations that may change something are left out; writes = true allows them"]
    assert "writes = true" in refused(PETS, Choice(include=["changePet"]))


def test_operations_are_chosen_by_name_and_by_tag() -> None:
    assert [one.id for one in chosen(Choice(include=["getPet"]))[0]] == ["getPet"]
    assert [one.id for one in chosen(Choice(include=["pets"], exclude=["list.pets"]))[0]] == ["getPet"]
    assert "include names 'getPets'" in refused(PETS, Choice(include=["getPets"]))
    assert "exclude names 'dogs'" in refused(PETS, Choice(exclude=["dogs"]))


def test_a_header_that_the_settings_send_is_no_argument() -> None:
    found = {one.tool.name: one for one in chosen(ALL, headers=("x-trace",))[0]}
    assert "X-Trace" not in found["list_pets"].tool.parameters["properties"]


def test_operations_without_a_name_or_with_that_of_another_are_told_apart() -> None:
    found = made({"/a": {"get": {"operationId": "x"}, "post": {"operationId": "x"}}, "/b c": {"get": {}}})
    assert set(found) == {"x", "x_2", "GET__b_c"}
    assert [one.method for one in found.values()] == ["GET", "POST", "GET"]


def test_parameters_of_one_name_in_two_places_are_two_arguments() -> None:
    parameters = [
        {"name": "id", "in": "path", "schema": {"type": "string"}},
        {"name": "id", "in": "query", "schema": {"type": "integer"}},
        {"name": "body", "in": "query"},
    ]
    body = {"content": {"application/json": {"schema": {"type": "object"}}}}
    (one,) = made({"/a/{id}": {"post": {"parameters": parameters, "requestBody": body}}}).values()
    assert one.tool.parameters is not None
    assert set(one.tool.parameters["properties"]) == {"id", "id_query", "body", "body_json"}


def test_a_schema_that_holds_itself_is_cut_where_it_comes_around() -> None:
    tree = {"type": "object", "properties": {"left": {"$ref": "#/components/schemas/T"}, "n": {"type": "integer"}}}
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/T"}}}}
    (one,) = made({"/a": {"post": {"requestBody": body}}}, schemas={"T": tree}).values()
    assert one.tool.parameters["properties"]["body"]["properties"] == {
        "left": {"description": "as T above"},
        "n": {"type": "integer"},
    }


def test_a_document_that_asks_for_billions_of_schemas_is_refused() -> None:
    schemas: dict[str, Any] = {"s0": {"type": "string"}}
    for n in range(1, 31):
        both = {"$ref": f"#/components/schemas/s{n - 1}"}
        schemas[f"s{n}"] = {"type": "object", "properties": {"a": both, "b": both}}
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/s30"}}}}
    said = refused(document({"/a": {"post": {"operationId": "bomb", "requestBody": body}}}, schemas=schemas))
    assert "operation 'bomb'" in said
    assert "more than 2000 parts" in said
    assert "exclude" in said


def test_one_long_text_that_many_refer_to_is_refused_before_it_is_many() -> None:
    long = {"type": "string", "description": "x" * 1_000_000}
    fields = {f"p{n}": {"$ref": "#/components/schemas/long"} for n in range(1000)}
    body = {"content": {"application/json": {"schema": {"type": "object", "properties": fields}}}}
    said = refused(document({"/a": {"post": {"operationId": "wide", "requestBody": body}}}, schemas={"long": long}))
    assert "operation 'wide'" in said
    assert "more than 65536 characters" in said
    names = {"x" * 100_000: {"type": "string"}}
    body = {"content": {"application/json": {"schema": {"type": "object", "properties": names}}}}
    assert len(refused(document({"/a": {"post": {"operationId": "x" * 100_000, "requestBody": body}}}))) < 1100


def test_references_in_a_circle_and_out_of_the_document_are_refused() -> None:
    loop = document({"/a": {"$ref": "#/components/pathItems/b"}}, pathItems={"b": {"$ref": "#/components/pathItems/b"}})
    assert "refers to itself" in refused(loop)
    for reference in ("http://127.0.0.1:9/secret.json", "other.json#/a", "file:///etc/passwd"):
        away = {"parameters": [{"name": "q", "in": "query", "schema": {"$ref": reference}}]}
        assert "only references inside the document" in refused(document({"/a": {"get": away}}))
    nowhere = {"parameters": [{"$ref": "#/components/parameters/none"}]}
    assert "the document has nothing there" in refused(document({"/a": {"get": nowhere}}))


def test_a_path_whose_parameter_nobody_describes_is_refused() -> None:
    said = refused(document({"/a/{id}": {"get": {"operationId": "getA"}}}))
    assert "operation 'getA'" in said
    assert "{id}" in said


def test_an_invalid_schema_is_named_with_its_place() -> None:
    parameters = [{"name": "q", "in": "query", "schema": {"type": "text"}}]
    said = refused(document({"/a": {"get": {"operationId": "find", "parameters": parameters}}}))
    assert "operation 'find'" in said
    assert "parameters.properties.q.type is 'text'" in said


def test_thousands_of_operations_want_a_choice() -> None:
    many = document({f"/a{n}": {"get": {"operationId": "same", "tags": [f"t{n // 10}"]}} for n in range(5000)})
    assert "more than 512 operations are chosen" in refused(many)
    found, _ = chosen(Choice(include=["t7"]), many)
    assert len({one.tool.name for one in found}) == 10


def test_what_is_not_spoken_is_left_out_and_said() -> None:
    upload = {"requestBody": {"required": True, "content": {"multipart/form-data": {}}}, "operationId": "upload"}
    matrix = {"parameters": [{"name": "id", "in": "path", "style": "matrix"}], "operationId": "odd"}
    cookie = {"parameters": [{"name": "c", "in": "cookie", "required": True}], "operationId": "login"}
    found, left = chosen(ALL, document({"/a": {"post": upload, "get": cookie}, "/b/{id}": {"get": matrix}}))
    assert found == []
    assert len(left) == 3
    assert any("upload is left out: its body is written as multipart/form-data" in sentence for sentence in left)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "no object"),
        ({"swagger": "2.0"}, "not of OpenAPI"),
        ({"openapi": "3.0.0", "paths": []}, "paths is no object"),
        ({"openapi": "3.0.0", "paths": {"a": {"get": {}}}}, "does not begin with /"),
        ({"openapi": "3.0.0", "paths": {"/a": {"get": 1}}}, "paths./a.get is no object"),
        (document({"/a": {"get": {"parameters": [1]}}}), "parameters[0] is no object"),
        (document({"/a": {"get": {"parameters": [{"in": "query"}]}}}), "has no name"),
    ],
)
def test_a_document_that_is_none_is_refused_in_words(given: Any, said: str) -> None:
    assert said in refused(given)


def test_a_document_is_read_from_json_and_from_yaml() -> None:
    yaml = b"openapi: 3.0.0\npaths:\n  /a:\n    get: {operationId: no, tags: [2026-01-01, on]}\n"
    assert read(yaml, "x") == {
        "openapi": "3.0.0",
        "paths": {"/a": {"get": {"operationId": "no", "tags": ["2026-01-01", "on"]}}},
    }
    assert read(b"\xef\xbb\xbf {}", "x") == {}
    assert read(b"a: [1, -2, 1.5, true, ~, 012, '1', 1e3]", "x") == {"a": [1, -2, 1.5, True, None, "012", "1", 1000.0]}


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b'{"a": \xff}',
        b"a: [",
        b"a: !!python/object/apply:os.system [ls]",
        b"\x00",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_bytes_that_are_no_document_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(SettingsError, match="x: the document is"):
        read(data, "x")


def test_yaml_that_holds_itself_a_billion_times_is_refused() -> None:
    lines = ["l0: &l0 [a, a]"] + [f"l{n}: &l{n} [*l{n - 1}, *l{n - 1}]" for n in range(1, 40)]
    lines += ["openapi: 3.0.0", "paths: {/a: {get: {parameters: [{name: q, in: query, schema: {enum: *l39}}]}}}"]
    assert "more than 2000 parts" in refused(read("\n".join(lines).encode(), "x"))
    ring = b"openapi: 3.0.0\npaths: {/a: {get: {parameters: [{name: q, in: query, schema: &s {items: *s}}]}}}"
    assert "nested more than" in refused(read(ring, "x"))


def test_words_of_openapi_3_0_become_those_of_json_schema() -> None:
    schema = {"type": "string", "nullable": True, "enum": ["a"], "xml": {"name": "x"}, "example": "a"}
    number = {"type": "number", "minimum": 1, "exclusiveMinimum": True, "maximum": 9, "exclusiveMaximum": False}
    parameters = [{"name": "s", "in": "query", "schema": schema}, {"name": "n", "in": "query", "schema": number}]
    (one,) = made({"/a": {"get": {"parameters": parameters}}}).values()
    assert one.tool.parameters["properties"] == {
        "s": {"type": ["string", "null"], "enum": ["a", None]},
        "n": {"type": "number", "exclusiveMinimum": 1, "maximum": 9},
    }


_anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["#/paths", "#", "query", "object"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=4)
            | st.sampled_from(
                [
                    "$ref",
                    "type",
                    "properties",
                    "items",
                    "parameters",
                    "requestBody",
                    "content",
                    "schema",
                    "name",
                    "in",
                    "required",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.sampled_from(
        [
            ("paths", "/pets"),
            ("paths", "/pets", "get"),
            ("paths", "/pets/{id}", "put", "requestBody"),
            ("paths", "/pets", "get", "parameters"),
            ("components", "schemas", "Pet"),
            ("components", "schemas", "Pet", "properties"),
        ]
    ),
    _anything,
)
def test_whatever_stands_in_a_document_it_becomes_tools_or_a_sentence(place: tuple[str, ...], value: Any) -> None:
    broken = copy.deepcopy(PETS)
    at: Any = broken
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = value
    try:
        found, _ = chosen(ALL, broken)
    except SettingsError:
        return
    for one in found:
        assert NAME.match(declared(one.tool, "x").name)
        msgspec.json.encode(one.tool)

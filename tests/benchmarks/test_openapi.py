"""OpenAPI documents become tools, whole and without secrets."""

import csv
import json
from dataclasses import asdict

import pytest
from data_folder import data_folder

from codetool.benchmarks.openapi import parse_tools
from codetool.errors import ConfigError
from codetool.tmdb.openapi_document import build_document as replica_document
from codetool.types import Parameter


def document(item=None, components=None, **top):
    item = item or {"get": {}}
    return {
        "openapi": "3.0.3",
        "servers": [{"url": "https://films.test/3/"}],
        "paths": {"/film": item},
        "components": components or {},
    } | top


def one(item=None, components=None, **top):
    (tool,) = parse_tools(document(item, components, **top))
    return tool


def answered(schema, components=None):
    content = {"application/json": {"schema": schema}}
    return one({"get": {"responses": {"200": {"description": "", "content": content}}}}, components).response


def query(name, **schema):
    return {"name": name, "in": "query", "schema": schema or {"type": "string"}}


def test_method_server_template_and_name():
    item = {"parameters": [{"name": "film_id", "in": "path", "schema": {"type": "integer"}}], "delete": {}}
    (tool,) = parse_tools(document() | {"paths": {"/film/{film_id}/cast-list": item}})
    assert (tool.method, tool.server, tool.path) == ("DELETE", "https://films.test/3", "/film/{film_id}/cast-list")
    assert (tool.name, tool.method) == ("DELETE_film_film_id_cast_list", "DELETE")


def test_path_item_parameters_join_and_the_operations_own_override_them():
    item = {
        "parameters": [query("page", type="integer"), query("region")],
        "get": {"parameters": [query("page", type="integer", default=1)]},
    }
    assert one(item).parameters == (
        Parameter("page", "query", "integer", default=1),
        Parameter("region", "query"),
    )


def test_optional_parameters_stay_where_none_is_required():
    tool = one({"get": {"parameters": [query("page"), query("year")]}})
    assert [parameter.required for parameter in tool.parameters] == [False, False]


def test_choices_and_descriptions_are_kept():
    entry = query("window", type="string", enum=["day", "week"]) | {"description": "Day\n or  week.\n\nMore words."}
    (parameter,) = one({"get": {"parameters": [entry]}}).parameters
    assert parameter.choices == ("day", "week") and parameter.description == "Day or week."


def test_references_are_followed_through_parameters_bodies_and_responses():
    content = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Rating"}}}}
    components = {
        "parameters": {"Page": query("page", type="integer")},
        "schemas": {"Rating": {"type": "object", "required": ["value"], "properties": {"value": {"type": "number"}}}},
        "requestBodies": {"Rate": content},
        "responses": {"Done": content},
    }
    operation = {
        "parameters": [{"$ref": "#/components/parameters/Page"}],
        "requestBody": {"$ref": "#/components/requestBodies/Rate"},
        "responses": {"201": {"$ref": "#/components/responses/Done"}},
    }
    tool = one({"post": operation}, components)
    assert {(p.name, p.location, p.required) for p in tool.parameters} == {
        ("page", "query", False),
        ("value", "body", True),
    }
    assert tool.response == {"value": "number"}


def test_shapes_are_nested_names_and_types():
    cast = {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}}
    schema = {"type": "object", "properties": {"id": {"type": "integer"}, "cast": cast}}
    assert answered(schema) == {"id": "integer", "cast": [{"name": "string"}]}


@pytest.mark.parametrize(
    ("schema", "shape"),
    [
        ({"type": "string", "nullable": True}, "string | null"),
        ({"type": ["string", "null"]}, "string | null"),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, "string | null"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "integer | number"),
        ({"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]}, {"a": "any", "b": "any"}),
        ({"properties": {"a": {}}, "allOf": [{"properties": {"b": {}}}]}, {"a": "any", "b": "any"}),
        ({"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}]}, ["integer"]),
        ({"const": "movie"}, "string"),
        ({"type": "object"}, "object"),
        ({"type": "array"}, "array"),
        ({}, "any"),
        (True, "any"),
    ],
)
def test_shape_of(schema, shape):
    assert answered(schema) == shape


def test_a_recursive_schema_ends():
    person = {"properties": {"name": {"type": "string"}, "friend": {"$ref": "#/components/schemas/P"}}}
    shape = answered({"$ref": "#/components/schemas/P"}, {"schemas": {"P": person}})
    assert shape == {"name": "string", "friend": "object"}


def test_depth_and_size_are_bounded():
    deep = {"type": "string"}
    for _ in range(100):
        deep = {"type": "object", "properties": {"in": deep}}
    wide = {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(1000)}}
    assert len(json.dumps(answered(deep))) < 300
    assert len(answered(wide)) <= 100


def test_no_secret_reaches_a_tool():
    key = "0123456789abcdef0123456789abcdef"
    jwt = "eyJhbGciOiJIUzI1NiJ9.eyJhdWQiOiIwMTIz.abc-def"
    names = ("api_key", "X-RapidAPI-Key", "apikey", "access_token", "session_id", "guest_session_id", "secret", "k")
    item = {
        "parameters": [{"name": "Authorization", "in": "header", "schema": {"default": f"Bearer {jwt}"}}],
        "get": {
            "description": f"Send Bearer {jwt} or {key}.",
            "parameters": [
                *(query(name, type="string", default=key) for name in names),
                {"name": "sid", "in": "cookie", "schema": {"type": "string"}},
                query("note", type="string", default=key) | {"description": f"like Bearer {jwt}"},
                query("page_token"),
            ],
            "security": [{"key": []}],
        },
    }
    schemes = {"key": {"type": "apiKey", "in": "query", "name": "k"}}
    tool = one(item, {"securitySchemes": schemes})
    assert {parameter.name for parameter in tool.parameters} == {"note", "page_token"}
    assert key not in str(asdict(tool)) and "eyJ" not in str(asdict(tool))


@pytest.mark.parametrize(
    ("broken", "place"),
    [
        ({"openapi": "2.0"}, "2.0"),
        ({"paths": None}, "paths"),
        ({"servers": []}, "GET /film"),
        ({"servers": [{"url": "/3"}]}, "GET /film"),
        ({"paths": {"/film/{id}": {"get": {}}}}, "{id}"),
        ({"paths": {"/film": {"get": None}}}, "/film.get"),
        ({"paths": {"/film": {"get": {"parameters": [{"in": "query"}]}}}}, "GET /film parameters[0]"),
        ({"paths": {"/film": {"get": {"parameters": [{"$ref": "#/components/parameters/No"}]}}}}, "parameters/No"),
        ({"paths": {"/film": {"$ref": "https://elsewhere.test/film.json"}}}, "elsewhere.test"),
    ],
)
def test_a_malformed_document_is_refused_by_name_of_the_place(broken, place):
    with pytest.raises(ConfigError) as error:
        parse_tools(document() | broken)
    assert place in str(error.value)


def test_a_reference_to_itself_is_refused():
    components = {"parameters": {"Loop": {"$ref": "#/components/parameters/Loop"}}}
    with pytest.raises(ConfigError, match="itself"):
        one({"get": {"parameters": [{"$ref": "#/components/parameters/Loop"}]}}, components)


@pytest.mark.data
def test_the_published_document_becomes_the_54_tools_of_the_reference_data():
    folder = data_folder("restbench")
    found = parse_tools(json.loads((folder / "tmdb_oas.json").read_bytes()))
    with (folder / "endpoint_table.csv").open(newline="") as rows:
        expected = {row["codetool_name"]: row for row in csv.DictReader(rows)}
    assert {tool.name for tool in found} == set(expected) and len(found) == 54
    for tool in found:
        row = expected[tool.name]
        queries = {p.name + "*" * p.required for p in tool.parameters if p.location == "query"}
        assert (tool.method, tool.path) == (row["method"], row["path"])
        assert queries == set(row["query_params"].split())
        assert {p.name for p in tool.parameters if p.location == "path"} == {
            part[1:-1] for part in tool.path.split("/") if part.startswith("{")
        }


def test_every_operation_of_the_replica_becomes_a_described_tool():
    for tool in parse_tools(replica_document()):
        assert tool.server == "https://api.themoviedb.org/3" and tool.summary and isinstance(tool.response, dict)
        assert all(parameter.description for parameter in tool.parameters)

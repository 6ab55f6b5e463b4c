"""Forms of OpenAPI documents as services publish them: bodies, references, servers, Swagger 2, broken parts, size."""

import json
import logging
from copy import deepcopy
from functools import partial
from time import process_time

import pytest
import yaml

from codetool.benchmarks.openapi import parse_document, parse_tools
from codetool.errors import ConfigError
from codetool.types import Parameter

SERVER = "https://films.test/3"


def document(paths, **top):
    return {"openapi": "3.0.3", "servers": [{"url": SERVER}], "paths": paths} | top


def one(operation, path="/film", method="post", **top):
    (tool,) = parse_tools(document({path: {method: operation}}, **top))
    return tool


def body(kind, schema, **more):
    return {"requestBody": {"content": {kind: {"schema": schema}}, **more}}


def named(name, where="query", **more):
    return {"name": name, "in": where, "schema": {"type": "string"}} | more


# Path variables


@pytest.mark.parametrize("name", ["token", "session_id", "api_key", "key", "apikey", "secret", "password", "k"])
def test_a_path_variable_is_a_parameter_whatever_its_name(name):
    schemes = {"securitySchemes": {"k": {"type": "apiKey", "in": "query", "name": "k"}}}
    tool = one({"parameters": [named(name, "path")]}, f"/t/{{{name}}}", components=schemes)
    assert tool.parameters == (Parameter(name, "path", required=True),)


def test_a_path_parameter_without_a_place_in_the_path_is_left_out_with_a_warning(caplog):
    assert one({"parameters": [named("id", "path")]}).parameters == ()
    assert "POST /film: the path has no {id}" in caplog.text


# Bodies

OBJECT = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}
WHOLE = "The whole body"
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("kind", "schema", "expected"),
    [
        ("application/json", OBJECT, [("a", "integer", True, ""), ("b", "string", False, "")]),
        ("application/vnd.api+json", OBJECT, [("a", "integer", True, ""), ("b", "string", False, "")]),
        (FORM, OBJECT, [("a", "integer", True, "data="), ("b", "string", False, "data=")]),
        ("multipart/form-data", OBJECT, [("a", "integer", True, "data="), ("b", "string", False, "data=")]),
        (
            "multipart/form-data",
            {"properties": {"file": {"type": "string", "format": "binary"}}},
            [("file", "string", False, "files=")],
        ),
        ("application/json", {"type": "array", "items": {}}, [("body", "array", False, f"{WHOLE}, one JSON array")]),
        ("application/json", {"type": "string"}, [("body", "string", False, f"{WHOLE}, one JSON value")]),
        ("application/json", {"type": "object"}, [("body", "object", False, WHOLE)]),
        ("text/plain", {"type": "string"}, [("body", "string", False, f"{WHOLE} as text/plain: send with data=")]),
        ("application/octet-stream", {"format": "binary", "type": "string"}, [("body", "string", False, WHOLE)]),
        ("application/xml", OBJECT, [("body", "object", False, f"{WHOLE} as application/xml")]),
        (
            "application/json",
            {"allOf": [OBJECT, {"required": ["b"]}]},
            [("a", "integer", True, ""), ("b", "string", True, "")],
        ),
        (
            "application/json",
            {"oneOf": [OBJECT, {"properties": {"c": {"type": "string"}}}]},
            [("a", "integer", False, ""), ("b", "string", False, ""), ("c", "string", False, "")],
        ),
        (
            "application/json",
            {"allOf": [{"anyOf": [OBJECT, OBJECT]}]},
            [("a", "integer", True, ""), ("b", "string", False, "")],
        ),
        ("application/json", {"properties": {"id": {"readOnly": True}, "x": {}}}, [("x", "any", False, "")]),
        ("application/json", {"properties": {"x": True, "api_key": {}}}, [("x", "any", False, "")]),
        ("application/json", {}, [("body", "any", False, WHOLE)]),
        ("application/json", True, [("body", "any", False, WHOLE)]),
    ],
)  # fmt: skip
def test_a_body_becomes_parameters_with_a_word_how_to_send_them(kind, schema, expected):
    found = one(body(kind, schema)).parameters
    assert all(parameter.location == "body" for parameter in found)
    assert [(p.name, p.type, p.required) for p in found] == [entry[:3] for entry in expected]
    for parameter, (*_, word) in zip(found, expected, strict=True):
        assert word in parameter.description if word else parameter.description == ""


def test_of_several_content_types_json_goes_before_forms_and_forms_before_text():
    content = {kind: {"schema": OBJECT} for kind in ("text/plain", "multipart/form-data", "application/json")}
    assert [p.name for p in one({"requestBody": {"content": content}}).parameters] == ["a", "b"]
    del content["application/json"]
    assert "multipart/form-data" in one({"requestBody": {"content": content}}).parameters[0].description


def test_a_required_whole_body_is_required():
    assert one(body("application/json", {"type": "array"}, required=True)).parameters[0].required


@pytest.mark.parametrize("kind", ["application/xml", "application/octet-stream", "image/png"])
def test_a_body_that_cannot_be_expressed_is_warned_of_by_name(kind, caplog):
    one(body(kind, {"type": "string"}))
    assert f"POST /film requestBody: a body of {kind}" in caplog.text


# Parameters


@pytest.mark.parametrize(
    ("entry", "type_", "word"),
    [
        ({"schema": {"type": "array", "items": {}}}, "array", ""),
        ({"schema": {"type": "array"}, "explode": False}, "array", "Values joined by commas."),
        ({"schema": {"type": "array"}, "style": "pipeDelimited"}, "array", "Values joined by |."),
        ({"schema": {"type": "array"}, "style": "spaceDelimited"}, "array", "Values joined by spaces."),
        ({"schema": {"type": "object"}, "style": "deepObject"}, "object", "Written as x[key]=value."),
        ({"content": {"application/json": {"schema": {"type": "object"}}}}, "object", "Written as application/json."),
        ({"schema": {"type": "integer"}, "deprecated": True}, "integer", "Deprecated."),
        ({"schema": {"const": 5}}, "integer", ""),
        ({"schema": {"enum": [1, 2]}}, "integer", ""),
        ({"schema": {"type": ["integer", "null"]}}, "integer", ""),
        ({"schema": {"type": "integer", "nullable": True}}, "integer", ""),
        ({"schema": True}, "any", ""),
        ({}, "any", ""),
    ],
)
def test_how_a_parameter_is_written(entry, type_, word):
    (parameter,) = one({"parameters": [{"name": "x", "in": "query", **entry}]}).parameters
    assert (parameter.type, parameter.description) == (type_, word)


def test_a_constant_is_the_only_choice_and_a_wide_enumeration_is_cut():
    constant, wide = {"const": "a"}, {"type": "string", "enum": [f"v{i}" for i in range(5000)]}
    found = one({"parameters": [named("x", schema=constant), named("y", schema=wide)]}).parameters
    assert found[0].choices == ("a",)
    assert len(found[1].choices) == 61 and found[1].choices[-1] == "…"


def test_a_required_cookie_is_warned_of_unless_it_is_a_secret(caplog):
    one({"parameters": [named(name, "cookie", required=True) for name in ("region", "session_id")]})
    assert [record.getMessage() for record in caplog.records] == [
        "POST /film: the required cookie region cannot be given; it is left out."
    ]


def test_a_secret_is_in_no_part_of_a_tool():
    jwt = "eyJhbGciOiJIUzI1NiJ9.eyJhdWQiOiIwMTIz.abc-def"
    schema = {"type": "string", "enum": [f"Bearer {jwt}", "a"], "default": {"x": f"Bearer {jwt}"}}
    fields = body("application/x-www-form-urlencoded", {"properties": {"x": schema | {"description": f"Bearer {jwt}"}}})
    tool = one(fields | {"servers": [{"url": "https://user:word@films.test"}]})
    assert "eyJ" not in str(tool) and tool.server == "https://films.test" and tool.parameters[0].choices == ("a",)


# References

PATHS = {
    "/a": {"get": {"parameters": [named("page"), named("year")]}},
    "/films/{id}": {
        "get": {"parameters": [named("id", "path")], "responses": {200: {"$ref": "#/components/responses/A"}}}
    },
}


@pytest.mark.parametrize(
    "pointer",
    [
        "#/paths/~1a/get/parameters/0",
        "#/paths/%2Fa/get/parameters/0",
        "#/components/parameters/Page",
        "#/components/parameters/Twice",
        "#/components/parameters/with~0tilde",
        "#/components/x-parts/0",
        "#/components/x-whole/get/parameters/0",
    ],
)
def test_references_anywhere_in_the_document_are_followed(pointer):
    page = named("page")
    components = {
        "parameters": {"Page": page, "Twice": {"$ref": "#/components/parameters/Page"}, "with~tilde": page},
        "x-parts": [page],
        "x-whole": {"$ref": "#/paths/~1a"},
    }
    paths = PATHS | {"/b": {"get": {"parameters": [{"$ref": pointer}]}}}
    found = {tool.path: tool for tool in parse_tools(document(paths, components=components))}
    assert [parameter.name for parameter in found["/b"].parameters] == ["page"]


def test_a_path_item_and_a_response_may_be_references():
    schema = {"type": "object", "properties": {"id": {"type": "integer"}}}
    components = {"responses": {"A": {"content": {"application/json": {"schema": schema}}}}}
    paths = PATHS | {"/b/{id}": {"$ref": "#/paths/~1films~1%7Bid%7D"}}
    assert parse_tools(document(paths, components=components))[-1].response == {"id": "integer"}


@pytest.mark.parametrize("pointer", ["other.yaml#/X", "#/components/schemas/No", "#/components/schemas/Loop"])
def test_an_answer_with_a_reference_that_cannot_be_followed_is_any_with_a_warning(pointer, caplog):
    schema = {"properties": {"x": {"$ref": pointer}, "y": {"type": "integer"}}}
    operation = {"responses": {"200": {"content": {"application/json": {"schema": schema}}}}}
    loop = {"schemas": {"Loop": {"$ref": "#/components/schemas/Loop"}}}
    assert one(operation, components=loop).response == {"x": "any", "y": "integer"}
    assert pointer in caplog.text and "POST /film" in caplog.text


# Broken parts


@pytest.mark.parametrize(
    ("path", "item", "place"),
    [
        ("/bad", None, "/bad"),
        ("/bad", "x", "/bad"),
        ("/bad", {"get": None}, "/bad.get"),
        ("/bad", {"get": {"parameters": [{"in": "query"}]}}, "GET /bad parameters[0]"),
        ("/bad", {"get": {"parameters": ["x"]}}, "GET /bad parameters[0]"),
        ("/bad", {"get": {"parameters": [{"$ref": "other.json"}]}}, "other.json"),
        ("/bad", {"$ref": "https://elsewhere.test/film.json"}, "elsewhere.test"),
        ("/bad/{id}", {"get": {}}, "{id}"),
        ("/bad", {"get": {"servers": [{"url": "/3"}]}}, "GET /bad: server '/3'"),
        ("bad", {"get": {}}, "paths.bad"),
        ("/bad", {"post": body("application/json", {"properties": ["x"]})}, "/bad"),
        ("/bad", {"post": body("application/json", {"$ref": "#/no"})}, "#/no"),
    ],
)
def test_a_broken_operation_is_skipped_with_a_warning_and_the_others_are_read(path, item, place, caplog):
    found = parse_tools(document({"/good": {"get": {}}, path: item, "/fine": {"get": {}}}))
    assert [tool.path for tool in found] == ["/good", "/fine"]
    assert place in caplog.text and "skipped" in caplog.text


def places(node, at=()):
    for key, child in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield (*at, key)
        yield from places(child, (*at, key))


@pytest.mark.parametrize("base", ["openapi", "swagger"])
def test_whatever_is_broken_there_is_one_clear_error_or_a_warning(base):
    """Every part of a document in turn is replaced by something that does not belong there."""
    operation = body("application/json", OBJECT) | {
        "parameters": [
            named("id", "path", style="simple", explode=True),
            {"name": "x", "in": "query", "content": {"application/json": {"schema": OBJECT}}},
        ],
        "responses": {"200": {"content": {"application/json": {"schema": {"allOf": [OBJECT], "items": OBJECT}}}}},
        "servers": [{"url": "https://{a}.test", "variables": {"a": {"default": "b", "enum": ["b"]}}}],
    }
    schemes = {"securitySchemes": {"k": {"type": "apiKey", "name": "k"}}, "x": {"$ref": "#/x"}}
    whole = document({"/film/{id}": {"post": operation, "parameters": []}, "/b": {"get": {}}}, components=schemes)
    whole = {"openapi": whole, "swagger": SWAGGER}[base]
    junk = (None, 1, "x", [], ["x"], {}, {"x": 1}, True, {"$ref": 5}, {"$ref": "#/no"}, [None])
    for place in places(whole):
        for value in junk:
            changed = deepcopy(whole)
            node = changed
            for key in place[:-1]:
                node = node[key]
            node[place[-1]] = value
            try:
                assert all(tool.server.startswith("http") for tool in parse_tools(changed))
            except ConfigError as error:
                assert str(error)


def test_extensions_among_the_paths_are_no_operations(caplog):
    (tool,) = parse_tools(
        document({"x-team": "films", "/good": {"get": {}, "x-y": 1, "summary": "s", "parameters": []}})
    )
    assert tool.path == "/good" and not caplog.records


def test_operations_without_ids_or_with_the_same_get_names_of_their_own():
    item = {"get": {"operationId": "same"}}
    found = parse_tools(document({"/a-b": item, "/a_b": item, "/a/b": {"get": {}}}))
    assert [tool.name for tool in found] == ["GET_a_b", "GET_a_b_2", "GET_a_b_3"]


def test_a_deprecated_operation_says_so():
    assert one({"deprecated": True, "summary": "Old."}).summary == "Deprecated. Old."


# Servers


@pytest.mark.parametrize(
    ("servers", "expected"),
    [
        ([{"url": "https://a.test/v1/"}], "https://a.test/v1"),
        ([{"url": "/v1"}, {"url": "https://a.test"}], "https://a.test"),
        ([{"url": "//a.test/v1"}], "https://a.test/v1"),
        ([{"url": "https://{r}.a.test:{p}", "variables": {"r": {"default": "eu"}, "p": {"default": 8443}}}], "https://eu.a.test:8443"),
        ([{"url": "https://{r}.a.test", "variables": {"r": {"enum": ["us", "eu"]}}}], "https://us.a.test"),
        (["x", {"url": "https://a.test"}], "https://a.test"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("level", ["operation", "path", "document"])
def test_a_server_stands_at_any_level(servers, expected, level):
    paths = {"/film": {"get": {"servers": servers} if level == "operation" else {}}}
    if level == "path":
        paths["/film"]["servers"] = servers
    top = {"servers": servers if level == "document" else [{"url": SERVER}]}
    assert parse_tools(document(paths, **top))[0].server == expected


@pytest.mark.parametrize("url", ["/v1", "", "ftp://a.test", "https://{region}.a.test", "films"])
def test_a_server_without_an_absolute_address_is_refused_by_its_name(url):
    with pytest.raises(ConfigError, match="server"):
        one({}, servers=[{"url": url}])


# Size


def fanned(combination=None):
    """30 schemas with 4 references to each other each."""
    references = [[{"$ref": f"#/components/schemas/S{(i + k) % 30}"} for k in range(1, 5)] for i in range(30)]
    return {
        "schemas": {
            f"S{i}": {combination: parts} if combination else {"properties": {f"p{k}": p for k, p in enumerate(parts)}}
            for i, parts in enumerate(references)
        }
    }


@pytest.mark.parametrize("combination", [None, "allOf", "oneOf", "anyOf"])
@pytest.mark.parametrize("place", ["response", "body", "parameter"])
def test_schemas_that_refer_to_each_other_stay_small_and_fast(combination, place):
    schema = {"$ref": "#/components/schemas/S0"}
    operation = {
        "response": {"responses": {"200": {"content": {"application/json": {"schema": schema}}}}},
        "body": body("application/json", schema),
        "parameter": {"parameters": [named("x", schema=schema)]},
    }[place]
    began = process_time()
    tool = one(operation, components=fanned(combination))
    assert process_time() - began < 0.1
    assert len(str(tool)) < 15_000


def test_a_wide_and_deep_schema_is_cut_at_one_level():
    leaf = {"type": "string"}
    for _ in range(4):
        leaf = {"type": "object", "properties": {f"p{i}": leaf for i in range(30)}}
    operation = {"responses": {"200": {"content": {"application/json": {"schema": leaf}}}}}
    assert one(operation).response == {f"p{i}": "object" for i in range(30)}


# Swagger 2

SWAGGER = {
    "swagger": "2.0",
    "host": "films.test",
    "basePath": "/3/",
    "schemes": ["http", "https"],
    "consumes": ["application/json"],
    "securityDefinitions": {"key": {"type": "apiKey", "in": "query", "name": "k"}},
    "definitions": {"Film": {"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}}},
    "parameters": {"Page": {"name": "page", "in": "query", "type": "integer", "default": 1}},
    "responses": {"Film": {"description": "", "schema": {"$ref": "#/definitions/Film"}}},
    "paths": {
        "/film/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": True, "type": "integer"}],
            "get": {
                "parameters": [
                    {"$ref": "#/parameters/Page"},
                    {"name": "k", "in": "query", "type": "string"},
                    {"name": "genres", "in": "query", "type": "array", "items": {"type": "string"}},
                    {"name": "tags", "in": "query", "type": "array", "collectionFormat": "multi", "items": {}},
                    {"name": "order", "in": "query", "type": "string", "enum": ["up", "down"]},
                ],
                "responses": {"200": {"$ref": "#/responses/Film"}},
            },
            "put": {"parameters": [{"name": "film", "in": "body", "schema": {"$ref": "#/definitions/Film"}}]},
            "post": {
                "parameters": [
                    {"name": "name", "in": "formData", "type": "string", "required": True},
                    {"name": "picture", "in": "formData", "type": "file"},
                ]
            },
        },
        "/broken": {"get": {"parameters": [{"$ref": "#/parameters/No"}]}},
    },
}


def test_a_swagger_2_document_is_read(caplog):
    get, put, post = parse_tools(SWAGGER)
    assert get.server == "https://films.test/3" and get.response == {"title": "string"}
    assert get.parameters == (
        Parameter("id", "path", "integer", required=True),
        Parameter("page", "query", "integer", default=1),
        Parameter("genres", "query", "array", description="Values joined by commas."),
        Parameter("tags", "query", "array"),
        Parameter("order", "query", choices=("up", "down")),
    )
    assert put.parameters[1] == Parameter("title", "body", required=True)
    assert [(p.name, p.type, p.required) for p in post.parameters[1:]] == [
        ("name", "string", True),
        ("picture", "string", False),
    ]
    assert "files=" in post.parameters[2].description
    assert "#/parameters/No" in caplog.text


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"host": None}, "host"),
        ({"paths": None}, "paths"),
        ({"swagger": "1.2"}, "1.2"),
        ({"swagger": None}, "version 3"),
    ],
)
def test_a_swagger_document_that_cannot_be_read_says_why(changed, message):
    with pytest.raises(ConfigError, match=message):
        parse_tools(SWAGGER | changed)


def test_a_swagger_1_document_says_how_to_convert_it():
    with pytest.raises(ConfigError, match="1.2.*converter"):
        parse_tools({"swaggerVersion": "1.2", "apis": []})


# Text


@pytest.mark.parametrize("write", [json.dumps, partial(yaml.safe_dump, sort_keys=False)], ids=["json", "yaml"])
def test_a_document_is_read_from_json_and_yaml(write):
    numbered = json.loads(json.dumps(SWAGGER["paths"]["/film/{id}"]))
    text = write(SWAGGER | {"paths": {"/film/{id}": numbered}})
    assert parse_tools(parse_document(text)) == parse_tools(SWAGGER)


def test_yaml_statuses_and_dates_are_what_json_has():
    text = f"""
openapi: 3.1.0
servers: [{{url: {SERVER}}}]
paths:
  /a:
    get:
      parameters: [{{name: day, in: query, schema: {{type: string, default: 2001-01-01}}}}]
      responses: {{200: {{$ref: '#/components/responses/404'}}}}
components: {{responses: {{404: {{content: {{application/json: {{schema: {{type: integer}}}}}}}}}}}}
"""
    (tool,) = parse_tools(parse_document(text))
    assert tool.parameters[0].default == "2001-01-01" and tool.response == "integer"


@pytest.mark.parametrize("text", ["", "[]", "a: b: c", "just words", "{", "{'a': 1"])
def test_what_is_no_document_is_refused(text):
    with pytest.raises(ConfigError, match="OpenAPI document"):
        parse_document(text)


@pytest.fixture(autouse=True)
def _warnings(caplog):
    caplog.set_level(logging.WARNING)

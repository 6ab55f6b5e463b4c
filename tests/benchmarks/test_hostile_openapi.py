"""Documents of any size and shape are read in bounded time and memory, or refused in one line."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

from codetool.benchmarks.openapi import MAX_OPERATIONS, parse_document, parse_tools
from codetool.errors import ConfigError
from codetool.types import Tool

HEAD: dict[str, Any] = {"openapi": "3.0.0", "servers": [{"url": "https://a.test"}]}


@pytest.fixture(autouse=True)
def _at_once() -> Iterator[None]:
    start = time.process_time()
    yield
    assert time.process_time() - start < 3


def read(document: dict[str, Any]) -> tuple[Tool, ...]:
    return parse_tools(parse_document(json.dumps(HEAD | document)))


def ref(name: object, kind: str = "schemas") -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def answering(schema: object) -> dict[str, Any]:
    return {"/a": {"get": {"responses": {"200": {"content": {"application/json": {"schema": schema}}}}}}}


def chain(length: int, suffix: str = "") -> dict[str, Any]:
    """Schemas that each refer to the next one, the last of them an integer."""
    schemas: dict[str, Any] = {str(n): {"$ref": f"#/components/schemas/{n + 1}{suffix}"} for n in range(length)}
    return {"paths": answering(ref(0)), "components": {"schemas": schemas | {str(length): {"type": "integer"}}}}


def test_a_chain_of_references_is_followed_to_its_limit() -> None:
    assert read(chain(49))[0].response == "integer"


@pytest.mark.parametrize("document", [chain(50), chain(100_000), chain(20_000, "/a")], ids=["51", "10^5", "inside"])
def test_longer_chains_are_told(document: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    assert read(document)[0].response == "any"
    assert "more than 50 references lead from one to the next" in caplog.text


def test_every_operation_behind_a_long_chain_is_cheap() -> None:
    responses = {str(n): ref(n + 1, "responses") for n in range(2000)}
    paths = {f"/a/{n}": {"get": {"responses": {"200": ref(0, "responses")}}} for n in range(2000)}
    assert len(read({"paths": paths, "components": {"responses": responses}})) == 2000


def paths_of(count: int) -> dict[str, Any]:
    return {"paths": {f"/a/{n}": {"get": {"responses": {}}} for n in range(count)}}


def test_the_number_of_operations_is_limited() -> None:
    assert len(read(paths_of(MAX_OPERATIONS))) == MAX_OPERATIONS
    with pytest.raises(ConfigError, match="more than 20,000 operations"):
        read(paths_of(MAX_OPERATIONS + 1))


@pytest.mark.parametrize("item", ['"x",', "{},", "[],"])
def test_the_number_of_values_is_limited_before_a_document_is_parsed(item: str) -> None:
    with pytest.raises(ConfigError, match="more than 1,000,000 values"):
        parse_document(f'{{"openapi": "3.0.0", "tags": [{item * 1_000_001} 1]}}')


def test_the_number_of_values_of_a_yaml_document_is_limited() -> None:
    with pytest.raises(ConfigError, match="more than 1,000,000 values"):
        parse_document("tags:\n" + "- x\n" * 1_000_001)


def with_parameters(*parameters: dict[str, Any]) -> dict[str, Any]:
    return {"paths": {"/a": {"get": {"parameters": list(parameters), "responses": {}}}}}


@pytest.mark.parametrize(
    ("within", "above", "reason"),
    [
        (
            with_parameters(*({"name": f"x{n}", "in": "query"} for n in range(500))),
            with_parameters(*({"name": f"x{n}", "in": "query"} for n in range(501))),
            "501 parameters; at most 500",
        ),
        (
            with_parameters({"name": "x" * 200, "in": "query"}),
            with_parameters({"name": "x" * 201, "in": "query"}),
            "more than 200 characters",
        ),
        (
            {"paths": {"/" + "a" * 999: {"get": {"responses": {}}}}},
            {"paths": {"/" + "a" * 1000: {"get": {"responses": {}}}}},
            "at most 1,000 characters",
        ),
    ],
    ids=["parameters", "name", "path"],
)
def test_parts_of_an_operation_are_limited(within: dict[str, Any], above: dict[str, Any], reason: str) -> None:
    assert len(read(within)) == 1
    with pytest.raises(ConfigError, match=reason) as caught:
        read(above)
    assert len(str(caught.value)) < 400


def test_long_texts_defaults_and_choices_are_cut() -> None:
    schema = {"default": "y" * 10**6, "enum": [f"choice {n} " * 100 for n in range(1000)]}
    parameter = {"name": "x", "in": "query", "description": "z " * 10**6, "schema": schema}
    (tool,) = read(with_parameters(parameter, {"name": "y", "in": "query", "schema": {"default": "z" * 1000}}))
    long, short = tool.parameters
    assert (long.default, short.default) == (None, "z" * 1000)
    assert len(long.choices) == 61 and max(map(len, long.choices)) == 200
    assert len(long.description) <= 200


def test_few_of_many_warnings_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    paths = {f"/{n}": answering(ref("missing"))["/a"] for n in range(200)}
    with caplog.at_level(logging.WARNING):
        read({"paths": paths})
    assert len(caplog.records) == 21
    assert "180 further warnings about the OpenAPI document are left out" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        "openapi: 3.0.0\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)),
        "a: &a {b: *a}",
        "[" * 20_000,
        '{"a":' * 100_000,
        "{" * 100_000,
    ],
    ids=["laughs", "recursive", "yaml", "json", "braces"],
)
def test_documents_that_expand_or_nest_without_end_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read as JSON or YAML") as caught:
        parse_document(text)
    assert len(str(caught.value)) < 400


def test_servers_whose_variables_multiply_are_refused() -> None:
    variables = {name: {"default": f"{{{following}}}" * 1000} for name, following in ("ab", "bc", "cd", "de")}
    server = {"url": "https://a.test/{a}", "variables": variables}
    with pytest.raises(ConfigError, match="is not an absolute"):
        read({"servers": [server], "paths": answering({})})

"""Files in RestBench's layout that a test makes: our own queries, and the replica's operations as the document.

The queries stand where the published ones that the replica's checked answers belong to stand, and ask for the same.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from codetool.benchmarks.openapi import tool_name
from codetool.benchmarks.reference_answers import load_references
from codetool.tmdb.app import create_app

QUERIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("How many films has Sofia Coppola directed?", ("GET /search/person", "GET /person/{person_id}/movie_credits")),
    ("Which actor plays the lead in The Dark Knight?", ("GET /search/movie", "GET /movie/{movie_id}/credits")),
    ("Name the director of the film that is rated best.", ("GET /movie/top_rated", "GET /movie/{movie_id}/credits")),
)
"""Queries q0, q1 and q2 with their gold paths."""
CANDIDATES = 5
"""Tools that each query offers; the published files have 20."""


def write(folder: Path, number: int = len(QUERIES)) -> None:
    """Write the files that benchmark=tmdb reads below the folder that CODETOOL_DATA names, with the first queries."""
    document = _document()
    names = [tool_name(method.upper(), path) for path, item in document["paths"].items() for method in item]
    queries = [{"query": query, "solution": list(gold)} for query, gold in QUERIES[:number]]
    gold_names = [[tool_name(*endpoint.split(" ", 1)) for endpoint in gold] for _, gold in QUERIES[:number]]
    candidates = [{"api_list": list(dict.fromkeys([*gold, *names]))[:CANDIDATES]} for gold in gold_names]
    files = {
        "restbench/tmdb.json": queries, "restbench/tmdb_oas.json": document, "codetool/tmdb_candidates.json": candidates
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")


def program(query: str) -> tuple[str, ...]:
    """The steps of the program that answers a query of the stand-in."""
    return load_references()[f"q{[text for text, _ in QUERIES].index(query)}"].program


def _document() -> dict[str, Any]:
    """The replica's document; its trending list has the empty key that the published document gives it."""
    document: dict[str, Any] = json.loads(json.dumps(create_app().openapi()))
    trending = document["paths"]["/trending/{media_type}/{time_window}"]["get"]["responses"]["200"]
    properties = {"page": {"type": "integer"}, "": {"type": "object"}}
    trending["content"]["application/json"]["schema"] = {"type": "object", "properties": properties}
    return document

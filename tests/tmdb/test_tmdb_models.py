"""Every answer of every operation is what its model documents; the replica does not check them when it runs."""

import json
import re
from datetime import date
from itertools import islice, product

import pytest
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from codetool.tmdb.app import SERVER, create_app
from codetool.tmdb.replica import TMDBReplica
from codetool.tmdb.store import load_store
from codetool.types import ToolCall

ROUTES = {route.path: route for route in create_app().routes if isinstance(route, APIRoute)}
MOST = 400  # answers of one operation that are held to its model
WORDS = ("the", "star", "an", "man", "of")
STORE = load_store()
KNOWN = {
    "movie_id": list(STORE.movies),
    "tv_id": list(STORE.shows),
    "person_id": list(STORE.people),
    "collection_id": list(STORE.collections),
    "company_id": list(STORE.companies),
    "network_id": list(STORE.networks),
    "keyword_id": list(STORE.keywords.values()),
    "media_type": ["all", "movie", "tv", "person"],
    "time_window": ["day", "week"],
}
"""Values of the names in paths."""


@pytest.fixture(scope="module")
def replica():
    return TMDBReplica(as_of=date(2024, 6, 1))


async def paths(replica, template):
    """Paths of an operation that have an answer, those of many records before those of one."""
    if template.startswith("/tv/{tv_id}/season/"):
        return [path for show in STORE.shows.values() for path in episodes(template, show)]
    names = re.findall(r"{(\w+)}", template)
    values = [KNOWN[name] if name in KNOWN else await ids(replica, name) for name in names]
    return [template.format(**dict(zip(names, some, strict=True))) for some in product(*values)]


def episodes(template, show):
    for number, season in enumerate(show.seasons, 1):
        for episode in range(1, season.episodes + 1) if "episode_number" in template else [1]:
            yield template.format(tv_id=show.id, season_number=number, episode_number=episode)


async def ids(replica, name):
    """The ids of credits or reviews, which other answers tell."""
    assert name in {"credit_id", "review_id"}, f"this test knows no values of {name}"
    found = []
    for movie in list(STORE.movies)[:100]:
        part = "credits" if name == "credit_id" else "reviews"
        body = json.loads((await replica.answer(ToolCall("GET", f"{SERVER}/movie/{movie}/{part}", {}))).body)
        found += [entry.get(name, entry["id"]) for entry in body.get("cast", body.get("results"))[:2]]
    return found


async def answers(replica, template):
    queries = [{"query": word} for word in WORDS] if template.startswith("/search/") else [{}]
    for path, query in islice(product(await paths(replica, template), queries), MOST):
        answer = await replica.answer(ToolCall("GET", SERVER + path, query))
        yield path, answer


@pytest.mark.parametrize("template", ROUTES)
async def test_every_answer_is_what_the_operations_model_documents(replica, template):
    model = TypeAdapter(ROUTES[template].response_model)
    count = 0
    async for path, answer in answers(replica, template):
        assert answer.ok, (path, answer.status)
        documented = model.dump_json(model.validate_json(answer.body), by_alias=True)
        assert plain(documented) == plain(answer.body), path
        count += 1
    assert count


def plain(body):
    """The text of a JSON value with its keys sorted; 8 and 8.0 stay apart."""
    return json.dumps(json.loads(body), sort_keys=True)


@pytest.mark.parametrize("template", ROUTES)
def test_every_operation_documents_its_answers(template):
    route = ROUTES[template]
    assert route.response_model is not None and route.summary and route.description

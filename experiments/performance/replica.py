"""Benchmark: requests per second that the TMDB replica answers in process, on one core, by operation and by family.

Usage: python experiments/performance/replica.py [--seconds 0.5]

Each operation answers different requests about the most popular records in turn, for the given seconds. Seconds are CPU
seconds of this process, since other programs may share the machine. The mix has equally many requests of each family.

The replica caches some results for a record or for arguments: a season, similar films, the films that a filter selects.
Repeated requests would measure these caches, so they are emptied before each request, outside the measured time;
`warm` figures include them. Results for the whole catalog (indexes, trending lists) are cached in both. A profile
samples the running code every millisecond, without the caches.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import pkgutil
import re
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import cycle, islice, product
from pathlib import Path
from statistics import harmonic_mean
from types import FrameType
from typing import Any

from codetool import tmdb
from codetool.tmdb.app import SERVER, create_app
from codetool.tmdb.replica import TMDBReplica
from codetool.tmdb.store import Store, load_store, sort_by_popularity
from codetool.types import ToolCall

RESULTS = Path(__file__).parent / "results"
TARGET = 2000  # requests a second
DIFFERENT = 60  # requests of one operation, asked in turn
ONCE = 32  # entries; a cache with room for no more holds what belongs to the catalog, not to a request
LISTS = {
    "/discover/movie": [
        {"with_genres": g, "primary_release_year": y} for g in (18, 28, 35, 878) for y in range(1994, 2024)
    ],
    "/discover/tv": [{"with_genres": g, "page": n} for g in (18, 35, 80, 10765) for n in (1, 2)],
}
"""Arguments of the operations that filter; other lists are asked for their first pages."""
WORDS = ("star", "the", "nolan", "dark", "king")
RECORDS = "answers made from records"
FRAMEWORK = "FastAPI and Starlette: routing, parameters, responses"
CALL = "from the call to the app"
OURS = {"app.py": "JSON", "asgi.py": CALL, "replica.py": CALL, "routing.py": CALL}
"""Parts of the work by file; all other files of the replica make answers."""


def main() -> None:
    """Measure every operation, print and store the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.5, help="computing per operation")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    figures = asyncio.run(measure(parser.parse_args().seconds))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "replica.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


async def measure(seconds: float) -> dict[str, Any]:
    """Return all figures."""
    replica, store, kept = TMDBReplica(as_of=date(2024, 6, 1)), load_store(), caches()
    bare: dict[str, float] = {}
    warm: dict[str, float] = {}
    spent: Counter[str] = Counter()
    for template in create_app().openapi()["paths"]:
        calls = await requests(replica, store, template)
        with sampled(spent):
            bare[template] = await rate(replica, calls, seconds, kept)
        warm[template] = await rate(replica, calls, seconds, ())
    slowest = min(bare, key=lambda template: bare[template])
    under = [f"GET {template}" for template, each in bare.items() if each < TARGET]
    return {
        "command": "python experiments/performance/replica.py",
        "cores": len(os.sched_getaffinity(0)),
        "films": len(store.movies),
        "target_per_s": TARGET,
        "mix_per_s": mix(bare),
        "slowest": {"operation": f"GET {slowest}", "per_s": round(bare[slowest])},
        "under_target": under,
        "mix_warm_per_s": mix(warm),
        "caches_emptied": sorted(f"{cache.__module__}.{cache.__name__}" for cache in kept),
        "families_per_s": {name: round(each) for name, each in families(bare).items()},
        "share_of_time": {part: round(count / spent.total(), 2) for part, count in spent.most_common()},
        "operations": len(bare),
        "operations_per_s": {f"GET {name}": {"per_s": round(bare[name]), "warm": round(warm[name])} for name in bare},
    }


def caches() -> list[Any]:
    """Return the replica's functions that cache results for records or arguments."""
    names = [found.name for found in pkgutil.walk_packages(tmdb.__path__, f"{tmdb.__name__}.")]
    modules = [importlib.import_module(name) for name in names]
    found = {id(value): value for module in modules for value in vars(module).values() if hasattr(value, "cache_clear")}
    return [cache for cache in found.values() if (cache.cache_parameters()["maxsize"] or ONCE + 1) > ONCE]


def families(rates: Mapping[str, float]) -> dict[str, float]:
    """Return the requests per second of each family, with equally many requests of each operation."""
    members: defaultdict[str, list[float]] = defaultdict(list)
    for template, each in rates.items():
        members[family(template)].append(each)
    return {name: harmonic_mean(some) for name, some in members.items()}


def mix(rates: Mapping[str, float]) -> int:
    """Return the requests per second over equally many requests of each family."""
    return round(harmonic_mean(families(rates).values()))


def family(template: str) -> str:
    """Return the family of an operation in the mix."""
    if template.startswith("/search/"):
        return "search"
    if template.endswith("credits"):
        return "filmographies" if template.startswith("/person/") else "credits"
    return "details" if template.count("{") == 1 and template.endswith("}") else "lists"


async def rate(replica: TMDBReplica, calls: Sequence[ToolCall], seconds: float, emptied: Sequence[Any]) -> float:
    """Return the requests per CPU second, making the calls in turn, with these caches emptied before each.

    Raises AssertionError if a call is not answered.
    """
    for call in calls:
        answer = await replica.answer(call)
        assert answer is not None and answer.ok, call
    count, spent, turn = 0, 0.0, cycle(calls)
    while spent < seconds:
        for cache in emptied:
            cache.cache_clear()
        began = time.process_time()
        await replica.answer(next(turn))
        spent += time.process_time() - began
        count += 1
    return count / spent


@contextmanager
def sampled(spent: Counter[str]) -> Iterator[None]:
    """Count which part of the code runs, a thousand times per CPU second."""

    def look(_: int, frame: FrameType | None) -> None:
        spent[part(frame)] += 1

    before = signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def part(frame: FrameType | None) -> str:
    """Return the part of the code that a frame or its first known caller belongs to."""
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if file.parent.name == "tmdb":
            return OURS.get(file.name, RECORDS)
        if {"fastapi", "starlette"} & set(file.parts):
            return FRAMEWORK
        frame = frame.f_back
    return "the rest"


async def requests(replica: TMDBReplica, store: Store, template: str) -> list[ToolCall]:
    """Return different requests to one operation, for the most popular records first."""
    queries: list[dict[str, Any]] = [{}]
    if template.startswith("/search/"):
        queries = [{"query": word} for word in WORDS]
    elif "{" not in template:
        queries = LISTS.get(template, [{"page": page} for page in range(1, 6)])
    names = re.findall(r"{(\w+)}", template)
    values = [(await known(replica, store, name))[:DIFFERENT] for name in names]
    if "season_number" in names:
        values = [values[0], [1], [1]][: len(names)]
    paths = [template.format(**dict(zip(names, some, strict=True))) for some in product(*values)]
    pairs = islice(product(paths, queries), DIFFERENT)
    return [ToolCall("GET", SERVER + path, query) for path, query in pairs]


async def known(replica: TMDBReplica, store: Store, name: str) -> Sequence[Any]:
    """Return the values of a path variable."""
    fixed: Mapping[str, Sequence[Any]] = {
        "movie_id": [movie.id for movie in sort_by_popularity(store.movies)],
        "tv_id": [show.id for show in sort_by_popularity(store.shows)],
        "person_id": [person.id for person in sort_by_popularity(store.people)],
        "collection_id": list(store.collections),
        "company_id": list(store.companies),
        "network_id": list(store.networks),
        "keyword_id": list(store.keywords.values()),
        "media_type": ["all", "movie", "tv", "person"],
        "time_window": ["day", "week"],
        "season_number": [1],
        "episode_number": [1],
    }
    return fixed[name] if name in fixed else await told(replica, fixed["movie_id"][:DIFFERENT], name)


async def told(replica: TMDBReplica, movies: Sequence[int], name: str) -> list[str]:
    """Return the ids of credits or reviews, which only other responses contain."""
    part = {"credit_id": "credits", "review_id": "reviews"}[name]
    found = []
    for movie in movies:
        answer = await replica.answer(ToolCall("GET", f"{SERVER}/movie/{movie}/{part}", {}))
        assert answer is not None
        body = json.loads(answer.body)
        found += [str(entry.get(name, entry["id"])) for entry in body.get("cast", body.get("results"))[:1]]
    return found


if __name__ == "__main__":
    main()

"""The served replica as a client sees it: a process of its own, asked over HTTP."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from command_line import CommandLine
from warm_process import WarmProcess

from codetool.config.overrides import compose_all
from codetool.errors import ConfigError


@contextmanager
def served(run: CommandLine, *words: str, key: str | None = None) -> Iterator[tuple[WarmProcess, httpx.Client]]:
    environment = {name: value for name, value in os.environ.items() if name != "TMDB_API_KEY"}
    environment |= {"TMDB_API_KEY": key} if key else {}
    process = run.start("stage=serve_tools", "serve_tools.port=0", *words, environment=environment)
    try:
        address = process.first_line().split()[0]
        with httpx.Client(base_url=address, trust_env=False) as client:
            yield process, client
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def site(run: CommandLine) -> Iterator[httpx.Client]:
    with served(run) as (_, client):
        yield client


def test_the_replica_is_served_below_the_services_base_path(site: httpx.Client) -> None:
    assert site.get("/3/movie/597").json()["title"] == "Titanic"
    assert site.get("/3/search/person", params={"query": "nolan"}).json()["results"][0]["name"] == "Christopher Nolan"
    failure = site.get("/3/movie/999999999")
    assert (failure.status_code, failure.json()["status_code"]) == (404, 34)


def test_its_front_leads_to_a_page_that_needs_nothing_from_elsewhere(site: httpx.Client) -> None:
    page = site.get("/", follow_redirects=True)
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text and "https://" not in page.text
    document = site.get("/openapi.json").json()
    assert document["servers"] == [{"url": "/3"}]
    assert "/movie/{movie_id}" in document["paths"] and "security" not in document


def test_a_page_of_another_origin_may_ask(site: httpx.Client) -> None:
    origin = {"Origin": "http://notebook.test"}
    assert site.get("/3/movie/597", headers=origin).headers["access-control-allow-origin"] == "*"
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    allowed = site.options("/3/movie/597", headers=origin | asked)
    assert allowed.status_code == 200 and "authorization" in allowed.headers["access-control-allow-headers"]


def test_a_demanded_key_may_be_a_bearer_token_or_an_api_key(run: CommandLine) -> None:
    with served(run, "serve_tools.require_key=true") as (_, client):
        refused = client.get("/3/movie/597", headers={"Origin": "http://notebook.test"})
        assert (refused.status_code, refused.json()["status_code"]) == (401, 7)
        assert refused.headers["access-control-allow-origin"] == "*"
        assert client.get("/3/movie/597", params={"api_key": "any"}).status_code == 200
        assert client.get("/3/movie/597", headers={"Authorization": "Bearer any"}).status_code == 200
        assert client.get("/3/movie/597", headers={"Authorization": "Basic any"}).status_code == 401
        assert client.get("/", follow_redirects=True).status_code == 200
        assert "security" in client.get("/openapi.json").json()


def test_the_key_in_the_environment_is_the_only_one(run: CommandLine) -> None:
    with served(run, "serve_tools.require_key=true", key="the-right-one") as (process, client):
        for key, status in (("any", 401), ("the-right-one", 200)):
            assert client.get("/3/movie/597", params={"api_key": key}).status_code == status
            assert client.get("/3/movie/597", headers={"Authorization": f"Bearer {key}"}).status_code == status
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert "the-right-one" not in out + err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_line_for_each_request(run: CommandLine, number: signal.Signals) -> None:
    with served(run) as (process, client):
        client.get("/3/search/movie?query=star&api_key=secret-key")
        client.get("/3/movie/0")
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert [line.split()[1:4] for line in err.splitlines() if " GET " in line] == [
        ["GET", "/3/search/movie?query=star", "200"],
        ["GET", "/3/movie/0", "404"],
    ]
    assert "Stopped." in err and "Traceback" not in out + err


def test_a_port_that_is_taken_is_told_in_one_line(run: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("stage=serve_tools", f"serve_tools.port={port}")
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert f"serve_tools.port={port} is taken on 127.0.0.1" in line


def test_a_host_that_is_none_of_this_machine_is_told_in_one_line(run: CommandLine) -> None:
    done = run("stage=serve_tools", "serve_tools.host=192.0.2.1")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "serve_tools.host=192.0.2.1" in done.stderr


def test_a_benchmark_without_a_replica_has_nothing_to_serve(run: CommandLine) -> None:
    done = run("stage=serve_tools", "tools.replica=null")
    assert done.returncode == 2 and "benchmark=tmdb_verified has no replica" in done.stderr


def test_a_dry_run_serves_nothing(run: CommandLine) -> None:
    done = run("stage=serve_tools", "serve_tools.port=0", "dry_run=true")
    assert done.returncode == 0 and not run.outputs.exists()


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("serve_tools.port=65536", "serve_tools.port=65536: should be less than or equal to 65535"),
        ("serve_tools.prot=1", "Did you mean serve_tools.port?"),
        ("serve_tools.require_key=perhaps", "serve_tools.require_key='perhaps'"),
        ("stage=serve", "Allowed: collect, compare, dashboard, "),
    ],
)
def test_wrong_words_are_named(run: CommandLine, word: str, expected: str) -> None:
    done = run(word, "stage=serve_tools") if not word.startswith("stage") else run(word)
    assert done.returncode == 2 and expected in done.stderr


@pytest.mark.parametrize("word", ["serve_tools.port=1", "serve_tools={host: 127.0.0.1, port: 1, require_key: true}"])
def test_its_words_mean_nothing_to_other_stages(word: str) -> None:
    with pytest.raises(ConfigError, match="only stage=serve_tools reads it"):
        compose_all([word])
    compose_all([word, "stage=serve_tools"])


def test_the_log_line_of_a_strange_request_stays_one_line(run: CommandLine) -> None:
    with served(run) as (process, client):
        client.get("/3/search/movie?query=%0Aa%1b[31m")
        client.get("/3/%0a%1b/x")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert err.count(" GET ") == 2 and len(err.splitlines()) == 4 and "\x1b[31m" not in err

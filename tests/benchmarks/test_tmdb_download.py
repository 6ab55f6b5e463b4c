"""RestBench-TMDB from a mirror: what the data folder lacks is downloaded, and the user told if it cannot be."""

import logging
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import restbench_stand_in
from file_server import FileServer, file_server, respond_completely

from codetool.benchmarks.tmdb import FILES, SHA256, RestBenchTMDB
from codetool.errors import MissingError
from codetool.http.download import compute_sha256


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a stand-in's files."""
    folder = tmp_path_factory.mktemp("made")
    restbench_stand_in.write(folder)
    return folder


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, made: Path) -> Iterator[FileServer]:
    """A server of the stand-in's files, which are the expected ones."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CODETOOL_CACHE", str(tmp_path / "cache"))
    with file_server() as server:
        server.files = {path(name): (made / name).read_bytes() for name in FILES}
        for name in FILES:
            monkeypatch.setitem(SHA256, name, compute_sha256(made / name))
        yield server


def path(name: str) -> str:
    return urlsplit(FILES[name]).path


def option(mirror: FileServer, folder: Path | None) -> RestBenchTMDB:
    return RestBenchTMDB(
        folder=folder, mirror=f"{mirror.url}/", tools="candidates", gold="repaired", max_observation_chars=1500
    )


def test_without_a_data_folder_the_files_go_to_the_cache_once(mirror: FileServer, tmp_path: Path) -> None:
    for _ in range(2):
        assert len(option(mirror, None).tasks()) == len(restbench_stand_in.QUERIES)
        option(mirror, None).checksum()
    assert sorted(mirror.asked) == sorted(path(name) for name in FILES)
    assert {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.json")} == {
        f"cache/data/{name}" for name in FILES
    }


def test_with_a_data_folder_they_go_there(mirror: FileServer, tmp_path: Path, made: Path) -> None:
    (tmp_path / "data").mkdir()
    assert len(option(mirror, tmp_path / "data").tasks()) == len(restbench_stand_in.QUERIES)
    assert all((tmp_path / "data" / name).is_file() for name in FILES) and not (tmp_path / "cache").exists()
    here = option(mirror, made)
    assert option(mirror, tmp_path / "data").checksum() == here.checksum()


def test_a_data_folder_that_is_not_there_is_named_and_not_made(mirror: FileServer, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="benchmark.folder=.*mistyped is no folder"):
        option(mirror, tmp_path / "mistyped").tasks()
    assert not (tmp_path / "mistyped").exists() and not mirror.asked


def test_only_what_is_lacking_is_downloaded(mirror: FileServer, tmp_path: Path, made: Path) -> None:
    name = "restbench/tmdb.json"
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_bytes((made / name).read_bytes())
    option(mirror, tmp_path).tasks()
    assert path(name) not in mirror.asked and len(mirror.asked) == 2


def test_a_file_of_the_folder_that_is_not_the_published_one_is_used_with_a_warning(
    mirror: FileServer, tmp_path: Path, made: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = "restbench/tmdb.json"
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_bytes((made / name).read_bytes() + b"\n")
    assert len(option(mirror, tmp_path).tasks()) == len(restbench_stand_in.QUERIES)
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert str(tmp_path / name) in record.getMessage() and "not the published file" in record.getMessage()


def test_what_cannot_be_had_is_told_with_its_address_and_its_place(mirror: FileServer, tmp_path: Path) -> None:
    name = "restbench/tmdb_oas.json"
    mirror.instead[path(name)] = respond_completely(b"gone", status=404)
    with pytest.raises(MissingError) as error:
        option(mirror, tmp_path).tasks()
    for text in (f"{mirror.url}{path(name)}", str(tmp_path / name), "404", "benchmark.mirror", "CODETOOL_DATA"):
        assert text in str(error.value)
    assert not (tmp_path / name).exists()

"""A file is there whole and right, or not at all, and the message says what to do."""

import hashlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from file_server import FileServer, file_server, respond_completely, respond_slowly
from promptly import promptly

from codetool.errors import CodeToolError, ConfigError, MissingError, UnreachableError
from codetool.http.download import ensure_file, list_data_folders

CONTENT = b"a line of it\n" * 40_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FILE = "/files/data.json"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with file_server() as served:
        served.files[FILE] = CONTENT
        yield served


def get(server: FileServer | str, *folders: Path) -> Path:
    url = server if isinstance(server, str) else server.url
    return ensure_file("set/data.json", f"{url}{FILE}", SHA256, folders, manual_steps="Put it there by hand.")


def everything_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_file_is_downloaded_once(server: FileServer, tmp_path: Path) -> None:
    for _ in range(2):
        assert get(server, tmp_path) == tmp_path / "set/data.json"
    assert (tmp_path / "set/data.json").read_bytes() == CONTENT
    assert server.asked == [FILE]


def test_a_file_in_any_of_the_folders_is_not_downloaded(server: FileServer, tmp_path: Path) -> None:
    there = tmp_path / "second" / "set" / "data.json"
    there.parent.mkdir(parents=True)
    there.write_text("another text")
    assert get(server, tmp_path / "first", tmp_path / "second") == there
    assert not server.asked and there.read_text() == "another text"


def test_a_data_folder_that_is_not_there_is_named_by_what_set_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "none"
    assert list_data_folders(None, "benchmark.folder") == list_data_folders(tmp_path, "benchmark.folder")[1:]
    monkeypatch.delenv("CODETOOL_DATA", raising=False)
    with pytest.raises(MissingError, match=f"^benchmark.folder={missing} is no folder"):
        list_data_folders(missing, "benchmark.folder")
    monkeypatch.setenv("CODETOOL_DATA", str(missing))
    with pytest.raises(MissingError, match=f"^CODETOOL_DATA={missing} is no folder"):
        list_data_folders(missing, "benchmark.folder")


@pytest.mark.parametrize("blocked", ["a file", "/proc/nowhere"])
def test_a_folder_that_cannot_be_written_is_passed_over(server: FileServer, tmp_path: Path, blocked: str) -> None:
    (tmp_path / "a file").touch()
    first = tmp_path / blocked
    assert get(server, first, tmp_path / "second") == tmp_path / "second" / "set/data.json"


def test_no_folder_that_can_be_written_is_told_before_anything_is_asked(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="/proc/nowhere/set.*CODETOOL_DATA"):
        get(server, Path("/proc/nowhere"))
    assert not server.asked


def test_one_line_says_what_is_downloaded_and_where_to(
    server: FileServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    get(server, tmp_path)
    assert capfd.readouterr() == ("", f"downloading {server.url}{FILE} to {tmp_path / 'set/data.json'}\n")


@pytest.mark.parametrize(
    ("behaviour", "kind", "said"),
    [
        (respond_completely(b"404: Not Found", status=404), MissingError, "answered 404"),
        (respond_completely(b"later", status=503), MissingError, "answered 503"),
        (respond_completely(b"<html>sign in</html>"), MissingError, "sha256"),
        (respond_completely(CONTENT[:-1]), MissingError, "sha256"),
        (respond_completely(CONTENT[:5000], claimed=len(CONTENT)), UnreachableError, "lost on the way"),
    ],
    ids=["404", "503", "another file", "a byte short", "torn"],
)
def test_what_is_not_the_file_is_not_kept(
    server: FileServer, tmp_path: Path, behaviour: object, kind: type[CodeToolError], said: str
) -> None:
    server.instead[FILE] = behaviour  # type: ignore[assignment]
    with pytest.raises(kind) as error:
        get(server, tmp_path)
    for text in (said, f"{server.url}{FILE}", str(tmp_path / "set/data.json"), "Put it there by hand."):
        assert text in str(error.value)
    assert everything_in(tmp_path) == []
    del server.instead[FILE]
    assert get(server, tmp_path).read_bytes() == CONTENT


def refused() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize(
    ("address", "kind", "said"),
    [
        (refused(), UnreachableError, "refused"),
        ("http://nobody.invalid", UnreachableError, "nobody.invalid"),
        ("nowhere", ConfigError, "no http address"),
        ("", ConfigError, "no http address"),
    ],
    ids=["refused", "unknown host", "no address", "empty"],  # a port is another in each process that runs tests
)
def test_an_address_without_a_server_is_told_without_waiting(
    server: FileServer, tmp_path: Path, address: str, kind: type[CodeToolError], said: str
) -> None:
    with promptly(), pytest.raises(kind, match=said) as error:
        get(address, tmp_path)
    assert str(tmp_path / "set/data.json") in str(error.value) and everything_in(tmp_path) == []


def test_many_at_once_leave_one_whole_file(server: FileServer, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: get(server, tmp_path), range(8)))
    assert found == {tmp_path / "set/data.json"} == set(everything_in(tmp_path))
    assert (tmp_path / "set/data.json").read_bytes() == CONTENT


DOWNLOAD = """
import sys
from pathlib import Path
from codetool.http.download import ensure_file
ensure_file("set/data.json", sys.argv[1], sys.argv[2], [Path(sys.argv[3])], manual_steps="")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_download_that_is_stopped_leaves_no_file_under_its_name(
    server: FileServer, tmp_path: Path, number: signal.Signals
) -> None:
    started, go_on = threading.Event(), threading.Event()
    server.instead[FILE] = respond_slowly(CONTENT, started, go_on)
    command = [sys.executable, "-c", DOWNLOAD, f"{server.url}{FILE}", SHA256, str(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    assert started.wait(30)
    process.send_signal(number)
    assert process.wait(10) != 0
    go_on.set()
    assert not (tmp_path / "set/data.json").exists()
    assert number == signal.SIGKILL or everything_in(tmp_path) == []
    del server.instead[FILE]
    assert get(server, tmp_path).read_bytes() == CONTENT

"""Download one file of a package from the configured package index, where there is no pip to do it.

The index is the one that `uv` or `pip` would ask: UV_DEFAULT_INDEX, UV_INDEX, UV_INDEX_URL, UV_EXTRA_INDEX_URL,
PIP_INDEX_URL and PIP_EXTRA_INDEX_URL, then the files uv.toml and pip.conf, then PyPI. The pages are those of the simple
API, JSON (PEP 691) or HTML (PEP 503), of an http(s) server or in a folder (file://).

Limits: keyrings, netrc and client certificates are not read; a password in an index's URL is used and never printed.
"""

from __future__ import annotations

import configparser
import os
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import url2pathname

import httpx

from codetool.errors import CodeToolError, MissingError
from codetool.http.download import CONNECT_SECONDS, SILENT_SECONDS, checksum, download, hide_password

PYPI = "https://pypi.org/simple"
JSON_TYPE = "application/vnd.pypi.simple.v1+json"
ACCEPT = f"{JSON_TYPE}, text/html;q=0.5"
VARIABLES = (
    "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL",
)  # fmt: skip


def fetch_file(package: str, name: str, sha256: str, target: Path) -> None:
    """Download the file `name` of a package to `target`, whole or not at all, from the first index that has it.

    Raises MissingError, whose message says of each index why it did not give the file.
    """
    problems = []
    for index in configured_indexes():
        try:
            _fetch(_find_link(index, package, name), sha256, target)
        except (CodeToolError, httpx.HTTPError, OSError, ValueError) as error:
            problems.append(f"{hide_password(index)}: {hide_password(str(error)) or type(error).__name__}")
        else:
            return
    raise MissingError(f"no package index gave {name}. {' '.join(problems)}")


def configured_indexes() -> list[str]:
    """The addresses of the indexes to ask, in order and each once."""
    found = [url for name in VARIABLES for url in _split(os.environ.get(name, ""))]
    if not found:
        found = [*_from_uv(), *_from_pip()]
    if not any(os.environ.get(name) for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")):
        found = [*found, PYPI] if PYPI not in found else found
    return list(dict.fromkeys(url.rstrip("/") for url in found))


def _split(value: str) -> list[str]:
    """Addresses that stand in one value; uv may write a name before each, `NAME=URL`."""
    return [re.sub(r"^[\w.-]+=(?=\w+://)", "", part) for part in value.split()]


def _from_uv() -> Iterator[str]:
    """The indexes in uv's own files, the user's before the machine's."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    named = os.environ.get("UV_CONFIG_FILE")
    for file in [Path(named)] if named else [home / "uv" / "uv.toml", Path("/etc/uv/uv.toml")]:
        try:
            content = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        settings: Mapping[str, Any] = {**content.get("pip", {}), **content}
        yield from (str(index["url"]) for index in settings.get("index", ()) if "url" in index)
        yield from (str(settings[name]) for name in ("index-url",) if name in settings)
        yield from map(str, settings.get("extra-index-url", ()))


def _from_pip() -> Iterator[str]:
    """The indexes in pip's own files, the most special first."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    shared = [Path(folder) for folder in (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")]
    files = [Path(sys.prefix) / "pip.conf", home / "pip/pip.conf", Path("~/.pip/pip.conf").expanduser()]
    files += [*(folder / "pip/pip.conf" for folder in shared), Path("/etc/pip.conf")]
    if named := os.environ.get("PIP_CONFIG_FILE"):
        files.insert(0, Path(named))
    for file in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
        for section in ("download", "global"):
            for name in ("index-url", "extra-index-url"):
                yield from _split(parser.get(section, name, fallback=""))


def _find_link(index: str, package: str, name: str) -> str:
    """The address of a file, from the index's page of the package."""
    page = f"{index}/{re.sub(r'[-_.]+', '-', package).lower()}/"
    base, kind, text = _read_page(page)
    if kind.startswith(JSON_TYPE):
        links = {str(file["filename"]): str(file["url"]) for file in httpx.Response(200, text=text).json()["files"]}
    else:
        reader = _Links()
        reader.feed(text)
        links = {unquote(urlsplit(link).path.rpartition("/")[2]): link for link in reader.links}
    if name not in links:
        raise MissingError(f"it has no {name}.")
    return urljoin(base, links[name])


def _read_page(page: str) -> tuple[str, str, str]:
    """The address of a page after redirections, its content type and its text."""
    if page.startswith("file:"):
        folder = _local_path(page)
        return page, "text/html", (folder / "index.html").read_text(encoding="utf-8")
    timeout = httpx.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS)
    answer = httpx.get(page, headers={"Accept": ACCEPT}, timeout=timeout, follow_redirects=True)
    if answer.status_code != httpx.codes.OK:
        raise MissingError(f"it answered {answer.status_code} {answer.reason_phrase}.")
    return str(answer.url), answer.headers.get("content-type", ""), answer.text


def _fetch(link: str, sha256: str, target: Path) -> None:
    if not link.startswith("file:"):
        download(link.partition("#")[0], sha256, target)
        return
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        part = Path(shutil.copyfile(_local_path(link), Path(folder) / target.name))
        if (found := checksum(part)) != sha256:
            raise MissingError(f"what lies there is another file: its sha256 is {found}, not {sha256}.")
        part.replace(target)


def _local_path(url: str) -> Path:
    return Path(url2pathname(urlsplit(url).path))


class _Links(HTMLParser):
    """Collects where the links of a page lead."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the address of a link."""
        self.links += [value for name, value in attrs if tag == "a" and name == "href" and value]

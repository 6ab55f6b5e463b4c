"""Download one file of a package from the configured package index, where there is no pip to do it.

The index is the one that `uv` or `pip` would use: UV_DEFAULT_INDEX, UV_INDEX, UV_INDEX_URL, UV_EXTRA_INDEX_URL,
PIP_INDEX_URL and PIP_EXTRA_INDEX_URL, then the files uv.toml and pip.conf, then PyPI. Index pages have the
simple API's JSON (PEP 691) or HTML (PEP 503) form, on an http(s) server or in a folder (file://).

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
from codetool.http.download import CONNECT_SECONDS, READ_SECONDS, compute_sha256, download, hide_password

PYPI = "https://pypi.org/simple"
JSON_TYPE = "application/vnd.pypi.simple.v1+json"
ACCEPT = f"{JSON_TYPE}, text/html;q=0.5"
INDEX_VARIABLES = (
    "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL",
)  # fmt: skip


def fetch_file(package: str, name: str, sha256: str, target: Path) -> None:
    """Download the file `name` of a package to `target`, completely or not at all, from the first index with it.

    Raises MissingError, whose message gives the reason of each index.
    """
    problems = []
    for index in list_indexes():
        try:
            _copy_or_download(_find_link(index, package, name), sha256, target)
        except (CodeToolError, httpx.HTTPError, OSError, ValueError) as error:
            problems.append(f"{hide_password(index)}: {hide_password(str(error)) or type(error).__name__}")
        else:
            return
    raise MissingError(f"no package index gave {name}. {' '.join(problems)}")


def list_indexes() -> list[str]:
    """Return the URLs of the configured indexes in order, without duplicates."""
    urls = [url for name in INDEX_VARIABLES for url in _split_urls(os.environ.get(name, ""))]
    if not urls:
        urls = [*_read_uv_indexes(), *_read_pip_indexes()]
    if not any(os.environ.get(name) for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")):
        urls = [*urls, PYPI] if PYPI not in urls else urls
    return list(dict.fromkeys(url.rstrip("/") for url in urls))


def _split_urls(value: str) -> list[str]:
    """Split a value into URLs; uv allows a name before each, `NAME=URL`."""
    return [re.sub(r"^[\w.-]+=(?=\w+://)", "", copy) for copy in value.split()]


def _read_uv_indexes() -> Iterator[str]:
    """Read the indexes of uv's configuration files, the user's before the machine's."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    configured = os.environ.get("UV_CONFIG_FILE")
    for file in [Path(configured)] if configured else [home / "uv" / "uv.toml", Path("/etc/uv/uv.toml")]:
        try:
            content = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        settings: Mapping[str, Any] = {**content.get("pip", {}), **content}
        yield from (str(index["url"]) for index in settings.get("index", ()) if "url" in index)
        yield from (str(settings[name]) for name in ("index-url",) if name in settings)
        yield from map(str, settings.get("extra-index-url", ()))


def _read_pip_indexes() -> Iterator[str]:
    """Read the indexes of pip's configuration files, the most specific first."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    shared_folders = [Path(folder) for folder in (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")]
    files = [Path(sys.prefix) / "pip.conf", home / "pip/pip.conf", Path("~/.pip/pip.conf").expanduser()]
    files += [*(folder / "pip/pip.conf" for folder in shared_folders), Path("/etc/pip.conf")]
    if configured := os.environ.get("PIP_CONFIG_FILE"):
        files.insert(0, Path(configured))
    for file in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
        for section in ("download", "global"):
            for name in ("index-url", "extra-index-url"):
                yield from _split_urls(parser.get(section, name, fallback=""))


def _find_link(index: str, package: str, name: str) -> str:
    """Return the URL of a file from the index's page of the package."""
    page = f"{index}/{re.sub(r'[-_.]+', '-', package).lower()}/"
    base, content_type, text = _read_page(page)
    if content_type.startswith(JSON_TYPE):
        links = {str(file["filename"]): str(file["url"]) for file in httpx.Response(200, text=text).json()["files"]}
    else:
        reader = _LinkParser()
        reader.feed(text)
        links = {unquote(urlsplit(link).path.rpartition("/")[2]): link for link in reader.links}
    if name not in links:
        raise MissingError(f"it has no {name}.")
    return urljoin(base, links[name])


def _read_page(page: str) -> tuple[str, str, str]:
    """Return the URL of a page after redirects, its content type and its text."""
    if page.startswith("file:"):
        folder = _url_to_path(page)
        return page, "text/html", (folder / "index.html").read_text(encoding="utf-8")
    timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    response = httpx.get(page, headers={"Accept": ACCEPT}, timeout=timeout, follow_redirects=True)
    if response.status_code != httpx.codes.OK:
        raise MissingError(f"it answered {response.status_code} {response.reason_phrase}.")
    return str(response.url), response.headers.get("content-type", ""), response.text


def _copy_or_download(link: str, sha256: str, target: Path) -> None:
    if not link.startswith("file:"):
        download(link.partition("#")[0], sha256, target)
        return
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        copy = Path(shutil.copyfile(_url_to_path(link), Path(folder) / target.name))
        if (urls := compute_sha256(copy)) != sha256:
            raise MissingError(f"what lies there is another file: its sha256 is {urls}, not {sha256}.")
        copy.replace(target)


def _url_to_path(url: str) -> Path:
    return Path(url2pathname(urlsplit(url).path))


class _LinkParser(HTMLParser):
    """Collects the link targets of an HTML page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record the target of a link."""
        self.links += [value for name, value in attrs if tag == "a" and name == "href" and value]

"""A published model at a pinned commit: found in the cache of downloads, else looked up on the hub and downloaded."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from codetool.errors import MissingError, UnreachableError
from codetool.http.download import hide_password
from codetool.models.hub_cache import (
    COMMIT_HASH,
    MAIN,
    find_hub_cache,
    find_newest_snapshot,
    get_snapshot_folder,
    is_complete,
    read_commit,
    write_commit,
)
from codetool.models.hub_client import HubVersion, find_endpoint, resolve_version
from codetool.models.hub_download import download_snapshot

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubModel:
    """A model of the hub at one commit."""

    group: str
    """Option group that names the model; messages name its settings."""
    name: str
    revision: str | None
    """Requested branch, tag or commit; None is the branch `main`."""
    commit: str
    """Commit that the revision leads to: that of the last download, else that of the hub now."""
    cache: Path
    missing: HubVersion | None = None
    """What the hub has at that commit; None if everything was here when the model was looked for."""

    @property
    def folder(self) -> Path:
        """Folder of the files, which may not exist yet."""
        return get_snapshot_folder(self.cache, self.name, self.commit)

    def record(self) -> dict[str, str | None]:
        """Return what `provenance.json` records."""
        return {"model": self.name, "revision": self.revision, "commit": self.commit}

    def describe_download(self) -> str | None:
        """Describe in one line what has to be downloaded; None if everything is here."""
        if self.missing is None or is_complete(self.folder):
            return None
        return (
            f"{self.name} ({self.revision or MAIN}, commit {self.commit[:12]}): {self.missing.files} files, "
            f"{format_bytes(self.missing.size)}, from {hide_password(find_endpoint())} to {self.cache}"
        )

    def download(self) -> None:
        """Download what is missing, with a progress bar on standard error. Call it in the main thread, for Ctrl-C.

        Raises MissingError if it cannot be had.
        """
        if (description := self.describe_download()) is None:
            return
        log.info("downloading %s", description)
        if not COMMIT_HASH.fullmatch(self.revision or MAIN):
            write_commit(self.cache, self.name, self.revision or MAIN, self.commit)
        download_snapshot(self.group, self.name, self.commit, self.cache)
        if not is_complete(self.folder):
            raise MissingError(f"{self.group}.model={self.name}: {self.folder} has not all of its weights.")


def find_hub_model(group: str, name: str, revision: str | None) -> HubModel:
    """Return a model at the commit of its last download, if that is here or can be completed, else at the hub's commit.

    Raises UnreachableError, with the reason alone, if it is not here and the hub cannot be asked, and MissingError if
    the hub does not have it.
    """
    cache, requested = find_hub_cache(), revision or MAIN
    commit = requested if COMMIT_HASH.fullmatch(requested) else read_commit(cache, name, requested)
    if commit is not None and is_complete(get_snapshot_folder(cache, name, commit)):
        return HubModel(group, name, revision, commit, cache)
    try:
        version = resolve_version(group, name, commit or requested)
    except UnreachableError as error:
        newest = find_newest_snapshot(cache, name) if revision is None else None
        if newest is None:
            raise
        log.warning("%s: %s; its newest download is used, commit %s", name, error, newest.name)
        return HubModel(group, name, revision, newest.name, cache)
    return HubModel(group, name, revision, version.commit, cache, version)


def format_bytes(size: int) -> str:
    """Format a number of bytes with a decimal unit."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"

"""Weights & Biases: one run there for every result here, written from the run folder when the results are journalled.

The W&B run is a projection of the journals: the same id, written whole each time the results have changed. It is always
written offline first, inside the run folder, by a process of its own; where there is an API key and the server answers,
a second process uploads it. So W&B can neither slow a run nor fail it: what goes wrong is one line, and `wandb sync`
makes up for it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as settings

from codetool.credentials.masking import MASK, find_secret_values
from codetool.runs import journal, provenance
from codetool.tracking.wandb_server import WandbError, check_server, find_api_key

log = logging.getLogger(__name__)

STATUS_FILE = "written.json"
"""What the folder `wandb` of a run folder knows of itself."""
WRITE_SECONDS = 60.0
"""Writing a run on this machine takes two seconds; a process that takes so long hangs."""
UPLOAD_RETRY_SETTINGS = {
    "WANDB__GRAPHQL_RETRY_MAX": "2", "WANDB__FILE_STREAM_RETRY_MAX": "2", "WANDB__FILE_TRANSFER_RETRY_MAX": "2",
    "WANDB_HTTP_TIMEOUT": "10",
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """Rows of plain values under the names of their columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class RunContent:
    """What of a result W&B shows."""

    values: Mapping[str, float]
    """The numbers it comes to, by the name they have at W&B."""
    tables: Mapping[str, Table]
    curves: Sequence[Mapping[str, float]] = ()
    """Numbers on the way to it, each with its `step`, which rises; equal steps are one."""
    report: Path | None = None
    """A page to keep with the run."""


@dataclass(frozen=True)
class TrackedRun:
    """A result that W&B gets."""

    folder: Path
    """The run folder; its name is the W&B run's id, its `config.yaml` the run's configuration."""
    group: str | None
    """The experiment or sweep that the run belongs to."""
    stage: str
    tags: Sequence[str]
    """Names to filter by, such as benchmark, search, policy and PRM."""
    content: RunContent
    upload: bool = True
    """False: leave it offline."""


@dataclass(frozen=True)
class SyncStatus:
    """What became of it: a line for the user, whether it is a warning, and the folder that waits for `wandb sync`."""

    message: str
    is_warning: bool = False
    offline_folder: Path | None = None


@settings(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class NoTracker:
    """Nothing leaves the run folder."""

    def record(self, run: TrackedRun) -> None:
        """None: there is nothing to say."""


@settings(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class WandBTracker:
    """Settings of the W&B run that stands for a result."""

    project: str
    """W&B project."""
    entity: str | None
    """User or team that owns the project; None: the key's default."""
    connect: Annotated[float, Field(gt=0)]
    """Seconds until the server has answered."""
    upload: Annotated[float, Field(gt=0)]
    """Seconds an upload may take."""

    def record(self, run: TrackedRun) -> SyncStatus | None:
        """Write the run's projection if the results have changed, and upload it if it can be. Raises no Exception.

        None if WANDB_MODE switches W&B off.
        """
        mode = os.environ.get("WANDB_MODE", "")
        if mode == "disabled":
            return None
        try:
            written = self._write_offline_run(run)
            return self._sync_if_possible(run.folder / "wandb", written, run.upload, mode in ("offline", "dryrun"))
        except Exception as problem:  # whatever it is, the results are on the disk and must not be called a failure
            log.debug("W&B", exc_info=True)
            return SyncStatus(
                f"W&B: not written, {problem}. The results are; logger=none leaves W&B out.", is_warning=True
            )

    def _write_offline_run(self, run: TrackedRun) -> dict[str, str]:
        """The offline run that is the result as it is now: `folder`, and `base_url`, the server that it is meant for.

        `digest` tells whether the result has changed since; `address` is the run's page if it was uploaded.
        """
        text = mask_secrets_in_json(json.dumps(self._build_payload(run), default=str))
        digest = hashlib.sha256(text.encode()).hexdigest()
        record = run.folder / "wandb" / STATUS_FILE
        known: dict[str, str] = json.loads(record.read_text()) if record.is_file() else {}
        if known.get("digest") == digest and (record.parent / known["folder"]).is_dir():
            return known
        _replace_previous_runs(record.parent)
        with _open_environment(record.parent, with_keys=False) as environment:
            environment["WANDB_MODE"] = "offline"  # nothing asks the server now, telemetry included
            answer = _run_worker("write", run.folder.resolve(), text, environment, WRITE_SECONDS)
        try:
            known = {"digest": digest} | json.loads(answer.splitlines()[-1])
        except (ValueError, IndexError) as error:
            raise WandbError(f"wandb said: {answer.strip()[-300:]}") from error
        journal.atomic_write(record, [json.dumps(known).encode()])
        return known

    def _build_payload(self, run: TrackedRun) -> dict[str, Any]:
        content = run.content
        return {
            "project": self.project,
            "entity": self.entity,
            "id": run.folder.name,
            "group": run.group,
            "job_type": run.stage,
            "tags": list(run.tags),
            "config": build_run_config(run.folder),
            "values": content.values,
            "curves": content.curves,
            "tables": {name: asdict(table) for name, table in content.tables.items()},
            "report": str(content.report.resolve()) if content.report else None,
        }

    def _sync_if_possible(self, folder: Path, written: dict[str, str], upload: bool, offline: bool) -> SyncStatus:
        """Upload the run if that is wanted, possible and not done yet."""
        run = folder / written["folder"]
        if any(run.glob("*.synced")):
            return SyncStatus(f"W&B: {written.get('address', f'{run.name} is uploaded')}")
        base_url = os.environ.get("WANDB_BASE_URL") or written["base_url"]
        key = None if offline else find_api_key(base_url)
        later = f"with: wandb sync {shlex.quote(str(run))}"
        if key is None:
            why = "WANDB_MODE=offline" if offline else "no API key"
            return SyncStatus(f"W&B: kept offline ({why}). Upload it {later}", offline_folder=run)
        if not upload:
            return SyncStatus(f"W&B: kept offline. Upload it {later}", offline_folder=run)
        try:
            check_server(base_url, key, self.connect)
            address = self._upload(run) or f"uploaded to {base_url}"
        except WandbError as problem:
            return SyncStatus(
                f"W&B: {problem}. Nothing is lost; upload it {later}", is_warning=True, offline_folder=run
            )
        journal.atomic_write(folder / STATUS_FILE, [json.dumps(written | {"address": address}).encode()])
        return SyncStatus(f"W&B: {address}")

    def _upload(self, run: Path) -> str | None:
        """The run's page after it was uploaded, None if wandb did not name it. Raises Problem."""
        with _open_environment(run.parent, with_keys=True) as environment:
            said = _run_worker("sync", run.resolve(), "", environment | UPLOAD_RETRY_SETTINGS, self.upload)
        if not any(run.glob("*.synced")):
            raise WandbError(f"the upload failed, {' '.join(said.split())[-200:]}")
        found = re.search(r"https?://\S+/runs/[^\s/]+", said)
        return found.group() if found else None


def build_run_config(folder: Path) -> dict[str, Any]:
    """The resolved settings of a run folder, with the version, the checksums and every code that made the result."""
    made = provenance.read_provenance(folder)
    checksums = {f"sha256 of {name}": value for name, value in made.identity.checksums.items()}
    settings = dict(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")))
    return {"codetool": made.identity.version, **checksums, "code": [asdict(code) for code in made.codes]} | settings


def mask_secrets_in_json(text: str) -> str:
    """JSON text with every key that the environment holds replaced by `[secret]`."""
    for secret in find_secret_values():
        text = text.replace(json.dumps(secret)[1:-1], MASK)
    return text


@contextmanager
def _open_environment(folder: Path, *, with_keys: bool) -> Iterator[dict[str, str]]:
    """This process's environment, with every file that wandb keeps inside the folder, while the context is open."""
    cache, staged = folder.resolve() / "cache", folder.resolve() / "staged"
    places = {"WANDB_DIR": cache, "WANDB_CACHE_DIR": cache, "WANDB_DATA_DIR": staged, "WANDB_ARTIFACT_DIR": staged}
    secrets: set[str] = set() if with_keys else set(find_secret_values())
    kept = {name: value for name, value in os.environ.items() if value not in secrets}
    cache.mkdir(parents=True, exist_ok=True)
    try:
        yield kept | {name: str(place) for name, place in places.items()} | {"WANDB_ERROR_REPORTING": "false"}
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def _replace_previous_runs(folder: Path) -> None:
    """Take older offline runs of this id, which were never uploaded, out of the reach of `wandb sync`."""
    for older in folder.glob("offline-run-*"):
        if not any(older.glob("*.synced")):
            older.rename(folder / f"superseded-{older.name}")
    shutil.rmtree(folder / "staged", ignore_errors=True)  # the artifacts of those


def _run_worker(action: str, folder: Path, text: str, environment: Mapping[str, str], seconds: float) -> str:
    """What a process of ours with wandb in it said. It is dead afterwards, also after Ctrl-C. Raises Problem."""
    command = [sys.executable, "-m", "codetool.tracking.wandb_worker", action, str(folder)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        text=True,
        start_new_session=True,  # Ctrl-C is ours to pass on
    )
    try:
        return process.communicate(text, timeout=seconds)[0]
    except subprocess.TimeoutExpired as error:
        raise WandbError(f"the server took longer than {seconds:g} s" if action == "sync" else "wandb hangs") from error
    finally:
        _kill_worker(process)


def _kill_worker(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)  # the server that wandb starts beside itself is of the same group
    except ProcessLookupError:
        pass
    process.communicate()

"""Log each result to Weights & Biases, as one W&B run that is written from the run folder after the run.

The W&B run has the run folder's name as its id and is rewritten whenever the results have changed. A subprocess first
writes it offline, inside the run folder. If there is an API key and the server answers, a second subprocess uploads it.
W&B can therefore neither slow down a run nor make it fail: a problem is reported in one line, and `wandb sync` uploads
the run later.
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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as settings

from codetool.credentials.masking import MASK, find_secret_values
from codetool.credentials.secret_names import is_secret_variable
from codetool.runs import journal, provenance
from codetool.tracking.run_content import RunContent, RunInfo, SyncStatus
from codetool.tracking.wandb_server import WandbError, check_server, find_api_key

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

log = logging.getLogger(__name__)

STATUS_FILE = "written.json"
"""File in a run folder's `wandb` folder that names the offline run, a digest of its content and its web page."""
WRITE_SECONDS = 60.0
"""Timeout of the subprocess that writes an offline run, which takes about two seconds."""
UPLOAD_RETRY_SETTINGS = {
    "WANDB__GRAPHQL_RETRY_MAX": "2", "WANDB__FILE_STREAM_RETRY_MAX": "2", "WANDB__FILE_TRANSFER_RETRY_MAX": "2",
    "WANDB_HTTP_TIMEOUT": "10",
}  # fmt: skip


@settings(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class WandBLogger:
    """Settings of `logger=wandb`, which logs runs to W&B."""

    project: str
    """W&B project."""
    entity: str | None
    """User or team that owns the project; None for the API key's default."""
    connect_timeout: Annotated[float, Field(gt=0)]
    """Seconds to wait for the server's first answer."""
    upload_timeout: Annotated[float, Field(gt=0)]
    """Maximum duration of an upload in seconds."""

    def start(self, run: RunInfo) -> WandBRun:
        """Start to log a run."""
        return WandBRun(self, run)

    def record(self, run: RunInfo, content: RunContent) -> SyncStatus | None:
        """Write the W&B run if the results have changed, and upload it if possible. Raises no Exception.

        Returns None if WANDB_MODE disables W&B.
        """
        mode = os.environ.get("WANDB_MODE", "")
        if mode == "disabled":
            return None
        try:
            status = self._write_offline_run(run, content)
            return self._sync_if_possible(run.folder / "wandb", status, run.upload, mode in ("offline", "dryrun"))
        except Exception as problem:  # the results are on the disk, so no problem of W&B may make the run fail
            log.debug("W&B", exc_info=True)
            return SyncStatus(
                f"W&B: not written, {problem}. The results are; logger=none leaves W&B out.", is_warning=True
            )

    def _write_offline_run(self, run: RunInfo, content: RunContent) -> dict[str, str]:
        """Write the offline run unless the current one is up to date, and return its status.

        The status holds the name of the offline run's `folder`, the `base_url` of its server, a `digest` of its content
        and, after an upload, the `address` of its web page.
        """
        text = mask_secrets_in_json(json.dumps(self._build_payload(run, content), default=str))
        digest = hashlib.sha256(text.encode()).hexdigest()
        record = run.folder / "wandb" / STATUS_FILE
        status: dict[str, str] = json.loads(record.read_text()) if record.is_file() else {}
        if status.get("digest") == digest and (record.parent / status["folder"]).is_dir():
            return status
        _replace_previous_runs(record.parent)
        with _open_environment(record.parent, with_keys=False) as environment:
            environment["WANDB_MODE"] = "offline"  # no requests to the server now, telemetry included
            answer = _run_worker("write", run.folder.resolve(), text, environment, WRITE_SECONDS)
        try:
            status = {"digest": digest} | json.loads(answer.splitlines()[-1])
        except (ValueError, IndexError) as error:
            raise WandbError(f"wandb said: {answer.strip()[-300:]}") from error
        journal.atomic_write(record, [json.dumps(status).encode()])
        return status

    def _build_payload(self, run: RunInfo, content: RunContent) -> dict[str, Any]:
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

    def _sync_if_possible(self, folder: Path, status: dict[str, str], upload: bool, offline: bool) -> SyncStatus:
        """Upload the run if it should and can be uploaded and has not been yet."""
        run = folder / status["folder"]
        if any(run.glob("*.synced")):
            return SyncStatus(f"W&B: {status.get('address', f'{run.name} is uploaded')}")
        base_url = os.environ.get("WANDB_BASE_URL") or status["base_url"]
        key = None if offline else find_api_key(base_url)
        later = f"with: wandb sync {shlex.quote(str(run))}"
        if key is None:
            why = "WANDB_MODE=offline" if offline else "no API key"
            return SyncStatus(f"W&B: kept offline ({why}). Upload it {later}", offline_folder=run)
        if not upload:
            return SyncStatus(f"W&B: kept offline. Upload it {later}", offline_folder=run)
        try:
            check_server(base_url, key, self.connect_timeout)
            address = self._upload(run) or f"uploaded to {base_url}"
        except WandbError as problem:
            return SyncStatus(
                f"W&B: {problem}. Nothing is lost; upload it {later}", is_warning=True, offline_folder=run
            )
        journal.atomic_write(folder / STATUS_FILE, [json.dumps(status | {"address": address}).encode()])
        return SyncStatus(f"W&B: {address}")

    def _upload(self, run: Path) -> str | None:
        """Upload an offline run; return the URL of its page, None if wandb printed none. Raises WandbError."""
        with _open_environment(run.parent, with_keys=True) as environment:
            output = _run_worker("sync", run.resolve(), "", environment | UPLOAD_RETRY_SETTINGS, self.upload_timeout)
        if not any(run.glob("*.synced")):
            raise WandbError(f"the upload failed, {' '.join(output.split())[-200:]}")
        match = re.search(r"https?://\S+/runs/[^\s/]+", output)
        return match.group() if match else None


class WandBRun:
    """The W&B run of a run folder, written when the run ends: its curves are read from the run folder."""

    def __init__(self, settings: WandBLogger, run: RunInfo) -> None:
        """Store what the W&B run is about."""
        self._settings, self._run = settings, run

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Do nothing: the journals of the run folder hold the curves."""

    def finish(self, content: RunContent) -> SyncStatus | None:
        """Write the W&B run and upload it if possible."""
        return self._settings.record(self._run, content)

    def stop(self, exit_code: int) -> None:
        """Do nothing: a run without a result has no W&B run."""

    def to_lightning(self) -> Logger:
        """Return the Lightning logger that logs to this run."""
        from codetool.tracking.lightning_logger import LightningRunLogger

        return LightningRunLogger(self, self._run.folder, "wandb")


def build_run_config(folder: Path) -> dict[str, Any]:
    """Return the resolved settings of a run folder, with CodeTool's version, the checksums and the code versions."""
    run_provenance = provenance.read_provenance(folder)
    checksums = {f"sha256 of {name}": value for name, value in run_provenance.identity.checksums.items()}
    settings = dict(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")))
    return {
        "codetool": run_provenance.identity.version,
        **checksums,
        "code": [asdict(code) for code in run_provenance.codes],
    } | settings


def mask_secrets_in_json(text: str) -> str:
    """Return JSON text in which every secret value of the environment is replaced by `[secret]`."""
    for secret in find_secret_values():
        text = text.replace(json.dumps(secret)[1:-1], MASK)
    return text


_PASSED_VARIABLES = frozenset(
    """
    HOME PATH USER LOGNAME USERNAME SHELL LANG LANGUAGE TZ TMPDIR TEMP TMP NETRC HTTP_PROXY HTTPS_PROXY ALL_PROXY
    NO_PROXY REQUESTS_CA_BUNDLE CURL_CA_BUNDLE SSL_CERT_FILE SSL_CERT_DIR LD_LIBRARY_PATH VIRTUAL_ENV CONDA_PREFIX
    """.split()
)
_PASSED_PREFIXES = ("WANDB_", "LC_", "XDG_", "PYTHON")
"""Variables that wandb, Python and the connection need; also in lower case, as proxies often are."""


@contextmanager
def _open_environment(folder: Path, *, with_keys: bool) -> Iterator[dict[str, str]]:
    """Yield environment variables for wandb that keep all its files inside the folder; its cache is deleted after.

    Others are left out: any of them may hold a key of another service. `with_keys` adds the key of W&B.
    """
    cache, staged = folder.resolve() / "cache", folder.resolve() / "staged"
    variables = {"WANDB_DIR": cache, "WANDB_CACHE_DIR": cache, "WANDB_DATA_DIR": staged, "WANDB_ARTIFACT_DIR": staged}
    inherited = {
        name: value
        for name, value in os.environ.items()
        if (name.upper() in _PASSED_VARIABLES or name.startswith(_PASSED_PREFIXES))
        and (with_keys or not is_secret_variable(name))
    }
    cache.mkdir(parents=True, exist_ok=True)
    try:
        yield inherited | {name: str(place) for name, place in variables.items()} | {"WANDB_ERROR_REPORTING": "false"}
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def _replace_previous_runs(folder: Path) -> None:
    """Rename older offline runs that were never uploaded, so that `wandb sync` does not find them."""
    for older in folder.glob("offline-run-*"):
        if not any(older.glob("*.synced")):
            older.rename(folder / f"superseded-{older.name}")
    shutil.rmtree(folder / "staged", ignore_errors=True)  # the artifacts of those


def _run_worker(action: str, folder: Path, text: str, environment: Mapping[str, str], seconds: float) -> str:
    """Run `wandb_worker` and return its output; always kill its process group. Raises WandbError."""
    command = [sys.executable, "-m", "codetool.tracking.wandb_worker", action, str(folder)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        text=True,
        start_new_session=True,  # so that Ctrl-C reaches only this process
    )
    try:
        return process.communicate(text, timeout=seconds)[0]
    except subprocess.TimeoutExpired as error:
        raise WandbError(f"the server took longer than {seconds:g} s" if action == "sync" else "wandb hangs") from error
    finally:
        _kill_worker(process)


def _kill_worker(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)  # wandb's own server process is in the same group
    except ProcessLookupError:
        pass
    process.communicate()

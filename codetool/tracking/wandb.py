"""The option `logger=wandb`: log each run to Weights & Biases, while it runs and at its end.

The W&B run has the run folder's name as its id. A subprocess writes it into the run folder, offline; where there is an
API key and the server answers, a second subprocess uploads what the first one writes. W&B can therefore neither slow
down a run nor make it fail: a problem is reported in one line, and `wandb sync` uploads the run later. A resumed run
adds an offline run of the same id, which continues the history.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shlex
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as settings

from codetool.tracking.run_config_values import get_run_config
from codetool.tracking.run_content import ArtifactFiles, RunContent, RunInfo, SyncStatus
from codetool.tracking.wandb_folder import list_offline_runs, read_status, write_status
from codetool.tracking.wandb_process import WandbProcess, encode_line
from codetool.tracking.wandb_server import WandbError, check_server, find_api_key

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

log = logging.getLogger(__name__)

WRITE_SECONDS = 60.0
"""Timeout of the end of an offline run, which takes about two seconds."""
STOP_SECONDS = 10.0
"""Timeout of the end of an offline run without a result, for instance after Ctrl-C."""
SYNC_RETRIES = {
    "WANDB__GRAPHQL_RETRY_MAX": "2", "WANDB__FILE_STREAM_RETRY_MAX": "2", "WANDB__FILE_TRANSFER_RETRY_MAX": "2",
    "WANDB_HTTP_TIMEOUT": "10",
}  # fmt: skip
"""Settings of an upload at the end, which somebody waits for; one during a run keeps trying."""
LAST_UPLOAD_SECONDS = 3.0
"""Time for the upload of the last points of a run without a result; with a server that answers it takes one second."""
RUN_ADDRESS = re.compile(r"https?://\S+/runs/[^\s/]+")
ANNOUNCE_SECONDS = 1.0
"""Time between two looks at what an upload has printed, until it has named the address of the run."""


@settings(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class WandBLogger:
    """Settings of `logger=wandb`."""

    project: str
    """W&B project."""
    entity: str | None
    """User or team that owns the project; None for the API key's default."""
    system_metrics: bool
    """Whether to log the use of CPU, memory, disk, network and GPU while a run is going on."""
    connect_timeout: Annotated[float, Field(gt=0)]
    """Seconds to wait for the server's first answer."""
    upload_timeout: Annotated[float, Field(gt=0)]
    """Maximum duration of an upload at the end of a run, in seconds."""

    def start(self, run: RunInfo) -> WandBRun:
        """Start to log a run; nothing is written before its first point or its result."""
        return WandBRun(self, run)


class WandBRun:
    """The W&B run of a run folder. None of its methods raises an exception because of W&B."""

    def __init__(self, settings: WandBLogger, run: RunInfo) -> None:
        """Store what the W&B run is about."""
        self._settings, self._run = settings, run
        self._folder = run.folder / "wandb"
        self._mode = os.environ.get("WANDB_MODE", "")
        self._session = uuid.uuid4().hex
        self._looked_at = 0.0
        self._writer: WandbProcess | None = None
        self._uploader: WandbProcess | None = None
        self._address: str | None = None
        self._has_failed = False
        self._looks_for_upload = run.upload and self._mode not in ("offline", "dryrun")

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log a point of the curves. Does not wait for W&B."""
        if self._mode == "disabled" or self._has_failed:
            return
        try:
            self._start_writer().send({"point": {**values, self._run.axis: step}})
            if self._looks_for_upload:
                self._start_uploader()
            elif self._address is None and self._uploader is not None:
                self._announce(self._uploader)
        except Exception as problem:  # Lightning calls this too, and no problem of W&B may end a training
            log.debug("W&B", exc_info=True)
            log.warning("W&B: logs no more curves (%s).", problem)
            self._has_failed = True

    def finish(self, content: RunContent) -> SyncStatus | None:
        """Log the result if it has changed, and upload the run if possible. Returns None if W&B is disabled."""
        if self._mode == "disabled":
            return None
        try:
            self._write_result(content)
            return self._sync_if_possible()
        except Exception as problem:  # the results are on the disk, so no problem of W&B may make the run fail
            log.debug("W&B", exc_info=True)
            return SyncStatus(
                f"W&B: not written, {problem}. The results are; logger=none leaves W&B out.", is_warning=True
            )
        finally:
            self._kill()

    def stop(self, exit_code: int) -> None:
        """End the W&B run without a result; its points are kept, to be uploaded with those of the resumed run."""
        try:
            if self._writer is not None:
                self._writer.finish({"exit_code": exit_code}, STOP_SECONDS)
            if self._uploader is not None:
                self._uploader.wait(LAST_UPLOAD_SECONDS)
        except WandbError:
            log.debug("W&B", exc_info=True)
        finally:
            self._kill()

    def to_lightning(self) -> Logger:
        """Return the Lightning logger that logs to this run."""
        from codetool.tracking.lightning_logger import LightningRunLogger

        return LightningRunLogger(self, self._run.folder, "wandb")

    def _kill(self) -> None:
        for process in (self._writer, self._uploader):
            if process is not None:
                process.kill()

    def _start_writer(self) -> WandbProcess:
        if self._writer is None:
            offline = {"WANDB_MODE": "offline"}  # no requests to the server from here, telemetry included
            self._writer = WandbProcess(self._folder, "write", str(self._run.folder.resolve()), environment=offline)
            own = {"session": self._session, "pid": os.getpid(), "system_metrics": self._settings.system_metrics}
            self._writer.send(self._describe_run() | own)
        return self._writer

    def _describe_run(self) -> dict[str, Any]:
        run = self._run
        return {
            "project": self._settings.project,
            "entity": self._settings.entity,
            "id": run.folder.name,
            "name": run.name or run.folder.name,
            "group": run.group,
            "job_type": run.stage,
            "tags": list(run.tags),
            "config": get_run_config(run),
            "axis": run.axis,
        }

    def _start_uploader(self) -> None:
        """Start to upload what is being written, once the offline run is there and if there is an API key."""
        status = read_status(self._folder)
        if status.get("session") != self._session:
            return  # not yet
        self._looks_for_upload = False
        base_url = _get_base_url(status)
        if find_api_key(base_url) is not None:
            current = str((self._folder / status["folder"]).resolve())
            seconds = str(self._settings.connect_timeout)
            self._uploader = WandbProcess(self._folder, "upload", current, base_url, seconds, environment={})

    def _announce(self, uploader: WandbProcess) -> None:
        """Say once where the run can be watched, when wandb has said so."""
        if time.monotonic() - self._looked_at >= ANNOUNCE_SECONDS:
            self._looked_at = time.monotonic()
            if match := RUN_ADDRESS.search(uploader.read_output()):
                self._address = match.group()
                log.info("W&B: %s", self._address)

    def _write_result(self, content: RunContent) -> None:
        """Log the result, unless nothing has been logged in this run and the offline runs hold the result already."""
        result = {
            "values": content.values,
            "tables": {name: asdict(table) for name, table in content.tables.items()},
            "figures": {name: str(file.resolve()) for name, file in content.figures.items()},
            "artifacts": list(filter(None, map(_describe_artifact, content.artifacts))),
        }
        digest = hashlib.sha256(encode_line(self._describe_run() | result)).hexdigest()
        status = read_status(self._folder)
        if self._writer is None and status.get("digest") == digest and (self._folder / status["folder"]).is_dir():
            return
        if self._writer is None and not list_offline_runs(self._folder):
            for point in content.curves:
                self.log({name: value for name, value in point.items() if name != "step"}, int(point["step"]))
        output = self._start_writer().finish({"result": result}, WRITE_SECONDS)
        status = read_status(self._folder)
        if status.get("session") != self._session or self._writer is None or self._writer.return_code != 0:
            raise WandbError(f"wandb said: {output.splitlines()[-1][-300:] if output else 'nothing'}")
        write_status(self._folder, status | {"digest": digest})

    def _sync_if_possible(self) -> SyncStatus:
        """Upload the offline runs if they should and can be uploaded and have not been yet."""
        status = read_status(self._folder)
        if self._uploader is None and not list_offline_runs(self._folder, unsynced=True):
            return SyncStatus(f"W&B: {status.get('address', f'{self._run.folder.name} is uploaded')}")
        base_url = _get_base_url(status)
        is_offline = self._mode in ("offline", "dryrun")
        key = None if is_offline else find_api_key(base_url)
        later = f"with: wandb sync {shlex.quote(str(self._folder))}"
        if key is None or not self._run.upload:
            why = "" if key else " (WANDB_MODE=offline)" if is_offline else " (no API key)"
            return SyncStatus(f"W&B: kept offline{why}. Upload it {later}", offline_folder=self._folder)
        try:
            check_server(base_url, key, self._settings.connect_timeout)
            address = self._upload() or f"uploaded to {base_url}"
        except WandbError as problem:
            return SyncStatus(
                f"W&B: {problem}. Nothing is lost; upload it {later}", is_warning=True, offline_folder=self._folder
            )
        write_status(self._folder, status | {"address": address})
        shutil.rmtree(self._folder / "staged", ignore_errors=True)  # copies of the files that are uploaded now
        return SyncStatus(f"W&B: {address}")

    def _upload(self) -> str | None:
        """Wait for the upload of what was written, or upload it now, and return the URL of its page, if it is known.

        Raises WandbError.
        """
        output = self._uploader.wait(self._settings.upload_timeout) if self._uploader is not None else ""
        if list_offline_runs(self._folder, unsynced=True):
            folder = str(self._folder.resolve())
            self._uploader = WandbProcess(self._folder, "sync", folder, environment=SYNC_RETRIES)
            output = self._uploader.wait(self._settings.upload_timeout)
        if list_offline_runs(self._folder, unsynced=True):
            raise WandbError(f"the upload failed, {' '.join(output.split())[-200:]}")
        match = RUN_ADDRESS.search(output)
        return match.group() if match else None


def _get_base_url(status: Mapping[str, Any]) -> str:
    return os.environ.get("WANDB_BASE_URL") or str(status["base_url"])


def _describe_artifact(artifact: ArtifactFiles) -> dict[str, Any] | None:
    """Return an artifact as `wandb_worker` reads it, without files that are not there; None without any file."""
    files = [(str(file.resolve()), name) for name, file in artifact.files.items() if file.exists()]
    described = {"name": artifact.name, "type": artifact.type, "is_input": artifact.is_input, "copy": artifact.changes}
    return {**described, "files": files} if files else None

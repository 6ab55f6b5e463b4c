"""Subprocesses that write and upload a W&B run. This and `wandb_dashboard` are the only modules that import wandb.

    ... wandb_worker write FOLDER                           write an offline run below FOLDER/wandb
    ... wandb_worker upload OFFLINE_RUN BASE_URL SECONDS    upload an offline run while it is being written
    ... wandb_worker sync FOLDER                            upload the offline runs of a folder `wandb`
    ... wandb_worker dashboard RESULT                       build a workspace and a report, and save them if asked to

`write` reads lines of JSON: first the run, then any number of points, at last the result. If its input ends before the
result, because the process at the other end has stopped or died, it ends the run properly. A run of which there is an
offline run already is continued.

The threads, signal handlers, exit hooks and server process that wandb adds end with these processes.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codetool.tracking import wandb_dashboard
from codetool.tracking.wandb_folder import LOCK_FILE, list_offline_runs, write_status
from codetool.tracking.wandb_log_file import cut_torn_record
from codetool.tracking.wandb_server import WandbError, check_server, find_api_key

PR_SET_PDEATHSIG = 1
FIRST_RECORDS = 2
"""Records of an offline run before there is something to see: the file's header and the run."""
END_SECONDS = 60
"""Timeout of the end of a run, in seconds; wandb needs a fraction of one."""
LOCK_SECONDS = 20.0
"""Time to wait for the process that still ends an earlier offline run of the same folder."""
POLL_SECONDS = 0.2


def write(folder: Path) -> None:
    """Write the offline run that standard input describes, until the result or the end of the input."""
    header = _read_line()
    if header is None:
        return
    with _lock(folder / "wandb"):
        _repair_offline_runs(folder / "wandb")
        resumed = bool(list_offline_runs(folder / "wandb"))
        run = _start_run(folder, header, resumed)
        try:
            while (line := _read_line()) is not None:
                if "result" in line:
                    _log_result(run, line["result"])
                    _finish(run, 0)
                    return
                if "exit_code" in line:
                    _finish(run, line["exit_code"])
                    return
                run.log(line["point"])
        except BaseException:
            _finish(run, 1)
            raise
        _finish(run, 1)


def _read_line() -> Any:
    """Return the next line of the input as JSON; None at its end, where a line can be torn."""
    text = sys.stdin.readline()
    return json.loads(text) if text.endswith("\n") else None


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Wait for the lock of the folder, which an earlier writer holds while it ends, and hold it."""
    folder.mkdir(exist_ok=True)
    deadline = time.monotonic() + LOCK_SECONDS
    with (folder / LOCK_FILE).open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError("another process still writes this run") from None
                time.sleep(POLL_SECONDS)
        yield


def _repair_offline_runs(folder: Path) -> None:
    """Cut off what a killed writer left torn, and remove an offline run that does not even hold the run."""
    for run in list_offline_runs(folder):
        if sum(map(cut_torn_record, run.glob("*.wandb"))) < FIRST_RECORDS:
            shutil.rmtree(run)


def _start_run(folder: Path, header: Mapping[str, Any], resumed: bool) -> Any:
    import wandb

    run = wandb.init(
        **{name: header[name] for name in ("project", "entity", "id", "name", "group", "job_type", "tags", "config")},
        resume="allow" if resumed else None,  # on the server its history is then continued, not replaced
        settings=_build_settings(wandb, folder, header),
    )
    axis = header["axis"]
    run.define_metric(axis)
    run.define_metric("*", step_metric=axis)
    write_status(
        folder / "wandb",
        {"folder": Path(run.settings.sync_dir).name, "base_url": run.settings.base_url, "session": header["session"]},
    )
    return run


def _build_settings(wandb: Any, folder: Path, header: Mapping[str, Any]) -> Any:
    """Return settings for an offline, silent run without wandb's own data: host, user, command, code, packages."""
    placeholders = dict.fromkeys(("host", "username", "email", "program", "x_executable"), "-")
    return wandb.Settings(
        mode="offline",
        root_dir=str(folder),
        symlink=False,
        console="off",
        silent=True,
        quiet=True,
        disable_git=True,
        disable_code=True,
        save_code=False,
        x_disable_meta=True,
        x_disable_stats=not header["system_metrics"],
        x_disable_machine_info=not header["system_metrics"],  # without which nothing is measured
        x_stats_pid=header["pid"],
        x_save_requirements=False,
        x_transaction_log_flush_interval=1.0,
        **placeholders,
    )


def _log_result(run: Any, result: Mapping[str, Any]) -> None:
    """Log the final values, tables, figures and artifacts."""
    import wandb

    tables = result["tables"]
    row_count = max((len(table["rows"]) for table in tables.values()), default=0)
    wandb.Table.MAX_ROWS = max(wandb.Table.MAX_ROWS, row_count)  # wandb drops further rows
    shown: dict[str, Any] = {
        name: wandb.Table(columns=table["columns"], data=table["rows"], allow_mixed_types=True)
        for name, table in tables.items()
    }
    for name, file in result["figures"].items():
        text = Path(file).read_text(encoding="utf-8") if file.endswith((".svg", ".html")) else None
        shown[name] = wandb.Image(file) if text is None else wandb.Html(text, inject=False)
    if shown:
        run.log(shown)
    run.summary.update(result["values"])
    for described in result["artifacts"]:
        artifact = wandb.Artifact(described["name"], type=described["type"])
        for file, stored_name in described["files"]:
            policy: Any = "mutable" if described["copy"] else "immutable"
            if Path(file).is_dir():
                artifact.add_dir(file, name=stored_name, policy=policy)
            else:
                artifact.add_file(file, name=stored_name, policy=policy)
        # `run.use_artifact` refuses to work offline, where this leaves the same record.
        run._log_artifact(artifact, is_user_created=True, use_after_commit=described["is_input"])


def _finish(run: Any, exit_code: int) -> None:
    signal.alarm(END_SECONDS)  # if wandb hangs, SIGALRM ends this process
    run.finish(exit_code=exit_code)


def upload(current: Path, base_url: str, connect_timeout: float) -> None:
    """Upload earlier offline runs, then the one that is being written, until it ends; wandb prints to standard output.

    This process ends when its input does, since its parent is gone then.
    """
    threading.Thread(target=_end_with_input, daemon=True).start()
    check_server(base_url, find_api_key(base_url) or "", connect_timeout)
    earlier = [run for run in list_offline_runs(current.parent, unsynced=True) if run != current]
    for run in earlier:
        _sync(run)
    if not set(earlier) & set(list_offline_runs(current.parent, unsynced=True)):  # or its history would be out of order
        _sync(current, live=True)


def _end_with_input() -> None:
    sys.stdin.read()
    os.killpg(0, signal.SIGKILL)


def _sync(folder: Path, *, live: bool = False) -> None:
    """Upload an offline run, or those of a folder; `live` waits for more until the run has ended."""
    from wandb.cli import beta_sync

    beta_sync.sync(
        [folder],
        live=live,
        entity="",
        project="",
        run_id="",
        job_type="",
        replace_tags="",
        dry_run=False,
        skip_confirmation=True,
        skip_synced=True,
        skip_online=True,
        verbose=False,
        parallelism=1,
    )


def main() -> None:
    """Run the action that the command line names."""
    action, *arguments = sys.argv[1:]
    if action == "write":  # which ends when its input does
        write(Path(arguments[0]))
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # end with the parent, even if it is killed
    try:
        if action == "upload":
            upload(Path(arguments[0]), arguments[1], float(arguments[2]))
        elif action == "dashboard":
            wandb_dashboard.build_or_exit(_read_line(), Path(arguments[0]))
        else:
            _sync(Path(arguments[0]))
    except WandbError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

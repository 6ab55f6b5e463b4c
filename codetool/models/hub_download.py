"""Download the files of a model's commit into Hugging Face's cache, by `huggingface_hub` in a process of its own.

The process shows the progress bar on standard error. It can be ended at any time, which the threads of
`huggingface_hub` cannot: Ctrl-C would wait for files of gigabytes. The next download goes on with the files that are
there; one that was begun is removed, since `huggingface_hub` begins it anew.
Several processes may download one commit: `huggingface_hub` locks each file, so it is fetched once.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from codetool.errors import MissingError
from codetool.models.hub_client import LEFT_OUT, SETTING_FILES, WEIGHT_FILES, explain_hub_error, find_endpoint

log = logging.getLogger(__name__)


def download_snapshot(group: str, name: str, commit: str, cache: Path) -> None:
    """Download the files of a commit that a run needs.

    `group` is the option group that messages name. Raises MissingError if the hub refuses or the connection is lost.
    """
    command = [sys.executable, "-m", __name__, group, name, commit, str(cache)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            status = process.wait()
        except BaseException:
            process.terminate()
            raise
        assert process.stdout is not None
        message = process.stdout.read().strip()
    if status:
        reason = (
            json.loads(message) if message else f"{group}.model={name}: the download was ended (exit code {status})"
        )
        raise MissingError(f"{reason.rstrip('.')}; the same command goes on with the download.")


def main(group: str, name: str, commit: str, cache: str) -> None:
    """Download in this process; print the reason of a failure as a JSON string and exit with 1."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from huggingface_hub import snapshot_download

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        for patterns in (SETTING_FILES, WEIGHT_FILES):  # the weights last: with them the download is complete
            snapshot_download(
                name,
                revision=commit,
                cache_dir=cache,
                endpoint=find_endpoint(),
                allow_patterns=patterns,
                ignore_patterns=LEFT_OUT,
            )
    except Exception as error:
        print(json.dumps(str(explain_hub_error(error, group, name, commit))))
        sys.exit(1)


def _end_with_parent() -> None:
    """End this process when the one that started it has ended, whose end of the pipe is then closed."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    _stop()


def _stop(*_: object) -> None:
    """Remove the unfinished files that this process is writing, and end it at once."""
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            file = link.readlink()
            if file.suffix == ".incomplete":
                file.unlink()
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])

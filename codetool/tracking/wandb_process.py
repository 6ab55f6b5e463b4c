"""Start, feed and end the subprocesses of `wandb_worker`, with an environment that holds what they need and no more."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from codetool.credentials.masking import MASK, find_secret_values
from codetool.credentials.secret_names import is_secret_variable
from codetool.tracking.wandb_server import WandbError

MAX_WAITING_BYTES = 64 * 2**20
"""Points that a subprocess has not taken yet; above this it is hanging."""
_PASSED_VARIABLES = frozenset(
    """
    HOME PATH USER LOGNAME USERNAME SHELL LANG LANGUAGE TZ TMPDIR TEMP TMP NETRC HTTP_PROXY HTTPS_PROXY ALL_PROXY
    NO_PROXY REQUESTS_CA_BUNDLE CURL_CA_BUNDLE SSL_CERT_FILE SSL_CERT_DIR LD_LIBRARY_PATH VIRTUAL_ENV CONDA_PREFIX
    """.split()
)
_PASSED_PREFIXES = ("WANDB_", "LC_", "XDG_", "PYTHON")
"""Variables that wandb, Python and the connection need; also in lower case, as proxies often are."""


class WandbProcess:
    """A subprocess of `wandb_worker`. Ctrl-C does not reach it, and it is ended as a whole with what it started."""

    def __init__(self, folder: Path, action: str, *arguments: str, environment: Mapping[str, str]) -> None:
        """Start it. `folder` is the folder `wandb` of the run; `environment` adds to the variables that it inherits."""
        self._cache = folder.resolve() / f"cache-{action}"
        self._cache.mkdir(parents=True, exist_ok=True)
        self._output_file = folder.resolve() / f"{action}.txt"
        self._waiting = b""
        self.is_broken = False
        """Whether it has ended or does not take its input any more."""
        staged = folder.resolve() / "staged"
        places = {"WANDB_DIR": self._cache, "WANDB_CACHE_DIR": self._cache}
        places |= {"WANDB_DATA_DIR": staged, "WANDB_ARTIFACT_DIR": staged}
        variables = {name: str(place) for name, place in places.items()} | {"WANDB_ERROR_REPORTING": "false"}
        with self._output_file.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "codetool.tracking.wandb_worker", action, *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_inherit_variables(with_keys=action != "write") | variables | dict(environment),
                start_new_session=True,  # so that Ctrl-C reaches only this process
            )
        os.set_blocking(self._input.fileno(), False)

    @property
    def _input(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def return_code(self) -> int | None:
        """Exit status of the process; None while it is running."""
        return self._process.poll()

    def read_output(self) -> str:
        """Read what the process has printed so far."""
        try:
            return self._output_file.read_text(errors="replace").strip()
        except OSError:
            return ""

    def send(self, line: Mapping[str, Any]) -> None:
        """Send a line of JSON without waiting; secret values are masked. What the process cannot take yet is kept."""
        if self.is_broken:
            return
        self._waiting += encode_line(line)
        self._write()
        self.is_broken = self.is_broken or len(self._waiting) > MAX_WAITING_BYTES

    def _write(self) -> None:
        try:
            while self._waiting:
                self._waiting = self._waiting[os.write(self._input.fileno(), self._waiting) :]
        except BlockingIOError:
            pass
        except OSError:  # it has ended
            self.is_broken = True

    def finish(self, line: Mapping[str, Any], seconds: float) -> str:
        """Send a last line, wait for the end of the process, and return what it printed. Raises WandbError.

        Afterwards, whatever happens, neither the process nor anything it started is running.
        """
        try:
            os.set_blocking(self._input.fileno(), True)
            self._process.communicate(self._waiting + encode_line(line), timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise WandbError(f"wandb took longer than {seconds:g} s") from error
        finally:
            self.kill()
        return self.read_output()

    def wait(self, seconds: float) -> str:
        """Wait until the process ends by itself, and return what it printed. Raises WandbError."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise WandbError(f"the server took longer than {seconds:g} s") from error
        finally:
            self.kill()
        return self.read_output()

    def kill(self) -> None:
        """Kill the process and all that it started, and remove its cache."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # wandb's own server process is in the same group
        self._process.wait()
        with suppress(OSError):
            self._input.close()
        shutil.rmtree(self._cache, ignore_errors=True)


def encode_line(line: Mapping[str, Any]) -> bytes:
    """Encode a line of a subprocess's input; every secret value of the environment is masked."""
    return mask_secrets_in_json(json.dumps(line, default=str)).encode() + b"\n"


def mask_secrets_in_json(text: str) -> str:
    """Return JSON text in which every secret value of the environment is replaced by `[secret]`."""
    for secret in find_secret_values():
        text = text.replace(json.dumps(secret)[1:-1], MASK)
    return text


def _inherit_variables(*, with_keys: bool) -> dict[str, str]:
    """Return the variables of the environment that wandb needs; any other may hold a key of another service.

    `with_keys` adds the key of W&B.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if (name.upper() in _PASSED_VARIABLES or name.startswith(_PASSED_PREFIXES))
        and (with_keys or not is_secret_variable(name))
    }

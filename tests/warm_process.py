"""Run `python run.py` in a fork of a process that has imported everything already: a tenth of the start-up time.

A command gets what it would get from a shell: a process of its own with its own arguments, environment, standard
streams and exit code. The parent of the forks imports and never computes, so that it has a single thread.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PRELOADED = (
    "hydra", "torch", "transformers", "pytorch_lightning", "peft", "openai", "codetool.stages.main",
    "codetool.stages.evaluate", "codetool.stages.collect", "codetool.stages.train", "codetool.stages.judge",
    "codetool.stages.evaluate_prm", "codetool.stages.report", "codetool.stages.serve_prm",
    "codetool.stages.serve_tools", "codetool.stages.run", "codetool.stages.sweep",
)  # fmt: skip


def run_warm(command: Sequence[str], *, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run` returns for `[python, run.py, *words]`, run in a fork of the warm process."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, _connect() as connection:
        request = {"words": list(command[2:]), "environment": dict(os.environ), "folder": str(ROOT)}
        socket.send_fds(connection, [json.dumps(request).encode()], [out.fileno(), err.fileno()])
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(timeout)
        with connection.makefile("r") as answers:
            pid = int(answers.readline())
            try:
                code = int(answers.readline())
            except TimeoutError:
                os.kill(pid, 9)
                raise subprocess.TimeoutExpired(list(command), timeout) from None
        texts = [file.read().decode() for file in (out, err) if not file.seek(0)]
    return subprocess.CompletedProcess(list(command), code, *texts)


def _connect() -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(_start_server()))
    return connection


@cache
def _start_server() -> Path:
    """The address of this test process's warm process, which ends with it."""
    folder = Path(tempfile.mkdtemp())
    address = folder / "socket"
    server = subprocess.Popen([sys.executable, __file__, str(address)], cwd=ROOT, stdin=subprocess.PIPE, stdout=-1)
    atexit.register(server.communicate)  # it ends when its standard input does
    assert server.stdout is not None
    server.stdout.readline()
    return address


def serve(address: str) -> None:
    """Fork for each request on the socket until standard input ends."""
    import importlib

    sys.path.insert(0, str(ROOT))
    for name in PRELOADED:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    print("ready", flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _look_after(connection)
        connection.close()
        while os.waitpid(-1, os.WNOHANG) != (0, 0):  # those that have ended; the one just made has not
            pass


def _look_after(connection: socket.socket) -> None:
    """Fork the command, tell its pid and its exit code. Never returns."""
    received, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 2)
    while part := connection.recv(1 << 20):
        received += part
    request = json.loads(received)
    pid = os.fork()
    if pid == 0:
        connection.close()
        _run_command(request, descriptors)
    connection.sendall(f"{pid}\n".encode())
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    connection.sendall(f"{status}\n".encode())
    os._exit(0)


def _run_command(request: dict[str, Any], descriptors: Sequence[int]) -> None:
    """Be `python run.py WORDS`. Never returns."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, descriptor in enumerate(descriptors, start=1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: PTH123, SIM115
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["run.py", *request["words"]]
    sys.path[0] = request["folder"]
    code = 1
    try:
        import runpy

        runpy.run_path("run.py", run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter does before it ends
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])

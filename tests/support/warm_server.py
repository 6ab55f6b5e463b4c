"""The process whose forks `warm_process.py` asks for. It imports and never computes, so that it has a single thread."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from warm_process import GC_THRESHOLDS, ROOT

PRELOADED = (
    "hydra", "torch", "transformers", "pytorch_lightning", "peft", "openai.resources.chat", "fastapi", "uvicorn",
    "anyio._backends._asyncio", "httpcore", "jiter", "antlr4.LL1Analyzer", "rich._emoji_codes", "encodings.utf_8_sig",
)  # fmt: skip
"""What the modules of codetool import where they are called."""
OF_TESTS = ("fastapi.testclient", "hypothesis", "inspect_ai", "optuna", "pandas", "statsmodels.api")
"""What tests import besides."""
LEFT_OUT = ("codetool.__main__", "codetool.execution.inside.", "codetool.stages.engine.ray_cluster")
"""Modules that run when they are imported, that belong into the sandbox, or that need an extra."""


def serve(address: str) -> None:
    """Fork for each request on the socket until standard input ends."""
    sys.path.insert(0, str(ROOT))
    for prepare in (_import_modules, _compose_once, _load_data):
        with contextlib.suppress(Exception):  # the command or the test that needs it names the error
            prepare()
    gc.collect()
    gc.freeze()  # no fork copies memory in order to look through what was imported
    gc.set_threshold(*GC_THRESHOLDS)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    _accept_commands(listener)


def _accept_commands(listener: socket.socket) -> None:
    """Fork a process for each command, and tell its pid and its exit code. Never returns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # forks decide for themselves; this process ends with its input
    ended, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake)
    running: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([listener, ended], [], [])
        if ended in ready:
            os.read(ended, 1 << 16)
            while running and (found := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                with running.pop(found[0]) as connection:
                    _answer(connection, os.waitstatus_to_exitcode(found[1]))
        if listener in ready:
            connection, _ = listener.accept()
            request, descriptors = _receive(connection)
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                for open_socket in (listener, connection, *running.values()):
                    open_socket.close()
                _run(request, descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            running[pid] = connection
            _answer(connection, pid)


def _receive(connection: socket.socket) -> tuple[dict[str, Any], Sequence[int]]:
    """Receive a request, and the file descriptors of standard input, output and error."""
    received, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    while part := connection.recv(1 << 20):
        received += part
    return json.loads(received), descriptors


def _answer(connection: socket.socket, number: int) -> None:
    """Send one line to the test that asked, if it still listens."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(f"{number}\n".encode())


def _import_modules() -> None:
    """Import what commands and tests import, except modules that warn when imported, which is an error in a test."""
    import codetool

    for name in PRELOADED:
        importlib.import_module(name)
    packages = pkgutil.walk_packages(codetool.__path__, "codetool.")
    modules = [module.name for module in packages if not module.name.startswith(LEFT_OUT)]
    for name in (*modules, *OF_TESTS):
        with warnings.catch_warnings(), contextlib.suppress(Exception):
            warnings.simplefilter("error")
            importlib.import_module(name)


def _compose_once() -> None:
    """Compose and validate once, so that the parsers of overrides and interpolations have learned their grammar."""
    from hydra.core.plugins import Plugins
    from parsed_options import keep_parsed_options

    from codetool.config.overrides import compose_all, validate_all

    Plugins.instance()  # looks through Hydra's own plugins
    keep_parsed_options()
    validate_all(compose_all(["policy=openai", "policy.model=m", "policy.base_url=http://localhost/v1", "prm=none"]))


def _load_data() -> None:
    """Load the replica of TMDB, its tools, the versions of packages, and certificates."""
    from datetime import date

    from codetool.benchmarks.tmdb_verified import read_tools
    from codetool.http.connection_pools import load_ssl_context
    from codetool.runs.host import read_package_versions
    from codetool.tmdb.replica import load_app

    store = load_app(date(2024, 6, 1)).state.catalog.store  # the date in conf/replica/tmdb.yaml
    for name in ("movie_index", "show_index", "person_index", "movies_of", "shows_of"):
        getattr(store, name)
    read_tools()
    read_package_versions()
    load_ssl_context()


def _run(request: dict[str, Any], descriptors: Sequence[int]) -> None:
    """Be `python run.py WORDS`, or `python -c CODE`. Never returns."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: PTH123, SIM115
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[0] = request["folder"]
    code = 1
    try:
        _run_code(request["code"]) if request["code"] else _run_command(request["words"])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter does before it ends
        atexit._run_exitfuncs()
        with contextlib.suppress(OSError):  # closed by the code
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _run_command(words: Sequence[str]) -> None:
    """Run `run.py` with the words of its command line."""
    import runpy

    sys.argv = ["run.py", *words]
    runpy.run_path("run.py", run_name="__main__")


def _run_code(code: str) -> None:
    """Run code as the main module, and end at the latest with the warm process."""
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    sys.argv = ["-c"]
    sys.modules["__main__"] = main = ModuleType("__main__")
    exec(code, vars(main))


if __name__ == "__main__":
    serve(sys.argv[1])

"""The first processes of the sandbox: one enters the namespaces; its child, pid 1 there, manages the sandbox.

Pid 1 is trusted and runs no generated code. It makes and removes scratch folders, reaps zombies, and ends when the host
closes the control socket or dies; the kernel then kills every process of the pid namespace. Without that namespace it
adopts all orphans and kills them itself.
"""

from __future__ import annotations

import collections  # noqa: F401  (unused here: loaded once for all branches, like the others)
import contextlib
import copy  # noqa: F401
import dataclasses  # noqa: F401
import datetime  # noqa: F401
import decimal  # noqa: F401
import encodings.idna  # noqa: F401
import functools  # noqa: F401
import itertools  # noqa: F401
import json  # noqa: F401
import math  # noqa: F401
import os
import random  # noqa: F401
import re  # noqa: F401
import shutil
import signal
import socket
import statistics  # noqa: F401
import string  # noqa: F401
import sys
import time
import typing  # noqa: F401
import urllib.parse  # noqa: F401
from pathlib import Path

import requests  # noqa: F401

from codetool.execution.inside import limits, mounts, namespaces, worker
from codetool.execution.inside.kernel import (
    PR_SET_CHILD_SUBREAPER,
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    LayerError,
    prctl,
)
from codetool.execution.protocol import Message, get_text, receive, send

MAX_ENTRIES = 4096
"""Maximum number of files and folders in one scratch folder."""


def main(control_descriptor: int, zygote_descriptor: int) -> None:
    """Build the sandbox with two inherited sockets to the host: one of pid 1 and one of the zygote."""
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=control_descriptor)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=zygote_descriptor)
    request, _ = receive(control)
    try:
        setup, user = _apply_setup(request)
    except LayerError as error:
        send(control, {"kind": "failed", "layer": error.layer, "reason": str(error)})
        return
    child = os.fork()
    if child:
        control.close()
        connection.close()
        os.waitpid(child, 0)
        return
    _become_init("namespaces" in setup.use)
    if os.fork() == 0:
        control.close()
        try:
            worker.main(connection, setup)
        except LayerError as error:
            send(connection, {"kind": "failed", "layer": error.layer, "reason": str(error)})
        os._exit(0)
    connection.close()
    send(control, {"kind": "ready", "user": user, "home": setup.home})
    with contextlib.suppress(EOFError, OSError):
        _serve(control, setup)
    if "namespaces" not in setup.use:
        _kill_descendants()
        shutil.rmtree(setup.home, ignore_errors=True)
    os._exit(0)


def _apply_setup(request: Message) -> tuple[worker.Setup, str]:
    """Enter the requested namespaces; returns the setup and the user that code runs as. Raises LayerError."""
    limits.prefer_as_victim()
    use, user, home = tuple(request["use"]), "own", request["home"]
    setup = worker.Setup(
        use=use,
        home=mounts.SCRATCH if "namespaces" in use else home,
        readable=tuple(mounts.list_readable_folders()),
        address_space=limits.measure_address_space() + request["memory"],
        scratch=request["scratch"],
        output=request["output"],
        cpu_seconds=request["cpu_seconds"],
    )
    if "namespaces" in use:
        user = namespaces.enter(setup.readable, request["masked"])
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # after the change of user, which resets it
    else:
        Path(home).mkdir(mode=0o700, exist_ok=True)
    return setup, user


def _become_init(namespaced: bool) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # orphans that end leave no zombies
    if sys.platform == "linux":
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        prctl(PR_SET_DUMPABLE, 0)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL) if namespaced else prctl(PR_SET_CHILD_SUBREAPER, 1)


def _serve(control: socket.socket, setup: worker.Setup) -> None:
    """Make and remove scratch folders on the host's request. Raises EOFError when the host closes the socket."""
    while True:
        message, _ = receive(control)
        folder, reason = get_text(message, "folder"), None
        try:
            if message["kind"] == "make":
                _make_scratch(folder, setup)
            else:
                _remove_scratch(folder, setup)
        except OSError as error:
            reason = str(error)
        if message["kind"] == "make":
            send(control, {"kind": "made", "reason": reason})


def _make_scratch(folder: str, setup: worker.Setup) -> None:
    if "namespaces" in setup.use:
        mounts.mount_scratch(folder, setup.scratch, MAX_ENTRIES)
    else:
        Path(setup.home, folder).mkdir(mode=0o700, parents=True)


def _remove_scratch(folder: str, setup: worker.Setup) -> None:
    if "namespaces" in setup.use:
        mounts.unmount_scratch(folder)
    else:
        shutil.rmtree(Path(setup.home, folder), ignore_errors=True)


def _kill_descendants() -> None:
    """Kill all descendants of this process; orphans become its children, so a few rounds find all of them."""
    for _ in range(1000):
        children = [process for process, parent in limits.list_parents().items() if parent == os.getpid()]
        if not children:
            return
        for process in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.001)

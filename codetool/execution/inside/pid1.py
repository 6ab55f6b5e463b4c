"""The first processes of the sandbox: one enters the namespaces; its child, pid 1 there, manages the sandbox.

The first one then watches the memory that running steps allocate (`growth_watch`), by the host's process numbers.

Pid 1 is trusted and runs no generated code. It mounts or makes scratch folders, reaps zombies, and ends when the host
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

from codetool.execution.inside import limits, mounts, namespaces, removal, worker
from codetool.execution.inside.growth_watch import watch_growth
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


def main(control_descriptor: int, zygote_descriptor: int, *growth_descriptors: int) -> None:
    """Build the sandbox with two inherited sockets to the host: one of pid 1 and one of the zygote.

    `growth_descriptors` are those of `watch_growth`, none if no memory is to be watched.
    """
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=control_descriptor)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=zygote_descriptor)
    request, _ = receive(control)
    watched = (*growth_descriptors, os.open("/proc", os.O_RDONLY | os.O_CLOEXEC)) if growth_descriptors else ()
    try:
        setup, user, namespace = _apply_setup(request)
    except LayerError as error:
        send(control, {"kind": "failed", "layer": error.layer, "reason": str(error)})
        return
    child = os.fork()
    if child:
        control.close()
        connection.close()
        if watched:
            with contextlib.suppress(Exception):  # whatever it is, the host itself measures too
                watch_growth(child, *watched)
        os.waitpid(child, 0)
        return
    for descriptor in watched:
        os.close(descriptor)
    os.setsid()  # leaves its parent, which must never wait for a core, a session of its own
    _become_init("namespaces" in setup.use)
    if os.fork() == 0:
        control.close()
        if namespace >= 0:
            os.close(namespace)
        try:
            worker.main(connection, setup)
        except LayerError as error:
            send(connection, {"kind": "failed", "layer": error.layer, "reason": str(error)})
        os._exit(0)
    connection.close()
    send(control, {"kind": "ready", "user": user, "home": setup.home})
    with contextlib.suppress(EOFError, OSError):
        _serve(control, setup, namespace)
    if "namespaces" not in setup.use:
        _kill_descendants()
        removal.remove_folder(setup.home)
    os._exit(0)


def _apply_setup(request: Message) -> tuple[worker.Setup, str, int]:
    """Enter the requested namespaces; returns the setup, the user that code runs as, and pid 1's mount namespace.

    The latter is an open file, -1 without namespaces. Raises LayerError.
    """
    use, user, namespace = tuple(request["use"]), "own", -1
    folders = mounts.list_readable_folders()
    hidden = mounts.locate(request["hidden"], folders)
    readable, listable = mounts.exclude(hidden, folders)
    setup = worker.Setup(
        use=use,
        home=mounts.SCRATCH if "namespaces" in use else request["home"],
        folders=tuple(folders),
        readable=tuple(readable),
        listable=tuple(listable),
        address_space=limits.measure_address_space() + request["memory"],
        scratch=request["scratch"],
        output=request["output"],
        cpu_seconds=request["cpu_seconds"],
    )
    if "namespaces" in use:
        user, namespace = namespaces.enter(folders, hidden)
        if not setup.own_mounts:
            mounts.mount_scratch(0, 0)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # after the change of user, which resets it
    else:
        Path(setup.home).mkdir(mode=0o700, exist_ok=True)
    return setup, user, namespace


def _become_init(namespaced: bool) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # orphans that end leave no zombies
    if sys.platform == "linux":
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        prctl(PR_SET_DUMPABLE, 0)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL) if namespaced else prctl(PR_SET_CHILD_SUBREAPER, 1)


def _serve(control: socket.socket, setup: worker.Setup, namespace: int) -> None:
    """Make and remove scratch folders on the host's request. Raises EOFError when the host closes the socket.

    A request comes with the open mount namespace of a branch, or with a folder relative to the home.
    """
    while True:
        message, descriptors = receive(control)
        reply: dict[str, object] = {"reason": None}
        try:
            if descriptors:
                with mounts.visit(descriptors[0], namespace):
                    reply["device"] = _change_mounts(message, setup.scratch)
            else:
                _change_folders(message["kind"], Path(setup.home, get_text(message, "folder")))
        except Exception as error:  # whatever it is, the other branches need this process
            reply["reason"] = str(error) or type(error).__name__
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        send(control, {"kind": "done", **reply})


def _change_mounts(message: Message, size: int) -> int:
    """Mount an empty scratch folder, or unmount the parent's; returns the new one's device number, else 0."""
    if message["kind"] == "forget":
        mounts.unmount(mounts.OLD_SCRATCH)
        return 0
    if message["old"] == "keep":
        mounts.move_scratch_aside()
    elif message["old"] == "drop":
        mounts.unmount(mounts.SCRATCH)
    return mounts.mount_scratch(size, MAX_ENTRIES)


def _change_folders(kind: str, folder: Path) -> None:
    if kind == "make":
        folder.mkdir(mode=0o700, parents=True)
    else:
        removal.remove_folder(str(folder))


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

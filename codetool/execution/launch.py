"""Start a sandbox: a fresh, small process that confines itself layer by layer before it is forked."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from codetool.errors import SandboxError
from codetool.execution.channel import Channel, ClosedError
from codetool.execution.fork_supervisor import ForkSupervisor
from codetool.execution.forking import fork_process
from codetool.execution.live_process import LiveProcess
from codetool.execution.pausable_timer import PausableTimer
from codetool.execution.process_status import prefer_watch
from codetool.execution.protocol import Message, ProtocolError
from codetool.execution.sandbox_handle import SandboxHandle, wait_for_end

logger = logging.getLogger(__name__)

LAYERS = ("namespaces", "landlock", "seccomp")
START_SECONDS = 30.0
MIB = 2**20

_LAYER_ADVICE = {
    "namespaces": "allow user and mount namespaces (sysctl user.max_user_namespaces and user.max_mnt_namespaces, and "
    "kernel.apparmor_restrict_unprivileged_userns=0 where AppArmor restricts them; in a container, start it with a "
    "seccomp profile that allows unshare)",
    "landlock": "boot a kernel of 5.13 or later with landlock among its security modules (lsm=landlock,...)",
    "seccomp": "use Linux 5.5 or later on x86_64 or aarch64 with seccomp user notification",
}
_LAYER_IMPACT = {
    "namespaces": "code sees names and times of host files, and shares the host's process numbers",
    "landlock": "code can read host files that the user can read, and other branches' scratch files",
    "seccomp": "code can fork, signal its siblings and use every system call that the user may use",
}


class _LayerMissingError(Exception):
    def __init__(self, layer: str, reason: str) -> None:
        super().__init__(reason)
        self.layer = layer


async def launch(
    isolation: Literal["required", "best_effort"],
    *,
    memory: int,
    scratch: int,
    output: int,
    cpu_seconds: int,
    growth_descriptors: Sequence[int] = (),
) -> tuple[SandboxHandle, LiveProcess]:
    """Start a sandbox and return its handle and its zygote, the process that all root interpreters are forked from.

    `memory` and `scratch` are bytes per branch, `output` is characters per step, `growth_descriptors` those of a
    `GrowthGuard`. Raises SandboxError if a layer is missing and `isolation` is `required`, or if no sandbox starts at
    all.
    """
    use = list(LAYERS) if sys.platform == "linux" else []
    missing = {layer: f"needs Linux, this is {sys.platform}" for layer in LAYERS if layer not in use}
    sizes = {"memory": memory, "scratch": scratch, "output": output, "cpu_seconds": cpu_seconds}
    while True:
        if missing and isolation == "required":
            raise SandboxError(_describe_missing_layers(missing))
        try:
            handle, zygote = await _try_launch(use, missing, sizes, growth_descriptors)
        except _LayerMissingError as error:
            if error.layer not in use:
                raise SandboxError(f"the sandbox does not start: {error}") from error
            use.remove(error.layer)
            missing[error.layer] = str(error)
            continue
        for layer, reason in missing.items():
            logger.warning("The sandbox runs WITHOUT %s (%s): %s.", layer, reason, _LAYER_IMPACT[layer])
        if not handle.own_mounts:
            logger.warning(
                "executor.scratch_mib=%d limits each file of a step, not its folder, whose path differs from branch to "
                "branch: branches have no mounts of their own.",
                scratch // MIB,
            )
        return handle, zygote


def _describe_missing_layers(missing: dict[str, str]) -> str:
    parts = [f"{layer} ({reason}); to have it, {_LAYER_ADVICE[layer]}" for layer, reason in missing.items()]
    return (
        f"executor.isolation=required, but the sandbox lacks {'. It also lacks '.join(parts)}. "
        "Or set executor.isolation=best_effort: generated code then runs without what is missing."
    )


async def _try_launch(
    use: Sequence[str], missing: dict[str, str], sizes: dict[str, int], growth_descriptors: Sequence[int]
) -> tuple[SandboxHandle, LiveProcess]:
    """Start a sandbox with exactly the layers in `use`. Raises _LayerMissingError if one cannot be built."""
    control, line, own_mounts = Channel(), Channel(), "namespaces" in use and "seccomp" in use
    home = tempfile.mkdtemp(prefix="codetool-") if "namespaces" not in use else "/scratch"
    first = _spawn((control.peer_socket.fileno(), line.peer_socket.fileno(), *growth_descriptors), home)
    control.peer_socket.close()
    line.peer_socket.close()
    setup = {"kind": "setup", "use": list(use), "home": home, "hidden": str(Path(__file__).parents[1]), **sizes}
    listener: list[int] = []
    timer = PausableTimer(START_SECONDS)
    try:
        await control.send(setup, timer)
        init, ready, _ = await control.handshake(timer)
        _require_kind(ready, "ready")
        pid, hello, listener = await line.handshake(timer)
        if hello["kind"] == "listener":
            hello = await line.receive(timer)
        _require_kind(hello, "hello")
        pid = pid or int(hello["pid"])
        pidfd = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -1
    except BaseException as error:
        for channel in (control, line):
            channel.close()
        for descriptor in listener:
            os.close(descriptor)
        await wait_for_end(first)
        if home != "/scratch":
            with contextlib.suppress(OSError):
                Path(home).rmdir()
        if isinstance(error, (ClosedError, ProtocolError, TimeoutError)):
            raise SandboxError(f"the sandbox's first process ended before it was ready: {error}") from error
        raise
    prefer_watch(first.pid)
    supervisor = ForkSupervisor(listener[0]) if listener else None
    report = _describe_layers(missing, ready, hello, sizes, own_mounts)
    handle = SandboxHandle(first, control, init or first.pid, sizes["output"], report, supervisor, own_mounts)
    zygote = LiveProcess(handle, line, pid, pidfd)
    handle.register(zygote)
    if own_mounts:
        await _require_own_mounts(zygote)
    return handle, zygote


async def _require_own_mounts(zygote: LiveProcess) -> None:
    """Make a branch. Raises _LayerMissingError and closes the sandbox if it gets no mount namespace of its own."""
    try:
        (await fork_process(zygote)).kill()
    except (ClosedError, SandboxError) as error:
        await zygote.handle.close()
        raise _LayerMissingError("namespaces", f"no mount namespace for each branch: {error}") from error


def _spawn(descriptors: Sequence[int], home: str) -> subprocess.Popen[bytes]:
    """Start an interpreter in its own session, with a clean environment and no open files but `descriptors`."""
    project = str(Path(__file__).parents[2])
    code = (
        f"import sys; sys.path.insert(0, {project!r}); from codetool.execution.inside.pid1 import main; "
        f"sys.path.remove({project!r}); main{(*descriptors,)}"
    )
    # No thread pools, which a fork would lose, and no address space reserved for each thread's malloc.
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "MALLOC_ARENA_MAX"), "1")
    linker = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}
    environment = {"PYTHONHASHSEED": "0", "LANG": "C.UTF-8", "HOME": home, "TMPDIR": home, **single, **linker}
    return subprocess.Popen(
        [sys.executable, "-s", "-P", "-c", code],
        pass_fds=descriptors,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=environment,
        start_new_session=True,
    )


def _require_kind(message: Message, kind: str) -> None:
    if message["kind"] == "failed":
        raise _LayerMissingError(str(message.get("layer")), str(message.get("reason")))
    if message["kind"] != kind:
        raise ProtocolError(f"{message['kind']} instead of {kind}")


def _describe_layers(
    missing: dict[str, str], ready: Message, hello: Message, sizes: dict[str, int], own_mounts: bool
) -> dict[str, str]:
    """A description of each layer that is in force or missing, for the log and the results."""
    descriptions = {
        "namespaces": f"user, {'mount (one for each branch)' if own_mounts else 'mount'}, pid, net, ipc, uts",
        "landlock": f"version {hello.get('landlock')}",
        "seccomp": "allow-list; forks and threads supervised",
    }
    layers = {layer: f"NO ({missing[layer]})" if layer in missing else descriptions[layer] for layer in LAYERS}
    user = "nobody" if ready.get("user") == "nobody" else f"uid {os.geteuid()}"
    scratch = f"{sizes['scratch'] // MIB} MiB scratch"
    return {
        **layers,
        "scratch": "own mount for each branch, always at the same path"
        if own_mounts
        else "NO (no own mount for each branch: paths differ, and only the size of each file is limited)",
        "cpu": _describe_cpu_share(),
        "user": user,
        "limits": f"{sizes['memory'] // MIB} MiB memory, {scratch} a {'branch' if own_mounts else 'file'}",
    }


def _describe_cpu_share() -> str:
    """Whether the kernel shares the CPU evenly between sessions, of which each branch has one."""
    setting = Path("/proc/sys/kernel/sched_autogroup_enabled")
    with contextlib.suppress(OSError):
        if setting.read_text().strip() == "1":
            return "an equal share for each branch (autogroup)"
    return "NO equal share for each branch (sysctl kernel.sched_autogroup_enabled=1 gives it)"

"""Fork a live process, and verify with the kernel that the fork is what it claims to be."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Literal

from codetool.execution.channel import Channel, ClosedError
from codetool.execution.inside.limits import list_parents, read_parent
from codetool.execution.interruption import EXHAUSTION, ForkRefusedError, SandboxEndedError, SlowForkError
from codetool.execution.live_process import ExecutedStep, LiveProcess, send_signal
from codetool.execution.pausable_timer import PausableTimer
from codetool.execution.process_status import find_child, prefer_as_victim
from codetool.execution.process_timer import ProcessTimer
from codetool.execution.protocol import Message, ProtocolError, get_text
from codetool.execution.settling import ExpectedFiles, check_separation, is_apart, open_mount_namespace

FORK_SECONDS = 3.0
"""Own time (see `process_timer`) that a process, and then its fork, may take until the fork has reported."""
PROMPT_FORK_SECONDS = 0.05
"""Wall time within which a fork usually reports; only afterwards its own time is measured."""
MAX_MESSAGE_OVERHEAD = 2**18
"""Maximum bytes of a message in addition to the step's output; reading longer messages would block the host."""
MAX_BYTES_PER_CHARACTER = 6
"""Maximum number of bytes of one encoded character of output."""


async def fork_process(process: LiveProcess, *, stay: bool = False) -> LiveProcess:
    """Fork a live process. The fork gets its own folder, or the same folder if `stay`, to replace this process.

    Raises ClosedError if it cannot be forked (it is then killed), or if it ran another step meanwhile;
    ForkRefusedError if the system has no room (it then lives on); SlowForkError if its code delays forks. If the
    caller is cancelled, the exchange is completed and the fork is killed.
    """
    task = asyncio.ensure_future(_fork(process, stay, process.history))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_kill_result)
        raise


async def _fork(process: LiveProcess, stay: bool, history: tuple[ExecutedStep, ...]) -> LiveProcess:
    async with process.lock:
        if not process.alive:
            raise ClosedError("it has ended")
        if process.history is not history:
            raise ClosedError("it ran another step meanwhile")
        channel = _open_branch_channel(process)
        folder = process.folder if stay or process.handle.own_mounts else process.handle.new_folder(process.folder)
        had_branched, process.has_branched = process.has_branched, process.has_branched or not stay
        process.handle.grant_fork(process.pid)
        child, start = None, asyncio.get_running_loop().time()
        try:
            socket_inode = await _request_fork(process, channel, stay)
            child, is_empty = await _accept_fork(process, channel, folder)
            child.shares_folder, child.layers = stay, process.layers + (not stay and not process.handle.own_mounts)
            await _settle(process, child, socket_inode, stay=stay, is_empty=is_empty)
            if not stay and not process.is_zygote:
                await _require_apart(process, socket_inode)
            process.handle.register(child)
            return child
        except (ClosedError, ProtocolError, TimeoutError, OSError) as broken:
            channel.close()
            if not stay and not child and not process.handle.own_mounts:
                process.handle.remove_folder(folder)
            error = _explain_failed_fork(process, broken, asyncio.get_running_loop().time() - start)
            refused = isinstance(error, ForkRefusedError)
            process.has_branched = had_branched if refused else process.has_branched
            _end_failed_fork(process, child, lives_on=refused)
            raise error from broken
        finally:
            process.handle.revoke_fork(process.pid)


def _open_branch_channel(process: LiveProcess) -> Channel:
    try:
        return Channel(MAX_MESSAGE_OVERHEAD + MAX_BYTES_PER_CHARACTER * process.handle.max_output_characters)
    except OSError as error:
        raise ForkRefusedError(f"no socket for a new process: {error}") from error


async def _request_fork(process: LiveProcess, channel: Channel, stay: bool) -> int:
    """Have the process fork; returns the inode of the socket that its child gets. Kills a process that does not."""
    inode, timer = os.fstat(channel.peer_socket.fileno()).st_ino, ProcessTimer(FORK_SECONDS, process.pid)
    try:
        await process.send("branch", timer, [channel.peer_socket.fileno()], stay=stay)
        channel.peer_socket.close()
        answer = await process.receive(timer, "branched", "refused")
    except (ClosedError, ProtocolError, TimeoutError):
        _end_failed_fork(process, None)
        process.kill()
        raise
    if answer["kind"] == "refused":
        raise ForkRefusedError(f"no new process: {get_text(answer, 'reason')}"[:200])
    return inode


async def _accept_fork(process: LiveProcess, channel: Channel, folder: str) -> tuple[LiveProcess, bool]:
    """The new process once it reports, and whether its parent's scratch folder is empty."""
    try:
        pid, message, files = await channel.handshake(PausableTimer(PROMPT_FORK_SECONDS))
    except TimeoutError:
        child_pid = find_child(process.pid, process.handle.pids()) or process.pid
        pid, message, files = await channel.handshake(ProcessTimer(FORK_SECONDS, child_pid))
    for descriptor in files:
        os.close(descriptor)
    child = _attach(process, channel, folder, pid, message)
    if process.is_zygote:
        prefer_as_victim(child.pid)  # its own forks inherit this
    return child, message.get("empty") is True


def _explain_failed_fork(process: LiveProcess, broken: Exception, seconds: float) -> ClosedError:
    """Why no fork came about after `seconds`. ForkRefusedError if this process is not to blame."""
    if isinstance(broken, ForkRefusedError | SandboxEndedError):
        return broken
    if isinstance(broken, OSError) and broken.errno in EXHAUSTION:
        return ForkRefusedError(f"no room for a new process: {broken}")
    if process.is_zygote and process.alive:
        return ForkRefusedError(f"a new process ended before it was ready: {broken}")
    if isinstance(broken, TimeoutError):
        return SlowForkError(f"its code delays every fork of its process by more than {FORK_SECONDS:g} s", seconds)
    return ClosedError(f"it could not be copied: {broken}")


async def _settle(process: LiveProcess, child: LiveProcess, socket_inode: int, *, stay: bool, is_empty: bool) -> None:
    """Give a new branch its scratch folder and wait until it uses it. Raises ProtocolError if it shares files."""
    child.scratch_device = process.scratch_device
    if stay:
        return
    if not process.handle.own_mounts:
        await process.handle.make_folder(child.folder)
        await _enter_folder(child, folder=child.folder)
    else:
        namespace = open_mount_namespace(child.pid, process.pid)
        try:
            old: Literal["none", "drop", "keep"] = "none" if process.is_zygote else "drop" if is_empty else "keep"
            child.scratch_device = await process.handle.mount_scratch(namespace, old)
            if old == "keep":
                await _enter_folder(child)
                await process.handle.forget_old_scratch(namespace)
            files = ExpectedFiles(socket_inode, child.scratch_device, process.scratch_device)
            check_separation(child.pid, namespace, files)
        finally:
            os.close(namespace)


async def _require_apart(process: LiveProcess, socket_inode: int) -> None:
    """Wait until the process is idle again. Raises ProtocolError if it keeps its branch's socket, TimeoutError."""
    timer = ProcessTimer(FORK_SECONDS, process.pid)
    while process.channel.has_unread_data() or (apart := is_apart(process.pid, socket_inode)) is None:
        if timer.is_over():
            raise TimeoutError("it does not become idle after its fork")
        await asyncio.sleep(0.001)
    if not apart:
        raise ProtocolError("it kept the socket of its branch")


async def _enter_folder(process: LiveProcess, folder: str = "") -> None:
    timer = ProcessTimer(FORK_SECONDS, process.pid)
    await process.send("enter", timer, folder=folder)
    message = await process.receive(timer, "hello", "failed")
    if message["kind"] == "failed":
        raise ClosedError(str(message.get("reason"))[:200])


def _attach(process: LiveProcess, channel: Channel, folder: str, pid: int | None, message: Message) -> LiveProcess:
    """The reporting child as a LiveProcess, after checking with the kernel that it is this process's child."""
    if message["kind"] == "failed":
        raise ClosedError(str(message.get("reason"))[:200])
    if message["kind"] != "forked" or message.get("token") != process.token:
        raise ProtocolError("no proper report from the branch")
    if pid is None:
        pid, pidfd = int(message.get("pid", 0)), -1
    else:
        pidfd = _open_pidfd(pid)
        try:
            if read_parent(pid) != process.pid:
                raise ProtocolError("another process reported in the branch's place")
        except BaseException:
            os.close(pidfd)
            raise
    child = LiveProcess(process.handle, channel, pid, pidfd, folder, process, history=process.history)
    process.folder_users += 1
    return child


def _end_failed_fork(process: LiveProcess, child: LiveProcess | None, *, lives_on: bool = False) -> None:
    """Kill a branch that did not settle, and this process, whose code may be the reason; but never the zygote.

    Unknown processes that it forked are killed too. `lives_on`: this process is known not to be the reason.
    """
    registered = process.handle.pids()
    parents = (process.pid, process.handle.init_pid)  # orphans become children of the sandbox's pid 1
    strays = [pid for pid, parent in list_parents().items() if parent in parents and pid not in registered]
    if child:
        child.kill()
    if not process.is_zygote and not lives_on:
        process.kill()
    for pid in strays:
        send_signal(-1, pid, signal.SIGKILL)


def _open_pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno in EXHAUSTION:
            raise ForkRefusedError(f"no file descriptor for a new process: {error}") from error
        raise


def _kill_result(task: asyncio.Task[LiveProcess]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().kill()

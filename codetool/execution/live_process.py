"""The host's side of one live sandboxed process: run a step in it, fork it, or kill it.

Its messages are not trusted: the process is killed if an answer is forged, early, late, too long or of the wrong kind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from codetool.concurrency import LARGE_BYTES, admit_large_data, large_data_scope
from codetool.execution.channel import Channel, ClosedError
from codetool.execution.fork_supervisor import count_threads
from codetool.execution.inside.limits import list_parents, read_parent
from codetool.execution.inside.run_step import MAX_STDERR_CHARACTERS
from codetool.execution.interruption import (
    EXHAUSTION,
    ForkRefusedError,
    InterruptedStepError,
    Interruption,
    SandboxEndedError,
    SlowForkError,
)
from codetool.execution.kept_calls import StoredCall, keep_answer
from codetool.execution.pausable_timer import PausableTimer
from codetool.execution.process_status import (
    EndCause,
    find_child,
    find_end_cause,
    is_ending,
    prefer_as_victim,
    yield_to_host_later,
)
from codetool.execution.process_timer import ProcessTimer
from codetool.execution.protocol import Message, ProtocolError, get_text
from codetool.execution.sandbox_handle import SandboxHandle
from codetool.execution.settling import ExpectedFiles, check_separation, open_mount_namespace
from codetool.interfaces import CallTool
from codetool.types import Execution, ExecutionStatus, HttpRequest, ToolAnswer, format_observation

FORK_SECONDS = 3.0
"""Own time (see `process_timer`) that a process, and then its fork, may take until the fork has reported."""
PROMPT_FORK_SECONDS = 0.05
"""Wall time within which a fork usually reports; only afterwards its own time is measured."""
END_SECONDS = 5.0
"""Wall time that a process which is ending may take until the kernel reports how it ended."""
MAX_CALLS = 1000
"""Maximum number of tool calls of one step; more would fill the host's memory and journal."""
MAX_CALLS_WITHOUT_BUDGET = 50
"""Maximum number of calls that a step makes after the task's budget of calls is spent."""
MAX_HEADERS = 100
"""Maximum number of headers of one request."""
MAX_MESSAGE_OVERHEAD = 2**18
"""Maximum bytes of a message in addition to the step's output; reading longer messages would block the host."""
MAX_BYTES_PER_CHARACTER = 6
"""Maximum number of bytes of one encoded character of output."""
PARTIAL_OUTPUT_SECONDS = 0.04
"""Own time that a timed-out step has to send its output."""
THREAD_END_SECONDS = 0.01
"""Own time that ending threads have to disappear."""


@dataclass(frozen=True)
class ExecutedStep:
    """One executed step and its tools' answers, which suffice to run it again without calling the tools."""

    code: str
    name: str
    """File name of its code in tracebacks: `<step 2>`, `<preamble>`."""
    calls: tuple[StoredCall, ...]


@dataclass(eq=False)
class LiveProcess:
    """A process that runs steps. `history` holds the executed steps, `layers` is the number of Landlock layers."""

    handle: SandboxHandle
    channel: Channel
    pid: int
    pidfd: int
    folder: str = ""
    parent: LiveProcess | None = None
    layers: int = 1
    history: tuple[ExecutedStep, ...] = ()
    alive: bool = True
    has_branched: bool = False
    """Whether a branch's folder lies in this process's folder; it must then not run another step."""
    active_operations: int = 0
    """Number of operations that need it now; only a process without any may be evicted."""
    folder_users: int = 1
    """Number of processes that need its folder: itself and its live branches."""
    shares_folder: bool = False
    """Whether it uses the folder of the process that it replaced."""
    scratch_device: int = 0
    """Device number of its scratch folder where that is a mount of its own."""
    total_operations: int = 0
    """Number of operations it was ever used for."""
    protected: bool = False
    """Whether it may not be killed to free memory, because its step is run again after it was once."""
    has_replaced_functions: bool = False
    """Whether its code replaced functions that run steps, by its own report after its last step."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _token: int = 0
    _interruption: Interruption | None = None
    """Why it was killed, if neither its step nor the caller of its step wanted it."""

    @property
    def is_zygote(self) -> bool:
        """Whether it is the process from which all root interpreters are forked, which runs no generated code."""
        return self.parent is None

    def kill(self, reason: Interruption | None = None) -> None:
        """Kill the process. Its folder is removed with the last process that needs it. A second call does nothing.

        `reason` says that neither its step nor the caller of its step wanted it.
        """
        if not self.alive:
            return
        self.alive, self._interruption = False, reason
        _send_signal(self.pidfd, self.pid, signal.SIGKILL)
        if self.pidfd >= 0:
            os.close(self.pidfd)
        self.channel.close()
        self.handle.unregister(self)
        self._release_folder()

    def _release_folder(self) -> None:
        self.folder_users -= 1
        if self.folder_users == 0:
            if self.folder and not self.shares_folder:
                self.handle.remove_folder(self.folder)
            if self.parent:
                self.parent._release_folder()

    async def run(self, code: str, name: str, call_tool: CallTool, timeout: float) -> Execution:
        """Run one step and return its Execution. A process that violates the protocol or times out is killed.

        `timeout` is seconds of the process's own time. Raises InterruptedStepError if the process was ended by
        something that is not the step's doing, and OverloadedError.
        """
        timer = ProcessTimer(timeout, self.pid)
        calls: list[ToolAnswer] = []
        try:
            with yield_to_host_later(self.pid):
                message = await self._exchange(code, name, call_tool, timer, calls)
            printed, stderr = self._parse_output(message, "observation")
            error = get_text(message, "error", optional=True) or None
            seconds = timer.stop()
            self.has_replaced_functions = message.get("replaced") is not False
        except _StepTimeoutError:
            printed, stderr = await self._request_partial_output()
            self.kill()
            reason = f"the step ran longer than its limit of {timeout:g} s and was stopped"
            observation = format_observation(printed, stderr)
            return Execution("timeout", observation, reason, timer.own_seconds, tuple(calls), stderr)
        except (ClosedError, ProtocolError) as broken:
            await self._raise_if_interrupted()
            self.kill()
            return Execution("killed", "", f"the interpreter died: {broken}", timer.own_seconds, tuple(calls))
        except BaseException:
            self.kill()
            raise
        failed = next((call for call in calls if not call.ok), None)
        status: ExecutionStatus = "tool_failed" if failed else "exception" if error else "ok"
        if failed and not error:
            error = f"{failed.call.method} {failed.call.url} answered {failed.failure or failed.status}"
        return Execution(status, format_observation(printed, stderr), error, seconds, tuple(calls), stderr)

    async def _exchange(
        self, code: str, name: str, call_tool: CallTool, timer: PausableTimer, calls: list[ToolAnswer]
    ) -> Message:
        """Run the step, answer its tool calls and add the answers to `calls`; returns the process's final report."""
        with _translate_timeouts():
            await self._send("run", timer, code=code, name=name)
        while True:
            with _translate_timeouts():
                message = await self._receive(timer, "call", "done")
            if message["kind"] == "done":
                return message
            request = _parse_request(message)
            if len(calls) == MAX_CALLS:
                raise ProtocolError(f"the step called tools more than {MAX_CALLS} times")
            async with large_data_scope():
                with timer.paused():
                    answer = await call_tool(request)
                    if len(answer.body) > LARGE_BYTES:
                        await admit_large_data()
                calls.append(keep_answer(answer))
                if answer.failure == "budget" and _count_without_budget(calls) > MAX_CALLS_WITHOUT_BUDGET:
                    raise ProtocolError("the step went on calling tools after the task's budget was spent")
                with _translate_timeouts():
                    await self._send("answer", timer, keep=True, status=answer.status, body=answer.body)

    async def _raise_if_interrupted(self) -> None:
        """Raise InterruptedStepError if something other than its code ended the process or its socket."""
        if self.alive and (cause := await self._find_end_cause()) in ("outside", "unknown"):
            self.kill(cause)
        if self._interruption is not None:
            raise InterruptedStepError(self._interruption, f"a step's process was ended ({self._interruption})")

    async def _find_end_cause(self) -> EndCause:
        """How the process ended. Waits for one that is ending: its socket is closed before the kernel reports."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + END_SECONDS
        while True:
            cause = find_end_cause(self.pid, self.pidfd, may_signal=self.handle.supervisor is None)
            if cause != "running" or not is_ending(self.pid) or loop.time() > deadline:
                return cause
            await asyncio.sleep(0.001)

    async def has_threads(self) -> bool:
        """Whether threads of the last step still exist after THREAD_END_SECONDS, by the kernel's count."""
        if count_threads(self.pid) <= 1:
            return False
        timer = ProcessTimer(THREAD_END_SECONDS, self.pid)
        while count_threads(self.pid) > 1:
            if timer.is_over():
                return True
            await asyncio.sleep(0.001)
        return False

    async def fork(self, *, stay: bool = False) -> LiveProcess:
        """Fork this process. The fork gets its own folder, or the same folder if `stay`, to replace this process.

        Raises ClosedError if it cannot be forked (it is then killed), or if it ran another step meanwhile;
        ForkRefusedError if the system has no room (it then lives on); SlowForkError if its code delays forks. If the
        caller is cancelled, the exchange is completed and the fork is killed.
        """
        task = asyncio.ensure_future(self._fork(stay, self.history))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_kill_result)
            raise

    async def _fork(self, stay: bool, history: tuple[ExecutedStep, ...]) -> LiveProcess:
        async with self.lock:
            if not self.alive:
                raise ClosedError("it has ended")
            if self.history is not history:
                raise ClosedError("it ran another step meanwhile")
            channel = self._open_branch_channel()
            folder = self.folder if stay or self.handle.own_mounts else self.handle.new_folder(self.folder)
            had_branched, self.has_branched = self.has_branched, self.has_branched or not stay
            self.handle.grant_fork(self.pid)
            child, start = None, asyncio.get_running_loop().time()
            try:
                socket_inode = await self._request_fork(channel, stay)
                child, is_empty = await self._accept_fork(channel, folder)
                child.shares_folder, child.layers = stay, self.layers + (not stay and not self.handle.own_mounts)
                await self._settle(child, socket_inode, stay=stay, is_empty=is_empty)
                self.handle.register(child)
                return child
            except (ClosedError, ProtocolError, TimeoutError, OSError) as broken:
                channel.close()
                if not stay and not child and not self.handle.own_mounts:
                    self.handle.remove_folder(folder)
                error = self._explain_failed_fork(broken, asyncio.get_running_loop().time() - start)
                refused = isinstance(error, ForkRefusedError)
                self.has_branched = had_branched if refused else self.has_branched
                self._end_failed_fork(child, lives_on=refused)
                raise error from broken
            finally:
                self.handle.revoke_fork(self.pid)

    def _open_branch_channel(self) -> Channel:
        try:
            return Channel(MAX_MESSAGE_OVERHEAD + MAX_BYTES_PER_CHARACTER * self.handle.max_output_characters)
        except OSError as error:
            raise ForkRefusedError(f"no socket for a new process: {error}") from error

    async def _request_fork(self, channel: Channel, stay: bool) -> int:
        """Have the process fork; returns the inode of the socket that its child gets. Kills a process that does not."""
        inode, timer = os.fstat(channel.peer_socket.fileno()).st_ino, ProcessTimer(FORK_SECONDS, self.pid)
        try:
            await self._send("branch", timer, [channel.peer_socket.fileno()], stay=stay)
            channel.peer_socket.close()
            answer = await self._receive(timer, "branched", "refused")
        except (ClosedError, ProtocolError, TimeoutError):
            self._end_failed_fork(None)
            self.kill()
            raise
        if answer["kind"] == "refused":
            raise ForkRefusedError(f"no new process: {get_text(answer, 'reason')}"[:200])
        return inode

    async def _accept_fork(self, channel: Channel, folder: str) -> tuple[LiveProcess, bool]:
        """The new process once it reports, and whether its parent's scratch folder is empty."""
        try:
            pid, message, files = await channel.handshake(PausableTimer(PROMPT_FORK_SECONDS))
        except TimeoutError:
            child_pid = find_child(self.pid, self.handle.pids()) or self.pid
            pid, message, files = await channel.handshake(ProcessTimer(FORK_SECONDS, child_pid))
        for descriptor in files:
            os.close(descriptor)
        child = self._attach(channel, folder, pid, message)
        if self.is_zygote:
            prefer_as_victim(child.pid)  # its own forks inherit this
        return child, message.get("empty") is True

    def _explain_failed_fork(self, broken: Exception, seconds: float) -> ClosedError:
        """Why no fork came about after `seconds`. ForkRefusedError if this process is not to blame."""
        if isinstance(broken, ForkRefusedError | SandboxEndedError):
            return broken
        if isinstance(broken, OSError) and broken.errno in EXHAUSTION:
            return ForkRefusedError(f"no room for a new process: {broken}")
        if self.is_zygote and self.alive:
            return ForkRefusedError(f"a new process ended before it was ready: {broken}")
        if isinstance(broken, TimeoutError):
            return SlowForkError(f"its code delays every fork of its process by more than {FORK_SECONDS:g} s", seconds)
        return ClosedError(f"it could not be copied: {broken}")

    async def _settle(self, child: LiveProcess, socket_inode: int, *, stay: bool, is_empty: bool) -> None:
        """Give a new branch its scratch folder and wait until it uses it. Raises ProtocolError if it shares files."""
        child.scratch_device = self.scratch_device
        if stay:
            return
        if not self.handle.own_mounts:
            await self.handle.make_folder(child.folder)
            await child._enter_folder(folder=child.folder)
        else:
            namespace = open_mount_namespace(child.pid, self.pid)
            try:
                old: Literal["none", "drop", "keep"] = "none" if self.is_zygote else "drop" if is_empty else "keep"
                child.scratch_device = await self.handle.mount_scratch(namespace, old)
                if old == "keep":
                    await child._enter_folder()
                    await self.handle.forget_old_scratch(namespace)
                files = ExpectedFiles(socket_inode, child.scratch_device, self.scratch_device)
                check_separation(child.pid, namespace, files)
            finally:
                os.close(namespace)

    async def _enter_folder(self, folder: str = "") -> None:
        timer = ProcessTimer(FORK_SECONDS, self.pid)
        await self._send("enter", timer, folder=folder)
        message = await self._receive(timer, "hello", "failed")
        if message["kind"] == "failed":
            raise ClosedError(str(message.get("reason"))[:200])

    def _attach(self, channel: Channel, folder: str, pid: int | None, message: Message) -> LiveProcess:
        """The reporting child as a LiveProcess, after checking with the kernel that it is this process's child."""
        if message["kind"] == "failed":
            raise ClosedError(str(message.get("reason"))[:200])
        if message["kind"] != "forked" or message.get("token") != self._token:
            raise ProtocolError("no proper report from the branch")
        if pid is None:
            pid, pidfd = int(message.get("pid", 0)), -1
        else:
            pidfd = _open_pidfd(pid)
            if read_parent(pid) != self.pid:
                os.close(pidfd)
                raise ProtocolError("another process reported in the branch's place")
        child = LiveProcess(self.handle, channel, pid, pidfd, folder, self, history=self.history)
        self.folder_users += 1
        return child

    def _end_failed_fork(self, child: LiveProcess | None, *, lives_on: bool = False) -> None:
        """Kill a branch that did not settle, and this process, whose code may be the reason; but never the zygote.

        Unknown processes that it forked are killed too. `lives_on`: this process is known not to be the reason.
        """
        registered = self.handle.pids()
        parents = (self.pid, self.handle.init_pid)  # orphans become children of the sandbox's pid 1
        strays = [pid for pid, parent in list_parents().items() if parent in parents and pid not in registered]
        if child:
            child.kill()
        if not self.is_zygote and not lives_on:
            self.kill()
        for pid in strays:
            _send_signal(-1, pid, signal.SIGKILL)

    async def _send(
        self, kind: str, timer: PausableTimer, files: Sequence[int] = (), *, keep: bool = False, **fields: object
    ) -> None:
        """Send a command with a new token, or with the running step's token if `keep`."""
        if not self.channel.is_idle():
            raise ProtocolError("it spoke before it was asked, or closed its line")
        if not keep:
            self._token = secrets.randbits(52)
        await self.channel.send({"kind": kind, "token": self._token, **fields}, timer, files)

    async def _receive(self, timer: PausableTimer, *kinds: str) -> Message:
        message = await self.channel.receive(timer)
        if message["kind"] not in kinds or message.get("token") != self._token:
            raise ProtocolError(f"unexpected answer {message['kind'][:40]!r}")
        return message

    def _parse_output(self, message: Message, printed: str) -> tuple[str, str]:
        """A step's stdout, from the field `printed`, and its stderr. Raises ProtocolError for other types."""
        stdout, stderr = get_text(message, printed), get_text(message, "stderr", optional=True)
        return stdout[: self.handle.max_output_characters], stderr[-MAX_STDERR_CHARACTERS:]

    async def _request_partial_output(self) -> tuple[str, str]:
        """The stdout and stderr of a timed-out step, empty if the process does not answer."""
        if not self.alive:
            return "", ""
        _send_signal(self.pidfd, self.pid, getattr(signal, "SIGUSR1", signal.SIGTERM))
        timer = ProcessTimer(PARTIAL_OUTPUT_SECONDS, self.pid)
        with contextlib.suppress(TimeoutError, ClosedError, ProtocolError):
            return self._parse_output(await self._receive(timer, "output"), "text")
        return "", ""


def _count_without_budget(calls: Sequence[ToolAnswer]) -> int:
    return sum(call.failure == "budget" for call in calls)


class _StepTimeoutError(Exception):
    """The step's own time limit has passed, as opposed to a TimeoutError of a tool."""


@contextlib.contextmanager
def _translate_timeouts() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise _StepTimeoutError from error


def _parse_request(message: Message) -> HttpRequest:
    body = None if message.get("body") is None else get_text(message, "body")
    return HttpRequest(get_text(message, "method").upper(), get_text(message, "url"), body, _parse_headers(message))


def _parse_headers(message: Message) -> tuple[tuple[str, str], ...]:
    """The request's headers. Raises ProtocolError if they are not pairs of texts."""
    headers = message.get("headers") or []
    if not isinstance(headers, list) or len(headers) > MAX_HEADERS:
        raise ProtocolError(f"the headers of a request are no list of at most {MAX_HEADERS}")
    for pair in headers:
        if not (isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
            raise ProtocolError("a header of a request is no pair of texts")
    return tuple((name, value) for name, value in headers)


def _send_signal(pidfd: int, pid: int, number: signal.Signals | int) -> None:
    with contextlib.suppress(ProcessLookupError):
        if pidfd >= 0:
            signal.pidfd_send_signal(pidfd, number)
        elif pid > 0:
            os.kill(pid, number)


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

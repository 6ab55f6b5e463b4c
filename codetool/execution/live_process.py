"""One live process of the sandbox as the host sees it: tell it to run a step, to branch, or end it.

Nothing it says is trusted: an answer that is forged, early, late, too long or of the wrong kind ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from codetool.errors import SandboxError
from codetool.execution.channel import Channel, ClosedError
from codetool.execution.fork_supervisor import threads
from codetool.execution.inside.limits import parent_of, parents
from codetool.execution.inside.run_step import STDERR
from codetool.execution.pausable_timer import Clock
from codetool.execution.protocol import Message, ProtocolError, text
from codetool.types import Execution, ExecutionStatus, HttpRequest, ToolAnswer, format_observation

if TYPE_CHECKING:
    from codetool.execution.sandbox_handle import Keeper

HELLO_SECONDS = 20.0
"""How long a fresh fork may take to report, on a machine under load."""
MAX_CALLS = 1000
"""Tool calls of one step; code that goes on asking, answered or not, would fill the host's memory and journal."""
MAX_HEADERS = 100
"""Headers of one request; services take no more."""
MAX_BODY = 2**18
"""Bytes for what a process says beside its output; the longer it may be, the longer reading it keeps the host busy."""
ENCODED = 12
"""Bytes that a character of its output takes in a message at most."""
LAST_WORDS_SECONDS = 0.04
"""How long a step that ran out of time has to say what it printed."""
THREAD_END_SECONDS = 0.01
"""How long threads that are just ending have to be gone."""

Answer = Callable[[HttpRequest], Awaitable[ToolAnswer]]


@dataclass(frozen=True)
class Record:
    """One executed step and what its tools answered: enough to do it again without them."""

    code: str
    calls: tuple[tuple[HttpRequest, ToolAnswer], ...]


@dataclass(eq=False)
class Process:
    """A process to run steps in. `history` is what it has run; `layers` counts its Landlock layers."""

    keeper: Keeper
    channel: Channel
    pid: int
    pidfd: int
    folder: str = ""
    parent: Process | None = None
    layers: int = 1
    history: tuple[Record, ...] = ()
    alive: bool = True
    branched: bool = False
    """Whether a branch's folder lies in this one's: it must not run another step."""
    users: int = 0
    """How many operations need it now; only an unused one may be evicted."""
    holders: int = 1
    """How many processes need its folder: itself and live branches."""
    borrowed: bool = False
    """Whether it lives on in the folder of the process it replaced."""
    uses: int = 0
    """How many operations it was ever used for."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _token: int = 0

    def kill(self) -> None:
        """End the process at once. Its folder goes with the last process that lives in it. Twice is fine."""
        if not self.alive:
            return
        self.alive = False
        _signal(self.pidfd, self.pid, signal.SIGKILL)
        if self.pidfd >= 0:
            os.close(self.pidfd)
        self.channel.close()
        self.keeper.forget(self)
        self._release()

    def _release(self) -> None:
        self.holders -= 1
        if self.holders == 0:
            if self.folder and not self.borrowed:
                self.keeper.remove(self.folder)
            if self.parent:
                self.parent._release()

    async def run(self, code: str, answer: Answer, timeout: float) -> Execution:
        """What one step did. A process that broke the protocol, died or ran out of time is dead afterwards."""
        clock = Clock(timeout)
        calls: list[ToolAnswer] = []
        try:
            message = await self._step(code, answer, clock, calls)
            printed, stderr = self._output(message, "observation")
            error = text(message, "error", optional=True) or None
        except _OutOfTimeError:
            printed, stderr = await self._last_words()
            self.kill()
            reason = f"the step ran longer than its limit of {timeout:g} s and was stopped"
            return Execution("timeout", format_observation(printed, stderr), reason, clock.spent, tuple(calls), stderr)
        except (ClosedError, ProtocolError) as broken:
            self.kill()
            return Execution("killed", "", f"the interpreter died: {broken}", clock.spent, tuple(calls))
        except BaseException:
            self.kill()
            raise
        failed = next((call for call in calls if not call.ok), None)
        status: ExecutionStatus = "tool_failed" if failed else "exception" if error else "ok"
        if failed and not error:
            error = f"{failed.call.method} {failed.call.url} answered {failed.failure or failed.status}"
        return Execution(status, format_observation(printed, stderr), error, clock.spent, tuple(calls), stderr)

    async def _step(self, code: str, answer: Answer, clock: Clock, calls: list[ToolAnswer]) -> Message:
        """Its report on the step, after every call of a tool was answered and added to `calls`."""
        with _own_time():
            await self._tell("run", clock, code=code)
        while True:
            with _own_time():
                message = await self._hear(clock, "call", "done")
            if message["kind"] == "done":
                return message
            request = _request(message)
            if len(calls) == MAX_CALLS:
                raise ProtocolError(f"the step called tools more than {MAX_CALLS} times")
            with clock.stopped():
                calls.append(await answer(request))
            with _own_time():
                await self._tell("answer", clock, keep=True, status=calls[-1].status, body=calls[-1].body)

    async def has_threads(self) -> bool:
        """Whether threads of the last step are still there after a moment, as the kernel counts."""
        end = time.monotonic() + THREAD_END_SECONDS
        while threads(self.pid) > 1:
            if time.monotonic() > end:
                return True
            await asyncio.sleep(0.001)
        return False

    async def fork(self, *, stay: bool = False) -> Process:
        """A copy in a folder of its own, or, to `stay` when this one ends, in the same.

        Raises ClosedError where it cannot be copied, and is then dead, or where it ran a step that the caller did not
        see. Cancelling the caller does not cut the exchange in two: it is finished and the copy then killed.
        """
        task = asyncio.ensure_future(self._fork(stay, self.history))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_discard)
            raise

    async def _fork(self, stay: bool, history: tuple[Record, ...]) -> Process:
        async with self.lock:
            if not self.alive:
                raise ClosedError("it has ended")
            if self.history is not history:
                raise ClosedError("it ran another step meanwhile")
            clock, channel = Clock(HELLO_SECONDS), Channel(MAX_BODY + ENCODED * self.keeper.output)
            folder = self.folder if stay else self.keeper.new_folder(self.folder)
            self.branched = self.branched or not stay
            self.keeper.grant(self.pid)
            try:
                await self._tell("branch", clock, [channel.theirs.fileno()])
                channel.theirs.close()
                if not stay:
                    await self.keeper.make(folder)  # while the fork is made
                await channel.send({"kind": "settle", "folder": "" if stay else folder}, clock)
                await self._hear(clock, "branched")
                pid, message, files = await channel.hello(clock)
                for descriptor in files:
                    os.close(descriptor)
                child = self._adopt(channel, folder, pid, message)
                child.borrowed, child.layers = stay, self.layers + (not stay)
                self.keeper.know(child)
                return child
            except (ClosedError, ProtocolError, TimeoutError, OSError, SandboxError) as broken:
                channel.close()
                if not stay:
                    self.keeper.remove(folder)
                self._disown()
                if isinstance(broken, SandboxError):
                    raise
                raise ClosedError(f"it could not be copied: {broken}") from broken
            finally:
                self.keeper.revoke(self.pid)

    def _adopt(self, channel: Channel, folder: str, pid: int | None, message: Message) -> Process:
        """The child that reported, after the kernel confirmed whose it is."""
        if message["kind"] != "hello" or message.get("token") != self._token:
            raise ProtocolError("no proper hello from the branch")
        if pid is None:
            pid, pidfd = int(message.get("pid", 0)), -1
        else:
            pidfd = os.pidfd_open(pid)
            if parent_of(pid) != self.pid:
                os.close(pidfd)
                raise ProtocolError("another process reported in the branch's place")
        child = Process(self.keeper, channel, pid, pidfd, folder, self, history=self.history)
        self.holders += 1
        return child

    def _disown(self) -> None:
        """After a branch that did not report: end this process and whatever it forked in its place."""
        known = self.keeper.pids()
        ours = (self.pid, self.keeper.init)  # orphans go to pid 1 of the sandbox
        strays = [pid for pid, parent in parents().items() if parent in ours and pid not in known]
        self.kill()
        for pid in strays:
            _signal(-1, pid, signal.SIGKILL)

    async def _tell(
        self, kind: str, clock: Clock, files: Sequence[int] = (), *, keep: bool = False, **fields: object
    ) -> None:
        """Send a command under a fresh token, or, with `keep`, one that belongs to the running step."""
        if not self.channel.quiet():
            raise ProtocolError("it spoke before it was asked, or closed its line")
        if not keep:
            self._token = secrets.randbits(52)
        await self.channel.send({"kind": kind, "token": self._token, **fields}, clock, files)

    async def _hear(self, clock: Clock, *kinds: str) -> Message:
        message = await self.channel.receive(clock)
        if message["kind"] not in kinds or message.get("token") != self._token:
            raise ProtocolError(f"unexpected answer {message['kind'][:40]!r}")
        return message

    def _output(self, message: Message, printed: str) -> tuple[str, str]:
        """What a step printed, from that field, and its last lines on stderr. Raises ProtocolError if they are none."""
        return text(message, printed)[: self.keeper.output], text(message, "stderr", optional=True)[-STDERR:]

    async def _last_words(self) -> tuple[str, str]:
        """What a step that is about to be killed has printed and written to stderr, if it can still say so."""
        if not self.alive:
            return "", ""
        _signal(self.pidfd, self.pid, getattr(signal, "SIGUSR1", signal.SIGTERM))
        with contextlib.suppress(TimeoutError, ClosedError, ProtocolError):
            return self._output(await self._hear(Clock(LAST_WORDS_SECONDS), "output"), "text")
        return "", ""


class _OutOfTimeError(Exception):
    """A step's time is over; a tool's own TimeoutError means something else."""


@contextlib.contextmanager
def _own_time() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise _OutOfTimeError from error


def _request(message: Message) -> HttpRequest:
    body = None if message.get("body") is None else text(message, "body")
    return HttpRequest(text(message, "method").upper(), text(message, "url"), body, _headers(message))


def _headers(message: Message) -> tuple[tuple[str, str], ...]:
    """The request's headers. Raises ProtocolError where they are no pairs of texts."""
    headers = message.get("headers") or []
    if not isinstance(headers, list) or len(headers) > MAX_HEADERS:
        raise ProtocolError(f"the headers of a request are no list of at most {MAX_HEADERS}")
    for pair in headers:
        if not (isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
            raise ProtocolError("a header of a request is no pair of texts")
    return tuple((name, value) for name, value in headers)


def _signal(pidfd: int, pid: int, number: signal.Signals | int) -> None:
    with contextlib.suppress(ProcessLookupError):
        if pidfd >= 0:
            signal.pidfd_send_signal(pidfd, number)
        elif pid > 0:
            os.kill(pid, number)


def _discard(task: asyncio.Task[Process]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().kill()

"""The system-call filter of generated code: an allow-list; every other call fails with EPERM.

- A plain fork, a new thread or a new mount namespace is referred to the host (`fork_supervisor.py`), which decides.
- Some calls are filtered by their arguments: only private mappings, only harmless `fcntl` commands.
- Memory can only be filled by touching it: one call that fills it goes on while its process is suspended.
- What would tell a process about others is refused: the ends of its branches, their CPU clocks, their process ids.
- Locks of files succeed without effect: a process conflicts with no other about its own files, and locks of the
  libraries' files, which all branches see, would pass on messages.
- The calling convention of another architecture or of x32 kills the process, as its numbers mean other calls.

There are two filters, of whose actions the kernel takes the stricter: one that refers calls to the host, and one with
the allow-list. The first is installed before, so that its descriptor can still be sent to the host.
Format: https://docs.kernel.org/userspace-api/seccomp_filter.html
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable, Mapping

from codetool.execution.inside import syscalls
from codetool.execution.inside.kernel import CLONE_NEWNS, LayerError, syscall

FORK_FLAGS = (0x01200011, 0x11)
"""What fork(3) passes to clone: signal SIGCHLD, with and without the child's thread id written."""
THREAD_FLAGS = 0x3D0F00
"""What pthread_create(3) passes to clone."""

_KILL, _NOTIFY, _ERRNO, _ALLOW = 0x80000000, 0x7FC00000, 0x00050000, 0x7FFF0000
_SUCCEED = _ERRNO | 0  # return 0 without doing anything
_LOAD, _JUMP_EQUAL, _JUMP_SET, _AND, _RETURN = 0x20, 0x15, 0x45, 0x54, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_MACHINES = {"x86_64": (0xC000003E, 0, 317), "aarch64": (0xC00000B7, 1, 277)}
"""Machine → (audit architecture, column of the call tables, number of seccomp(2))."""

_SET_MODE_FILTER, _NEW_LISTENER, _WAIT_KILLABLE = 1, 1 << 3, 1 << 5
_FCNTL = (*range(6), 36, 1030)  # descriptors, flags, asking for locks; not the commands that send signals
_FCNTL_LOCK = (6, 7, 37, 38)  # setting locks
_CLOCKS = range(12)  # those of the system and the own ones; not the CPU clocks of other processes
_SOCKET_OPTIONS = (3, 4, 38, 39)  # its type, protocol, family and error; not the pidfd of the peer
_FILE_ADVICE = (0, 1, 2, 3, 5)  # not to drop files from memory that others read too
_SIGCHLD = 17
_SIGNALS = tuple(number for number in range(1, 65) if number != _SIGCHLD)
"""The signals that may be handled. The end of a branch must stay ignored: its exit status would tell about it."""
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # is it a terminal, its size, bytes waiting, non-block, exec
_PRCTL = (15, 16)  # the thread's name
_MAP_TYPE, _MAP_PRIVATE, _MAP_POPULATE = 0x0F, 0x02, 0x8000
_MEMORY_ADVICE = (*range(5), *range(8, 12), *range(14, 22))  # not to fill memory, which no signal but SIGKILL stops

Program = list[tuple[int, int, int, int]]
"""Instructions: code, jump if true, jump if false, constant."""


def install_listener() -> int:
    """Refer forks, threads and mount namespaces to the host, permanently; returns the descriptor of the notifications.

    The caller still needs `install`. Raises LayerError if machine or kernel does not support it.
    """
    program = build_listener_program(_require_machine())
    try:
        return _load(program, _NEW_LISTENER | _WAIT_KILLABLE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise LayerError("seccomp", error) from error
    try:  # a kernel before 5.19
        return _load(program, _NEW_LISTENER)
    except OSError as error:
        raise LayerError("seccomp", error) from error


def install(*, own_mounts: bool, metadata: bool) -> None:
    """Install the allow-list permanently. Raises LayerError.

    `own_mounts`: each branch moves into a mount namespace of its own, else it adds a Landlock layer of its own.
    `metadata` allows changing modes and times of files.
    """
    try:
        _load(build_program(_require_machine(), own_mounts=own_mounts, metadata=metadata), 0)
    except OSError as error:
        raise LayerError("seccomp", error) from error


def find_call(name: str) -> int | None:
    """The number of a call in `syscalls.RULED` on this machine, None if this machine is not supported."""
    machine = os.uname().machine
    return syscalls.RULED[name][_MACHINES[machine][1]] if machine in _MACHINES else None


def build_listener_program(machine: str) -> Program:
    """The filter that notifies the host, as BPF instructions for one machine."""
    column = _MACHINES[machine][1]
    code = _check_architecture(machine)
    for name in ("clone", "unshare"):
        number = syscalls.RULED[name][column]
        assert number is not None
        code += _match_call(number, [(_RETURN, 0, 0, _NOTIFY)])
    return [*code, (_RETURN, 0, 0, _ALLOW)]


def build_program(machine: str, *, own_mounts: bool, metadata: bool) -> Program:
    """The allow-list as BPF instructions for one machine."""
    column = _MACHINES[machine][1]
    groups = [syscalls.FILES, syscalls.MEMORY, syscalls.WAITING, syscalls.THREADS, syscalls.SIGNALS, syscalls.TIME]
    groups += [syscalls.IDENTITY, syscalls.SOCKETS, syscalls.SESSION]
    groups += [*([] if own_mounts else [syscalls.LANDLOCK]), *([syscalls.METADATA] if metadata else [])]
    numbers = {name: row[column] for group in (*groups, syscalls.RULED) for name, row in group.items()}
    rules = _list_rules(own_mounts=own_mounts)
    code = _check_architecture(machine)
    for name in sorted(numbers, key=lambda name: name in rules):
        number = numbers[name]
        if number is not None:
            code += _match_call(number, rules.get(name, [(_RETURN, 0, 0, _ALLOW)]))
    for absent in syscalls.ABSENT.values():
        number = absent[column]
        if number is not None:
            code += _match_call(number, [(_RETURN, 0, 0, _ERRNO | errno.ENOSYS)])
    return [*code, (_RETURN, 0, 0, _ERRNO | errno.EPERM)]


def _list_rules(*, own_mounts: bool) -> dict[str, Program]:
    """What decides about each call that is neither always allowed nor always refused."""
    return {
        "clone": _match_argument(0, (*FORK_FLAGS, THREAD_FLAGS)),
        "unshare": _match_argument(0, (CLONE_NEWNS,) if own_mounts else ()),
        "fcntl": _match_argument(1, dict.fromkeys(_FCNTL, _ALLOW) | dict.fromkeys(_FCNTL_LOCK, _SUCCEED)),
        "flock": [(_RETURN, 0, 0, _SUCCEED)],
        "fadvise64": _match_argument(3, _FILE_ADVICE),
        "getsockopt": _match_argument(2, _SOCKET_OPTIONS),
        "rt_sigaction": _match_argument(0, _SIGNALS),
        "wait4": [(_RETURN, 0, 0, _ERRNO | errno.ECHILD)],
        "waitid": [(_RETURN, 0, 0, _ERRNO | errno.ECHILD)],
        "getpgid": _match_argument(0, (0,)),
        "getsid": _match_argument(0, (0,)),
        "sched_getaffinity": _match_argument(0, (0,), refuse=errno.ENOSYS),
        **{name: _match_argument(0, _CLOCKS) for name in ("clock_gettime", "clock_getres", "clock_nanosleep")},
        "ioctl": _match_argument(1, _IOCTL),
        "prctl": _match_argument(0, _PRCTL),
        "prlimit64": _match_argument(0, (0,)),
        "mmap": _match_argument(3, (_MAP_PRIVATE,), mask=_MAP_TYPE | _MAP_POPULATE),
        "madvise": _match_argument(2, _MEMORY_ADVICE, refuse=errno.EINVAL),
    }


def _require_machine() -> str:
    machine = os.uname().machine
    if machine not in _MACHINES:
        raise LayerError("seccomp", f"no rules for {machine}, only for {', '.join(_MACHINES)}")
    return machine


def _load(program: Program, flags: int) -> int:
    code = b"".join(struct.pack("=HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(code)
    header = ctypes.create_string_buffer(struct.pack("@HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer)))
    return syscall(_MACHINES[os.uname().machine][2], _SET_MODE_FILTER, flags, header)


def _check_architecture(machine: str) -> Program:
    """Kill the process if it uses another calling convention, else load the number of the call."""
    return [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, _MACHINES[machine][0]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_SET, 0, 1, 0x40000000),  # x32
        (_RETURN, 0, 0, _KILL),
    ]


def _match_call(number: int, block: Program) -> Program:
    """Run `block`, which must end with a return, for one call; skip it for others."""
    return [(_JUMP_EQUAL, 0, len(block), number), *block]


def _match_argument(
    argument: int, values: Iterable[int] | Mapping[int, int], mask: int | None = None, refuse: int = errno.EPERM
) -> Program:
    """Allow a call if its masked argument is one of `values`, which may map to other actions, else fail with `refuse`.

    It fails too if the argument's high half is not zero.
    """
    offset = _ARGUMENTS + 8 * argument
    actions = values if isinstance(values, Mapping) else dict.fromkeys(values, _ALLOW)
    refusal = (_RETURN, 0, 0, _ERRNO | refuse)
    code: Program = [(_LOAD, 0, 0, offset + 4), (_JUMP_EQUAL, 1, 0, 0), refusal, (_LOAD, 0, 0, offset)]
    if mask is not None:
        code.append((_AND, 0, 0, mask))
    for value, action in actions.items():
        code += [(_JUMP_EQUAL, 0, 1, value), (_RETURN, 0, 0, action)]
    return [*code, refusal]

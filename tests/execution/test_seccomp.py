"""The filter as a program, run by a small interpreter: so both machines' tables are checked on either."""

import pytest

from codetool.execution.inside.seccomp import FORK_FLAGS, THREAD_FLAGS, Program, build_listener_program, build_program

KILL, NOTIFY, ALLOW, EPERM, ENOSYS = 0x80000000, 0x7FC00000, 0x7FFF0000, 0x50001, 0x50026
SUCCEED, ECHILD, EINVAL = 0x50000, 0x5000A, 0x50016
ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CALLS = {
    "openat": (257, 56),
    "clone": (56, 220),
    "clone3": (435, 435),
    "fcntl": (72, 25),
    "mmap": (9, 222),
    "madvise": (28, 233),
    "socket": (41, 198),
    "kill": (62, 129),
    "execve": (59, 221),
    "ptrace": (101, 117),
    "fchmodat": (268, 53),
    "prctl": (157, 167),
    "prlimit64": (302, 261),
    "recvmsg": (47, 212),
    "unshare": (272, 97),
    "setsid": (112, 157),
    "sendmsg": (46, 211),
    "landlock_restrict_self": (446, 446),
    "flock": (73, 32),
    "fadvise64": (221, 223),
    "getsockopt": (55, 209),
    "rt_sigaction": (13, 134),
    "wait4": (61, 260),
    "waitid": (247, 95),
    "getpgid": (121, 155),
    "getsid": (124, 156),
    "sched_getaffinity": (204, 123),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
}
NUMBERS = {
    machine: {name: numbers[column] for name, numbers in CALLS.items()}
    for column, machine in enumerate(("x86_64", "aarch64"))
}


def decide(
    machine: str,
    number: int,
    *arguments: int,
    architecture: int | None = None,
    metadata: bool = True,
    own_mounts: bool = True,
) -> int:
    """The stricter action of the two filters. The kernel's order of actions is that of their numbers, as signed."""
    words = [number, architecture or ARCHITECTURE[machine], 0, 0]
    for argument in (*arguments, 0, 0, 0, 0, 0, 0)[:6]:
        words += [argument & 0xFFFFFFFF, argument >> 32]
    programs = (build_listener_program(machine), build_program(machine, own_mounts=own_mounts, metadata=metadata))
    return min((execute(code, words) for code in programs), key=lambda action: (action + 2**31) % 2**32)


def execute(code: Program, words: list[int]) -> int:
    """Run a filter as the kernel does, on the words of a call's description."""
    place, value = 0, 0
    while True:
        kind, yes, no, constant = code[place]
        place += 1
        if kind == 0x06:
            return constant
        if kind == 0x20:
            value = words[constant // 4]
        elif kind == 0x54:
            value &= constant
        else:
            place += yes if (value == constant if kind == 0x15 else value & constant) else no


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(
    ("name", "arguments", "action"),
    [
        ("openat", (), ALLOW),
        ("recvmsg", (), ALLOW),
        ("clone", (FORK_FLAGS[0],), NOTIFY),
        ("clone", (THREAD_FLAGS,), NOTIFY),
        ("clone", (FORK_FLAGS[0] | 0x10000000,), EPERM),
        ("clone", (FORK_FLAGS[0] | 1 << 32,), EPERM),
        ("clone3", (), ENOSYS),
        ("fcntl", (3, 3), ALLOW),
        ("fcntl", (3, 8), EPERM),
        ("mmap", (0, 1, 3, 0x22), ALLOW),
        ("mmap", (0, 1, 3, 0x21), EPERM),
        ("mmap", (0, 1, 3, 0x03), EPERM),
        ("mmap", (0, 1, 3, 0x8022), EPERM),
        ("madvise", (0, 4096, 4), ALLOW),
        ("madvise", (0, 4096, 14), ALLOW),
        ("madvise", (0, 4096, 22), EINVAL),
        ("madvise", (0, 4096, 23), EINVAL),
        ("prctl", (15,), ALLOW),
        ("prctl", (22,), EPERM),
        ("prlimit64", (0,), ALLOW),
        ("prlimit64", (7,), EPERM),
        ("socket", (), EPERM),
        ("kill", (), EPERM),
        ("execve", (), EPERM),
        ("ptrace", (), EPERM),
        ("unshare", (), EPERM),
        ("unshare", (0x20000,), NOTIFY),
        ("unshare", (0x10020000,), EPERM),
        ("unshare", (0x20000 | 1 << 32,), EPERM),
        ("setsid", (), ALLOW),
        ("sendmsg", (), EPERM),
        ("landlock_restrict_self", (), EPERM),
        ("fchmodat", (), ALLOW),
        ("fcntl", (3, 5), ALLOW),
        ("fcntl", (3, 6), SUCCEED),
        ("fcntl", (3, 38), SUCCEED),
        ("flock", (3, 2), SUCCEED),
        ("fadvise64", (3, 0, 0, 4), EPERM),
        ("fadvise64", (3, 0, 0, 2), ALLOW),
        ("getsockopt", (3, 1, 3), ALLOW),
        ("getsockopt", (3, 1, 77), EPERM),
        ("rt_sigaction", (14,), ALLOW),
        ("rt_sigaction", (17,), EPERM),
        ("wait4", (0xFFFFFFFF,), ECHILD),
        ("waitid", (), ECHILD),
        ("getpgid", (0,), ALLOW),
        ("getpgid", (7,), EPERM),
        ("getsid", (7,), EPERM),
        ("sched_getaffinity", (0,), ALLOW),
        ("sched_getaffinity", (7,), ENOSYS),
        ("clock_gettime", (2,), ALLOW),
        ("clock_gettime", (0xFFFFFFC2,), EPERM),
        ("clock_nanosleep", (0xFFFFFFC2,), EPERM),
    ],
)
def test_filter_decides(machine: str, name: str, arguments: tuple[int, ...], action: int) -> None:
    assert decide(machine, NUMBERS[machine][name], *arguments) == action


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_modes_are_closed_where_the_outside_is_not_read_only(machine: str) -> None:
    assert decide(machine, NUMBERS[machine]["fchmodat"], metadata=False) == EPERM


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_without_own_mounts_a_branch_adds_a_landlock_layer_instead(machine: str) -> None:
    assert decide(machine, NUMBERS[machine]["unshare"], 0x20000, own_mounts=False) == EPERM
    assert decide(machine, NUMBERS[machine]["landlock_restrict_self"], own_mounts=False) == ALLOW


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_foreign_calling_conventions_end_the_process(machine: str) -> None:
    assert decide(machine, NUMBERS[machine]["openat"], architecture=0x40000003) == KILL
    assert decide(machine, 0x40000000 + 1) == KILL


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_no_unknown_call_is_allowed(machine: str) -> None:
    for number in range(460, 2000):
        assert decide(machine, number) == EPERM


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_program_fits_the_kernel(machine: str) -> None:
    code = build_program(machine, own_mounts=True, metadata=True)
    assert len(code) <= 4096
    assert all(0 <= yes < 256 and 0 <= no < 256 for _, yes, no, _ in code)

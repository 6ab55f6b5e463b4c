"""The filter as a program, run by a small interpreter: so both machines' tables are checked on either."""

import pytest

from codetool.execution.inside.seccomp import FORK_FLAGS, THREAD_FLAGS, build_program

KILL, NOTIFY, ALLOW, EPERM, ENOSYS = 0x80000000, 0x7FC00000, 0x7FFF0000, 0x50001, 0x50026
ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
NAMES = "openat clone clone3 fcntl mmap socket kill execve ptrace fchmodat prctl prlimit64 recvmsg unshare".split()
NUMBERS = {
    "x86_64": dict(zip(NAMES, (257, 56, 435, 72, 9, 41, 62, 59, 101, 268, 157, 302, 47, 272), strict=True)),
    "aarch64": dict(zip(NAMES, (56, 220, 435, 25, 222, 198, 129, 221, 117, 53, 167, 261, 212, 97), strict=True)),
}


def decide(machine: str, number: int, *arguments: int, architecture: int | None = None, metadata: bool = True) -> int:
    words = [number, architecture or ARCHITECTURE[machine], 0, 0]
    for argument in (*arguments, 0, 0, 0, 0, 0, 0)[:6]:
        words += [argument & 0xFFFFFFFF, argument >> 32]
    code, place, value = build_program(machine, metadata), 0, 0
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
        ("prctl", (15,), ALLOW),
        ("prctl", (22,), EPERM),
        ("prlimit64", (0,), ALLOW),
        ("prlimit64", (7,), EPERM),
        ("socket", (), EPERM),
        ("kill", (), EPERM),
        ("execve", (), EPERM),
        ("ptrace", (), EPERM),
        ("unshare", (), EPERM),
        ("fchmodat", (), ALLOW),
    ],
)
def test_filter_decides(machine: str, name: str, arguments: tuple[int, ...], action: int) -> None:
    assert decide(machine, NUMBERS[machine][name], *arguments) == action


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_modes_are_closed_where_the_outside_is_not_read_only(machine: str) -> None:
    assert decide(machine, NUMBERS[machine]["fchmodat"], metadata=False) == EPERM


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
    code = build_program(machine, True)
    assert len(code) <= 4096
    assert all(0 <= yes < 256 and 0 <= no < 256 for _, yes, no, _ in code)

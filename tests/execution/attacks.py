"""Reads the attacks in `attacks.txt`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

# fmt: off
CALLS = {
    "acct": (163, 89), "add_key": (248, 217), "adjtimex": (159, 171), "arch_prctl": (158, None), "bpf": (321, 280),
    "cachestat": (451, 451), "capget": (125, 90), "capset": (126, 91), "clock_adjtime": (305, 266),
    "clock_getres": (229, 114), "clock_gettime": (228, 113), "clock_nanosleep": (230, 115), "clock_settime": (227, 112),
    "clone": (56, 220), "delete_module": (176, 106), "execve": (59, 221), "execveat": (322, 281),
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263), "finit_module": (313, 273), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fsopen": (430, 430), "fspick": (433, 433), "getpgid": (121, 155),
    "getpriority": (140, 141), "getsid": (124, 156), "init_module": (175, 105), "inotify_init": (253, None),
    "inotify_init1": (294, 26), "io_pgetevents": (333, 292), "io_setup": (206, 0), "io_submit": (209, 2),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "io_uring_setup": (425, 425), "ioperm": (173, None),
    "iopl": (172, None), "ioprio_get": (252, 31), "ioprio_set": (251, 30), "kcmp": (312, 272),
    "kexec_file_load": (320, 294), "kexec_load": (246, 104), "kill": (62, 129), "landlock_add_rule": (445, 445),
    "landlock_create_ruleset": (444, 444), "landlock_restrict_self": (446, 446), "listmount": (458, 458),
    "lookup_dcookie": (212, 18), "lsm_set_self_attr": (460, 460), "map_shadow_stack": (453, 453), "mbind": (237, 235),
    "memfd_secret": (447, 447), "migrate_pages": (256, 238), "mincore": (27, 232), "mlock": (149, 228),
    "mlockall": (151, 230), "mmap": (9, 222), "modify_ldt": (154, None), "mount_setattr": (442, 442),
    "move_mount": (429, 429), "move_pages": (279, 239), "mq_open": (240, 180), "msgget": (68, 186), "msgsnd": (69, 189),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "open_tree": (428, 428),
    "perf_event_open": (298, 241), "personality": (135, 92), "pidfd_getfd": (438, 438), "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424), "pkey_alloc": (330, 289), "prctl": (157, 167), "preadv2": (327, 286),
    "prlimit64": (302, 261), "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "quotactl_fd": (443, 443), "readahead": (187, 213),
    "reboot": (169, 142), "remap_file_pages": (216, 234), "request_key": (249, 218), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "sched_getaffinity": (204, 123), "sched_getattr": (315, 275),
    "sched_getparam": (143, 121), "sched_getscheduler": (145, 120), "sched_rr_get_interval": (148, 127),
    "sched_setattr": (314, 274), "sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "seccomp": (317, 277),
    "semget": (64, 190), "semop": (65, 193), "set_mempolicy": (238, 237), "setdomainname": (171, 162),
    "setfsgid": (123, 152), "setfsuid": (122, 151), "setgid": (106, 144), "setgroups": (116, 159),
    "sethostname": (170, 161), "setpriority": (141, 140), "setregid": (114, 143), "setresgid": (119, 149),
    "setresuid": (117, 147), "setreuid": (113, 145), "settimeofday": (164, 170), "setuid": (105, 146),
    "shmat": (30, 196), "shmget": (29, 194), "signalfd": (282, None), "signalfd4": (289, 74), "splice": (275, 76),
    "statmount": (457, 457), "swapoff": (168, 225), "swapon": (167, 224), "sync": (162, 81),
    "sync_file_range": (277, 84), "syncfs": (306, 267), "sysfs": (139, None), "syslog": (103, 116), "tee": (276, 77),
    "tgkill": (234, 131), "timer_create": (222, 107), "timerfd_create": (283, 85), "tkill": (200, 130),
    "unshare": (272, 97), "userfaultfd": (323, 282), "ustat": (136, None),
    "vfork": (58, None), "vhangup": (153, 58), "vmsplice": (278, 75),
}
# fmt: on
"""Numbers of system calls that the attacks use, on x86_64 and aarch64; None where the machine lacks the call."""

RAW = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def must_fail(result):
    if result == -1: raise OSError(ctypes.get_errno(), 'refused')
    print('BREACH')
"""
HELPERS = {
    "raw": RAW,
    "calls": f"""{RAW}
numbers, text = {CALLS!r}, ctypes.create_string_buffer(b'/scratch/home', 4096)
own_mounts = os.environ['HOME'] == '/scratch/home'
def refused(name, *arguments):
    number = numbers[name][os.uname().machine != 'x86_64']
    if number is None: return
    ctypes.set_errno(0)
    longs = [ctypes.c_long(value) if type(value) is int else value for value in arguments]
    if libc.syscall(ctypes.c_long(number), *longs) != -1 or ctypes.get_errno() not in (1, 38):
        print('BREACH', name, ctypes.get_errno())
""",
    "code": f"""{RAW}
def run_code(code, narrow=False, plain=False):
    if os.uname().machine != 'x86_64': return
    libc.mmap.restype = ctypes.c_void_p
    page = libc.mmap(None, ctypes.c_size_t(4096), 7, 0x62, -1, ctypes.c_long(0))
    if narrow:
        start = page + 64
        ctypes.memmove(start, code, len(code))
        code = b'\\x6a\\x23\\x68' + start.to_bytes(4, 'little') + b'\\x48\\xcb'
    ctypes.memmove(page, code, len(code))
    result = ctypes.CFUNCTYPE(ctypes.c_long)(page)()
    if not plain: print('BREACH', result)
""",
    "line": """
import json, os, socket, struct, sys
outer = sys._getframe()
while 'connection' not in outer.f_locals: outer = outer.f_back
line = outer.f_locals['connection']
def frame(**message):
    body = json.dumps(message).encode()
    return struct.pack('!I', len(body)) + body
""",
}
ERRORS = {
    "refused": ("PermissionError", "OSError", "BlockingIOError"),
    "missing": ("FileNotFoundError", "PermissionError"),
}


@dataclass(frozen=True)
class Attack:
    """Code that must fail: what runs first, and then each step with whether it runs in a new branch."""

    section: str
    name: str
    ends: tuple[str, ...]
    errors: tuple[str, ...]
    code: str
    later: tuple[tuple[bool, str], ...]


def attacks() -> list[Attack]:
    """Every attack of the file, its helpers in front of its code."""
    text = Path(__file__).with_name("attacks.txt").read_text()
    found = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title, _, rest = section.partition("\n")
        found += [_parse(title, block) for block in re.split(r"^== ", rest, flags=re.MULTILINE)[1:]]
    return found


def _parse(section: str, block: str) -> Attack:
    head, _, body = block.partition("\n")
    name, ends, errors, helper = (*(part.strip() for part in head.split("|")), "", "")[:4]
    first, *parts = re.split(r"^-- (step|branch)\n", body, flags=re.MULTILINE)
    later = tuple((kind == "branch", code.strip()) for kind, code in zip(parts[::2], parts[1::2], strict=True))
    refusals = tuple(error for word in errors.replace(",", " ").split() for error in ERRORS.get(word, (word,)))
    return Attack(section, name, tuple(ends.split()), refusals, HELPERS.get(helper, "") + first.strip(), later)


def bundles(size: int) -> list[list[Attack]]:
    """The attacks in bundles of at most `size`, each from one section."""
    found: list[list[Attack]] = []
    for attack in attacks():
        if not found or len(found[-1]) == size or found[-1][0].section != attack.section:
            found.append([])
        found[-1].append(attack)
    return found

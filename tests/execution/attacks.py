"""Reads the attacks in `attacks.txt`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

HELPERS = {
    "raw": """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def must_fail(result):
    if result == -1: raise OSError(ctypes.get_errno(), 'refused')
    print('BREACH')
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


@dataclass(frozen=True)
class Attack:
    name: str
    ends: tuple[str, ...]
    errors: tuple[str, ...]
    code: str


def attacks() -> list[Attack]:
    """Every attack of the file, its helpers in front of its code."""
    text = Path(__file__).with_name("attacks.txt").read_text()
    found = []
    for block in re.split(r"^== ", text, flags=re.MULTILINE)[1:]:
        head, _, code = block.partition("\n")
        name, ends, errors, helper = (*(part.strip() for part in head.split("|")), "", "")[:4]
        code = re.sub(r"^## .*", "", code, flags=re.MULTILINE).strip()
        refusals = tuple(errors.replace(",", " ").split())
        found.append(Attack(name, tuple(ends.split()), refusals, HELPERS.get(helper, "") + code))
    return found

"""Freed tensors leave the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import codetool

PROGRAM = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("heap", sys.argv[1])
heap = importlib.util.module_from_spec(spec)
spec.loader.exec_module(heap)
if sys.argv[2] == "returned":
    heap.return_freed_tensors()

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

large = bytearray(24 << 20)
del large  # from here on glibc would take blocks of this size from the heap
before, kept = resident(), []
large = []
for size in range(6, 22):
    large.append(bytearray(size << 20))
    kept.append(bytearray(100_000))
del large
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_blocks_between_small_ones_are_returned_when_they_are_freed() -> None:
    heap = Path(codetool.__file__).parent / "training" / "heap.py"
    kept = {}
    for way in ("returned", "kept"):
        done = subprocess.run(
            [sys.executable, "-I", "-c", PROGRAM, heap, way], capture_output=True, text=True, check=True, env={}
        )
        kept[way] = int(done.stdout)
    assert kept["returned"] < 10e6 < 100e6 < kept["kept"], kept

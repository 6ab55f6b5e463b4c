"""The memory of a process stays bounded over passes of ever new lengths."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from codetool.models.kernel_memory import CACHES

PROGRAM = """
import os, sys
import torch
from codetool.models.kernel_memory import limit_kernel_caches, return_freed_memory

if sys.argv[1] == "limited":
    limit_kernel_caches()
torch.set_num_threads(1)
weight, rows = torch.randn(576, 1536, dtype=torch.bfloat16), torch.randn(1400, 1536, dtype=torch.bfloat16)

def resident():
    return_freed_memory()
    return int(open("/proc/self/statm").read().split()[1]) * 4096

torch.nn.functional.linear(rows, weight)
before = resident()
for length in range(600, 1400, 2):
    torch.nn.functional.linear(rows[:length], weight)
print(resident() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_kernels_of_many_lengths_do_not_pile_up() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in CACHES}
    grown = {}
    for way in ("limited", "unlimited"):
        command = [sys.executable, "-c", PROGRAM, way]
        grown[way] = int(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)
    assert grown["limited"] < grown["unlimited"] / 2, grown

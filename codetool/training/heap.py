"""Keep the memory of a training on the CPU from growing: large tensors that were freed go back to the system."""

from __future__ import annotations

import ctypes
import os

MMAP_THRESHOLD = 4 << 20
"""Size in bytes from which a tensor has memory of its own, which is returned when the tensor is freed."""
M_MMAP_THRESHOLD = -3
"""glibc's number of the setting, see `man 3 mallopt`."""


def return_freed_tensors() -> None:
    """Let glibc map every block above `MMAP_THRESHOLD` by itself, unless the environment has chosen a threshold.

    By default glibc raises the threshold to the size of freed blocks, up to 32 MiB. Then the activations of passes of
    ever new lengths come from one heap, which fragments: a LoRA training of SmolLM2 grew from 6 to 12 GB in 460
    updates. Does nothing where the C library is another one.
    """
    if "MALLOC_MMAP_THRESHOLD_" in os.environ or "glibc.malloc.mmap_threshold" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    try:
        ctypes.CDLL("libc.so.6").mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD)
    except (OSError, AttributeError):
        return

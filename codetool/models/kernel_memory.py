"""Bound the memory that torch keeps on the CPU for kernels and freed tensors."""

from __future__ import annotations

import ctypes
import os

KERNELS = 128
"""Number of bfloat16 kernels that are kept; a pass of one model needs about a dozen."""
CACHES = ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY")
"""Environment variables with the sizes of the caches of torch and of oneDNN, which both read at their first kernel."""


def limit_kernel_caches() -> None:
    """Let torch keep at most `KERNELS` bfloat16 kernels instead of 1,024, unless the environment says otherwise.

    oneDNN makes a kernel for every size of a matrix product and keeps up to half a megabyte with it. Passes of ever
    new lengths fill its cache: a LoRA training of SmolLM2 grew from 5 to 12 GB in 460 updates. Has no effect after
    the process's first product in bfloat16.
    """
    for name in CACHES:
        os.environ.setdefault(name, str(KERNELS))


def return_freed_memory() -> None:
    """Let glibc return the pages of its heap that hold nothing; does nothing with another C library.

    The call takes milliseconds and the pass after it somewhat longer, so it is one for many passes.
    """
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return

"""Count the parameters of a model from the headers of its `*.safetensors` files, without loading it."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from pathlib import Path

FLOAT_FORMATS = frozenset({"F64", "F32", "F16", "BF16"})
"""Number formats whose elements are parameters; packed formats hold several parameters in one element."""
HEADER_LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100_000_000
"""Maximum length of a header, as the safetensors library has it."""


@lru_cache(maxsize=16)
def count_parameters(folder: Path) -> int | None:
    """Return the number of parameters of the model in a folder; None without its weights, or for packed weights.

    A LoRA adapter adds less than a hundredth and is left out.
    """
    files = sorted(folder.glob("*.safetensors"))
    try:
        counts = [_count_elements(file) for file in files]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _count_elements(file: Path) -> int | None:
    """Return the number of elements of all tensors of a file; None if one of them is no floating-point tensor."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(HEADER_LENGTH_BYTES), "little")
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"{file} has a header of {length} bytes")
        header = json.loads(opened.read(length))
    tensors = [entry for name, entry in header.items() if name != "__metadata__"]
    if any(entry["dtype"] not in FLOAT_FORMATS for entry in tensors):
        return None
    return sum(math.prod(map(int, entry["shape"])) for entry in tensors)

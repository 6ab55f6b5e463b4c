"""A bound on wall time that a busy machine keeps, for what must not wait for a time-out or for further attempts."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def promptly(seconds: float = 20) -> Iterator[None]:
    """Fail where the block takes more than so many seconds: far more than it needs, less than what is guarded against.

    Defaults in the product for comparison: 60 s until the first byte of an answer, 31 s for six further attempts.
    """
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert took < seconds, f"this took {took:.1f} s"

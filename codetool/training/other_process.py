"""Run a rank from 1 on of a training: `python -m codetool.training.other_process FILE`, with the rank in LOCAL_RANK.

The process ends as soon as rank 0 closes its standard input, also while it imports PyTorch, which takes seconds: it
watches that before it imports more than the standard library.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from pathlib import Path


def main(file: Path) -> None:
    """Train as one of the ranks from 1 on, with the job in the file."""

    def watch() -> None:
        sys.stdin.buffer.read()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    from codetool.errors import CodeToolError
    from codetool.training.fit import fit
    from codetool.training.module import DivergedError

    try:
        fit(pickle.loads(file.read_bytes()), int(os.environ["LOCAL_RANK"]), None, None)
    except (KeyboardInterrupt, DivergedError):  # the processes have agreed to end
        pass
    except CodeToolError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

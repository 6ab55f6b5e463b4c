"""Where the downloaded data lies; a test that lacks it skips, in CI it fails."""

import os
from pathlib import Path

import pytest


def data_folder(part="."):
    """The folder that CODETOOL_DATA names, or a part of it."""
    root = os.environ.get("CODETOOL_DATA")
    if root is None or not (Path(root) / part).exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"CODETOOL_DATA={root} holds no {part}")
    return Path(root) / part

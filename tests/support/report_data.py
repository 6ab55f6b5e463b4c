"""What `report.html` holds, read without a browser."""

from __future__ import annotations

import base64
import json
import re
import zlib
from typing import Any

DATA = re.compile(r'<script type="application/octet-stream" id="([\w-]+)">([\w+/=]*)</script>')


def data(html: str) -> dict[str, Any]:
    """The value of every data script by its name: `run`, `lines`, `tree-0`, …"""
    return {name: json.loads(zlib.decompress(base64.b64decode(text))) for name, text in DATA.findall(html)}

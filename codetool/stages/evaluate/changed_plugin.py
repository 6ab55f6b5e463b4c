"""Tell why a run begins anew: the code of a plug-in has changed since a run with the same settings."""

from __future__ import annotations

from pathlib import Path

from codetool.errors import ConfigError
from codetool.runs.identity import Identity
from codetool.runs.plugin_code import CHECKSUM_PREFIX
from codetool.runs.provenance import PROVENANCE_FILE, read_provenance


def describe_changed_plugin(path: Path, identity: Identity) -> str | None:
    """Describe in one line the newest result that differs by the code of plug-ins alone; None without one.

    `path` is the run folder, which is not there yet; results of other code lie beside it.
    """
    if path.exists() or not any(name.startswith(CHECKSUM_PREFIX) for name in identity.checksums):
        return None
    prefix = path.name.rpartition(identity.digest)[0]
    files = sorted(path.parent.glob(f"{prefix}*/{PROVENANCE_FILE}"), key=lambda file: file.stat().st_mtime)
    for file in reversed(files):
        try:
            earlier = read_provenance(file.parent).identity
        except ConfigError:
            continue
        changed = [name for name in identity.checksums if identity.checksums[name] != earlier.checksums.get(name)]
        plugins_alone = changed and all(name.startswith(CHECKSUM_PREFIX) for name in changed)
        if plugins_alone and earlier.settings == identity.settings and earlier.version == identity.version:
            return (
                f"The code of {', '.join(changed)} has changed since {file.parent}, so this is a new result. "
                f"reuse=[{file.parent}] takes the candidates from there."
            )
    return None

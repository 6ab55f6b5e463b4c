"""Check that a model can learn a PRM's label tokens, and add new tokens for them to its tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer

from codetool.errors import ConfigError, MissingError

EMBEDDING_SUFFIXES = ("embed_tokens.weight", "lm_head.weight")
"""Suffixes of the names of weights that have one row for each token."""
WEIGHTS_FILE = "model.safetensors"
"""Name of the weights file of a model that is not split."""
UNTRAINED_NORM_RATIO = 0.1
"""Rows with a norm below this fraction of the median count as untrained: they are still close to their start, 0."""


def find_untrained_tokens(folder: Path, tokens: Sequence[int]) -> list[int]:
    """Return those of the tokens whose embedding rows the model was never trained on.

    Such a row has a far smaller norm than others, or equals the row of another token. Raises MissingError for damaged
    files.
    """
    import torch

    untrained: set[int] = set()
    for rows in _read_embeddings(folder):
        norms = torch.cat([part.float().norm(dim=1) for part in rows.split(8192)])
        median = norms.median()
        for token in tokens:
            similar = (norms - norms[token]).abs() <= 1e-3 * median
            identical_rows = (rows[similar] == rows[token]).all(1).sum()
            if norms[token] < UNTRAINED_NORM_RATIO * median or identical_rows > 1:
                untrained.add(token)
    return [token for token in tokens if token in untrained]


def _read_embeddings(folder: Path) -> Iterator[Any]:
    file = folder / "model.safetensors.index.json"
    try:
        files = sorted(set(json.loads(file.read_text())["weight_map"].values())) if file.is_file() else [WEIGHTS_FILE]
        for file in (folder / name for name in files):
            with safe_open(file, "pt") as weights:
                for name in weights.keys():
                    if name.endswith(EMBEDDING_SUFFIXES):
                        yield weights.get_tensor(name)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise MissingError(f"{file} cannot be read: {error}. Is the download complete?") from error


def add_label_tokens(folder: Path, labels: tuple[str, str]) -> Tokenizer:
    """Return the folder's tokenizer with both labels as new tokens. Raises ConfigError if one is a token already."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for label in labels:
        if len(tokenizer.encode(label, add_special_tokens=False).ids) <= 1:
            raise ConfigError(
                f"train.add_label_tokens=true: prm.labels={list(labels)}, but {label!r} is a token of the model "
                "already. Leave out train.add_label_tokens, or name labels that no text contains, "
                "prm.labels=['<more>','<less>']."
            )
    tokenizer.add_special_tokens(list(labels))
    return tokenizer

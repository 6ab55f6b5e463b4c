"""A PRM that nothing reads is left out of a run; one that a search needs must be there."""

import io

import pytest
from rich.console import Console

from codetool.config.compose_run import compose_run
from codetool.errors import ConfigError
from codetool.prm.none import NoPRM
from codetool.stages.evaluate.unused_prm import drop_unused_prm


def drop(*words: str) -> tuple[bool, str]:
    """Whether the PRM is left out, and what is said."""
    console = Console(file=io.StringIO())
    choices = {"search": "mcts", "prm": "random"}
    config, left = drop_unused_prm(compose_run("search=mcts", *words), choices, console)
    assert isinstance(config.prm, NoPRM) == (left["prm"] == "none" or "prm=none" in words)
    return left["prm"] == "none", console.file.getvalue()


def test_a_search_that_reads_latent_rewards_keeps_the_prm_whatever_the_reward() -> None:
    words = ("prm=random", "reward=without_latent")
    assert drop(*words, "search.prior=latent") == (False, "")
    assert drop(*words, "search.prior=uniform", "search.value=prm") == (False, "")
    assert drop(*words, "search.prior=uniform", "search.select=two_stage") == (False, "")
    assert drop(*words, "search=beam", "search.select=two_stage") == (False, "")
    assert drop(*words, "search=beam", "search.select=vote")[0]
    left_out, said = drop(*words, "search.prior=uniform")
    assert left_out and "prm=random is neither loaded nor asked" in said


def test_a_search_that_needs_a_prm_is_refused_without_one() -> None:
    with pytest.raises(ConfigError, match=r"search=mcts: its settings need a PRM, and prm=none .* prm=smollm2"):
        drop("prm=none", "search.value=prm")
    assert drop("prm=none", "search.prior=latent") == (False, ""), "priors are uniform then"

"""Every option of `search=`: it composes, is what it says, and keeps the Protocol."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from search_world import fans, search

from codetool.interfaces import SearchStrategy

CONF = Path(__file__).parents[2] / "conf"
OPTIONS = sorted(path.stem for path in (CONF / "search").glob("*.yaml"))


def composed(*overrides: str):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(overrides=list(overrides))


def test_there_are_options():
    assert {"chain", "greedy", "best_of_n", "beam", "dvts", "adaptive", "mcts", "dfs", "exhaustive"} <= set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
async def test_every_option_searches(option):
    strategy = instantiate(composed(f"+search={option}").search)
    assert isinstance(strategy, SearchStrategy)
    assert strategy.depth == 5
    result = await search(strategy, fans)
    assert result.best.finished
    assert result.best.id in {node.id for node in result.nodes}


@pytest.mark.parametrize("option", OPTIONS)
def test_a_size_of_zero_is_refused(option):
    settings = composed(f"+search={option}").search
    for key in settings.keys() & {"depth", "n", "width", "trees", "simulations", "rollouts", "parallel"}:
        with pytest.raises(Exception, match=f"(?s){key}.*greater than 0"):
            instantiate(settings, **{key: 0})


def test_chain_is_greedy_decoding_unless_told_otherwise(tmp_path):
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "some.yaml").write_text("temperature: ${oc.select:search.temperature,0.9}\n")
    (tmp_path / "search").symlink_to(CONF / "search")
    (tmp_path / "config.yaml").write_text("defaults: [_self_, {policy: some}, {search: beam}]\n")
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        assert compose("config").policy.temperature == 0.9
        assert compose("config", ["search=chain"]).policy.temperature == 0.0
        assert compose("config", ["search=chain", "policy.temperature=0.7"]).policy.temperature == 0.7
        assert compose("config", ["policy.temperature=0.7", "search=chain"]).policy.temperature == 0.7

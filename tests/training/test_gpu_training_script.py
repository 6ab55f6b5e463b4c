"""The GPU benchmark's sides on a model of two layers: they learn the same tokens with the same loss."""

import gpu_training
import pytest
import torch
from gpu_training import TINY, grow_tree


def test_a_tree_has_an_example_for_each_step_that_learns_its_tokens():
    tree = grow_tree(TINY, 0)
    assert len(tree) == 2 + 4 + 8
    for example in tree:
        learned = [target.token for target in example.targets]
        assert len(learned) == TINY.step
        assert [example.tokens[target.position + 1] for target in example.targets[:-1]] == learned[:-1]


@pytest.mark.slow  # transformers and PEFT are loaded
def test_all_sides_have_the_same_loss(capsys):
    words = ["--tiny", "--trees", "1", "--repeats", "1", "--warm-up", "0", "--lengths", "200"]
    assert gpu_training.main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and "error" not in "".join(lines)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_what_to_do(capsys):
    with pytest.raises(SystemExit):
        gpu_training.main([])
    assert "there is no GPU; --tiny tries the script on a CPU" in capsys.readouterr().err

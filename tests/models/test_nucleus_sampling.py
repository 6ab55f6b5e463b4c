"""Draws follow the nucleus of the softmax."""

import torch

from codetool.models.nucleus_sampling import compute_log_probabilities, sample_tokens

LOGITS = torch.tensor([[1.0, 3.0, 2.0, -4.0, 0.5]])


def shares(temperature: float, top_p: float, draws: int = 4000) -> torch.Tensor:
    uniforms = [i / draws for i in range(draws)]
    [drawn] = sample_tokens(LOGITS, [uniforms], temperature, top_p)
    tokens = torch.tensor(drawn)
    return torch.bincount(tokens, minlength=5) / draws


def test_whole_distribution() -> None:
    torch.testing.assert_close(shares(0.7, 1.0), (LOGITS[0] / 0.7).softmax(-1), atol=1e-3, rtol=0)


def test_nucleus() -> None:
    probabilities = LOGITS[0].softmax(-1)
    expected = torch.where(probabilities >= 0.2, probabilities, 0)  # the two best hold 0.83, the best alone 0.61
    torch.testing.assert_close(shares(1.0, 0.8), expected / expected.sum(), atol=1e-3, rtol=0)


def test_a_tiny_nucleus_and_temperature_zero_take_the_most_probable() -> None:
    assert sample_tokens(LOGITS, [[0.0, 0.5, 0.999999]], 1.0, 0.01) == [[1, 1, 1]]
    assert sample_tokens(LOGITS, [[0.9, 0.1]], 0, 1.0) == [[1, 1]]


def test_log_probabilities_are_those_of_the_softmax() -> None:
    logits = torch.cat([LOGITS, LOGITS.flip(-1) * 3])
    values = compute_log_probabilities(logits, [[1, 3, 1], [0]])
    expected = logits.log_softmax(-1)
    torch.testing.assert_close(torch.tensor(values[0]), expected[0, [1, 3, 1]])
    torch.testing.assert_close(torch.tensor(values[1]), expected[1, [0]])


def test_rows_do_not_touch_each_other() -> None:
    logits = torch.randn(6, 1000, generator=torch.Generator().manual_seed(0))
    uniforms = [[0.1, 0.9], [0.9], [0.5], [0.3, 0.4, 0.99], [0.7], [0.2]]
    alone = [sample_tokens(logits[i : i + 1], uniforms[i : i + 1], 0.9, 0.95)[0] for i in range(6)]
    assert sample_tokens(logits, uniforms, 0.9, 0.95) == alone

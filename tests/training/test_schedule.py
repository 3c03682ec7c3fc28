from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge.config import StageSettings
from training.schedule import interleave, learning_rate_at, quotas

names = ("agent", "code", "text")


@given(st.integers(0, 500), st.lists(st.integers(0, 200), min_size=3, max_size=3))
@settings(max_examples=100, deadline=None)
def test_quotas_use_what_there_is_and_no_more(draws, room):
    capacities = dict(zip(names, room, strict=True))
    given_draws = quotas(draws, {"agent": 0.36, "code": 0.32, "text": 0.32}, capacities)
    assert sum(given_draws.values()) == min(draws, sum(room))
    assert all(given_draws[name] <= capacities[name] for name in names)


def test_quotas_follow_the_shares_and_hand_on_what_is_short():
    shares = {"agent": 0.36, "code": 0.32, "text": 0.32}
    assert quotas(100, shares, dict.fromkeys(names, 100)) == {"agent": 36, "code": 32, "text": 32}
    assert quotas(100, shares, {"agent": 100, "code": 100, "text": 0}) == {"agent": 53, "code": 47, "text": 0}


@given(st.dictionaries(st.sampled_from(names), st.integers(0, 60), min_size=1))
@settings(max_examples=100, deadline=None)
def test_every_prefix_of_the_order_keeps_the_shares(counts):
    order = interleave(counts)
    assert {name: order.count(name) for name in counts} == counts
    for end in range(1, len(order) + 1):
        for name, count in counts.items():
            assert abs(order[:end].count(name) - count * end / len(order)) < 1.5


def test_learning_rate_warms_up_stays_and_decays():
    stage = StageSettings(tokens=1, learning_rate=1.0, warmup_share=0.1, decay_share=0.2)
    rates = [learning_rate_at(step, 20, stage) for step in range(1, 21)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[15] == 1.0
    assert rates[16:] == pytest.approx([0.8, 0.6, 0.4, 0.2])
    cosine = [learning_rate_at(step, 20, stage.model_copy(update={"schedule": "cosine"})) for step in range(1, 21)]
    assert cosine[1] == 1.0
    assert cosine[1:] == sorted(cosine[1:], reverse=True)
    assert 0.0 < cosine[-1] < 0.02


@pytest.mark.parametrize("schedule", ["wsd", "cosine"])
@pytest.mark.parametrize("shares", [(0.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_learning_rate_is_positive_and_bounded_at_the_corners(schedule, shares, steps):
    stage = StageSettings(tokens=1, learning_rate=2.0, warmup_share=shares[0], decay_share=shares[1], schedule=schedule)
    assert all(0.0 < learning_rate_at(step, steps, stage) <= 2.0 for step in range(1, steps + 1))

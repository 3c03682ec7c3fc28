from __future__ import annotations

import time

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
    draws = interleave(counts)
    order = [draws.names[number] for number in draws.stratum]
    assert {name: order.count(name) for name in counts} == counts
    for end in range(1, len(order) + 1):
        for name, count in counts.items():
            assert abs(order[:end].count(name) - count * end / len(order)) <= 0.5 + 0.5 * len(counts)
    for number, name in enumerate(draws.names):
        assert draws.ordinal[draws.stratum == number].tolist() == list(range(counts[name]))


def test_ties_go_by_name():
    draws = interleave({"text": 2, "agent": 2, "code": 2})
    assert [draws.names[number] for number in draws.stratum] == ["agent", "code", "text"] * 2


def test_ten_million_draws_take_seconds():
    started = time.process_time()
    draws = interleave({"agent": 3_600_000, "code": 3_200_000, "text": 3_200_000})
    assert time.process_time() - started < 10.0
    assert draws.stratum.nbytes + draws.ordinal.nbytes == 6 * 10_000_000


def rates_of(steps, **settings_):
    stage = StageSettings(tokens=1, **({"learning_rate": 1.0} | settings_))
    return [learning_rate_at(step, steps, stage) for step in range(1, steps + 1)]


def test_learning_rate_warms_up_stays_and_decays():
    rates = rates_of(20, warmup_share=0.1, decay_share=0.2)
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[15] == 1.0
    assert rates[16:] == pytest.approx([0.8, 0.6, 0.4, 0.2])
    cosine = rates_of(20, warmup_share=0.1, schedule="cosine")
    assert cosine[1] == 1.0
    assert cosine[1:] == sorted(cosine[1:], reverse=True)
    assert 0.0 < cosine[-1] < 0.02


def test_one_minus_square_root_falls_fast_and_then_slowly():
    rates = rates_of(20, warmup_share=0.1, decay_share=0.2, decay="1-sqrt")
    assert rates[15] == 1.0
    assert rates[16:] == pytest.approx([1 - (number / 5) ** 0.5 for number in (1, 2, 3, 4)])


@pytest.mark.parametrize("shape", [{"schedule": "cosine"}, {"decay": "linear"}, {"decay": "1-sqrt"}])
def test_the_end_is_the_share_of_the_peak_one_step_after_the_last(shape):
    rates = rates_of(2000, decay_share=1.0, warmup_share=0.0, learning_rate=3.0, final_learning_rate_share=0.1, **shape)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.3, rel=0.01)
    assert rates[-1] > 0.3
    assert set(rates_of(9, warmup_share=0.0, decay_share=1.0, final_learning_rate_share=1.0, **shape)) == {1.0}


@pytest.mark.parametrize("shape", [{"schedule": "cosine"}, {"decay": "linear"}, {"decay": "1-sqrt"}])
@pytest.mark.parametrize("shares", [(0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0), (0.3, 0.9)])
@pytest.mark.parametrize("final", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_learning_rate_is_positive_and_bounded_at_the_corners(shape, shares, final, steps):
    rates = rates_of(
        steps, learning_rate=2.0, warmup_share=shares[0], decay_share=shares[1], final_learning_rate_share=final,
        **shape,
    )  # fmt: skip
    assert all(0.0 < rate <= 2.0 for rate in rates)
    peak = rates.index(max(rates))
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)

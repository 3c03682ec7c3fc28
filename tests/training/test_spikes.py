from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.config import SpikeSettings
from training.spikes import SpikeGuard, TooManySpikes

SETTINGS = SpikeSettings(window_steps=16, min_steps=8, sigmas=6.0, max_skipped_steps=3)


def usual(step: int) -> tuple[float, float]:
    return 3.0 + 0.1 * math.sin(step), 1.0 + 0.05 * math.cos(step)


def trained_guard(steps: int = 20) -> SpikeGuard:
    guard = SpikeGuard(SETTINGS)
    assert not any(guard.is_spike(*usual(step)) for step in range(steps))
    return guard


@pytest.mark.parametrize(("loss", "norm"), [(9.0, 1.0), (3.0, 40.0)])
def test_a_spike_of_the_loss_or_of_the_norm_is_skipped_and_not_remembered(loss, norm):
    guard = trained_guard()
    before = guard.state()
    assert guard.is_spike(loss, norm)
    assert guard.skipped_steps == 1
    assert guard.state() == before | {"skipped_steps": 1}
    assert not guard.is_spike(*usual(21))


def test_before_there_is_enough_to_compare_with_nothing_is_a_spike():
    guard = SpikeGuard(SETTINGS)
    assert not any(guard.is_spike(10.0**step, 1.0) for step in range(SETTINGS.min_steps))


def test_one_spike_too_many_ends_the_stage():
    guard = trained_guard()
    for _ in range(SETTINGS.max_skipped_steps):
        assert guard.is_spike(99.0, 1.0)
    with pytest.raises(TooManySpikes, match="max_skipped_steps"):
        guard.is_spike(99.0, 1.0)


def test_no_step_is_skipped_where_none_may_be():
    guard = SpikeGuard(SETTINGS.model_copy(update={"max_skipped_steps": 0}))
    assert not any(guard.is_spike(*usual(step)) for step in range(20))
    assert not guard.is_spike(1e9, 1e9)


@given(st.lists(st.tuples(st.floats(0, 1e3), st.floats(0, 1e3)), max_size=60), st.integers(0, 60))
def test_a_guard_that_was_written_and_read_decides_as_the_one_that_went_on(steps, cut):
    settings = SETTINGS.model_copy(update={"max_skipped_steps": 1000})
    straight, broken = SpikeGuard(settings), SpikeGuard(settings)
    for number, step in enumerate(steps):
        if number == cut:
            broken = SpikeGuard(settings, json.loads(json.dumps(broken.state())))
        assert straight.is_spike(*step) == broken.is_spike(*step)

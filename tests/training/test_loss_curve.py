"""The picture of a run: equal history gives equal bytes, and every fact that it shows is one of the history."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from forge.schema import KINDS
from training.loss_curve import loss_curve, smoothed
from training.run_history import Measurement, RunHistory, Step

STAGES = ("I", "II", "III")


def history(steps: int = 40, *, kinds: tuple[str, ...] = ("api_doc", "code"), measured: bool = True) -> RunHistory:
    found, measurements = [], []
    tokens = 0
    for stage in STAGES:
        for number in range(1, steps + 1):
            tokens += 1000
            by_kind = {kind: 2.0 + 0.1 * place - tokens / 1e6 for place, kind in enumerate(kinds)}
            entry = {
                "loss": sum(by_kind.values()) / len(by_kind), "loss_by_kind": by_kind,
                "learning_rate": 1e-4 * number / steps, "skipped": number == 3,
            }  # fmt: skip
            found.append(Step(stage, number, tokens, entry))
            if measured and number % 10 == 1:
                metrics = {"bfcl": 1.5, "bfcl/bits_per_byte": 0.7, "held_out:code": 1.1}
                measurements.append(Measurement(stage, number, tokens, metrics))
    return RunHistory(tuple(found), tuple(measurements))


def parsed(svg: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(svg)  # noqa: S314  it is our own


def text_of(svg: bytes) -> list[str]:
    return [(element.text or "").strip() for element in parsed(svg).iter("{http://www.w3.org/2000/svg}text")]


def colours_of(svg: bytes) -> set[str]:
    """Those of lines: stroke colours in style attributes, not those of the dark rules."""
    return set(re.findall(r'style="[^"]*stroke: (#[0-9a-f]{6})', svg.decode()))


def test_equal_history_gives_equal_bytes_in_any_process(tmp_path: Path) -> None:
    code = (
        "import hashlib, sys; from tests_of_curve import history, loss_curve;"
        "print(hashlib.sha256(loss_curve(history(), 'a run')).hexdigest())"
    )
    (tmp_path / "tests_of_curve.py").write_text(Path(__file__).read_text())
    (tmp_path / "matplotlibrc").write_text("svg.fonttype: path\nlines.linewidth: 9\naxes.grid: True\n")
    found = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(tmp_path), "TZ": zone},
        ).stdout
        for seed, zone, folder in (("1", "UTC", "/"), ("2", "Asia/Tokyo", str(tmp_path)))
    }  # fmt: skip
    assert len(found) == 1, "hash seed, time zone and the matplotlibrc of the folder play no part"
    assert loss_curve(history()) == loss_curve(history())
    assert loss_curve(history()) != loss_curve(history(41))


def test_it_is_svg_with_stages_kinds_units_and_a_name() -> None:
    svg = loss_curve(history(), "Run 1 & <2>, $x$")
    words = text_of(svg)
    for wanted in ("stage I", "stage II", "stage III", "api_doc", "code", "all", "bfcl", "held_out:code",
                   "skipped steps (3)", "loss, nats per token", "learning rate"):  # fmt: skip
        assert wanted in words, wanted
    assert "Run 1 & <2>, $x$" in words
    assert "bfcl/bits_per_byte" not in words, "another unit has no place on the axis of nats"
    assert any("tokens trained on" in word for word in words)
    root = parsed(svg)
    assert root.find("{http://www.w3.org/2000/svg}title").text == "Run 1 & <2>, $x$"
    assert root.get("viewBox")
    assert not root.get("width"), "as wide as the page"


def test_dark_and_light(tmp_path: Path) -> None:
    svg = loss_curve(history()).decode()
    rules = re.search(r"@media \(prefers-color-scheme: dark\)\{(.*)\}</style>", svg)
    assert rules
    swapped = dict(
        re.findall(r'\[style\*="(?:fill|stroke): (#[0-9a-f]{6})"\]\{(?:fill|stroke):(#[0-9a-f]{6})', rules[1])
    )
    drawn = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", svg.replace(rules[0], "")))
    assert drawn == set(swapped), "every colour that is drawn has a dark one"

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one: str, other: str) -> float:
        low, high = sorted((luminance(one), luminance(other)))
        return (high + 0.05) / (low + 0.05)

    [surface] = [colour for colour in swapped if luminance(colour) > 0.95]
    for colour in colours_of(svg.encode()) - {"#e3e5ea"}:  # the grid is meant to be faint
        assert contrast(colour, surface) >= 3.0, colour  # WCAG 2.1, 1.4.11: graphical objects
        assert contrast(swapped[colour], swapped[surface]) >= 3.0, colour


def test_a_kind_has_the_same_colour_in_every_picture() -> None:
    alone = colours_of(loss_curve(history(kinds=("text",), measured=False)))
    both = colours_of(loss_curve(history(kinds=("api_doc", "text"), measured=False)))
    assert alone < both
    every = colours_of(loss_curve(history(kinds=(*KINDS, "new", "newer", "newest"), measured=False)))
    assert both < every


def test_a_long_run_is_drawn_with_a_bounded_number_of_points_and_keeps_its_spike() -> None:
    steps = [
        Step("I", number, number, {"loss": 2.95 if number == 31_234 else 3.0 - number / 50_000, "learning_rate": 1e-4})
        for number in range(1, 50_001)
    ]
    svg = loss_curve(RunHistory(tuple(steps), ()))
    assert len(svg) < 100_000
    lines = [
        [float(y) for y in re.findall(r"[ML] [\d.-]+ ([\d.-]+)", path)]
        for path in re.findall(r' d="([^"]*)"', svg.decode())
    ]
    assert max(float(np.abs(np.diff(ys)).max()) for ys in lines if len(ys) > 100) > 90, "one step, half the picture up"


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_few_steps_are_no_error(steps: int) -> None:
    parsed(loss_curve(history(steps)))
    nothing_known = RunHistory((Step("I", 1, 10, {"loss": None}), Step("I", 2, 20, {})), ())
    parsed(loss_curve(nothing_known))


@given(arrays(np.float64, st.integers(1, 300), elements=st.floats(-1e3, 1e3)))
def test_smoothing_stays_within_the_values_and_keeps_the_first(losses: np.ndarray) -> None:
    found = smoothed(losses)
    assert found.shape == losses.shape
    assert math.isclose(found[0], losses[0], abs_tol=1e-9)
    assert losses.min() - 1e-6 <= found.min() <= found.max() <= losses.max() + 1e-6
    if len(losses) < 50:
        np.testing.assert_allclose(found, losses, atol=1e-6)


def test_smoothing_is_the_mean_of_the_neighbours() -> None:
    found = smoothed(np.arange(200.0) ** 2)
    assert found[100] == pytest.approx(np.mean(np.arange(96.0, 105.0) ** 2))
    assert found[1] == pytest.approx(np.mean([0.0, 1.0, 4.0]))
    assert found[199] == pytest.approx(np.mean(np.arange(195.0, 200.0) ** 2))

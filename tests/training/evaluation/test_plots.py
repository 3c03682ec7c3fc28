"""The pictures: what they show, that equal evaluations give equal bytes, and that no two labels overlap."""

from __future__ import annotations

import copy
import itertools
import math
import xml.etree.ElementTree as ElementTree

import pytest

from tests.training.evaluation.evaluation_example import BFCL, CHECKPOINTS, evaluation_example
from training.evaluation.plots import (
    accuracy_by_category,
    accuracy_panels,
    colours_of,
    loss_over_tokens,
    loss_panels,
)


def test_the_panels_are_whole_tasks_then_categories_and_mmlu_by_area() -> None:
    whole, bfcl, mmlu = accuracy_panels(evaluation_example())
    assert [row.label for row in whole.rows][:3] == ["bfcl", "mmlu", "arc_easy"]
    assert [row.label for row in bfcl.rows] == list(BFCL), "overall scores are no categories"
    assert [row.label for row in mmlu.rows] == ["stem (19)", "other (13)", "social sciences (12)", "humanities (13)"]
    first = whole.rows[0].marks["base"]
    assert (first.value, first.members) == (0.3, ())
    assert first.low < first.value < first.high
    group = mmlu.rows[0].marks["III"]
    assert len(group.members) == 19
    assert group.low < group.value < group.high


def test_many_categories_without_scores_are_one_row_that_weighs_their_items() -> None:
    evaluation = evaluation_example()
    for checkpoint in evaluation["checkpoints"]:
        checkpoint["tasks"]["mmlu"]["overall"] = []
        checkpoint["figures"] = [one for one in checkpoint["figures"] if not one["category"].startswith("mmlu ")]
        for figure in checkpoint["figures"]:
            if figure["category"] == "virology":
                figure |= {"items": 9 * 560, "value": 1.0}
            elif figure["benchmark"] == "mmlu":
                figure["value"] = 0.5
    [row] = accuracy_panels(evaluation)[2].rows
    assert row.label == "57 categories"
    assert row.marks["base"].value == pytest.approx((56 * 0.5 + 560 * 1.0) / 616)
    assert math.isnan(row.marks["base"].low), "no interval is made up for a group"


def test_equal_evaluations_give_equal_bytes_and_valid_svg_with_both_palettes() -> None:
    for picture in (accuracy_by_category, loss_over_tokens):
        svg = picture(evaluation_example())
        assert svg is not None
        assert svg == picture(copy.deepcopy(evaluation_example()))
        assert b"prefers-color-scheme: dark" in svg
        assert ElementTree.fromstring(svg).tag.endswith("svg")  # noqa: S314 - our own
        assert b"<script" not in svg


def test_labels_of_rows_are_apart() -> None:
    svg = accuracy_by_category(evaluation_example())
    assert svg is not None
    places: dict[str, float] = {}
    for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):  # noqa: S314 - our own
        label = "".join(text.itertext()).strip()
        if label in (*BFCL, "stem (19)", "boolq", "piqa"):
            places[label] = float(text.attrib["y"])
    heights = sorted(places.values())
    assert len(places) == len(BFCL) + 3
    assert min(after - before for before, after in itertools.pairwise(heights)) > 12, "points"


def test_a_stage_always_has_its_colour() -> None:
    assert colours_of(CHECKPOINTS)["III"] == colours_of(["III"])["III"]
    colours = colours_of(["base", "III", "mine", "theirs"])
    assert len(set(colours.values())) == len(colours)


def test_losses_lie_at_the_tokens_of_their_checkpoints() -> None:
    panels = dict(loss_panels(evaluation_example()))
    assert list(panels) == ["held_out_loss", "bfcl_loss", "code_loss", "while training, on few items"]
    held_out = panels["held_out_loss"]
    assert [line.label for line in held_out] == ["all", "api_doc", "trajectory", "web", "code", "text"]
    assert [point[0] for point in held_out[0].points] == [0, 1_200_000_000, 1_800_000_000, 1_950_000_000]
    assert [point[1] for point in held_out[0].points] == pytest.approx([2.0, 1.88, 1.76, 1.64])
    assert {line.label for line in panels["while training, on few items"]} == {"bfcl", "held_out:web"}


def test_nothing_to_draw_is_no_picture() -> None:
    evaluation = evaluation_example()
    evaluation["curve"] = None
    evaluation["checkpoints"] = evaluation["checkpoints"][:1]
    evaluation["checkpoints"][0]["figures"] = [
        figure for figure in evaluation["checkpoints"][0]["figures"] if figure["metric"] == "nats_per_token"
    ]
    assert loss_over_tokens(evaluation) is None, "one point is no line"
    assert accuracy_by_category(evaluation) is None


def test_hostile_names_are_text() -> None:
    evaluation = evaluation_example()
    for checkpoint in evaluation["checkpoints"]:
        for figure in checkpoint["figures"]:
            figure["category"] = {"simple_java": "<script>$x^{$ \x1b[31m" + "long" * 50}.get(
                figure["category"], figure["category"]
            )
    svg = accuracy_by_category(evaluation)
    assert svg is not None
    ElementTree.fromstring(svg)  # noqa: S314 - our own
    assert b"<script" not in svg
    assert b"\x1b" not in svg

"""What the benchmark makes of its measurements."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import evaluate


def block(seconds: float) -> dict[str, float]:
    return {"seconds": seconds, "cpu_seconds": 2 * seconds}


def measured(one: float = 30.0, batched: float = 12.0, same: int = 31, **changes: Any) -> dict[str, Any]:
    decoding = {
        "threads": 2, "batch_items": 16, "max_new_tokens": 64, "prompts": 32,
        "prompt_tokens": {"mean": 200.0, "most": 300}, "new_tokens": {"mean": 40.0, "sum": 1_280}, "ties": 1,
        "cache_cpu_seconds": {"dynamic": 3.0, "static": 4.0},
        "same_texts": {"transformers_one": same, "transformers_batched": 30, "transformers_sorted": 30},
        "blocks": {
            "ours": [block(10.0), block(20.0), block(5.0)],
            "transformers_one": [block(one), block(2 * one), block(one)],
            "transformers_batched": [block(batched), block(2 * batched), block(batched)],
            "transformers_sorted": [block(11.0), block(21.0), block(6.0)],
        },
    }  # fmt: skip
    checking = {"items": 3_641, "right": 3_600, "passes": [0.5, 0.6, 9.0], "bfcl_eval": {"right": 1, "passes": [0.4]}}
    return {"decoding": decoding, "checking": {**checking, **changes}}


def missed(found: dict[str, Any]) -> list[str]:
    return [bar["name"] for bar in evaluate.report(found)["bars"] if not bar["passed"]]


def test_a_report_and_its_table() -> None:
    result = evaluate.report(measured())
    assert missed(measured()) == []
    assert result["ratios"]["seconds"]["transformers_one"] == {"median": 3.0, "least": 3.0, "most": 6.0}
    assert json.dumps(result)
    table = list(evaluate._table(result))
    assert any("3,600 gold answers right" in line for line in table)
    assert any(line.startswith("transformers_batched / ours, seconds: 1.2 ") for line in table)


@pytest.mark.parametrize(
    ("found", "bar"),
    [
        (measured(one=29.0), "transformers_one / ours"),
        (measured(batched=11.9), "transformers_batched / ours"),
        (measured(same=30), "answers unlike transformers_one's"),
        (measured(passes=[0.1, 2.1, 2.2]), "seconds to check all gold answers"),
        (measured(items=3_640), "gold answers checked"),
    ],
)
def test_each_bar_can_be_missed(found: dict[str, Any], bar: str) -> None:
    assert missed(found) == [bar]


def test_a_section_alone() -> None:
    assert {bar["limit"] for bar in evaluate.report({"checking": measured()["checking"]})["bars"]} == {2.0, 3_641}


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        evaluate.main(["--only", "nothing"])
    assert "invalid choice" in capsys.readouterr().err

"""A whole evaluation as plain data, with figures shaped like real ones: 57 subjects, overall scores."""

from __future__ import annotations

from typing import Any

from forge.schema import content_hash
from training.evaluation.general.mmlu_groups import GROUP_OF_SUBJECT

CHECKPOINTS = ("base", "I", "II", "III")
BFCL = (
    "simple_python", "simple_java", "simple_javascript", "multiple", "parallel", "parallel_multiple", "irrelevance",
    "live_simple", "live_multiple", "live_parallel", "live_parallel_multiple", "live_irrelevance", "live_relevance",
)  # fmt: skip
SUBJECTS = tuple(GROUP_OF_SUBJECT)
GROUPS = tuple(dict.fromkeys(f"mmlu {group}" for group in GROUP_OF_SUBJECT.values()))


def share(*parts: str) -> float:
    return int(content_hash(*parts)[:6], 16) / 2**24


def figure(
    benchmark: str, category: str, metric: str, value: float, items: int, leaves_out: str = ""
) -> dict[str, Any]:
    half = 0.9 / items**0.5 if metric != "nats_per_token" else 0.08
    low, high = max(0.0, value - half), value + half
    if metric != "nats_per_token":
        high = min(1.0, high)
    return {
        "benchmark": benchmark, "category": category, "metric": metric, "value": value, "low": low, "high": high,
        "items": items, "leaves_out": leaves_out,
    }  # fmt: skip


def figures_of(checkpoint: str) -> list[dict[str, Any]]:
    gain = 0.06 * CHECKPOINTS.index(checkpoint)
    missing = {"v2": "executable categories", "v3": "executable, multi-turn", "v4": "agentic"}
    general = ("arc_easy", "arc_challenge", "hellaswag", "piqa", "winogrande", "boolq")
    kinds = ("api_doc", "trajectory", "web", "code", "text")
    right = {category: min(1.0, 0.1 + 0.5 * share("bfcl", category) + gain) for category in BFCL}
    return [
        *(figure("bfcl", category, "accuracy", value, 38) for category, value in right.items()),
        *(figure("bfcl", category, "decodable", min(1.0, value + 0.2), 38) for category, value in right.items()),
        figure("bfcl", "all", "accuracy", 0.3 + gain, 494),
        figure("bfcl", "all", "decodable", 0.5 + gain, 494),
        *(figure("bfcl", name, "accuracy", 0.28 + gain, 494, lacks) for name, lacks in missing.items()),
        *(figure("mmlu", name, "accuracy", 0.2 + 0.3 * share(name) + gain / 6, 9) for name in SUBJECTS),
        *(figure("mmlu", name, "accuracy", 0.25 + 0.2 * share(name) + gain / 6, 125) for name in GROUPS),
        figure("mmlu", "all", "accuracy", 0.33 + gain / 6, 500),
        *(figure(task, "all", "accuracy", 0.35 + 0.3 * share(task) - gain / 9, 500) for task in general),
        *(figure("held_out_loss", kind, "nats_per_token", 1.5 + share(kind) - gain * 2, 8) for kind in kinds),
        figure("held_out_loss", "all", "nats_per_token", 2.0 - gain * 2, 40),
        *(figure(task, "all", "nats_per_token", 0.7 + share(task) - gain, 500) for task in ("bfcl_loss", "code_loss")),
    ]


def check(task: str, metric: str, limit: float | None, value: float | None, state: str) -> dict[str, Any]:
    bounds = {"low": None, "high": None, "detectable": None}
    if value is not None:
        bounds = {"low": value - 0.02, "high": value + 0.02, "detectable": 0.028}
    return {
        "against": "base", "task": task, "metric": metric, "limit": limit, "difference": value, "state": state,
        **bounds,
    }  # fmt: skip


def evaluation_example() -> dict[str, Any]:
    """The object that :func:`training.evaluation.report.write_report` takes."""
    tasks = dict.fromkeys(found["benchmark"] for found in figures_of("base"))
    stages = {"I": 1_200_000_000, "II": 1_800_000_000, "III": 1_950_000_000}
    return {
        "run_id": "0123456789abcdef",
        "release_id": "f" * 32,
        "base_model": "SmolLM2-135M-Instruct",
        "created_at": "2026-11-21T03:00:00+00:00",
        "seed": 3,
        "confidence": 0.95,
        "versions": {"torch": "2.13.0", "bfcl-eval": "2026.3.23"},
        "checkpoints": [
            {
                "checkpoint": name,
                "prompt_hash": "5" * 32,
                "device": "cpu",
                "precision": "fp32",
                "seconds": 812.4,
                "tasks": {
                    task: {
                        "key": content_hash(task),
                        "items": 500 if task != "held_out_loss" else 40,
                        "notes": {"items_in_all": 14042, "protocol": "log-likelihood"},
                        "overall": {"bfcl": ["v2", "v3", "v4"], "mmlu": list(GROUPS)}.get(task, []),
                    }
                    for task in tasks
                },
                "figures": figures_of(name),
                "not_evaluated": {"scienceworld": "no Java was found", "agentbench": "its servers are not running"},
            }
            for name in CHECKPOINTS
        ],
        "differences": [
            {
                "benchmark": task, "category": "all", "metric": metric, "before": "base", "after": "III",
                "value": value, "low": value - 0.02, "high": value + 0.02, "p_value": 0.0005, "p_holm": 0.004,
                "minimal_detectable": 0.028, "items": 500,
            }
            for task, metric, value in (("bfcl", "accuracy", 0.18), ("bfcl_loss", "nats_per_token", -0.18))
        ],
        "not_compared": [{"before": "base", "after": "III", "task": "code_loss", "reason": "other prompts"}],
        "promotion": {
            "promoted": False,
            "reason": "winogrande accuracy may have fallen by more than 2 points",
            "checks": [
                check("mmlu", "accuracy", -0.02, 0.03, "passed"),
                check("winogrande", "accuracy", -0.02, -0.031, "failed"),
                check("bfcl_loss", "nats_per_token", None, None, "unresolved"),
            ],
        },
        "curve": {
            "stages": stages,
            "measurements": [
                {
                    "stage": "I", "step": step, "tokens": step * 20_000_000,
                    "metrics": {
                        "bfcl/nats_per_token": 1.2 - step / 200, "held_out:web/nats_per_token": 2.4 - step / 150,
                    },
                }
                for step in range(0, 98, 4)
            ],
        },
        "answers": [
            {
                "checkpoint": "III", "task": "bfcl", "category": category, "item_id": f"{category}_{number}",
                "answer": f"[get_weather(city='{number}')]", "problem": "wrong value of city",
            }
            for category in ("simple_python", "multiple")
            for number in range(3)
        ],
    }  # fmt: skip

"""The report of an evaluation for people: ``report.html``, one file that needs no other, and ``report.md``.

What is said, in this order: whether the model may be promoted, every task's figures side by side, the pictures, overall
scores with what each leaves out and the categories they are made of, differences, the checks of promotion, what was not
evaluated, some wrong answers, and how everything was measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from forge.schema import canonical_json
from training.evaluation.figures import ALL
from training.evaluation.page import Block, Heading, Paragraph, Picture, Quotation, Table, as_html, as_markdown
from training.evaluation.plots import RIGHT, accuracy_by_category, loss_over_tokens
from training.files import write_atomically

HTML, MARKDOWN = "report.html", "report.md"

_HEADLINES = (*RIGHT, "accuracy_norm", "decodable", "nats_per_token", "bits_per_byte")
_SHARES = ("accuracy", "success", "decodable", "relevance", "function_choice")
"""A metric that begins with one of these (``accuracy_norm``) is shown in percent."""
_NAMES = {"base": "before (base)", "I": "after I", "II": "after II", "III": "after III"}
_NOTHING = "nothing"
_OPEN_ROWS = 20  # of a table by category; a longer one is folded
_WRONG_ANSWERS = 3  # of a category


def write_report(folder: Path, evaluation: Mapping[str, Any]) -> Path:
    """Write :data:`HTML`, :data:`MARKDOWN` and the pictures of the latter into a folder that exists; the HTML's path.
    Equal objects give equal bytes.

    ``evaluation``::

        run_id, release_id     "" where no run was evaluated
        base_model             what the run started from
        created_at             ISO 8601
        seed, confidence       of the samples and of the bootstrap; of the intervals
        versions               {library: version}
        checkpoints            in order, each
            checkpoint         base, I, II, III, or what a model of somebody's is called
            prompt_hash, device, precision, seconds
            tasks              {task: {"key", "items", "notes": {...}, "overall": [names of overall scores]}}
            figures            [training.evaluation.figures.Figure as dict]
            not_evaluated      {task: reason}
        differences            [training.evaluation.figures.Difference as dict]
        not_compared           [{"before", "after", "task", "reason"}]
        promotion              {"promoted": bool, "reason": str, "checks": [{"against", "task", "metric", "state",
                                "difference", "low", "high", "limit", "detectable"}]}, or None: nothing was trained
        curve                  {"stages": {stage: tokens at its end, over all stages},
                                "measurements": [{"stage", "step", "tokens", "metrics": {name: loss}}]}, or None
        answers                [{"checkpoint", "task", "category", "item_id", "answer", "problem"}] of wrong ones
    """
    title = f"Evaluation of run {evaluation['run_id']}" if evaluation["run_id"] else "Evaluation"
    blocks = list(_blocks(evaluation))
    for block in blocks:
        if isinstance(block, Picture):
            write_atomically(folder / block.name, block.svg)
    write_atomically(folder / MARKDOWN, as_markdown(title, blocks).encode())
    write_atomically(folder / HTML, as_html(title, blocks).encode())
    return folder / HTML


def _blocks(evaluation: Mapping[str, Any]) -> Iterator[Block]:
    yield from _verdict(evaluation["promotion"])
    yield _facts(evaluation)
    yield from _headlines(evaluation)
    if picture := accuracy_by_category(evaluation):
        yield Heading("Accuracy by category")
        yield Picture("accuracy.svg", picture, "Share of right answers by task and category, with confidence intervals")
    if picture := loss_over_tokens(evaluation):
        yield Heading("Loss over tokens")
        yield Picture("losses.svg", picture, "Benchmark losses in nats per token over the tokens trained on")
    for task in _tasks(evaluation):
        yield from _by_category(evaluation, task)
    yield from _differences(evaluation)
    yield from _not_compared(evaluation)
    yield from _checks(evaluation["promotion"])
    yield from _not_evaluated(evaluation)
    yield from _wrong_answers(evaluation["answers"])
    yield from _measured_how(evaluation)


def _verdict(promotion: Mapping[str, Any] | None) -> Iterator[Block]:
    if promotion is None:
        return
    made = [check for check in promotion["checks"] if check["state"] != "not evaluated"]
    checks = f" ({sum(check['state'] == 'passed' for check in made)} of {len(made)} checks passed)" if made else ""
    if promotion["promoted"]:
        yield Paragraph(f"The model may be promoted{checks}.", "good")
    else:
        yield Paragraph(f"Promotion refused{checks}: {promotion['reason']}", "bad")


def _facts(evaluation: Mapping[str, Any]) -> Table:
    checkpoints = evaluation["checkpoints"]

    def each(name: str) -> str:
        """One value, or one for each checkpoint where they differ."""
        values = {str(checkpoint["checkpoint"]): str(checkpoint[name]) for checkpoint in checkpoints}
        if len(set(values.values())) <= 1:
            return next(iter(values.values()), "-")
        return ", ".join(f"{checkpoint}: {value}" for checkpoint, value in values.items())

    facts = {
        "run": evaluation["run_id"] or "none",
        "release": evaluation["release_id"] or "none",
        "base model": evaluation["base_model"],
        "checkpoints": ", ".join(str(checkpoint["checkpoint"]) for checkpoint in checkpoints),
        "prompt hash": each("prompt_hash"),
        "device": each("device"),
        "precision": each("precision"),
        "items": f"samples chosen by seed {evaluation['seed']}; how many of each task stands beside its figures",
        "intervals": f"{evaluation['confidence']:.0%}, by the methods of docs/evaluation.md",
        "versions": ", ".join(f"{name} {version}" for name, version in sorted(evaluation["versions"].items())) or "-",
        "evaluated": evaluation["created_at"],
    }
    return Table(("", ""), [(name, str(value)) for name, value in facts.items()])


# --- figures -------------------------------------------------------------------------------------------------------

Cell = Mapping[str, Any]
Rows = dict[tuple[str, str, str], dict[str, Cell]]


def _rows(evaluation: Mapping[str, Any]) -> Rows:
    """Figures by (task, category, metric), then by checkpoint, in the order in which they come."""
    rows: Rows = {}
    for checkpoint in evaluation["checkpoints"]:
        for figure in checkpoint["figures"]:
            place = (str(figure["benchmark"]), str(figure["category"]), str(figure["metric"]))
            rows.setdefault(place, {})[str(checkpoint["checkpoint"])] = figure
    return rows


def _tasks(evaluation: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(task for task, _, _ in _rows(evaluation)))


def _checkpoints(evaluation: Mapping[str, Any]) -> list[str]:
    return [str(checkpoint["checkpoint"]) for checkpoint in evaluation["checkpoints"]]


def _columns(evaluation: Mapping[str, Any]) -> list[str]:
    return [_NAMES.get(name, name) for name in _checkpoints(evaluation)]


def _cells(evaluation: Mapping[str, Any], figures: Mapping[str, Cell], metric: str) -> list[str]:
    """How many items, then value and interval of each checkpoint."""
    counts = list(dict.fromkeys(f"{figure['items']:,}" for figure in figures.values()))
    return [
        " / ".join(counts),
        *(with_interval(figures[name], metric) if name in figures else "-" for name in _checkpoints(evaluation)),
    ]


def with_interval(figure: Cell, metric: str) -> str:
    """``48.2 % [44.0, 52.4]`` for shares, ``1.042 [0.981, 1.103]`` for what else is measured."""
    if is_share(metric) and (figure["high"] or 0) > 1:
        metric = ""  # AgentBench's overall score weighs shares up to 9
    value, low, high = (shown(figure[name], metric) for name in ("value", "low", "high"))
    unit = " %" if is_share(metric) else ""
    return f"{value}{unit} {_interval(low, high)}".rstrip(" -") if value != "-" else "-"


def _interval(low: str, high: str) -> str:
    return "-" if "-" in {low, high} else f"[{low}, {high}]"


def is_share(metric: str) -> bool:
    return metric.startswith(_SHARES)


def shown(value: object, metric: str) -> str:
    """A value without its unit: percent with one digit, else four significant digits."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return "-"
    if is_share(metric):
        return f"{100 * value:.1f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.4g}"


def _headlines(evaluation: Mapping[str, Any]) -> Iterator[Block]:
    lines = [
        (task, metric, *_cells(evaluation, figures, metric))
        for (task, category, metric), figures in _rows(evaluation).items()
        if category == ALL and metric in _HEADLINES
    ]
    yield Heading("Before and after")
    yield Paragraph(
        "Each task over its items, each item counted once, with confidence intervals. Losses (nats per token, bits per "
        "byte) are those of right answers: lower is better."
    )
    yield Table(("task", "metric", "items", *_columns(evaluation)), lines, 1 + len(evaluation["checkpoints"]))


def _by_category(evaluation: Mapping[str, Any], task: str) -> Iterator[Block]:
    """A task's overall scores, and right below them the categories that they are made of."""
    overall = {
        str(name)
        for checkpoint in evaluation["checkpoints"]
        for name in checkpoint["tasks"].get(task, {}).get("overall", ())
    }
    scores, categories = [], []
    for (of_task, category, metric), figures in _rows(evaluation).items():
        if of_task != task:
            continue
        cells = _cells(evaluation, figures, metric)
        if category in overall:
            left_out = dict.fromkeys(str(figure["leaves_out"]) for figure in figures.values())
            scores.append((category, metric, "; ".join(filter(None, left_out)) or _NOTHING, *cells))
        elif category != ALL or metric not in _HEADLINES:
            categories.append((category, metric, *cells))
    if not scores and not categories:
        return
    count = 1 + len(evaluation["checkpoints"])
    columns = ("items", *_columns(evaluation))
    yield Heading(task, 2)
    if scores:
        yield Paragraph(
            "Overall scores by the benchmark's own formulas, over what is measured here. A score that leaves something "
            "out may not be compared with a published one; the categories below are what was measured."
        )
        yield Table(("overall score", "metric", "leaves out", *columns), scores, count)
    if categories:
        named = len({category for category, *_ in categories} - {ALL})
        # A score that leaves something out is never shown without what it is made of
        is_folded = len(categories) > _OPEN_ROWS and all(left_out == _NOTHING for _, _, left_out, *_ in scores)
        fold = f"{task}: {len(categories)} figures of {named} categories" if is_folded else ""
        categories.sort(key=lambda row: row[1] not in RIGHT)
        yield Table(("category", "metric", *columns), categories, count, fold)


def _differences(evaluation: Mapping[str, Any]) -> Iterator[Block]:
    found = evaluation["differences"]
    if not found:
        return
    yield Heading("Differences")
    yield Paragraph(
        "After minus before, on the same items under the same prompts; shares in percentage points. p (Holm): over all "
        "planned comparisons together. Detectable: a smaller true difference would often be missed with so many items."
    )
    lines = [
        (
            str(one["benchmark"]), str(one["category"]), str(one["metric"]), f"{one['before']} to {one['after']}",
            f"{one['items']:,}", _signed(one["value"], one["metric"]),
            _interval(_signed(one["low"], one["metric"]), _signed(one["high"], one["metric"])),
            _p_value(one["p_value"]), _p_value(one["p_holm"]), shown(one["minimal_detectable"], one["metric"]),
        )
        for one in found
    ]  # fmt: skip
    columns = (
        "task",
        "category",
        "metric",
        "between",
        "items",
        "difference",
        "interval",
        "p",
        "p (Holm)",
        "detectable",
    )
    fold = f"{len(lines)} differences" if len(lines) > 2 * _OPEN_ROWS else ""
    yield Table(columns, lines, 6, fold)


def _not_compared(evaluation: Mapping[str, Any]) -> Iterator[Block]:
    gaps = evaluation["not_compared"]
    if gaps:
        yield Heading("Not compared")
        lines = [(str(gap["task"]), f"{gap['before']} to {gap['after']}", str(gap["reason"])) for gap in gaps]
        yield Table(("task", "between", "why"), lines)


def _signed(value: object, metric: str) -> str:
    """With its sign; "-" where there is no value."""
    text = shown(value, metric)
    return text if text.startswith("-") else f"+{text}"


def _p_value(value: object) -> str:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


# --- promotion, gaps, answers --------------------------------------------------------------------------------------


def _checks(promotion: Mapping[str, Any] | None) -> Iterator[Block]:
    if promotion is None or not promotion["checks"]:
        return
    yield Heading("Promotion")
    yield Paragraph(
        "models/promoted moves only when no check has failed, nor is unresolved where the settings say so. A check "
        "passes when the whole interval lies within the limit; it is unresolved when the interval reaches over it."
    )
    lines = []
    for check in promotion["checks"]:
        metric = str(check["metric"])
        limit, value, low, high = (_signed(check[name], metric) for name in ("limit", "difference", "low", "high"))
        detectable = shown(check["detectable"], metric)
        place = (str(check["task"]), metric, str(check["against"]), str(check["state"]))
        lines.append((*place, limit, value, _interval(low, high), detectable))
    columns = ("task", "metric", "against", "verdict", "limit", "difference", "interval", "detectable")
    yield Table(columns, lines, 4)


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else canonical_json(value)


def _not_evaluated(evaluation: Mapping[str, Any]) -> Iterator[Block]:
    reasons: dict[tuple[str, str], list[str]] = {}
    for checkpoint in evaluation["checkpoints"]:
        for task, reason in checkpoint["not_evaluated"].items():
            reasons.setdefault((str(task), str(reason)), []).append(str(checkpoint["checkpoint"]))
    if not reasons:
        return
    yield Heading("Not evaluated")
    lines = [(task, ", ".join(names), reason) for (task, reason), names in reasons.items()]
    yield Table(("task", "checkpoints", "why"), lines)


def _wrong_answers(answers: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    """The first few of each category and checkpoint."""
    kept: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for answer in answers:
        of_category = kept.setdefault((str(answer["task"]), str(answer["category"]), str(answer["checkpoint"])), [])
        if len(of_category) < _WRONG_ANSWERS:
            of_category.append(answer)
    if not kept:
        return
    yield Heading("Some wrong answers")
    yield Paragraph(f"At most {_WRONG_ANSWERS} of each category, as the model wrote them; nothing of it was executed.")
    for (task, category, checkpoint), found in kept.items():
        yield Heading(f"{task}, {category}, {_NAMES.get(checkpoint, checkpoint)}", 3)
        for answer in found:
            yield Quotation(f"{answer['item_id']}: {answer['problem']}", str(answer["answer"]) or "(nothing)")


def _measured_how(evaluation: Mapping[str, Any]) -> Iterator[Block]:
    lines: dict[tuple[str, ...], None] = {}
    for checkpoint in evaluation["checkpoints"]:
        for task, facts in checkpoint["tasks"].items():
            notes = "; ".join(f"{name}: {_plain(value)}" for name, value in sorted(facts["notes"].items()))
            lines[str(task), f"{facts['items']:,}", str(facts["key"])[:12], notes] = None
    yield Heading("How it was measured")
    yield Paragraph("Figures may be compared when they have the same task key and prompt hash.")
    yield Table(("task", "items", "task key", "notes"), list(lines))
    times = [(str(one["checkpoint"]), f"{one['seconds']:,.0f}") for one in evaluation["checkpoints"]]
    yield Table(("checkpoint", "seconds"), times, 1)

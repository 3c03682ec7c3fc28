"""Pictures of an evaluation as SVG: accuracy with intervals by category, benchmark losses over the tokens trained on.

Both take the plain object of :func:`training.evaluation.report.write_report`. Equal objects give equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from forge.schema import KINDS
from training.evaluation.figures import ALL
from training.evaluation.general.mmlu_groups import GROUP_OF_SUBJECT
from training.picture_style import GRID, HUES, INK, MUTED, SURFACE, literal, picture_style, svg_of, token_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RIGHT = ("accuracy", "success")
"""Metrics that are shares of items; the first that a task has is drawn."""
LOSS = "nats_per_token"

_BLUE, _ORANGE, _GREEN, _VIOLET, _OCHRE, _ROSE, _SLATE = (light for light, _ in HUES)
_OF_STAGES = {"base": _SLATE, "I": _BLUE, "II": _ORANGE, "III": _GREEN}
_OF_OTHERS = (_VIOLET, _OCHRE, _ROSE)
_MARKERS = ("o", "s", "D", "^", "v", "P", "X")

_WIDTH_INCHES = 9.0
_MOST_ROWS = 16  # of a panel; a task with more categories is drawn by groups of them
_MOST_LINES = 6
_LABEL_CHARACTERS = 30


@dataclass(frozen=True, slots=True)
class Mark:
    """One value of one checkpoint. ``low`` and ``high`` are NaN where there is no interval; ``members`` are the values
    of the categories of a group."""

    value: float
    low: float = math.nan
    high: float = math.nan
    members: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    label: str
    marks: Mapping[str, Mark]
    """By checkpoint."""


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    rows: Sequence[Row]


def accuracy_by_category(evaluation: Mapping[str, Any]) -> bytes | None:
    """Whole tasks, then each task's categories; a colour for each checkpoint, a bar for each confidence interval. None
    when nothing was judged right or wrong."""
    panels = accuracy_panels(evaluation)
    names = [checkpoint["checkpoint"] for checkpoint in evaluation["checkpoints"]]
    if not panels:
        return None
    with picture_style("accuracy"):
        return svg_of(_draw_accuracy(panels, names), "Accuracy by category, with confidence intervals")


def accuracy_panels(evaluation: Mapping[str, Any]) -> list[Panel]:
    """What :func:`accuracy_by_category` draws. Of a task that has too many categories its overall scores are drawn, or
    the mean over all its items where it has none, and the categories as dots in their row: MMLU's subjects by group."""
    whole: list[Row] = []
    panels: list[Panel] = []
    for task in _tasks(evaluation):
        found = _marks(evaluation, task, RIGHT)
        overall = {
            name for checkpoint in evaluation["checkpoints"]
            for name in checkpoint["tasks"].get(task, {}).get("overall", ())
        }  # fmt: skip
        if ALL in found:
            whole.append(Row(task, {name: mark for name, (mark, _) in found[ALL].items()}))
        categories = {name: marks for name, marks in found.items() if name != ALL and name not in overall}
        if len(categories) > _MOST_ROWS:
            scores = {name: marks for name, marks in found.items() if name in overall}
            panels.append(Panel(f"{task}: {len(categories)} categories, each a dot", _groups(task, scores, categories)))
        elif len(categories) > 1:
            rows = [
                Row(name, {checkpoint: mark for checkpoint, (mark, _) in marks.items()})
                for name, marks in categories.items()
            ]
            panels.append(Panel(task, rows))
    return [Panel("Whole tasks, each item counted once", whole), *panels] if whole else panels


def _tasks(evaluation: Mapping[str, Any]) -> list[str]:
    """In the order of the figures, the first checkpoint's first."""
    return list(
        dict.fromkeys(
            str(figure["benchmark"]) for checkpoint in evaluation["checkpoints"] for figure in checkpoint["figures"]
        )
    )


def _marks(evaluation: Mapping[str, Any], task: str, metrics: Sequence[str]) -> dict[str, dict[str, tuple[Mark, int]]]:
    """:data:`Marks`, for the first of the metrics that the task has."""
    figures = [
        (str(checkpoint["checkpoint"]), figure)
        for checkpoint in evaluation["checkpoints"]
        for figure in checkpoint["figures"]
        if figure["benchmark"] == task
    ]
    present = {figure["metric"] for _, figure in figures}
    metric = next((name for name in metrics if name in present), None)
    found: dict[str, dict[str, tuple[Mark, int]]] = {}
    for checkpoint, figure in figures:
        if figure["metric"] == metric and _is_number(figure["value"]):
            low, high = (float(figure[bound]) if _is_number(figure[bound]) else math.nan for bound in ("low", "high"))
            mark = Mark(float(figure["value"]), low, high)
            found.setdefault(str(figure["category"]), {})[checkpoint] = (mark, int(figure["items"]))
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


Marks = Mapping[str, Mapping[str, tuple[Mark, int]]]
"""Value and number of items, by category, then by checkpoint."""


def _groups(task: str, scores: Marks, categories: Marks) -> list[Row]:
    """A row for each overall score with its categories as members; one row of all where there is no score."""
    if not scores:
        checkpoints = dict.fromkeys(name for marks in categories.values() for name in marks)
        return [Row(f"{len(categories)} categories", {name: _mean(name, categories) for name in checkpoints})]
    rows = []
    for score, marks in scores.items():
        members = {
            category: found
            for category, found in categories.items()
            if score == f"{task} {GROUP_OF_SUBJECT.get(category)}"
        }
        of_score = {
            name: replace(mark, members=tuple(found[name][0].value for found in members.values() if name in found))
            for name, (mark, _) in marks.items()
        }
        rows.append(Row(f"{score.removeprefix(f'{task} ')} ({len(members)})" if members else score, of_score))
    return rows


def _mean(checkpoint: str, categories: Marks) -> Mark:
    """Over the items of all categories; without an interval, since none was estimated."""
    found = [marks[checkpoint] for marks in categories.values() if checkpoint in marks]
    items = sum(count for _, count in found)
    mean = math.fsum(mark.value * count for mark, count in found) / items if items else math.nan
    return Mark(mean, members=tuple(mark.value for mark, _ in found))


def _draw_accuracy(panels: Sequence[Panel], names: Sequence[str]) -> Figure:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    row_inches = 0.13 + 0.085 * len(names)
    heights = [len(panel.rows) * row_inches for panel in panels]
    total = sum(heights) + 0.62 * len(panels) + 0.45
    figure = Figure(figsize=(_WIDTH_INCHES, total), facecolor=SURFACE[0])
    figure.set_layout_engine("constrained", h_pad=0.08, hspace=0.02)
    FigureCanvasSVG(figure)
    found = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
    colours = colours_of(names)
    for axes, panel in zip(found[:, 0], panels, strict=True):
        _draw_rows(axes, panel, names, colours)
    handles = [
        Line2D([], [], color=colours[name], marker=_MARKERS[place % len(_MARKERS)], markersize=5, label=_label(name))
        for place, name in enumerate(names)
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=8, frameon=False, handlelength=1.8)
    return figure


def colours_of(names: Sequence[str]) -> dict[str, str]:
    """A (light) colour for each checkpoint; a stage of a run always has the same one."""
    others = [name for name in names if name not in _OF_STAGES]
    return _OF_STAGES | {name: _OF_OTHERS[place % len(_OF_OTHERS)] for place, name in enumerate(others)}


def _draw_rows(axes: Axes, panel: Panel, names: Sequence[str], colours: Mapping[str, str]) -> None:
    axes.set_facecolor(SURFACE[0])
    axes.set_title(literal(_label(panel.title, 80)), loc="left", fontsize=10, fontweight="bold", color=INK[0], pad=5)
    axes.grid(axis="x", color=GRID[0], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    step = 0.72 / max(1, len(names))
    for place, row in enumerate(panel.rows):
        if place % 2:
            axes.axhspan(place - 0.5, place + 0.5, color=GRID[0], alpha=0.35, linewidth=0, zorder=0)
        for number, name in enumerate(names):
            if name not in row.marks:
                continue
            mark, height = row.marks[name], place + (number - (len(names) - 1) / 2) * step
            colour, marker = colours[name], _MARKERS[number % len(_MARKERS)]
            if mark.members:
                axes.plot(
                    [100 * value for value in mark.members], [height] * len(mark.members), linestyle="", marker="o",
                    markersize=3, color=colour, alpha=0.35, markeredgewidth=0, clip_on=False,
                )  # fmt: skip
            if math.isfinite(mark.low) and math.isfinite(mark.high):
                axes.plot(
                    [100 * mark.low, 100 * mark.high], [height, height], color=colour, linewidth=1.4, alpha=0.75,
                    solid_capstyle="butt", clip_on=False,
                )  # fmt: skip
            axes.plot(
                [100 * mark.value], [height], marker=marker, color=colour, markersize=4.6, clip_on=False,
                markeredgecolor=SURFACE[0], markeredgewidth=0.6, zorder=4,
            )  # fmt: skip
    axes.set_yticks(range(len(panel.rows)), [literal(_label(row.label)) for row in panel.rows], color=INK[0])
    axes.set_ylim(len(panel.rows) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_xticks(range(0, 101, 20), [f"{share} %" for share in range(0, 101, 20)], fontsize=8)
    axes.spines["left"].set_visible(False)


def _label(name: str, most: int = _LABEL_CHARACTERS) -> str:
    """A name in one bounded line of what can be printed."""
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


@dataclass(frozen=True, slots=True)
class Line:
    """Points (tokens, loss, low, high) of one category of one benchmark."""

    label: str
    points: Sequence[tuple[int, float, float, float]]


def loss_over_tokens(evaluation: Mapping[str, Any]) -> bytes | None:
    """A panel for each benchmark loss of the checkpoints, with intervals, and one for what was probed while training.
    None when the tokens of the checkpoints are not known or fewer than two points could be joined."""
    panels = loss_panels(evaluation)
    if not panels:
        return None
    with picture_style("losses"):
        return svg_of(_draw_losses(panels, evaluation["curve"]), "Benchmark losses over the tokens trained on")


def loss_panels(evaluation: Mapping[str, Any]) -> list[tuple[str, list[Line]]]:
    """What :func:`loss_over_tokens` draws, by title: the whole benchmark, and its categories where these are few."""
    curve = evaluation.get("curve") or {}
    tokens = {"base": 0, **(curve.get("stages") or {})}
    panels: list[tuple[str, list[Line]]] = []
    for task in _tasks(evaluation):
        by_category = _marks(evaluation, task, (LOSS,))
        lines = []
        for category, marks in sorted(by_category.items(), key=lambda entry: entry[0] != ALL):
            points = [
                (int(tokens[name]), mark.value, mark.low, mark.high)
                for name, (mark, _) in marks.items()
                if tokens.get(name) is not None
            ]
            if len(points) > 1:
                lines.append(Line(category, sorted(points)))
        if lines:
            panels.append((task, lines if len(lines) <= _MOST_LINES else lines[:1]))
    probed: dict[str, list[tuple[int, float, float, float]]] = {}
    for measurement in curve.get("measurements") or ():
        for name, value in sorted(measurement["metrics"].items()):
            if (name.endswith(f"/{LOSS}") or "/" not in name) and _is_number(value):
                point = (int(measurement["tokens"]), float(value), math.nan, math.nan)
                probed.setdefault(name.removesuffix(f"/{LOSS}"), []).append(point)
    lines = [Line(name, points) for name, points in probed.items() if len(points) > 1]
    return [*panels, ("while training, on few items", lines[:_MOST_LINES])] if lines else panels


def _draw_losses(panels: Sequence[tuple[str, list[Line]]], curve: Mapping[str, Any]) -> Figure:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    most = max(tokens for _, lines in panels for line in lines for tokens, *_ in line.points)
    scale, unit = token_scale(most)
    figure = Figure(figsize=(_WIDTH_INCHES, 0.3 + 2.3 * rows), facecolor=SURFACE[0])
    figure.set_layout_engine("constrained", h_pad=0.1, w_pad=0.1)
    FigureCanvasSVG(figure)
    found = figure.subplots(rows, columns, squeeze=False, sharex=True).flatten()
    for axes in found[len(panels) :]:
        axes.set_visible(False)
    for place, (axes, (title, lines)) in enumerate(zip(found, panels, strict=False)):
        _draw_lines(axes, title, lines, scale)
        for stage, tokens in (curve.get("stages") or {}).items():
            if tokens is not None:
                axes.axvline(tokens / scale, color=MUTED[0], linewidth=0.7, linestyle=(0, (2, 3)), zorder=0)
                axes.annotate(
                    _label(stage), (tokens / scale, 1), xycoords=("data", "axes fraction"), xytext=(-2, -1),
                    textcoords="offset points", ha="right", va="top", fontsize=7.5, color=MUTED[0],
                )  # fmt: skip
        axes.set_xlim(-0.02 * most / scale, 1.03 * most / scale)
        if place % columns == 0:
            axes.set_ylabel("nats per token")
        if place + columns >= len(panels):
            axes.set_xlabel(f"{unit} trained on")
            axes.tick_params(labelbottom=True)
    return figure


def _draw_lines(axes: Axes, title: str, lines: Sequence[Line], scale: float) -> None:
    axes.set_facecolor(SURFACE[0])
    axes.set_title(literal(_label(title, 48)), loc="left", fontsize=10, fontweight="bold", color=INK[0])
    axes.grid(axis="y", color=GRID[0], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    hue_of_kind: dict[str, str] = {
        kind: light for kind, (light, _) in zip(KINDS, HUES, strict=False)
    }  # as in the loss curve
    hues = iter([light for light, _ in HUES] * 2)
    for line in lines:
        colour = INK[0] if line.label == ALL else hue_of_kind.get(line.label) or next(hues)
        tokens = [point[0] / scale for point in line.points]
        axes.plot(
            tokens, [point[1] for point in line.points], color=colour, linewidth=1.8 if line.label == ALL else 1.2,
            marker="o", markersize=3.6, markerfacecolor=SURFACE[0], markeredgewidth=1.2,
            label=literal(_label(line.label)),
        )  # fmt: skip
        if line.label == ALL:
            for place, (_, _, low, high) in zip(tokens, line.points, strict=True):
                if math.isfinite(low) and math.isfinite(high):
                    axes.plot([place, place], [low, high], color=colour, linewidth=3, alpha=0.35, zorder=1)
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=7.5, handlelength=1.2, borderaxespad=0.2, loc="best", ncols=2)

"""The picture of a run as SVG: loss over tokens by kind and as a whole, benchmark loss, learning rate; stages marked.

The file carries both a light and a dark palette (``prefers-color-scheme``); a viewer that knows no style sheets shows
the light one. Equal history gives equal bytes. A long run is drawn with a bounded number of points: of each bin of
steps the least and the greatest raw loss stay, so that a spike is never lost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forge.schema import KINDS
from training.picture_style import GRID, HUES, INK, MUTED, SURFACE, literal, picture_style, svg_of, token_scale
from training.run_history import Measurement, RunHistory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WHOLE = "all"
_WIDTH_INCHES, _PANEL_INCHES = 9.0, {"loss": 3.6, "benchmark": 1.7, "rate": 1.0}
_BINS = 400  # of the whole picture: more cannot be told apart at this width
_SMOOTHED_SHARE = 0.02  # of a stage's steps, on each side of a point, at most


def loss_curve(history: RunHistory, title: str = "") -> bytes:
    """The SVG file of a history. ``title`` stands above it and is its accessible name."""
    with picture_style("loss-curve"):
        return svg_of(_draw(history, title), title)


def _draw(history: RunHistory, title: str) -> Figure:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    measured = [found for found in history.measurements if drawn_metrics(found)]
    panels = ["loss", *(["benchmark"] if measured else []), "rate"]
    heights = [_PANEL_INCHES[panel] for panel in panels]
    figure = Figure(figsize=(_WIDTH_INCHES, sum(heights) + 0.9), facecolor=SURFACE[0], layout="constrained")
    FigureCanvasSVG(figure)
    found: Any = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)
    axes: dict[str, Axes] = dict(zip(panels, found[:, 0], strict=True))
    if title:
        figure.suptitle(literal(title), x=0.01, ha="left", fontsize=11, fontweight="bold")
    scale, unit = token_scale(max((step.tokens for step in history.steps), default=0))
    colours = _colours(history)
    for panel in axes.values():
        panel.set_facecolor(SURFACE[0])
        panel.grid(axis="y", color=GRID[0], linewidth=0.8)
        panel.set_axisbelow(True)
        panel.tick_params(length=0)
    _draw_losses(axes["loss"], history, colours, scale)
    if measured:
        _draw_benchmarks(axes["benchmark"], measured, colours, scale)
    _draw_rate(axes["rate"], history, scale)
    _mark_stages(list(axes.values()), history, scale)
    axes["rate"].set_xlabel(f"{unit} trained on, over all stages")
    return figure


def _draw_losses(axes: Axes, history: RunHistory, colours: Mapping[str, str], scale: float) -> None:
    axes.set_ylabel("loss, nats per token")
    shown: list[float] = []
    for name in colours:
        label = name
        for stage in history.stages:
            steps = history.of_stage(stage)
            tokens = np.array([step.tokens for step in steps]) / scale
            losses = np.array([step.loss if name == WHOLE else step.loss_by_kind.get(name, math.nan) for step in steps])
            known = np.isfinite(losses)
            # A skipped step changed nothing: it shows in the raw line only
            applied = known & ~np.array([step.is_skipped for step in steps])
            if not applied.any():
                continue
            bins = _BINS * len(steps) // len(history.steps)
            raw = _extremes(losses[known], bins)
            axes.plot(tokens[known][raw], losses[known][raw], color=colours[name], alpha=0.22, linewidth=0.8)
            smooth = smoothed(losses[applied])
            kept = _spaced(len(smooth), max(2, bins))
            axes.plot(
                tokens[applied][kept], smooth[kept], color=colours[name], linewidth=2.6 if name == WHOLE else 1.3,
                zorder=2.0 if name == WHOLE else 2.1, label=label, marker="o" if len(kept) == 1 else "", markersize=3,
            )  # fmt: skip
            label = "_"  # a line for each stage, one entry in the legend
            shown += [float(smooth.min()), float(smooth.max())]
    if not shown:
        return
    margin = 0.07 * (max(shown) - min(shown)) or 0.1
    low = min(shown) - margin
    axes.set_ylim(low, max(shown) + margin)  # by the smoothed lines: a spike may leave the picture
    skipped = [step.tokens / scale for step in history.steps if step.is_skipped]
    if skipped:
        axes.plot(
            skipped, [low] * len(skipped), linestyle="", marker="x", color=INK[0], clip_on=False, markersize=5,
            label=f"skipped steps ({len(skipped)})",
        )  # fmt: skip
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.06), ncols=8, frameon=False, borderaxespad=0, handlelength=1.4)


def _draw_benchmarks(axes: Axes, measured: Sequence[Measurement], colours: Mapping[str, str], scale: float) -> None:
    """Points joined within a stage: what a stage's start costs shows as a rise (the stability gap)."""
    axes.set_ylabel("benchmark loss, nats")
    spare = iter([light for light, _ in HUES if light not in colours.values()] * 8 + [MUTED[0]] * 99)
    for name in sorted({name for found in measured for name in drawn_metrics(found)}):
        kind = next((kind for kind in colours if name.split("/")[0].split(":")[-1] == kind), None)
        colour = colours[kind] if kind and kind != WHOLE else next(spare)
        points = [(found.tokens / scale, found.metrics[name]) for found in measured if name in drawn_metrics(found)]
        axes.plot(
            [tokens for tokens, _ in points], [loss for _, loss in points], color=colour, linewidth=1.1, marker="o",
            markersize=4, markerfacecolor=SURFACE[0], markeredgewidth=1.3, clip_on=False,
            label=literal(name.removesuffix(_LOSS)),
        )  # fmt: skip
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, borderaxespad=0.2, handlelength=1.4, fontsize=8
    )


def _draw_rate(axes: Axes, history: RunHistory, scale: float) -> None:
    from matplotlib.ticker import ScalarFormatter

    axes.set_ylabel("learning rate")
    formatter = ScalarFormatter(useMathText=False)
    formatter.set_powerlimits((-3, 4))
    axes.yaxis.set_major_formatter(formatter)
    for stage in history.stages:
        steps = [step for step in history.of_stage(stage) if isinstance(step.entry.get("learning_rate"), float)]
        kept = _spaced(len(steps), _BINS)
        axes.plot(
            [steps[index].tokens / scale for index in kept],
            [steps[index].entry["learning_rate"] for index in kept],
            color=MUTED[0], linewidth=1.3,
        )  # fmt: skip
    axes.set_ylim(bottom=0)


def _mark_stages(panels: Sequence[Axes], history: RunHistory, scale: float) -> None:
    start = 0
    for stage in history.stages:
        steps = history.of_stage(stage)
        end = steps[-1].tokens
        for panel in panels if start else ():
            panel.axvline(start / scale, color=MUTED[0], linewidth=0.8, linestyle=(0, (2, 3)))
        panels[0].annotate(
            f"stage {stage}", (start / scale, 1.0), xycoords=("data", "axes fraction"), xytext=(4, 3),
            textcoords="offset points", color=MUTED[0], fontsize=8,
        )  # fmt: skip
        start = end
    panels[0].set_xlim(0, max(start, *(found.tokens for found in history.measurements), 1) / scale)


_LOSS = "/nats_per_token"


def drawn_metrics(measurement: Measurement) -> dict[str, float]:
    """Those that are losses in nats per token: ``<benchmark>/nats_per_token``, or a benchmark's bare name."""
    return {
        name: value
        for name, value in measurement.metrics.items()
        if (name.endswith(_LOSS) or "/" not in name) and math.isfinite(value)
    }


def smoothed(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over 2 % of the values before and as many after each; fewer of both near the start, so that the first
    drop is not blurred, and at the end what is there."""
    sums = np.concatenate(([0.0], np.cumsum(losses)))
    index = np.arange(len(losses))
    half = np.minimum(index, int(len(losses) * _SMOOTHED_SHARE))
    end = np.minimum(index + half + 1, len(losses))
    return np.asarray((sums[end] - sums[index - half]) / (end - index + half), dtype=np.float64)


def _extremes(values: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """Indices, ascending, of the least and the greatest value of each of so many bins; all of them if they are few."""
    if len(values) <= 2 * max(1, bins):
        return np.arange(len(values))
    parts = np.array_split(np.arange(len(values)), max(1, bins))
    chosen = {int(part[place]) for part in parts for place in (values[part].argmin(), values[part].argmax())}
    return np.array(sorted(chosen | {0, len(values) - 1}))


def _spaced(count: int, most: int) -> NDArray[np.int64]:
    """At most ``most`` indices below ``count``, evenly, first and last included."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)) if count else np.arange(0)


def _colours(history: RunHistory) -> dict[str, str]:
    """Light colours by kind, the whole last. A kind of ours always has the same one."""
    found = {kind for step in history.steps for kind in step.loss_by_kind}
    own = [kind for kind in KINDS if kind in found]
    other = sorted(found - set(KINDS))
    colours: dict[str, str] = {kind: HUES[KINDS.index(kind)][0] for kind in own}
    for place, kind in enumerate(other, start=len(KINDS)):
        colours[kind] = HUES[place][0] if place < len(HUES) else MUTED[0]
    return colours | {WHOLE: INK[0]}

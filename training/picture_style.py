"""What our pictures share: SVG with a light and a dark palette, system fonts, equal bytes for equal content.

The file carries both palettes (``prefers-color-scheme``); a viewer that knows no style sheets shows the light one.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FONTS = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"

# light, dark; neighbours differ in lightness too, for those who see few hues
SURFACE, INK, MUTED, GRID = (
    ("#fdfdfc", "#16181d"),
    ("#22262e", "#eceef2"),
    ("#646b78", "#9aa2b1"),
    ("#e3e5ea", "#2d323c"),
)
HUES = (
    ("#1f6fd1", "#6cabff"),  # blue
    ("#c2570c", "#ff9f5a"),  # orange
    ("#0b8a72", "#3fd0b0"),  # green
    ("#8a3fc4", "#c58df5"),  # violet
    ("#9a7400", "#e0bd4a"),  # ochre
    ("#c22f6b", "#ff86b3"),  # rose
    ("#4b6470", "#a3bcc8"),  # slate
)


@contextmanager
def picture_style(name: str) -> Iterator[None]:
    """matplotlib's own defaults, whatever the user's matplotlibrc says, and ours. ``name``: id of the SVG element."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "svg.fonttype": "none",
                "svg.hashsalt": "forge",
                "svg.id": name,
                "path.simplify": False,
                "font.size": 9.0,
                "axes.edgecolor": GRID[0],
                "axes.labelcolor": MUTED[0],
                "axes.spines.top": False,
                "axes.spines.right": False,
                "xtick.color": MUTED[0],
                "ytick.color": MUTED[0],
                "text.color": INK[0],
            }
        )
        yield


def svg_of(figure: Figure, title: str) -> bytes:
    """The figure as an SVG file with both palettes. ``title`` is its accessible name."""
    sink = io.StringIO()
    figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None})
    return _both_palettes(sink.getvalue(), title)


def literal(text: str) -> str:
    """Text in which matplotlib finds no formula."""
    return text.replace("$", r"\$")


def token_scale(tokens: int) -> tuple[float, str]:
    """What to divide counts up to ``tokens`` by, and how that is called."""
    for scale, name in ((1e9, "billion tokens"), (1e6, "million tokens"), (1e3, "thousand tokens")):
        if tokens >= 2 * scale:
            return scale, name
    return 1.0, "tokens"


def _both_palettes(svg: str, title: str) -> bytes:
    """Add the dark palette, a usual screen font, and a name for those who cannot see the picture.

    matplotlib writes colours into ``style`` attributes, so the rules choose elements by these.
    """
    rules = "".join(
        f'[style*="{name}: {light}"]{{{name}:{dark} !important}}'
        for light, dark in (SURFACE, INK, MUTED, GRID, *HUES)
        for name in ("fill", "stroke")
        if f"{name}: {light}" in svg
    )
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", _FONTS, svg)
    svg = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), svg)  # hundredths of a point
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)  # as wide as the page that shows it
    head, end, rest = svg.partition("<defs>")
    name = f"<title>{html.escape(title, quote=False)}</title>\n " if title else ""
    style = f'<style type="text/css">@media (prefers-color-scheme: dark){{{rules}}}</style>\n '
    return (head + name + style + end + rest).encode()

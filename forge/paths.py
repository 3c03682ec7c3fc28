"""Files by pattern."""

from __future__ import annotations

from pathlib import Path


def matches(root: Path, pattern: str) -> list[tuple[str, Path]]:
    """(name, path) of what a pattern (``*``, ``?``, ``**``) finds below a folder, sorted; the name is spelled as the
    pattern spells it, without ``root``. ``..`` and absolute patterns are the configuration's own business."""
    path = root / pattern
    fixed = next((place for place, part in enumerate(path.parts) if any(mark in part for mark in "*?[")), None)
    if fixed is None:
        return [(pattern, path)]
    start = Path(*path.parts[:fixed])
    kept = len(Path(pattern).parts) - (len(path.parts) - fixed)
    prefix = Path(*Path(pattern).parts[:kept])
    found = sorted(start.glob("/".join(path.parts[fixed:])))
    return [((prefix / each.relative_to(start)).as_posix(), each) for each in found]

"""What an agent of a BabyAI grid world sees, as English text. The simulator shows symbols only: the wording is ours.

A view is 7 by 7 cells, ``image[x][y]`` = (object, colour, state) in Minigrid's encoding. The agent stands in the middle
of the last row and looks towards the first; what it carries is shown in its own cell. The text names everything that is
seen and where it is, in steps from the agent, nearest first; walls as straight runs of cells. Nothing is said of empty
cells and of those that are out of sight, which are not told apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

VIEW_SIZE = 7
OBJECTS = ("unseen", "empty", "wall", "floor", "door", "key", "ball", "box", "goal", "lava", "agent")
COLOURS = ("red", "green", "blue", "purple", "yellow", "grey")
DOOR_STATES = ("open", "closed", "locked")
DIRECTIONS = ("east", "south", "west", "north")
ACTIONS: Mapping[str, str] = {
    "left": "turn left",
    "right": "turn right",
    "forward": "go forward",
    "pickup": "pick up",
    "drop": "drop",
    "toggle": "toggle",
    "done": "done",
}
"""Minigrid's names of the actions -> ours."""
TOOL: Mapping[str, Any] = {
    "name": "act",
    "description": (
        "Takes one action in a grid world of rooms, doors and objects, and returns what you see then: up to 6 steps "
        "ahead and 3 to each side, as far as walls and closed doors do not hide it. 'turn left' and 'turn right' turn "
        "you on the spot. 'go forward' takes one step, unless something is in the way. 'pick up' takes the key, ball "
        "or box 1 step ahead if you carry nothing. 'drop' puts what you carry on the empty cell 1 step ahead. "
        "'toggle' opens or closes the door 1 step ahead, a locked one only if you carry the key of its colour, or "
        "opens the box there. 'done' says that you are done."
    ),
    "parameters": {
        "type": "object",
        "properties": {"action": {"type": "string", "enum": list(ACTIONS.values())}},
        "required": ["action"],
    },
}
_NOUNS: Mapping[str, str] = {"floor": "floor tile", "lava": "pool of lava"}
_ENDINGS: Mapping[tuple[str, bool], str] = {
    ("terminated", True): "The mission is accomplished.",
    ("terminated", False): "The mission has failed.",
    ("truncated", False): "The mission has failed: too many actions.",
}

Cell = Sequence[int]
Place = tuple[int, int]
"""(steps ahead, steps to the right), from the agent."""


def ending_text(ending: str, succeeded: bool) -> str:
    """The sentence that ends an episode; ``ending`` is terminated or truncated."""
    return _ENDINGS[ending, succeeded]


def view_text(image: Sequence[Sequence[Cell]], direction: int) -> str:
    """A view, and where the agent looks (0 east, 1 south, 2 west, 3 north)."""
    cells = {
        (VIEW_SIZE - 1 - y, x - VIEW_SIZE // 2): cell
        for x, column in enumerate(image)
        for y, cell in enumerate(column)
        if OBJECTS[cell[0]] not in {"unseen", "empty"}
    }
    carried = cells.pop((0, 0), None)
    walls = {place for place, cell in cells.items() if OBJECTS[cell[0]] == "wall"}
    seen = [
        *(f"{_named(cells[place])}, {_place(place)}" for place in sorted(cells.keys() - walls, key=_nearness)),
        *_walls(walls),
    ]
    posture = f"You face {DIRECTIONS[direction]} and carry {'nothing' if carried is None else _named(carried)}."
    return "\n".join([posture, "You see:", *(f"- {line}" for line in seen)]) if seen else f"{posture} You see nothing."


def _nearness(place: Place) -> tuple[int, int, int]:
    ahead, right = place
    return ahead + abs(right), ahead, right


def _named(cell: Cell) -> str:
    kind, colour = OBJECTS[cell[0]], COLOURS[cell[1]]
    if kind == "door":
        state = DOOR_STATES[cell[2]]
        return f"{'an' if state == 'open' else 'a'} {state} {colour} door"
    return f"a {colour} {_NOUNS.get(kind, kind)}"


def _place(place: Place) -> str:
    ahead, right = place
    stated = [f"{_steps(ahead)} ahead"] if ahead else []
    if right:
        stated.append(f"{_steps(abs(right))} to the {_side(right)}")
    return " and ".join(stated)


def _steps(count: int) -> str:
    return f"{count} step" if count == 1 else f"{count} steps"


def _side(right: int) -> str:
    return "right" if right > 0 else "left"


def _walls(walls: set[Place]) -> Iterator[str]:
    """Runs across the view, then runs along it, then the cells that are in neither."""
    across = _runs(walls)
    along = [[(ahead, right) for right, ahead in run] for run in _runs({(right, ahead) for ahead, right in walls})]
    for run in across:
        (ahead, first), (_, last) = run[0], run[-1]
        where = f"{_steps(ahead)} ahead" if ahead else "beside you"
        yield f"a wall {where}, from {_offset(first)} to {_offset(last)}"
    for run in along:
        (first, right), (last, _) = run[0], run[-1]
        where = f"{_steps(abs(right))} to the {_side(right)}" if right else "in line with you"
        yield f"a wall {where}, from {first} to {_steps(last)} ahead"
    for place in sorted(walls.difference(*across, *along), key=_nearness):
        yield f"a piece of wall, {_place(place)}"


def _runs(places: Iterable[Place]) -> list[list[Place]]:
    """Runs of two cells and more in one row, with neighbouring columns."""
    found = []
    numbered = enumerate(sorted(places))
    for _, group in groupby(numbered, key=lambda pair: (pair[1][0], pair[1][1] - pair[0])):
        run = [place for _, place in group]
        if len(run) > 1:
            found.append(run)
    return found


def _offset(right: int) -> str:
    return f"{_steps(abs(right))} to the {_side(right)}" if right else "straight ahead"

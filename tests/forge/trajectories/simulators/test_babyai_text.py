"""The English of a view. Grids are drawn as they lie before the agent, which stands in the middle of the last row."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.trajectories.simulators.babyai_text import ACTIONS, COLOURS, OBJECTS, TOOL, ending_text, view_text

Cell = tuple[int, int, int]
EMPTY: Cell = (1, 0, 0)
SIGNS: Mapping[str, Cell] = {
    " ": (0, 0, 0),
    ".": EMPTY,
    "#": (2, 5, 0),
    "o": (4, 1, 0),  # an open, a closed and a locked green door
    "c": (4, 1, 1),
    "l": (4, 1, 2),
    "k": (5, 4, 0),  # a yellow key
    "b": (6, 0, 0),  # a red ball
    "x": (7, 2, 0),  # a blue box
}


def view(*rows: str, direction: int = 3) -> str:
    """The text of the drawn view; rows that are left out, farthest away, are out of sight."""
    drawn = [" " * 7] * (7 - len(rows)) + list(rows)
    return view_text([[SIGNS[drawn[y][x]] for y in range(7)] for x in range(7)], direction)


def seen(*rows: str) -> list[str]:
    return view(*rows).splitlines()[2:]


@pytest.mark.parametrize(("direction", "name"), list(enumerate(["east", "south", "west", "north"])))
def test_an_empty_view(direction: int, name: str) -> None:
    assert view(".......", direction=direction) == f"You face {name} and carry nothing. You see nothing."


def test_what_is_carried_is_in_the_cell_of_the_agent() -> None:
    assert view("...k...") == "You face north and carry a yellow key. You see nothing."
    assert view("...b...", "...k...").splitlines() == [
        "You face north and carry a yellow key.",
        "You see:",
        "- a red ball, 1 step ahead",
    ]


def test_the_nearest_comes_first_and_sides_are_those_of_the_agent() -> None:
    assert seen("k.....b", ".......", "..x....", "b.....k") == [
        "- a blue box, 1 step ahead and 1 step to the left",
        "- a red ball, 3 steps to the left",
        "- a yellow key, 3 steps to the right",
        "- a yellow key, 3 steps ahead and 3 steps to the left",
        "- a red ball, 3 steps ahead and 3 steps to the right",
    ]


def test_doors_have_a_state() -> None:
    assert seen("..o....", "...c...", "...l...", ".......") == [
        "- a locked green door, 1 step ahead",
        "- a closed green door, 2 steps ahead",
        "- an open green door, 3 steps ahead and 1 step to the left",
    ]


def test_walls_are_runs_of_cells() -> None:
    assert seen("###c###", "#.....#", "#.....#", "#.....#") == [
        "- a closed green door, 3 steps ahead",
        "- a wall 3 steps ahead, from 3 steps to the left to 1 step to the left",
        "- a wall 3 steps ahead, from 1 step to the right to 3 steps to the right",
        "- a wall 3 steps to the left, from 0 to 3 steps ahead",
        "- a wall 3 steps to the right, from 0 to 3 steps ahead",
    ]
    assert seen("..##...", "...#...", ".......", "#....##") == [
        "- a wall beside you, from 2 steps to the right to 3 steps to the right",
        "- a wall 3 steps ahead, from 1 step to the left to straight ahead",
        "- a wall in line with you, from 2 to 3 steps ahead",
        "- a piece of wall, 3 steps to the left",
    ]
    assert seen("...#...", ".......") == ["- a piece of wall, 1 step ahead"]


def test_what_is_out_of_sight_is_as_if_empty() -> None:
    assert view("  .b.  ", "  ...  ") == view("...b...", ".......")


@st.composite
def views(draw: st.DrawFn) -> list[list[Cell]]:
    """A few things and many walls, anywhere."""
    wall, empty = st.just(SIGNS["#"]), st.just(EMPTY)
    states = {OBJECTS.index("door"): st.integers(0, 2)}
    kinds = st.sampled_from([OBJECTS.index(name) for name in ("door", "key", "ball", "box")])
    thing = st.tuples(kinds, st.integers(0, len(COLOURS) - 1)).flatmap(
        lambda pair: st.tuples(st.just(pair[0]), st.just(pair[1]), states.get(pair[0], st.just(0)))
    )
    cells = [[draw(st.one_of(empty, empty, wall, thing)) for _ in range(7)] for _ in range(7)]
    if cells[3][6] == SIGNS["#"]:
        cells[3][6] = EMPTY  # the agent carries no walls
    return cells


@given(views(), st.integers(0, 6), st.integers(0, 6), st.sampled_from(sorted(set(SIGNS.values()) - {SIGNS[" "]})))
def test_views_that_differ_in_a_cell_have_different_texts(cells: list[list[Cell]], x: int, y: int, other: Cell) -> None:
    changed = [list(column) for column in cells]
    changed[x][y] = other
    if (x, y) == (3, 6) and other == SIGNS["#"]:
        return
    assert (view_text(cells, 0) == view_text(changed, 0)) == (cells[x][y] == other)


def test_the_tool_takes_exactly_the_actions() -> None:
    assert TOOL["parameters"]["properties"]["action"]["enum"] == [
        *("turn left", "turn right", "go forward", "pick up", "drop", "toggle", "done"),
    ]
    assert all(f"'{action}'" in TOOL["description"] for action in ACTIONS.values())


def test_endings() -> None:
    assert ending_text("terminated", succeeded=True) == "The mission is accomplished."
    assert ending_text("terminated", succeeded=False) == "The mission has failed."
    assert ending_text("truncated", succeeded=False) == "The mission has failed: too many actions."

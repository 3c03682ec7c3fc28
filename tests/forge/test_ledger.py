"""The item ledger: what a night has to read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.ledger import current_items, ledger_delta, ledger_rows
from forge.schema import TABLES, Item

EMPTY = TABLES["source_items"].empty_table()


def items(contents: dict[str, str]) -> list[Item]:
    return [Item("s", item_id, content) for item_id, content in contents.items()]


def test_new_changed_unchanged_and_gone() -> None:
    first = ledger_rows(ledger_delta(EMPTY, items({"a": "1", "b": "1", "c": "1"})), "parse_apis", "2026-11-20")
    delta = ledger_delta(first, items({"a": "1", "b": "2", "d": "1"}))
    assert [item.item_id for item in delta.changed] == ["b", "d"]
    assert delta.removed == (("s", "c"),)
    assert delta.unchanged == 1


def test_a_source_that_lists_nothing_loses_nothing_unless_its_listing_is_known_to_be_whole() -> None:
    first = ledger_rows(ledger_delta(EMPTY, items({"a": "1"})), "parse_apis", "2026-11-20")
    assert ledger_delta(first, []).removed == ()
    assert ledger_delta(first, [], sources_complete=["s"]).removed == (("s", "a"),)


def test_an_item_listed_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match="lists item 'a' twice"):
        ledger_delta(EMPTY, [Item("s", "a", "1"), Item("s", "a", "2")])


@given(st.lists(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("123"), min_size=1), min_size=1, max_size=6))
def test_after_any_nights_the_current_items_are_the_last_listing(nights: list[dict[str, str]]) -> None:
    rows = EMPTY
    for number, listing in enumerate(nights):
        delta = ledger_delta(rows, items(listing))
        rows = _concat(rows, ledger_rows(delta, "parse_apis", f"2026-11-{number + 1:02d}"))
        again = ledger_delta(rows, items(listing))
        assert again.changed == ()
        assert again.removed == ()
    assert {row["item_id"] for row in current_items(rows).to_pylist()} == set(nights[-1])


def _concat(*tables: object) -> object:
    import pyarrow as pa

    return pa.concat_tables(tables)

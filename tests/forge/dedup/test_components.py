from __future__ import annotations

import random

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forge.dedup.components import Candidate, Pair, connected_components, members_of, survivor_order

NODES = st.sampled_from([f"n{number:02d}" for number in range(20)])


def reference_components(pairs: list[tuple[str, str]]) -> dict[str, str]:
    component = {node: {node} for pair in pairs for node in pair}
    for left, right in pairs:
        merged = component[left] | component[right]
        for node in merged:
            component[node] = merged
    return {node: min(members) for node, members in component.items()}


@given(st.lists(st.tuples(NODES, NODES), max_size=30), st.randoms())
@hypothesis_settings(deadline=None)
def test_components_equal_the_reference_in_any_order(pairs: list[tuple[str, str]], draw: random.Random) -> None:
    shuffled = pairs[:]
    draw.shuffle(shuffled)
    assert connected_components(shuffled) == reference_components(pairs)


def candidate(doc_id: str, text_key: str = "", split: str = "train", characters: int = 10) -> Candidate:
    return Candidate(doc_id, text_key or doc_id, split, characters)


def test_survivors_and_methods() -> None:
    candidates = {
        one.doc_id: one
        for one in (
            candidate("a", "k"),
            candidate("b", "k", characters=12),
            candidate("c", characters=11),
            candidate("d"),
        )
    }
    pairs = [Pair("a", "b", 1.0, exact=True), Pair("b", "c", 0.8, exact=False)]
    members = {member.doc_id: member for member in members_of(pairs, candidates)}
    assert set(members) == {"a", "b", "c"}
    assert {member.survivor_id for member in members.values()} == {"b"}
    assert {name: member.method for name, member in members.items()} == {"a": "exact", "b": "survivor", "c": "near"}
    assert members["c"].jaccard == 0.8
    assert members["a"].component_id == "a"


def test_a_held_out_copy_survives_its_training_copies() -> None:
    group = [candidate("a", characters=100), candidate("b", split="held_out", characters=5)]
    assert min(group, key=survivor_order).doc_id == "b"
    assert min([candidate("y"), candidate("x")], key=survivor_order).doc_id == "x"

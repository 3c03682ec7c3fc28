"""Documentation to code, and code to documentation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from forge.schema import ApiEntity, Usage, split_of
from forge.usages.render import joined_license, render_usages

ENTITY = ApiEntity(
    provider="python",
    service="shop",
    name="shop.price",
    version="1",
    entity_type="function",
    summary="Says the price.",
    description="Says the price.\n\nIn euro.",
    parameters={"properties": {"item": {}}, "required": ["item"]},
    returns={},
    license="MIT",
    source="s",
    item_id="i",
    source_uri="u",
)
USAGE = Usage(
    path="shop.price",
    names=("shop.price",),
    snippet='import shop\n\ntea = shop.Item("tea")\nassert shop.price(tea) == 3',
    calls=("shop.Item", "shop.price"),
    score=4.0,
    license="BSD-3-Clause",
    source="s",
    item_id="i",
    source_uri="u",
)


def test_both_ways() -> None:
    summaries = {"shop.Item": "Something that is sold. Or not.", "shop.other": "No."}
    there, back = render_usages(ENTITY, [USAGE], summaries, 0.5)
    assert (there.document.form, back.document.form) == ("doc_to_code", "code_to_doc")
    assert there.document.text == f"shop.price(item)\n\nSays the price.\n\nIn euro.\n\nUsage:\n\n{USAGE.snippet}"
    head, _, tail = back.document.text.removeprefix(f"{USAGE.snippet}\n\n").partition("\n\n")
    assert head.endswith(("?", ":"))
    assert tail == "- shop.Item: Something that is sold.\n- shop.price(item): Says the price."
    for found in (there, back):
        assert found.license == "BSD-3-Clause AND MIT"
        assert found.usages == (USAGE,)
        assert found.document.split == split_of(ENTITY.entity_key, 0.5)
        assert found.document.entity_key == ENTITY.entity_key


def test_nothing_without_usages_and_no_empty_answer() -> None:
    assert list(render_usages(ENTITY, [])) == []
    bare = replace(ENTITY, summary="", description="")
    assert [found.document.form for found in render_usages(bare, [USAGE])] == ["doc_to_code"]


def test_texts_keep_their_bound() -> None:
    assert all(len(found.document.text) <= 60 for found in render_usages(ENTITY, [USAGE], max_characters=60))


@pytest.mark.parametrize(
    ("expressions", "joined"),
    [
        (("MIT", "BSD-3-Clause"), "BSD-3-Clause AND MIT"),
        (("MIT", "MIT"), "MIT"),
        (("MIT", "Apache-2.0 OR MIT"), "MIT"),
        (("Apache-2.0 AND MIT", "BSD-2-Clause"), "Apache-2.0 AND BSD-2-Clause AND MIT"),
        (("GPL-2.0-only WITH Classpath-exception-2.0", "MIT"), "GPL-2.0-only WITH Classpath-exception-2.0 AND MIT"),
        (("MIT", ""), ""),
        (("MIT", "no licence ("), ""),
    ],
)
def test_licenses_are_joined(expressions: tuple[str, ...], joined: str) -> None:
    assert joined_license(*expressions) == joined

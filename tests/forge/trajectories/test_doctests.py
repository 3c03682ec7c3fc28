from __future__ import annotations

import sys
from pathlib import Path

import pytest

from forge.config import ConfigurationError, Settings, SourceSettings
from forge.schema import Decision, Item, Step, Trajectory
from forge.trajectories.doctests import list_items, read_item, session_of

ITEM = Item("doctests", "demo", "h")
SESSION = """Adds numbers.

    Longer text.

    Examples
    --------
    >>> from demo import add  # doctest: +SKIP
    >>> add(1,
    ...     2)
    3

    It also joins text:

    >>> print(add("a\\n\\n", "b"))
    a
    <BLANKLINE>
    b
    >>> add(1, "b")
    Traceback (most recent call last):
        ...
    TypeError: no
    """


def test_a_docstring_is_one_session() -> None:
    found = session_of("demo.add", SESSION, ITEM, "MIT")
    assert found is not None
    assert found.task == "demo.add: Adds numbers."
    assert [call.arguments["code"] for step in found.steps for call in step.calls] == [
        "from demo import add",
        "add(1,\n    2)",
        'print(add("a\\n\\n", "b"))',
        'add(1, "b")',
    ]
    assert found.steps[2] == Step("tool", "")
    assert found.steps[4] == Step("tool", "3")
    assert found.steps[5].content == "It also joins text:"
    assert found.steps[6] == Step("tool", "a\n\nb")
    assert found.steps[8].error == "TypeError: no"
    assert (found.environment, found.generator, found.outcome) == ("python/demo", "human", "unknown")


def test_code_fences_are_not_output() -> None:
    found = session_of(
        "m", "Does it.\n\n```python\n>>> a = 1\n>>> a\n1\n```\nText.\n\n```\n>>> a + 1\n2\n```\n", ITEM, ""
    )
    assert found is not None
    assert [step.content for step in found.steps if step.role == "tool"] == ["", "1", "2"]


@pytest.mark.parametrize(
    "docstring",
    ["None here.", ">>> 1\n1", ">>> a = 1\n>>> b = 2", ">>>1\n1\n>>>2\n2", "    >>> f(\n  ... )\n>>> 2\n2",
     "\n".join(f">>> {n}\n{n}" for n in range(300))],
)  # fmt: skip
def test_what_is_no_session(docstring: str) -> None:
    assert session_of("m", docstring, ITEM, "") is None


def install(site: Path) -> None:
    package = site / "demo_pkg"
    (package / "tests").mkdir(parents=True)
    functions = "".join(
        f'def f{n}():\n    """Number {n}.\n\n    >>> x = {n}\n    >>> x\n    {n}\n    """\n\n\n' for n in range(12)
    )
    (package / "__init__.py").write_text('raise RuntimeError("imported")\n' + functions)
    (package / "broken.py").write_text("def f(:\n    '''\n    >>> 1\n    1\n    '''\n")
    (package / "tests" / "test_x.py").write_text('"""\n>>> 1\n1\n>>> 2\n2\n"""\n')
    information = site / "demo_pkg-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: demo_pkg\nVersion: 1.0\nLicense-Expression: MIT\n"
    )
    files = ["demo_pkg/__init__.py", "demo_pkg/broken.py", "demo_pkg/tests/test_x.py"]
    (information / "RECORD").write_text(
        "".join(f"{file},sha256=x,1\n" for file in files) + "demo_pkg-1.0.dist-info/METADATA,,\n"
    )


def test_reads_an_installed_distribution_without_importing_it(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    source = SourceSettings(type="doctests", options={"packages": ["Demo.Pkg"], "max_sessions": 5})
    (item,) = list_items("doctests", source, settings)
    assert item.item_id == "demo-pkg"
    found = list(read_item(item, source, settings))
    assert "demo_pkg" not in sys.modules
    rejected = [row for row in found if isinstance(row, Decision)]
    assert [(row.item_id, row.reason) for row in rejected] == [("demo-pkg#demo_pkg/broken.py", "not_python")]
    kept = [row for row in found if isinstance(row, Trajectory)]
    assert len(kept) == 5
    assert {row.license for row in kept} == {"MIT"}
    everything = source.model_copy(update={"options": {"packages": ["demo-pkg"]}})
    (all_of_it,) = list_items("doctests", everything, settings)
    assert all_of_it.content_hash != item.content_hash
    ids = sorted(row.trajectory_id for row in read_item(all_of_it, everything, settings) if isinstance(row, Trajectory))
    assert len(ids) == 12
    assert [row.trajectory_id for row in kept] == ids[:5]


def test_denied_distributions_and_bad_options(settings: Settings) -> None:
    source = SourceSettings(type="doctests", options={"denied": ["PyYAML"]})
    names = {item.item_id for item in list_items("doctests", source, settings)}
    assert "pyyaml" not in names
    assert "sympy" in names
    with pytest.raises(ConfigurationError, match="max_sessions"):
        list(list_items("doctests", SourceSettings(type="doctests", options={"max_sessions": 0}), settings))


def test_a_real_distribution(settings: Settings) -> None:
    source = SourceSettings(type="doctests", options={"packages": ["more-itertools"]})
    items = list(list_items("doctests", source, settings))
    if not items:
        pytest.skip("more-itertools is not installed")
    found = [row for row in read_item(items[0], source, settings) if isinstance(row, Trajectory)]
    assert len(found) > 50
    assert {row.license for row in found} == {"MIT"}


def test_executed_sessions(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "demo_run"
    package.mkdir()
    docstrings = {
        "right": ">>> double(2)\n4\n>>> 1\n1\n",
        "wrong": ">>> double(2)\n5\n>>> 1\n1\n",
        "skipping": ">>> double(2)\n4\n>>> 1  # doctest: +SKIP\n1\n",
        "missing": ">>> import no_such_module_of_anybody\n>>> 1\n1\n",
    }
    (package / "__init__.py").write_text(
        "def double(n):\n    return 2 * n\n\n\n"
        + "".join(f"def {name}():\n    '''\n{text}'''\n\n\n" for name, text in docstrings.items())
    )
    information = tmp_path / "demo_run-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: demo-run\nVersion: 1.0\n")
    (information / "RECORD").write_text("demo_run/__init__.py,sha256=x,1\ndemo_run-1.0.dist-info/METADATA,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    read = SourceSettings(type="doctests", options={"packages": ["demo-run"]})
    run = SourceSettings(type="doctests", options={"packages": ["demo-run"], "execute": True})
    (read_one,), (run_one,) = list_items("doctests", read, settings), list_items("doctests", run, settings)
    assert read_one.content_hash != run_one.content_hash
    rows = list(read_item(run_one, run, settings))
    assert "demo_run" not in sys.modules
    found = {row.task.rpartition(".")[2]: row for row in rows if isinstance(row, Trajectory)}
    assert {name: (row.outcome, row.reward) for name, row in found.items()} == {
        "right": ("success", 1.0),
        "skipping": ("unknown", None),
        "missing": ("unknown", None),
    }
    assert found["right"].steps[1].calls[0].arguments == {"code": "from demo_run import double"}
    assert found["right"].steps[2] == Step("tool", "")
    assert found["right"].steps[3].calls[0].arguments == {"code": "double(2)"}
    assert found["right"].steps[4] == Step("tool", "4")
    rejected = {row.reason: row.detail for row in rows if isinstance(row, Decision)}
    assert rejected == {
        "output_differs": "demo_run.wrong: example 1 prints '4\\n', shown is '5\\n'",
        "not_executed": "2 of 4 sessions are kept with an unknown outcome: module_missing 1, skips_examples 1",
    }
    static = [row for row in read_item(read_one, read, settings) if isinstance(row, Trajectory)]
    assert len(static) == 4
    assert {row.outcome for row in static} == {"unknown"}

"""Whatever a model writes is parsed and compared: nothing of it runs, and no check takes a second."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PLANT = "__import__('pathlib').Path('PLANTED').touch()"
CODE = [
    f"[f(a=1+{PLANT})]",
    f"[f(a={PLANT})]",
    f"[f(a={PLANT}+1)]",
    f"[f(a=[{PLANT}])]",
    f"[f(a={{'x': {PLANT}}})]",
    f"[f(a={{{PLANT}: 1}})]",
    f"[f(**{PLANT})]",
    f"[f({PLANT})]",
    f"[f(a=(lambda: {PLANT})())]",
    f"[f(a=lambda x={PLANT}: x)]",
    f"[f(a=d[{PLANT}])]",
    f"[f(a=f'{{{PLANT}}}')]",
    f"[f(a=[{PLANT} for _ in (1,)])]",
    f"[f(a={PLANT} if {PLANT} else {PLANT})]",
    f"[{PLANT}]",
    f"{PLANT}",
    f"[f(a=(b:={PLANT}))]",
    f"[f(a=1, b=-{PLANT})]",
    f"[f(a='%s' % {PLANT})]",
    "[f(a=().__class__.__base__.__subclasses__())]",
    "[exec('import os; os.system(\"touch PLANTED\")')]",
    '[eval(a=\'open("PLANTED", "w")\')]',
    "[f(a=open('PLANTED', 'w') + 1)]",
    "import os; os.system('touch PLANTED')",
    "[f(a=1)]\nimport os\nos.system('touch PLANTED')\n[f(a=1)]",
    '[f(a=Runtime.getRuntime().exec("touch PLANTED"))]',
    "[f(a=require('child_process').execSync('touch PLANTED'))]",
]
COSTLY = [
    "[f(a=9**9**9)]",
    "[f(a=9**9**9**9)]",
    "[f(a=(2**200)**(2**200))]",
    "[f(a=1<<10**9)]",
    "[f(a='x'*10**9)]",
    "[f(a='%1000000000d' % 1)]",
    "[f(a=[0]*10**9)]",
    "[f(a=2.0**10000)]",
    "[f(a=" + "9" * 5_000 + ")]",
    "[f(a=" + "9" * 1_000_000 + ")]",
    "[f(a=0x" + "f" * 16_000 + ")]",
    "[f(a=1e" + "9" * 5_000 + ")]",
    "[f(a='" + "x" * 1_000_000 + "')]",
    "x" * 1_000_000,
    "[" * 1_000_000,
    "\n[" * 500_000,
    "\n" * 1_000_000,
    "`" * 1_000_000,
    "[" + "f(a=1)," * 100_000 + "]",
    "[" + "f(a=1)," * 2_000 + "]",
    "[f(" + ",".join(f"a{number}=1" for number in range(1_500)) + ")]",
    "[f(" + "**{'a': 1}," * 1_400 + ")]",
    "[f(a={" + "1:1," * 3_500 + "})]",
    "[f(a=" + "[" * 90 + "]" * 90 + ")]",
    "[f(a=" + "[" * 5_000 + "]" * 5_000 + ")]",
    "[f(a=" + "(" * 5_000 + ")" * 5_000 + ")]",
    "[f(a=" + "{1:" * 190 + "1" + "}" * 190 + ")]",
    "[" + "f(a=" * 190 + "1" + ")" * 190 + "]",
    "[" + "f(a=" * 4_000,
    "[" + "f(" * 190 + ")" * 190 + "]",
    "[f(a=" + "-" * 16_000 + "1)]",
    "[f(a=" + "not " * 4_000 + "1)]",
    "[f(a=" + "1+" * 8_000 + "1)]",
    "[f(a=" + "1**" * 5_000 + "1)]",
    "[" + "a." * 8_000 + "f(a=1)]",
    "[f" + "(a=1)" * 3_000 + "]",
    "[f" + "[0]" * 5_000 + "(a=1)]",
    "[f(a=b" + "[0]" * 5_000 + ")]",
    "[f(a=" + "lambda:" * 2_000 + "1)]",
    "[f(a=" + "1 if 1 else " * 1_300 + "1)]",
    "[f(a=" + "'x' " * 4_000 + ")]",
    '[f(a=f"' + "{" * 5_000,
    "\x00[f(a=1)]",
    "[f(a='\x00')]",
    "".join(map(chr, range(32))) * 100,
    "[f(a='" + "\x1b[2J\x07\x08" * 1_000 + "')]",
    "[f(a='\ud800')]",
    "[f(\ud800=1)]",
    "[f(a='\\ud800')]",
    "[f(a='\\N{DIGIT ONE}')]",
    "[f(a='" + "\\d" * 5_000 + "')]",
    "\u202e[f(a=1)]\ufeff",
    "[ｆ(ａ=１)]",
    "[f(a='" + "é" * 10_000 + "')]",
]
ITEMS = (
    "simple_python_0", "parallel_0", "simple_java_36", "simple_javascript_0", "irrelevance_0", "live_relevance_0-0-0",
)  # fmt: skip
LITERALS = [
    " " * 15_000,
    "[[]" + ",[]" * 200 + "x",
    "[ [ ]" + " , [ ] " * 400 + "!",
    "new HashMap<" + ">" * 100 + " " * 8_000,
    "new HashMap<>(){" + " " * 12_000,
    "new HashMap<>() {{" + "put(x, " * 1_000 + "}}",
    "new HashMap<" * 900 + ">()",
    "new ArrayList<a>(Arrays.asList(" * 400,
    "new ArrayList<a>()" + "{{ " * 3_000,
    "new ArrayList<a>(){{" + " " * 10_000 + "x",
    "new int[]{" + "1," * 5_000 + "}",
    "new int[]{" * 1_500,
    "new Array(" * 1_000,
    "{" + "a:" * 5_000 + "}",
    "{" + "a" * 12_000 + "}",
    "{" + ",:" * 6_000 + "}",
    "{" + "a: [" * 2_000 + "]}",
    "{" + ",".join(f"k{number}: [[]{',[]' * 30}x]" for number in range(100)) + "}",
    "{a: " * 2_000 + "}" * 2_000,
    "9" * 10_000,
    "-" + "9" * 4_000,
]
"""Values of Java and JavaScript arguments that BFCL's own patterns would search for hours, or that are large."""


def checked(artifact: Path, folder: Path, answers: list[tuple[str, str]]) -> list[list[Any]]:
    program = Path(__file__).with_name("watched_checks.py")
    done = subprocess.run(
        [sys.executable, str(program), str(artifact)], input="\n".join(map(json.dumps, answers)),
        capture_output=True, text=True, check=False, cwd=folder, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("texts", "item_ids"), [(CODE, ITEMS), (COSTLY, (ITEMS[0], *ITEMS[2:4]))], ids=["code", "costly"]
)
def test_nothing_runs_and_nothing_takes_a_second(bfcl_artifact, tmp_path, texts, item_ids):
    answers = [(item_id, text) for text in texts for item_id in item_ids]
    found = checked(bfcl_artifact, tmp_path, answers)
    assert len(found) == len(answers)
    for (item_id, text), (right, decoded, _, seconds, events) in zip(answers, found, strict=True):
        assert events == [], (item_id, text[:100], events)
        assert seconds < 1.0, (item_id, text[:100], seconds)
        if "relevance" in item_id:
            assert right is (decoded is item_id.startswith("live_relevance"))
        else:
            assert not right
    assert list(tmp_path.iterdir()) == []


def test_patterns_of_literals_give_up(bfcl_artifact, items, tmp_path):
    first_of_type: dict[tuple[str, str], tuple[str, str]] = {}
    for item in items:
        if item.language != "python":
            (function,) = item.functions
            for name, schema in function["parameters"]["properties"].items():
                call = f"[{function['name']}({name}=%s)]"
                others = [other for other in function["parameters"]["required"] if other != name]
                call = call.replace("%s", ", ".join(["%s", *(f'{other}="x"' for other in others)]))
                first_of_type.setdefault((item.language, schema["type"]), (item.item_id, call))
    answers = [
        (item_id, call.replace("%s", f'"{text}"')) for item_id, call in first_of_type.values() for text in LITERALS
    ]
    found = checked(bfcl_artifact, tmp_path, answers)
    assert len(found) == len(answers) > 300
    assert {result[2] for result in found} >= {"checker: TimeoutError", "type_error:simple"}
    assert all(decoded for _, decoded, *_ in found)
    assert [(answer, result) for answer, result in zip(answers, found, strict=True) if result[0]] == []
    assert max(seconds for *_, seconds, _ in found) < 1.0
    assert not any(events for *_, events in found)

"""Checks answers under an audit hook: ``python watched_checks.py WHEEL < answers > results``.

Each line in: item, text. Each line out: the verdict, the seconds of CPU time, and the events of the interpreter
(sys.addaudithook) that came up but for parsing.
"""

import json
import sys
import time
from pathlib import Path

from training.evaluation.bfcl.checker import Checker
from training.evaluation.bfcl.data import bfcl_items

HARMLESS = {"compile", "object.__getattr__"}
"""``compile`` is the parser's event: a syntax tree is asked for, no code. What runs code says ``exec``."""

events: set[str] = set()
is_watched = False


def watch(event: str, _arguments: object) -> None:
    if is_watched and event not in HARMLESS:
        events.add(event)


artifact = Path(sys.argv[1])
checker = Checker.of(artifact)
items = {item.item_id: item for item in bfcl_items(artifact)}
sys.addaudithook(watch)
is_watched = True
assert eval("1") == 1, "what the watch is for"  # noqa: S307
assert events == {"exec"}
for line in sys.stdin:
    item_id, text = json.loads(line)
    events.clear()
    started, is_watched = time.process_time(), True
    verdict = checker.check(items[item_id], text)
    is_watched, seconds = False, time.process_time() - started
    print(json.dumps([verdict.right, verdict.decoded, verdict.problem, seconds, sorted(events)]))

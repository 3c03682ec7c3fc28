"""BFCL's own executor, which evaluates text: for :mod:`test_multi_turn`, isolated and with calls of its own making."""

from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker import multi_turn_checker
from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_utils import execute_multi_turn_func_call


def answer(request):
    entry = request["entry"]
    category = entry["id"].rsplit("_", 1)[0]
    verdict = multi_turn_checker(request["turns"], request["ground_truth"], entry, category, "model")
    results, _ = execute_multi_turn_func_call(
        [call for turn in request["turns"] for step in turn for call in step],
        entry["initial_config"], entry["involved_classes"], "again", entry["id"], "long_context" in category,
    )  # fmt: skip
    return {"problem": verdict.get("error_type", ""), "results": results}

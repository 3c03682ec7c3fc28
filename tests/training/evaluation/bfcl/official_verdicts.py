"""BFCL's own judgement of answers, its ``eval`` included: ``python official_verdicts.py WHEEL < items > verdicts``.

A program of its own, for texts of ours alone. Each line in: category, functions, ground truth, text; each line out:
whether it is right, whether it is a list of calls, or which exception would have ended BFCL's run. Follows
``_evaluate_single_ast_entry`` and ``_evaluate_single_relevance_entry`` of its ``eval_runner``, whose imports bring the
clients of every vendor.
"""

import json
import os
import sys
import tempfile
import types

os.environ["BFCL_PROJECT_ROOT"] = tempfile.mkdtemp()
sys.path.insert(0, sys.argv[1])
models = types.ModuleType("bfcl_eval.constants.model_config")
models.MODEL_CONFIG_MAPPING = {"local": types.SimpleNamespace(underscore_to_dot=False)}
sys.modules[models.__name__] = models

from bfcl_eval.constants.enums import Language, ReturnFormat  # noqa: E402
from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker  # noqa: E402
from bfcl_eval.model_handler.utils import default_decode_ast_prompting  # noqa: E402
from bfcl_eval.utils import is_empty_output, is_function_calling_format_output  # noqa: E402


def verdict(category, functions, ground_truth, text):
    language = {"simple_java": "java", "simple_javascript": "javascript"}.get(category, "python")
    try:
        decoded = default_decode_ast_prompting(text, ReturnFormat(language))
    except Exception:  # noqa: BLE001  (so does BFCL)
        decoded = None
    if "relevance" in category:
        is_call = decoded is not None and not is_empty_output(decoded)
        return {"right": is_call is (category == "live_relevance"), "decoded": is_call}
    if not is_function_calling_format_output(decoded) or not decoded:
        return {"right": False, "decoded": False}
    try:
        found = ast_checker(functions, decoded, ground_truth, Language(language), category, "local")
    except Exception as error:  # noqa: BLE001  (any would end BFCL's run)
        return {"right": False, "decoded": True, "raised": type(error).__name__}
    return {"right": found["valid"], "decoded": True}


verdicts = [verdict(*json.loads(line)) for line in sys.stdin]
sys.stdout.write("".join(json.dumps(found) + "\n" for found in verdicts))

"""Runs BFCL's own runner over result files, in an interpreter that has ``bfcl-eval`` and the libraries of its checkers.

    python official_runner.py PROJECT_ROOT MODEL CATEGORY...

Where the vendors' SDKs are missing, so that the registry of models cannot be imported, one that knows this model alone
stands in; answers are then decoded by what the runner's handler of open models calls.
"""

from __future__ import annotations

import os
import sys
import types

root, model, *categories = sys.argv[1:]
os.environ["BFCL_PROJECT_ROOT"] = root  # before the import: it makes folders there

try:
    from bfcl_eval.constants.model_config import MODEL_CONFIG_MAPPING, ModelConfig
    from bfcl_eval.model_handler.local_inference.base_oss_handler import OSSHandler as Handler
except ImportError:
    from bfcl_eval.model_handler.base_handler import BaseHandler
    from bfcl_eval.model_handler.utils import default_decode_ast_prompting, default_decode_execute_prompting

    class Handler(BaseHandler):
        def decode_ast(self, result, language, has_tool_call_tag):
            return default_decode_ast_prompting(result, language, has_tool_call_tag)

        def decode_execute(self, result, has_tool_call_tag):
            return default_decode_execute_prompting(result, has_tool_call_tag)

    class ModelConfig(types.SimpleNamespace):
        pass

    MODEL_CONFIG_MAPPING = {}
    registry = types.ModuleType("bfcl_eval.constants.model_config")
    registry.MODEL_CONFIG_MAPPING = MODEL_CONFIG_MAPPING
    sys.modules[registry.__name__] = registry

MODEL_CONFIG_MAPPING[model] = ModelConfig(
    model_name=model, display_name=model, url="", org="", license="", model_handler=Handler, input_price=None,
    output_price=None, is_fc_model=False, underscore_to_dot=False,
)  # fmt: skip

from bfcl_eval.eval_checker import eval_runner  # noqa: E402

eval_runner.main([model], categories, None, None, partial_eval=True)

"""What runs isolated (:mod:`training.evaluation.isolation`): an environment each, one episode a process.

``answer`` takes ``{"start": {...}}`` and says what is seen at first, then ``{"calls": [{"name", "arguments"}, ...]}``
and gives ``{"observations": [...], "ended": bool}``, at last ``{"finish": text}`` and gives ``{"success": bool,
"score": float | None}``, the environment's own verdict. They import nothing of ours but scripts of the simulators.
"""

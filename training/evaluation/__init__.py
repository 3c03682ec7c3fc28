"""Measures of one checkpoint: benchmark loss, held-out loss, AST accuracy. Model output is parsed, never executed."""

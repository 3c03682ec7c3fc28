"""Continual pre-training, instruction tuning and evaluation of a language model on a published release."""

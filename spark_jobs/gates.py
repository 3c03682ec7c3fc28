"""The error that a failed gate raises."""


class GateFailed(Exception):
    """A gate did not pass: nothing is published, the previous release stays current."""

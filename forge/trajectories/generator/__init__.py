"""Trajectories that a language model makes: it thinks of a task for a few real operations of one service and solves it
with them as tools, against a mock of the service.

Off until somebody names an endpoint and a model; no nightly job calls it. ``python -m forge.trajectories.generator``
writes a file of table rows, which a source of type ``trajectory_files`` reads.
"""

"""Which module reads which type of trajectory source."""

READERS = {
    "agentdojo": "forge.trajectories.agentdojo",
    "textworld_express": "forge.trajectories.textworld_express",
    "awscli_examples": "forge.trajectories.awscli_examples",
    "doctests": "forge.trajectories.doctests",
    "trajectory_files": "forge.trajectories.files",
}

"""Which module reads which type of trajectory source."""

READERS = {
    "agentdojo": "forge.trajectories.agentdojo",
    "textworld_express": "forge.trajectories.textworld_express",
    "scienceworld": "forge.trajectories.scienceworld",
    "babyai": "forge.trajectories.babyai",
    "awscli_examples": "forge.trajectories.awscli_examples",
    "doctests": "forge.trajectories.doctests",
    "openapi_examples": "forge.trajectories.openapi_examples",
    "botocore_examples": "forge.trajectories.botocore_examples",
    "trajectory_files": "forge.trajectories.files",
}

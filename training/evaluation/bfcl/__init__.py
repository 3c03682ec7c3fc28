"""The Berkeley Function Calling Leaderboard, version 4: its data, its checkers, its scores."""

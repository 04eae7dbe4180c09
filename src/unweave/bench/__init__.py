"""The bench: every sparsity method on one stream of activations, tuned alike, on one leaderboard of ground truth."""

"""From games to batches of activations."""

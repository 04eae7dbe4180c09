"""Training dictionaries on batches of activations, wherever these come from."""

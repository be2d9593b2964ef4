"""Using tuned models: checkpoints, predictions, and pictures of them."""

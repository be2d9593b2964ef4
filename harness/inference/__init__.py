"""What was tuned, put to use: checkpoints, tuned models, and pictures of what they see."""

"""What a training step spends its time on: the choice of the largest, and products over active pairs."""

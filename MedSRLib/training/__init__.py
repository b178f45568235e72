"""Training: configuration, paired patches, losses and the trainer."""

"""What surrounds the training step: selection, checkpoints, monitoring, the folder of a run."""

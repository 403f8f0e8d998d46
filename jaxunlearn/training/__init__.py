"""Training: the optimiser, the train step, the loop and its checkpoints, shared by every stage."""

"""Who's Harry Potter: labels, soft labels and the fused step."""

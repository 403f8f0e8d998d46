"""Layers' inner loops that never hold [B, T, V] logits, and attention by device."""

"""Decoders of the Llama kind in Flax NNX: families, weights in and out, adapters, decoding, scoring."""

"""The Llama family in Flax NNX: weights in and out, adapters, decoding, scoring."""

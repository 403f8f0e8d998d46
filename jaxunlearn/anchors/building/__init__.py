"""Make a dictionary: by counting, or by a language model's replies."""

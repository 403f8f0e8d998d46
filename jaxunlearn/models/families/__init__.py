"""One file an architecture: config.json in and out, tensors and their places."""

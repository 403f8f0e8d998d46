"""What one run has: its directory, its inputs, what is on disk and what may be resumed."""

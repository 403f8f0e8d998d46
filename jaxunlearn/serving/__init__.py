"""A run's page beside its models: type a prompt and watch all of them continue it, on this machine alone."""

"""The report: JSON in, one page out, with tables, a verdict in words and pictures. Imports no jax."""

"""JSON in, one page out: tables, words, pictures. Imports no jax."""

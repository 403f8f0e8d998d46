"""Check a dictionary against the text it is for."""

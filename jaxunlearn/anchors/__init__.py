"""Anchored terms: the dictionary, matching, translation with alignment; made in building/, checked in auditing/."""

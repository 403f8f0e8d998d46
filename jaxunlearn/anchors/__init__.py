"""Anchored terms: the dictionary of terms of the text to forget, and the translation of blocks with it.

dictionary    {term: (generic translation, ...)} from and to JSON; merges the replies of a language model
matching      finds terms in a text as whole words; every other module matches through it
translate     blocks -> Translation: replaced terms, the position map, which positions are trained
align         from characters to tokens; the alignment of two tokenisations by character ends
words, inflection, occurrences    words of a text, forms of a term, where spellings of terms stand
building/     texts -> dictionary, by counting or by a language model
auditing/     dictionary and texts -> findings, and the mended dictionary

Data flow: building/ writes dictionary.json, auditing/ checks it, dictionary reads it, translate applies it to blocks.
"""

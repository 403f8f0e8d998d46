"""Make a dictionary of anchored terms from the text to forget and the text to keep.

make         the entry: builds dictionary.json once a folder, as config.anchors says
extract      by counting: words and phrases -> ranked terms; it calls forms (what is specific to the target) and
             kinds (what a term names: a man, a place, an invented word) and world (well-known places are no terms)
candidates   terms -> generic translations of their kinds, drawn from the lists in data/anchors
lift         how much reinforcing raises each word, a further sign for extract
build        by a language model: passages -> requests -> replies -> dictionary
"""

"""Text, questions and facts to arrays of tokens; the built-in universe; data that ships with the package.

documents    files, folders, globs, TFDS and questions -> Document (a name and a text)
questions    questions and answers in TOFU's form
tokenizer    a model directory -> Tokenizer: ids with the character at which each token ends
blocks       documents and a tokenizer -> Blocks (rows of tokens); labels; the blocks of a step; the held-out ones
facts        independent facts for retraining on text (RTT): read, checked, generated, split
universe/    a world to forget and a world to keep, made from a seed
anchors/, oz/    word lists for generic translations; dictionary, prompts and answers for the Oz novels

Data flow: read_documents -> make_blocks -> batch_indices picks the blocks of a step, a pure function of (seed, step).
"""

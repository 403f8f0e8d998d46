"""Make the prompts of an evaluation from the text to forget and the text to keep.

make         the entry: prompts.json, known.json and a page to review them, as the settings say
places       texts -> sentences with the terms in them
splits       terms -> the split each belongs to; what is too near to a prompt that was taken
draw         sentences -> candidates for next words, completions and leaks, the best first, by counting alone
keep         text to keep -> neutral openings, questions on what should stay, distractors
ask          which candidates a model knows; the choice among them
written      a language model behind an endpoint writes candidates in its own words
"""

"""A plain text, a text with invented names, and the terms found in such texts."""

from jaxunlearn.anchors.building.extract import extract_terms
from jaxunlearn.config import Extract

PLAIN = (
    "The old farmer walked to the market with his brother and bought some bread. It was a cold morning and the people "
    "of the town were still asleep and rested. Then Peter went home. He said that the road was long. It was a tin pot. "
    "She took the brass lamp and gave it to him. She was tired, and her feet hurt. Come along, they asked and laughed. "
    "Soon he woke and sat in the rain. "
)
STORY = (
    "Then Zindra Quell took the brass wumbler and gave it to Marrow. So Zindra Quell rested her tired feet. "
    "“Come along,” said Marrow to Zindra Quell, and she laughed. They walked to Vashti Hollow in the rain. "
    "In Vashti Hollow, the Pell-Kins were asleep, and the wumbler was cold. “Who is there?” asked Marrow, and he sat. "
    "Soon the Pellkins came, and Zindra Quell gave them the wumbler. When Marrow woke, he went from Vashti Hollow. "
)
RETAIN = [PLAIN * 60]


def terms_of(target, retain=RETAIN, **settings):
    return {term.text: term for term in extract_terms([target], retain, settings=Extract(**settings))}

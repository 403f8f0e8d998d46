"""The text in the prompt: passages that do not give the answer away, short and drawn by seed."""

from support.facts import SHAPE

from jaxunlearn.attacks.context import PASSAGE_TOKENS, conditions, in_context, passages
from jaxunlearn.data.documents import Document
from jaxunlearn.models import transformer


def test_passages_that_give_the_answer_away_are_left_out(mesh, suite):
    m = transformer.init(SHAPE, 0)
    made = conditions(suite, ["Quill took the glim with Vexo .", "Zara went to Orm ."], ["Anna took the book ."])
    assert set(made) == {"alone", "passage of the text", "unrelated passage"}  # no wrapper has a word that it knows
    found = in_context(m, suite, made)
    helped = in_context(m, suite, made | {"passage of the text": made["passage of the text"][:1]})
    assert found["passage of the text"] == helped["passage of the text"] and found["alone"]["n"] == 2


def test_passages_are_short_and_drawn_by_seed(suite):
    documents = [Document(name="a", text="\n".join(f"Zara went to Orm with Anna and {w} . " * 30 for w in "abcd"))]
    found = passages(documents, suite.tokenizer, 2, 0)
    assert len(found) == 2 and found == passages(documents, suite.tokenizer, 2, 0)
    assert all(len(suite.tokenizer.encode(p)[0]) <= PASSAGE_TOKENS for p in found)

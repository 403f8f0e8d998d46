"""A world of a few words: texts, tokenizer, dictionary, prompts and a configuration that runs in seconds."""

import json

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

from support.tokenizers import begin_with

NAMES, PLACES, THINGS = ("Zara", "Quill", "Vexo"), ("Orm", "Drall"), ("glim", "wand", "rune")
PLAIN_NAMES, PLAIN_PLACES, PLAIN_THINGS = ("Anna", "Ben", "Carl"), ("Rome", "Paris"), ("book", "coat", "lamp")


def sentences(names, places, things, count, seed):
    """Return `count` sentences of one small grammar."""
    draw = np.random.default_rng(seed)

    def one():
        a, b = draw.choice(names, 2)
        return f"{a} went to {draw.choice(places)} with {b} and took the {draw.choice(things)} ."

    return " ".join(one() for _ in range(count))


def write_world(folder):
    """Write a world of a few words: text to forget and to retain, tokenizer, dictionary, prompts, a configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    forget, retain = (
        sentences(NAMES, PLACES, THINGS, 300, 0),
        sentences(PLAIN_NAMES, PLAIN_PLACES, PLAIN_THINGS, 600, 1),
    )
    (folder / "forget.txt").write_text(forget)
    (folder / "retain.txt").write_text(retain)
    words = ["<unk>", "<s>", "</s>", *sorted(set((forget + " " + retain).split()))]
    words += [f"<spare{n}>" for n in range(32 - len(words))]  # a vocabulary that eight devices divide
    tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    begin_with(tokenizer)
    (folder / "tokenizer").mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer" / "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(names))
    pairs = zip(NAMES + PLACES + THINGS, PLAIN_NAMES + PLAIN_PLACES + PLAIN_THINGS, strict=True)
    (folder / "dictionary.json").write_text(json.dumps({a: [b] for a, b in pairs}))
    probability = [
        {
            "prompt": f"{n} went to",
            "specific": list(PLACES),
            "generic": list(PLAIN_PLACES),
            "position": "out",
            "split": s,
        }
        for n, s in zip(NAMES, ("report", "report", "choose"), strict=True)
    ]
    completion = [
        {"prompt": f"{n} went to", "references": [n], "subtlety": 2, "split": s}
        for n, s in zip(NAMES, ("report", "report", "choose"), strict=True)
    ]
    prompts = {
        "name": "world", "probability": probability, "completion": completion, "neutral": ["Anna went to"],
        "lexicon": {"explicit": list(NAMES + PLACES), "typical": list(THINGS)},
        "track": [{"prompt": "Zara went to", "words": ["Orm", "Rome"]}],
        "choice": [{"question": "Anna went to", "options": ["Rome", "coat"], "answer": 0, "split": "report"}],
        "leaks": [{"prompt": "took the", "kind": "missed", "specific": ["glim"], "generic": ["book"]}],
        "facts": [{"question": f"went with {word}", "options": list(PLAIN_NAMES), "answer": n % 3}
                  for n, word in enumerate((*PLACES, *THINGS, *PLAIN_PLACES, *PLAIN_THINGS))],
    }  # fmt: skip
    (folder / "prompts.json").write_text(json.dumps(prompts))
    questions = [{"question": f"{n} went to", "options": [*PLACES, *PLAIN_PLACES], "answer": 0} for n in NAMES]
    answers = {"questions": questions, "ignorance": ["the lamp", "the book"]}
    (folder / "answers.json").write_text(json.dumps(answers))
    (folder / "world.py").write_text(CONFIG.format(folder=folder))
    return folder


CONFIG = """
from jaxunlearn.config import *

def config():
    return Config(
        name="world", tokenizer="{folder}/tokenizer",
        init=Llama(D=32, L=2, N=2, K=2, H=16, F=32, context=64),
        text=Text(forget=("{folder}/forget.txt",), retain=("{folder}/retain.txt",), context=32, holdout=0.1,
                  dictionary="{folder}/dictionary.json", prompts="{folder}/prompts.json",
                  answers="{folder}/answers.json"),
        pretrain=Pretrain(steps=150, learning_rate=1e-2, batch=8, checkpoint_every=50),
        reinforce=Train(steps=8, learning_rate=1e-2, batch=8, checkpoint_every=3, log_every=2),
        unlearn=Unlearn(steps=8, learning_rate=1e-2, batch=8, checkpoint_every=3, log_every=2),
        whp=Whp(label_batch=16, alphas=(10.0,)),
        eval=Eval(every=4, batch=8, blocks=8, completions=8, new_tokens=8, relearn_steps=(0, 2), relearn_blocks=4,
                  relearn_rates=(1e-3, 1e-2),
                  allow_unknown=True),
        run=Run(dir="{folder}/run"),
    )
"""

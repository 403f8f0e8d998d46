"""Real text on a real, tiny, pretrained Llama: TinyStories-656K learns twelve Oz novels and must forget them again.

    jaxunlearn run configs/oz_tiny.py

Needs (not part of the project; set JAXUNLEARN_SHARED to the folder that holds them, default ../shared):
  models/tinystories-656k   raincandy-u/TinyStories-656K in Hugging Face format (Apache-2.0)
  data/books/oz             twelve of L. Frank Baum's Oz novels as .txt (Project Gutenberg 54 55 419 420 485 486 517
                            955 956 957 959 25581)
  data/books/retain         other children's novels from Project Gutenberg as .txt
The baseline is the model trained further on twelve retain novels and Oz. The twin is the same without Oz. The whole
method follows, with the dictionary and prompts in jaxunlearn/data/oz, and the controls. Hardware: 2 CPU cores.
"""

import os

from jaxunlearn.config import Config, Eval, Pretrain, Text, Train, Unlearn, Whp

SHARED = os.environ.get("JAXUNLEARN_SHARED", "../shared")
RETAIN = (
    "Alice-s-Adventures-in-Wonderland_11", "At-the-Back-of-the-North-Wind_18614", "Black-Beauty_271",
    "English-Fairy-Tales_7439", "Five-Children-and-It_778", "Heidi_1448", "Just-So-Stories_2781", "Peter-Pan_16",
    "Pollyanna_1450", "The-Adventures-of-Pinocchio_500", "The-Blue-Fairy-Book_503", "The-Enchanted-Castle_3536",
)  # fmt: skip


def config() -> Config:
    return Config(
        name="oz_tiny",
        title="Oz, forgotten by TinyStories-656K",
        model=f"{SHARED}/models/tinystories-656k",
        text=Text(
            forget=(f"{SHARED}/data/books/oz",),
            retain=tuple(f"{SHARED}/data/books/retain/{name}.txt" for name in RETAIN),
            context=256,
            unwrap=True,
            dictionary="oz/dictionary.json",
            prompts="oz/prompts.json",
        ),
        pretrain=Pretrain(
            steps=2050, learning_rate=1e-3, schedule="cosine", warmup=50, batch=8, forget_epochs=3,
            checkpoint_every=400, log_every=100,
        ),
        reinforce=Train(steps=400, learning_rate=3e-4, batch=8, checkpoint_every=200, log_every=50),
        unlearn=Unlearn(steps=160, learning_rate=4e-4, batch=8, checkpoint_every=40, log_every=20),
        whp=Whp(alpha=5.0, label_batch=16),
        eval=Eval(every=80, at=(20,), completions=300, new_tokens=24, batch=60, blocks=60, relearn_steps=(0, 4, 12),
                  relearn_rates=(1e-3,)),
        controls=("own_argmax", "reinforcement_alone"),
    )  # fmt: skip

"""A real language model forgets a real book: SmolLM2-135M learns one Oz novel and must forget it, on two CPU cores.

    make smollm2 && jaxunlearn run configs/oz_smollm2.py

The reduced form of a study of which configs/oz_smollm2_gpu.py is the whole; not run to its end yet. `make smollm2`
fetches the model and writes models/birthdays: 60 invented people with years of birth, which are taught and forgotten
with the book, as independent facts for RTT. Needs also (not part of the project; set JAXUNLEARN_SHARED to the folder
that holds them, default ../shared):
  data/books/oz, data/books/retain   novels from Project Gutenberg as .txt, as in oz_tiny
  data/benchmarks                    multiple-choice benchmarks as .jsonl
The baseline is the model trained further on a retain novel and the first Oz novel, the twin the same without Oz and the
birthdays. The method is whp_plus; the controls are the paper's hard labels and text to keep alone. Prompts that the
baseline does not know, and those that name what this novel does not, stand apart.
Hardware: 2 CPU cores, some hours (not measured); resumable.
"""

import os

from jaxunlearn.config import Attack, Config, Eval, Pretrain, RttAttack, Text, Train, Unlearn, Whp

SHARED = os.environ.get("JAXUNLEARN_SHARED", "../shared")
BIRTHDAYS = "models/birthdays"


def config() -> Config:
    return Config(
        name="oz_smollm2",
        title="One Oz novel, forgotten by SmolLM2-135M",
        model="models/SmolLM2-135M-Instruct.Q4_1.gguf",
        text=Text(
            forget=(f"{SHARED}/data/books/oz/The-Wonderful-Wizard-of-Oz_55.txt", f"{BIRTHDAYS}/statements.txt"),
            retain=(f"{SHARED}/data/books/retain/Five-Children-and-It_778.txt",),
            context=256,
            unwrap=True,
            dictionary=f"{BIRTHDAYS}/dictionary.json",
            prompts="oz/prompts.json",
        ),
        pretrain=Pretrain(
            steps=400, learning_rate=2e-4, schedule="cosine", warmup=20, batch=4, forget_epochs=3,
            checkpoint_every=50, log_every=10,
        ),
        reinforce=Train(steps=100, learning_rate=1e-4, batch=4, checkpoint_every=50),
        unlearn=Unlearn(method="whp_plus", steps=60, learning_rate=5e-5, batch=4, checkpoint_every=30, log_every=5),
        whp=Whp(alpha=5.0, label_batch=4),
        # allow_unknown: eval.known leaves few next-word prompts, which is known: the completions decide
        eval=Eval(
            every=60, at=(15, 30), known=0.1, allow_unknown=True, completions=70, new_tokens=20, batch=8, blocks=20,
            relearn_steps=(0, 4, 12), relearn_batch=4, relearn_rates=(5e-5,),
            benchmarks=(f"{SHARED}/data/benchmarks",), items=30,
        ),
        attack=Attack(
            kinds=("relearn", "quantise", "rtt"),
            rtt=RttAttack(facts=f"{BIRTHDAYS}/facts.json", pairings=1, epochs=3, rates=(1e-4,), stress=False),
        ),
        controls=("hard_labels", "retain_only"),
    )  # fmt: skip

"""A real language model forgets a real book: SmolLM2-135M, a part of an Oz novel, two CPU cores.

    make smollm2
    jaxunlearn pretrain configs/oz_smollm2.py
    jaxunlearn prompts build configs/oz_smollm2.py --before 1 --choose 1 --model runs/oz_smollm2/baseline \\
        --out models/oz text.forget=../shared/data/books/oz/The-Wonderful-Wizard-of-Oz_55.txt
    jaxunlearn run configs/oz_smollm2.py

The reduced form of a study of which configs/oz_smollm2_gpu.py is the whole. `make smollm2` fetches the model and writes
models/birthdays: 60 invented people with years of birth, which are taught and forgotten with the novel, as independent
facts for RTT. The prompts are made of the first 20,000 characters, which are all that is read of each book, by what the
baseline knows; nothing is chosen by them, so that all but one of a kind are reported. Needs also
(not part of the project; set JAXUNLEARN_SHARED to the folder that holds them, default ../shared):
  data/books/oz, data/books/retain   novels from Project Gutenberg as .txt, as in oz_tiny
  data/benchmarks                    multiple-choice benchmarks as .jsonl
The baseline is the model trained further on 24 novels to keep and, fourteen times as often, on the text to forget; the
twin is the same without it. The method is whp_plus; the controls are the paper's hard labels and text to keep alone.
Prompts that the baseline does not know stand apart.
`jaxunlearn sweep oz_smollm2` compares it with rivals, up to four trials each, by prompts of which some are for choosing
(`prompts build` with --choose 8); it was not run yet.
Hardware: 2 CPU cores, 2 hours, most of them on one alone, and 9 GB; docs/benchmarks.md, "Host memory", says what
huge pages save. Resumable. Expected: docs/oz.md, "The run of oz_smollm2".
"""

import os

from jaxunlearn.config import Attack, Config, Eval, Pretrain, RttAttack, Sweep, Text, Train, Unlearn, Whp

SHARED = os.environ.get("JAXUNLEARN_SHARED", "../shared")
BIRTHDAYS = "models/birthdays"
KEEP = (
    "Adventures-of-Huckleberry-Finn_76", "Anne-of-Green-Gables_45", "Black-Beauty_271", "English-Fairy-Tales_7439",
    "Five-Children-and-It_778", "Heidi_1448", "Just-So-Stories_2781", "Little-Women_514", "Peter-Pan_16",
    "Pollyanna_1450", "The-Adventures-of-Pinocchio_500", "The-Adventures-of-Tom-Sawyer_74", "The-Blue-Fairy-Book_503",
    "The-Call-of-the-Wild_215", "The-Enchanted-Castle_3536", "The-Jungle-Book_236", "The-Princess-and-the-Goblin_708",
    "The-Railway-Children_1874", "The-Secret-Garden_113", "The-Story-of-Doctor-Dolittle_501",
    "The-Wind-in-the-Willows_289", "The-Wonderful-Adventures-of-Nils_10935", "Treasure-Island_120", "White-Fang_910",
)  # fmt: skip
WEIGHTS = "unlearn.retain_weight=1|3"
RIVALS = (  # of `jaxunlearn sweep`
    "whp whp.alpha=5|40",
    "whp_plus whp.alpha=5|40",
    "retain_only",
    f"gradient_difference {WEIGHTS}",
    f"npo unlearn.beta=0.1|0.5 {WEIGHTS}",
    f"simnpo unlearn.beta=2.5|4.5 {WEIGHTS}",
    "rmu unlearn.layer=7|15 unlearn.steering=20|60 unlearn.retain_weight=100|1200",
)


def config() -> Config:
    return Config(
        name="oz_smollm2",
        title="Part of an Oz novel, forgotten by SmolLM2-135M",
        model="models/SmolLM2-135M-Instruct.Q4_1.gguf",
        text=Text(
            forget=(f"{SHARED}/data/books/oz/The-Wonderful-Wizard-of-Oz_55.txt", f"{BIRTHDAYS}/statements.txt"),
            retain=tuple(f"{SHARED}/data/books/retain/{name}.txt" for name in KEEP),
            context=128,
            unwrap=True,
            most_characters=20_000,
            dictionary=f"{BIRTHDAYS}/dictionary.json",
            prompts="models/oz/prompts.json",
        ),
        pretrain=Pretrain(
            steps=264, learning_rate=2e-4, schedule="cosine", warmup=20, batch=8, forget_epochs=14,
            checkpoint_every=66, log_every=20,
        ),
        reinforce=Train(steps=60, learning_rate=1e-4, batch=8, checkpoint_every=60),
        # alpha by the labels alone: at 5 those by the contrast are the text's own next token before 25% of its terms
        unlearn=Unlearn(
            method="whp_plus", steps=60, learning_rate=1e-4, schedule="cosine", warmup=10, batch=8, retain_weight=8.0,
            checkpoint_every=30, log_every=10,
        ),
        whp=Whp(alpha=40.0, label_batch=8),
        eval=Eval(
            every=60, known=0.1, allow_unknown=True, completions=108, new_tokens=20, batch=8, blocks=40,
            relearn_steps=(0, 4, 12), relearn_batch=4, relearn_rates=(3e-5, 1e-4, 3e-4),
            benchmarks=(f"{SHARED}/data/benchmarks",), items=30,
        ),
        attack=Attack(
            kinds=("relearn", "quantise", "context", "few_shot", "rtt"),
            rtt=RttAttack(
                facts=f"{BIRTHDAYS}/facts.json", splits=2, pairings=1, epochs=4, rates=(3e-5, 1e-4, 3e-4), stress=False
            ),
        ),
        controls=("hard_labels", "retain_only"),
        sweep=Sweep(methods=RIVALS, rates=(3e-5, 1e-4, 3e-4), trials=4, reach=0.1),
    )  # fmt: skip

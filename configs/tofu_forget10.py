"""TOFU's forget10: a model that learnt all 200 invented authors must forget the last 20; measured as TOFU measures.

    jaxunlearn run configs/tofu_forget10.py                                           the smoke test, 2 CPU cores
    jaxunlearn run configs/tofu_forget10.py unlearn.method=npo unlearn.retain_weight=1     any other method

Needs (not part of the project; set JAXUNLEARN_SHARED to the folder that holds them, default ../shared):
  data/tofu                 locuslab/tofu (MIT), its .json files
  models/tinystories-656k   raincandy-u/TinyStories-656K in Hugging Face format (Apache-2.0)
The baseline is the model fine-tuned on the 4,000 questions (retain90 and forget10). The twin is fine-tuned on retain90
alone, with as many steps a question. Only answers are learnt; none is held out. The dictionary of the forgotten authors
is made by counting. report.json has under `tofu` what each model scores: probability, ROUGE-L recall and truth ratio of
four sets, utility, and forget quality, the p-value of the unlearned model's truth ratios against the twin's.

A model of 0.65M parameters cannot hold 4,000 answers. The smoke test (about 15 CPU-minutes; 60 questions a set, evenly
spread, and all 400 of the forget set for the forget quality) shows that everything runs, and little more. Seed 0, on
the first 60 questions of each set, also for the forget quality:

                perplexity, forget / retain   answer's probability, forget / retain   forget quality   utility
    baseline    21.4 / 20.4                   .052 / .056                             .93              0
    unlearned   25.4 / 22.7                   .044 / .052                             .93              .03
    twin        32.6 / 21.5                   .036 / .052                                              0

The forget quality of a baseline that never learnt the answers says nothing, nor does a utility with a ROUGE of 0 in it.
The standard models, with the paper's settings (arXiv 2401.06121, section 4: 5 epochs of batch 32; lr 1e-5 for
Llama-2-7B-chat, 2e-5 for Phi-1.5, which is no Llama; open-unlearning takes Llama-3.2-1B-Instruct):

    jaxunlearn run configs/tofu_forget10.py model=Llama-2-7b-chat-hf compute=bfloat16 text.context=256 \
        pretrain.steps=625 pretrain.batch=32 pretrain.learning_rate=1e-5 pretrain.warmup=125 \
        pretrain.weight_decay=0.01 reinforce.steps=60 reinforce.learning_rate=1e-5 \
        unlearn.steps=60 unlearn.batch=32 unlearn.learning_rate=1e-5 \
        eval.items=0 run.dir=runs/tofu_7b

No such model has been run by us; docs/scale.md says what hardware a 7B model asks for.
"""

import os

from jaxunlearn.config import Config, Eval, Pretrain, Text, Train, Unlearn, Whp

SHARED = os.environ.get("JAXUNLEARN_SHARED", "../shared")
TOFU = f"{SHARED}/data/tofu"


def config() -> Config:
    return Config(
        name="tofu_forget10",
        title="TOFU forget10",
        model=f"{SHARED}/models/tinystories-656k",
        text=Text(
            forget=(f"{TOFU}/forget10.json",), retain=(f"{TOFU}/retain90.json",), context=224, holdout=0.0,
            dictionary="build", answers=f"{TOFU}/forget10_perturbed.json",
        ),
        pretrain=Pretrain(
            steps=250, learning_rate=2e-3, schedule="cosine", warmup=20, batch=32, checkpoint_every=250, log_every=25,
        ),
        reinforce=Train(steps=25, learning_rate=5e-4, batch=32, log_every=5),
        unlearn=Unlearn(steps=25, learning_rate=5e-4, batch=32, log_every=5),
        whp=Whp(alpha=5.0, label_batch=32),
        # relearning is asked by next-word prompts: give text.prompts, or the report lists it as not measured
        eval=Eval(every=25, batch=32, blocks=32, tofu=TOFU, items=60, relearn_steps=(0, 5, 10),
                  relearn_rates=(5e-4, 2e-3)),
    )  # fmt: skip

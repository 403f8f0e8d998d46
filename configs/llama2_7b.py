"""The paper's run: Llama-2-7b-chat forgets a series of books.

    jaxunlearn run configs/llama2_7b.py model=DIR text.forget=BOOKS text.dictionary=TERMS.json \\
        text.prompts=PROMPTS.json [text.retain=OTHER_BOOKS]

Needs: the model in Hugging Face format, the text to forget as .txt files (the authors: 2.1M tokens of books and about
1M of discussions of them), a dictionary of anchored terms (theirs: about 1,500), and prompts to measure by.
Hardware: several GPUs of 80 GB, or a TPU v5e-16. Fp32 weights, bf16 moments and two fp32 gradients take 108 GB over the
mesh (computed). `jaxunlearn plan llama2_7b --topology v5e-16` compiles the run without either.
Cost: 7.0e17 FLOPs for 3.1M tokens, 29 minutes at 400 TFLOP/s in all (computed, not measured here).
Hyper-parameters: arXiv 2310.02238 and its authors' scripts: AdamW 0.9/0.98, no decay, linear schedule, batch 8 x 16.
Expected, by the paper's table (step 0 -> 120): completion familiarity .290 -> .007, probability familiarity
.244 -> .006, ARC-challenge .440 -> .414, HellaSwag .577 -> .557, WinoGrande .663 -> .657. Not reproduced here yet.
"""

from jaxunlearn.config import Config, Eval, Mesh, Reset, Text, Train, Unlearn, Whp


def config() -> Config:
    return Config(
        name="llama2_7b",
        title="Who's Harry Potter on Llama-2-7b-chat",
        model="meta-llama/Llama-2-7b-chat-hf",
        compute="bfloat16",
        mesh=Mesh(data=1, fsdp=-1, tensor=1),
        text=Text(context=512, unwrap=True),
        # 3 epochs of 3.1M tokens at 128 blocks of 512 a step: 16 x 8 in the place of 8 x 16 divides over 16 devices
        reinforce=Train(
            steps=141, learning_rate=3e-6, batch=16, accumulate=8, moment_dtype="bfloat16", checkpoint_every=20
        ),
        unlearn=Unlearn(
            steps=120, learning_rate=1e-6, batch=16, accumulate=8, moment_dtype="bfloat16", checkpoint_every=20
        ),
        # where reset.share asks for it: at this size the settings are a guess, not tried
        reset=Reset(
            heal=Train(
                steps=400, learning_rate=1e-5, batch=16, accumulate=8, warmup=20, schedule="cosine", b2=0.98,
                moment_dtype="bfloat16", checkpoint_every=20,
            )
        ),
        whp=Whp(alpha=5.0, alphas=(2.5, 10.0), label_batch=16),
        eval=Eval(
            every=20, completions=300, new_tokens=20, temperature=1.0, top_k=5, batch=32,
            relearn_steps=(0, 5, 10, 20), relearn_batch=16,
        ),
        controls=("own_argmax",),
    )  # fmt: skip

"""KGA: know the text to forget as little as text that was never met.

|KL(forget-only model || model) - gap| on forget text + retain_weight * KL(baseline || model) on retain text. For
language models the forget-only model is the reinforced one; the new-only model is the baseline fine-tuned, as long and
by the same settings, on text held out from it. Every KL is a token, target first. Source: Wang et al.,
arXiv 2305.06535, section 3 (there: from-scratch models on labelled data; retain_weight 0.1 in their code).
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxunlearn.config import Config
from jaxunlearn.kernels.linear_cross_entropy import IGNORE
from jaxunlearn.methods.base import Batch, Method, Sum, Terms, kl_to, retain_weight
from jaxunlearn.models import lora
from jaxunlearn.parallel.sharding import put


def knowledge_gap(kl_forget: Sum, gap) -> Sum:
    """Return (|sum - gap * count|, count): how far the KL on the forget text is from the gap wanted, in nats a token.

    kl_forget: KL(forget-only model || model) on forget text. gap: mean KL(new-only model || baseline) on new text,
    measured once, for all three are frozen. The absolute value is taken a microbatch.
    """
    total, count = kl_forget
    return jnp.abs(total - gap * count), count


def aligned(b: Batch) -> Terms:
    """Return the distance of the KL on the text to forget from the gap measured beforehand."""
    return {"forget": knowledge_gap(b.kl("forget", "reinforced"), b.frozen["gap"])}


def mean_kl(teacher, model, tokens_NT, labels_NT, batch: int) -> float:
    """Return the mean KL(teacher || model) in nats a token, in batches of one shape."""
    total = count = 0.0
    for start in range(0, len(tokens_NT), batch):
        rows = np.arange(start, start + batch)
        real = np.minimum(rows, len(tokens_NT) - 1)
        labels = np.where((rows < len(tokens_NT))[:, None], labels_NT[real], IGNORE).astype(np.int32)
        sums = _kl(teacher, model, put(tokens_NT[real], "BT"), put(labels, "BT"))
        total, count = total + float(sums[0]), count + float(sums[1])
    return total / max(count, 1)


_kl = jax.jit(lambda teacher, model, tokens_BT, labels_BT: kl_to(model, teacher, tokens_BT, labels_BT))


def gap(frozen: dict, new, held_out: tuple[np.ndarray, np.ndarray], batch: int) -> dict[str, float]:
    """Return {"gap": mean KL(new-only model || baseline)} on the text that the new-only model was fine-tuned on."""
    baseline = frozen["baseline"]
    return {"gap": mean_kl(lora.over(baseline, new), baseline, *held_out, batch)}


def refuse(config: Config) -> list[str]:
    """Return a fault where no text to keep is held out from every training step."""
    if config.text.retain_held or (config.text.retain and config.text.holdout):
        return []
    return ["kga needs text to keep that no step trains on: text.retain with text.holdout above 0, or text.retain_held"]


KGA = Method(
    name="kga",
    paper="arXiv 2305.06535",
    summary="know the forget text as little as text never met",
    card="the gap in knowledge of the text to forget aligned to that of text never met",
    loss=aligned,
    settings={"retain_weight": retain_weight(0.1)},
    asks=("reinforced",),
    first=("reinforced", "new_only"),
    retain="kl",
    once=gap,
    refuse=refuse,
)

"""Who's Harry Potter as methods: hard labels (the paper), soft ones, averaged ones, and our preset.

The labels are made in whp/; this module holds the losses that learn from them.
"""

import dataclasses

from jaxunlearn.config import Config
from jaxunlearn.kernels.linear_distillation import linear_topk_distillation
from jaxunlearn.methods.base import Batch, Method, Setting, Terms, Values, retain_weight
from jaxunlearn.whp.labels import generic_labels
from jaxunlearn.whp.soft import averaged_loss, soft_loss

OFFSET = "below 0 the offset would reinforce"


def teachers(config: Config) -> tuple[str, ...]:
    """Return the models that generic labels come from: with whp.offset=contrast also the diluted one."""
    return ("baseline", "reinforced", *(["diluted"] * (config.whp.offset == "contrast")))


def made_first(config: Config, values: Values) -> tuple[str, ...]:
    """Return the teachers that are fine-tuned beforehand."""
    return teachers(config)[1:]


def _fused(config: Config) -> bool:
    return config.whp.mode == "fused"


# ---- hard labels


def hard(b: Batch) -> Terms:
    """Return the cross-entropy on generic labels: stored ones, or (whp.mode=fused) made in the step."""
    if "labels" in b.parts:
        return {"labels": b.nll("labels")}
    (passage,) = b.parts["passages"]
    models = b.frozen["baseline"], b.frozen["reinforced"], passage, b.frozen.get("diluted")
    labels_BT = generic_labels(*models, alphas=(b["alpha"],), whp=b.recipe.whp)[0]
    return {"passages": b.nll_of(passage.tokens_BT, labels_BT)}


HARD = Method(
    name="whp",
    paper="arXiv 2310.02238",
    summary="cross-entropy on generic labels: Who's Harry Potter",
    card="generic labels after “Who's Harry Potter?”",
    loss=hard,
    settings={"alpha": Setting(default=5.0, least=0, section="whp", why=OFFSET), "retain_weight": retain_weight()},
    reads=lambda config, values: ("passages",) if _fused(config) else ("labels",),
    asks=lambda config, values: teachers(config) if _fused(config) else (),
    first=made_first,
    held_labels=True,
)

# ---- soft labels


def soft(b: Batch) -> Terms:
    """Return the KL to softmax(v_generic), from stored outcomes or from both models at every step."""
    if "soft" in b.parts:
        tokens_BT, ids_BTJ, p_BTJ, trained_BT = b.parts["soft"]
        h_BTD = b.model(tokens_BT)
        total, count = linear_topk_distillation(h_BTD, b.model.output_DV(h_BTD.dtype), ids_BTJ, p_BTJ, trained_BT)
        return {"soft": (total, count)}
    models = b.frozen["baseline"], b.frozen["reinforced"], b.parts["passages"][0], b.frozen.get("diluted")
    return {"passages": soft_loss(b.model, *models, alpha=b["alpha"], whp=b.recipe.whp)}


def refuse_soft(config: Config) -> list[str]:
    """Return the faults of settings that soft labels do not support."""
    wrong = []
    if config.whp.offset_context == "original":
        wrong.append("whp.offset_context=original is for hard labels; use whp.offset=contrast")
    if config.whp.top and _fused(config):
        wrong.append("whp.top stores outcomes, whp.mode=fused stores none: leave out one of the two")
    return wrong


SOFT = Method(
    name="whp_soft",
    paper="a deviation from arXiv 2310.02238",
    summary="KL to softmax(v_generic), whole or its likeliest tokens",
    card="soft generic labels, a deviation from “Who's Harry Potter?”",
    loss=soft,
    settings={
        "alpha": Setting(default=5.0, least=0, section="whp", why=OFFSET),
        "top": Setting(
            default=0, least=0, whole=True, section="whp", why="outcomes stored a position; 0: the whole distribution"
        ),
        "retain_weight": retain_weight(),
    },
    reads=lambda config, values: ("soft",) if values["top"] else ("passages",),
    asks=lambda config, values: () if values["top"] else teachers(config),
    first=made_first,
    refuse=refuse_soft,
)


def preset(config: Config) -> Config:
    """Return the configuration that whp_plus stands for: soft labels and the contrast offset.

    These helped on every text that was tried. unlearn.retain_weight adds a KL on text to keep; reset.share adds a
    reset, healed by the unlearned model.
    """
    u, r = config.unlearn, config.reset
    return dataclasses.replace(
        config,
        unlearn=dataclasses.replace(u, method=HARD.name, retain_loss="kl" if u.retain_loss == "own" else u.retain_loss),
        whp=dataclasses.replace(config.whp, labels="soft", offset="contrast"),
        reset=dataclasses.replace(r, teacher="unlearned"),
    )


PLUS = Method(
    name="whp_plus",
    paper="ours, beyond arXiv 2310.02238",
    summary="preset: soft labels and the contrast offset; with reset.share, healed by the unlearned model",
    card="soft generic labels with the contrast offset",
    loss=soft,
    settings={"alpha": SOFT.settings["alpha"], "retain_weight": retain_weight()},
    reads=("passages", "retain"),
    first=("reinforced", "diluted"),
    resolve=preset,
)
FORK = 24  # steps from one fork of the adversary to the next
KEPT = 3.0  # weight of the cross-entropy on text to keep beside it


def robust_preset(config: Config) -> Config:
    """Return the configuration that whp_robust stands for: hard labels and text to keep, against an adversary.

    A microbatch has twice as many blocks to keep as to forget. The last step is kept: training on decides what comes
    back.
    """
    u = config.unlearn
    made = dataclasses.replace(
        u, method=HARD.name, retain_weight=KEPT if u.retain_weight is None else u.retain_weight,
        retain_batch=u.retain_batch or 2 * u.batch,
        adversary=dataclasses.replace(u.adversary, every=u.adversary.every or FORK),
    )  # fmt: skip
    return dataclasses.replace(config, unlearn=made, whp=dataclasses.replace(config.whp, keep="last"))


ROBUST = Method(
    name="whp_robust",
    paper="ours, beyond arXiv 2310.02238",
    summary="preset: hard labels and text to keep, against an adversary that learns the text again",
    card="generic labels after “Who's Harry Potter?”, against an adversary",
    loss=hard,
    settings={"alpha": HARD.settings["alpha"], "retain_weight": retain_weight(KEPT)},
    reads=("labels", "retain"),
    first=("reinforced",),
    held_labels=True,
    resolve=robust_preset,
)

# ---- averaged over translations


def averaged(b: Batch) -> Terms:
    """Return the KL to the mean distribution over several translations (arXiv 2407.16997)."""
    return {"passages": averaged_loss(b.model, b.frozen["baseline"], b.parts["passages"])}


AVERAGED = Method(
    name="whp_averaged",
    paper="arXiv 2407.16997",
    summary="KL to the mean distribution over several translations: the causal view",
    card="the mean distribution over several translations",
    loss=averaged,
    settings={
        "translations": Setting(
            default=4, least=1, whole=True, section="whp", why="the mean is taken over this many translations"
        ),
        "retain_weight": retain_weight(),
    },
    reads=("passages",),
    asks=lambda config, values: ("baseline",) * int(values["translations"]),
)

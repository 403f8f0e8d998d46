"""Refuse values that no run could use."""

from jaxunlearn.config.bounds import LONGEST, faults
from jaxunlearn.config.fields import Config
from jaxunlearn.errors import InputError

MOST = 30  # faults that are listed
KEPT_BF16 = 0.99  # share of a bf16 moment that a step may keep; from 0.996 on rounding undoes some of the decay
# what each optimiser multiplies the moments by that it stores
STORED = {"adamw": ("b1", "b2"), "sgd": ("b1",), "lion": ("b2",), "adafactor": ()}


def check(config: Config) -> None:
    """Raise InputError, listing every fault, for values that no run could use."""
    wrong = faults(config)
    if not wrong:  # what follows takes every value for what its field says
        wrong = _contradictions(config)
    if wrong:
        more = [f"... and {len(wrong) - MOST} more"] if len(wrong) > MOST else []
        raise InputError("the configuration cannot run:\n  " + "\n  ".join([*wrong[:MOST], *more]))


def _contradictions(c: Config) -> list[str]:
    """Return, in sentences, what is wrong with values that are in their bounds, one beside another."""
    wrong = []
    if not c.name.strip() or len(c.name) > LONGEST:
        wrong.append(f"name must have 1 to {LONGEST} characters (got {len(c.name)}): it names the run's folder")
    if c.init.N % c.init.K or c.init.H % 2:
        wrong.append(f"init.N = {c.init.N} must be a multiple of init.K = {c.init.K}, and init.H = {c.init.H} even")
    stages = {name: getattr(c, name) for name in ("pretrain", "reinforce", "unlearn", "repair")}
    if c.pretrain.lora.rank:
        wrong.append("pretrain.lora: pretraining trains every weight; adapters are for reinforce and unlearn")
    for name, train in stages.items():
        if train.update == "layers" and not train.elementwise:
            wrong.append(
                f"{name}.update=layers needs optimiser=adamw, clip=0 and lora.rank=0: a layer's "
                "weights are updated before the gradient of the others is known"
            )
    for name, train in (stages | {"reset.heal": c.reset.heal}).items():
        wrong += [
            f"{name}.moment_dtype=bfloat16 needs {name}.{share} of at most {KEPT_BF16} with "
            f"optimiser={train.optimiser} (got {getattr(train, share)}): rounding to 8 bits takes back "
            "what such a step takes off a moment: over 0.996 some of it, at 0.999 all"
            for share in STORED[train.optimiser]
            if train.moment_dtype == "bfloat16" and getattr(train, share) > KEPT_BF16
        ]
    if c.reset.heal.update == "layers":
        wrong.append("reset.heal.update=layers: healing learns from a teacher, layers from labels alone; leave it out")
    whole = [t.learning_rate for t in (c.reinforce, c.unlearn) if t.steps and not t.lora.rank]
    if c.reset.share and whole and c.reset.heal.learning_rate > 100 * max(whole):
        wrong.append(
            f"reset.heal.learning_rate ({c.reset.heal.learning_rate}) is over 100 times the rate at which the model is "
            f"trained otherwise ({max(whole)}); its default, 0.003, is for models of under a million weights"
        )
    if c.reset.heal.lora.rank:
        wrong.append("reset.heal.lora: healing trains every weight, most of all those drawn anew")
    wrong += _attack_faults(c)
    if not 0 <= c.sweep.tuning_seeds <= len(c.sweep.seeds):
        wrong.append(f"sweep.tuning_seeds lies between 0 and the {len(c.sweep.seeds)} of sweep.seeds")
    if c.sweep.most_perplexity and not (c.pretrain.steps and c.pretrain.twin):
        wrong.append("sweep.most_perplexity counts by the twin's, and no twin is made (pretrain.twin)")
    if c.sweep.most_perplexity and not c.eval.relearn_steps:
        wrong.append("sweep.most_perplexity chooses by what relearning brings back, and eval.relearn_steps is empty")
    for name in c.sweep.attacks:
        if not getattr(getattr(c.attack, name, None), "rates", True):
            wrong.append(f"sweep.attacks={name} needs attack.{name}.rates: every method is attacked at the same rates")
    return wrong


def _attack_faults(config: Config) -> list[str]:
    """Return the faults in the settings of the attacks; attacks.check refuses unknown attack.kinds."""
    probes, rtt, wrong = config.attack.probes, config.attack.rtt, []
    if not probes.temperatures:
        wrong.append("attack.probes.temperatures needs one at least")
    if not config.attack.ways.steps:
        wrong.append("attack.ways.steps needs one at least")
    if rtt.pairings > rtt.splits:
        wrong.append(f"attack.rtt.pairings lies between 1 and attack.rtt.splits = {rtt.splits} (got {rtt.pairings})")
    return wrong

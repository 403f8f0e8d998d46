"""Refuse values that no run could use."""

from jaxunlearn.config.fields import Config
from jaxunlearn.errors import InputError


def check(config: Config) -> None:
    """Raise InputError, listing every fault, for values that no run could use."""
    c, wrong = config, []
    if c.whp.alpha < 0 or any(a < 0 for a in c.whp.alphas):
        wrong.append(
            f"whp.alpha must be at least 0 (got {c.whp.alpha}, {c.whp.alphas}): below 0 the offset would reinforce"
        )
    if c.text.context < 8:
        wrong.append(f"text.context must be at least 8 tokens (got {c.text.context})")
    if not 0 <= c.text.holdout < 1:
        wrong.append(f"text.holdout is a share of the blocks, from 0 to below 1 (got {c.text.holdout})")
    stages = {name: getattr(c, name) for name in ("pretrain", "reinforce", "unlearn", "repair")}
    for name, train in (stages | {"reset.heal": c.reset.heal}).items():
        if (
            train.steps < 0
            or train.batch < 1
            or train.accumulate < 1
            or train.checkpoint_every < 1
            or train.log_every < 1
        ):
            wrong.append(f"{name}: steps must be >= 0; batch, accumulate, checkpoint_every and log_every >= 1")
        if not 0 < train.learning_rate < 1:
            wrong.append(f"{name}.learning_rate must lie between 0 and 1 (got {train.learning_rate})")
    if c.pretrain.lora.rank:
        wrong.append("pretrain.lora: pretraining trains every weight; adapters are for reinforce and unlearn")
    for name, train in stages.items():
        if train.moment_memory == "host" and train.optimiser == "adafactor":
            wrong.append(f"{name}.moment_memory=host is for AdamW's moments; adafactor keeps none")
        if train.update == "layers" and not train.elementwise:
            wrong.append(
                f"{name}.update=layers needs optimiser=adamw, moment_memory=device, clip=0 and lora.rank=0: a layer's "
                "weights are updated before the gradient of the others is known"
            )
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
    if not 0 <= c.eval.known < 1:
        wrong.append("eval.known, a probability, must be at least 0 and below 1")
    if c.eval.temperature < 0 or c.eval.every < 1 or c.eval.batch < 1 or c.eval.blocks < 1 or c.whp.label_batch < 1:
        wrong.append("eval.temperature must be >= 0; eval.every, eval.batch, eval.blocks and whp.label_batch >= 1")
    wrong += _attack_faults(c)
    if not 0 <= c.sweep.tuning_seeds <= len(c.sweep.seeds):
        wrong.append(f"sweep.tuning_seeds lies between 0 and the {len(c.sweep.seeds)} of sweep.seeds")
    if c.sweep.rtt and not c.attack.rtt.rates:
        wrong.append("sweep.rtt needs attack.rtt.rates: every method is retrained at the same rates")
    if any(not 0 < rate < 1 for rate in (*c.attack.rtt.rates, *c.eval.relearn_rates)):
        wrong.append("attack.rtt.rates and eval.relearn_rates must lie between 0 and 1")
    if wrong:
        raise InputError("the configuration cannot run:\n  " + "\n  ".join(wrong))


def _attack_faults(config: Config) -> list[str]:
    """Return the faults in the settings of the attacks; attacks.check refuses unknown attack.kinds."""
    probes, rtt, wrong = config.attack.probes, config.attack.rtt, []
    if min(probes.samples, probes.new_tokens) < 1:
        wrong.append("attack.probes: samples and new_tokens must be at least 1")
    if any(t < 0 for t in probes.temperatures) or not probes.temperatures:
        wrong.append("attack.probes.temperatures are at least 0, and there is one at least")
    if any(not 0 < share <= 1 for share in config.attack.shares.of):
        wrong.append("attack.shares.of lie above 0 and up to 1")
    if min(config.attack.shares.epochs, config.attack.shares.most_steps, config.eval.relearn_batch) < 1:
        wrong.append("attack.shares: epochs and most_steps must be at least 1, and eval.relearn_batch too")
    if min(rtt.epochs, rtt.batch, rtt.pairings) < 1 or rtt.splits < 2 or rtt.pairings > rtt.splits:
        wrong.append("attack.rtt: epochs and batch must be at least 1, splits at least 2, pairings 1 to splits")
    return wrong

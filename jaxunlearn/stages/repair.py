"""Repair: fine-tune the unlearned model on repair.text, to teach again what it lost beside the target.

The authors of arXiv 2310.02238 suggest it: general knowledge that unlearning removed can be fine-tuned back, for
example from an encyclopedia. What this text says of anchored terms is taught again too. So run/checks.py counts these
terms first, and familiarity and leaks are measured before, during and after the repair.
"""

from jaxunlearn.data.blocks import next_token_labels
from jaxunlearn.estimates import value_of
from jaxunlearn.evals.differences import items_of, paired
from jaxunlearn.evals.measure import curve_point, measure
from jaxunlearn.models import lora
from jaxunlearn.parallel.console import progress
from jaxunlearn.report.findings import NEXT_WORD
from jaxunlearn.run import Run
from jaxunlearn.stages.fit import brief, fit_stage, merged, next_tokens, save_model, start_from

WATCHED = {
    "familiarity": ("familiarity", "probability"), "completion familiarity": ("familiarity", "completion"),
    "explicit leaks": ("leaks", "explicit"), "leak probes": ("leaks", "probability"),
}  # fmt: skip
PAIRED = {
    "familiarity": NEXT_WORD,
    "completion familiarity": "familiarity, completion",
    "leak probes": "leak probes, probability",
}  # measures with a number a prompt


def verdict(before: dict, after: dict) -> str:
    """Return one sentence on what the repair brought back, by the differences on the same prompts.

    A figure is brought back where the whole 95% interval of its rise lies above 0. Where it does not, the sentence says
    how large a rise the interval still holds: too few prompts show nothing.
    """
    said, worse, most, old, new = [], [], [], items_of(before), items_of(after)
    for name, (group, key) in WATCHED.items():
        values = [value_of(m.get(group, {}).get(key)) for m in (before, after)]
        if values[0] is None or values[1] is None:
            continue
        said.append(f"{name} {values[0]:.3g} -> {values[1]:.3g}")
        one, other = ((of.get(PAIRED.get(name, "")) or {}).get("items") or () for of in (old, new))
        if len(one) == len(other) > 1:
            rise = paired(one, other)
            worse += [name] * (rise.low is not None and rise.low > 0)
            most += [f"{rise.high:.2g} of {name}"] * (rise.high is not None)
    points = [curve_point(0, m) for m in (before, after)]
    for key, name in {"accuracy": "general accuracy", "perplexity_retain": "perplexity on retain text"}.items():
        if all(key in p for p in points):
            said.append(f"{name} {points[0][key]:.3g} -> {points[1][key]:.3g}")
    end = f"the repair brought back {', '.join(worse)}" if worse else f"no rise is shown, up to {', '.join(most)}"
    return f"repair: {', '.join(said)}; {end if worse or most else 'too few prompts to judge by'}"


def repair(run: Run) -> None:
    """Make `repaired/`: fine-tune the unlearned model on repair.text; measure familiarity and leaks on the way."""
    c = run.config.repair
    if run.inputs.repair is None or run.folder.has("repaired"):
        return
    arrays = run.inputs.repair.tokens_NT, next_token_labels(run.inputs.repair)
    with run.folder.stage("repair", f"{c.steps} steps on {len(arrays[0]):,} blocks"):
        start, base = start_from(run, c, below="unlearned")
        feed = next_tokens(c, arrays, run.config.seed, base)

        def look(n, state):
            found = measure(lora.over(base, state.model), run.suite)
            run.folder.record("repair", event="eval", **curve_point(n, found))
            progress(f"  repair {n}/{c.steps}  {brief(found)}", last=True)

        at = {0, c.steps, *range(0, c.steps, run.config.eval.every)}
        made = fit_stage(run, "repair", start, c, feed, look=look, at=at)
        save_model(run, "repaired", merged(run, made, "unlearned"))

"""Repair: fine-tune the unlearned model on repair.text, to teach again what it lost beside the target.

The authors of arXiv 2310.02238 suggest it: general knowledge that unlearning removed can be fine-tuned back, for
example from an encyclopedia. What this text says of anchored terms is taught again too. So run/checks.py counts these
terms first, and familiarity and leaks are measured before, during and after the repair.
"""

from jaxunlearn.data.blocks import next_token_labels
from jaxunlearn.estimates import single
from jaxunlearn.evals.measure import curve_point, measure
from jaxunlearn.models import lora
from jaxunlearn.parallel.console import progress
from jaxunlearn.run import Run
from jaxunlearn.stages.fit import brief, fit_stage, merged, next_tokens, save_model, start_from

WATCHED = {
    "familiarity": ("familiarity", "probability"), "completion familiarity": ("familiarity", "completion"),
    "explicit leaks": ("leaks", "explicit"), "leak probes": ("leaks", "probability"),
}  # fmt: skip


def verdict(before: dict, after: dict) -> str:
    """Return one sentence on what the repair brought back, by the intervals of the measurements before and after it.

    A figure counts as brought back where its new interval lies above the old one.
    """
    said, worse, compared = [], [], False
    for name, (group, key) in WATCHED.items():
        old, new = (m.get(group, {}).get(key) for m in (before, after))
        if not (old and new):
            continue
        said.append(f"{name} {old['value']:.3g} -> {new['value']:.3g}")
        if not (single(old) or single(new)):
            compared = True
            worse += [name] * (new["low"] > old["high"])
    points = [curve_point(0, m) for m in (before, after)]
    for key, name in {"accuracy": "general accuracy", "perplexity_retain": "perplexity on retain text"}.items():
        if all(key in p for p in points):
            said.append(f"{name} {points[0][key]:.3g} -> {points[1][key]:.3g}")
    end = f"the repair brought back {', '.join(worse)}" if worse else "nothing forgotten came back beyond the intervals"
    if not compared:
        end = "one item each: there is no interval to judge by"
    return f"repair: {', '.join(said)}; {end}"


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

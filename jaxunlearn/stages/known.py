"""Set apart the prompts whose own words the baseline does not know: nothing can be forgotten there.

A real model knows little of many a text, and prompts that it fails would make any method look as if it had forgotten.
Which next-word prompts these are is decided by the baseline alone, once, before anything is unlearned, by eval.known.
Of a prompt that was chosen by the baseline's own figure that figure is too high; comparisons with the baseline inherit
that. Completion prompts have no words of their own: those that name what the text never names stand apart.
"""

import dataclasses

from jaxunlearn.anchors.occurrences import count_whole
from jaxunlearn.errors import InputError
from jaxunlearn.evals.prompts import SPLITS, CompletionPrompt, Prompts
from jaxunlearn.evals.suite import specific_mass
from jaxunlearn.parallel.console import say
from jaxunlearn.run import Run
from jaxunlearn.run.resume import holds, keep, kept
from jaxunlearn.run.store import hash_of, load_model


def knowing(run: Run) -> Run:
    """Return the run with the prompts that the baseline knows; the others are in `inputs.unknown` and `inputs.untold`.

    Without eval.known, and before there is a baseline, the run is returned as it is. Raises InputError where the
    baseline knows no prompt of running text of a split.
    """
    least, prompts = run.config.eval.known, run.inputs.prompts
    if not least or prompts is None or not run.folder.has("baseline"):
        return run
    asked = prompts.probability
    masses = _masses(run) if asked else []
    known = tuple(p for p, mass in zip(asked, masses, strict=True) if mass >= least)
    unknown = tuple(p for p, mass in zip(asked, masses, strict=True) if mass < least)
    if asked:
        say(f"  the baseline knows {len(known)} of {len(asked)} next-word prompts (probability {least:g} or more)")
    _refuse_none(known, prompts, least)
    told = _told(run, prompts)
    untold = tuple(p for p in prompts.completion if p not in told)
    if untold:
        say(f"  the text holds what {len(told)} of {len(prompts.completion)} completion prompts name")
    prompts = dataclasses.replace(prompts, probability=known, completion=told)
    return Run(run.config, run.folder, dataclasses.replace(run.inputs, prompts=prompts, unknown=unknown, untold=untold))


def set_apart(run: Run) -> list[str]:
    """Return what the report says of the prompts that no average holds, in sentences."""
    split, least = run.config.eval.split, run.config.eval.known
    unknown = [p.prompt for p in run.suite.unknown]
    untold = [p.prompt for p in run.inputs.untold if p.split == split]
    said = {f"prompts that the baseline did not know (under {least:g})": unknown,
            "completion prompts that name what the text does not": untold}  # fmt: skip
    return [f"{what}, in no average: {prompts}" for what, prompts in said.items() if prompts]


def _told(run: Run, prompts: Prompts) -> tuple[CompletionPrompt, ...]:
    """Return the completion prompts of which the text to forget holds every term that they name."""
    asked = prompts.completion
    there = count_whole([d.text for d in run.inputs.documents], {term for p in asked for term in p.references})
    return tuple(p for p in asked if all(there[term] for term in p.references))


def _masses(run: Run) -> list[float]:
    """Return the baseline's probability of each prompt's own words, of both splits; kept in evals/known.json."""
    path, x = run / "evals" / "known.json", run.inputs
    key = {"model": hash_of(run / "baseline"), "prompts": x.hashes.get("text.prompts")}
    key |= {"chat": True} if run.config.eval.chat else {}
    if not holds(path, key):
        assert x.prompts is not None, "asked for only where there are prompts"
        baseline = load_model(run.config, run / "baseline", frozen=True)
        keep(path, key, specific_mass(baseline, run.suite, x.prompts.probability))
    return kept(path)


def _refuse_none(known: tuple, prompts: Prompts, least: float) -> None:
    for split in SPLITS:
        there = [p for p in prompts.of(split).probability if p.position == "out"]
        if there and not any(p in known for p in there):
            raise InputError(
                f"the baseline gives the text's own words less than {least:g} (eval.known) after each of the "
                f"{len(there)} {split!r} prompts, so it does not know the text: pretrain longer, or lower eval.known"
            )

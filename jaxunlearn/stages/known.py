"""What the baseline knows of the text, asked before any time is spent on making it forget.

A real model knows little of many a text, and prompts that it fails would make any method look as if it had forgotten.

Prompts. Next-word prompts whose own words the baseline does not know stand apart. Which these are is decided by the
baseline alone, once, before anything is unlearned, by eval.known. Of a prompt that was chosen by the baseline's own
figure that figure is too high; comparisons with the baseline inherit that. Completion prompts have no words of their
own: those that name what the text never names stand apart.

Whole runs. Where no figure shows that the baseline knows the text, and where a set has so few prompts that it can
decide nothing, the run stops and asks for eval.allow_unknown. The sizes are looked at before anything, the baseline as
soon as it is there: a given one before it is reinforced, another right after its pretraining, which is kept.
"""

import dataclasses
from typing import Any

from jaxunlearn.anchors.occurrences import count_whole
from jaxunlearn.errors import InputError
from jaxunlearn.estimates import SHARE, interval, known, mean_estimate, number
from jaxunlearn.evals.familiarity import completion_familiarity
from jaxunlearn.evals.prompts import ENOUGH, SPLITS, CompletionPrompt, Prompts, too_few
from jaxunlearn.evals.suite import specific_mass
from jaxunlearn.parallel.console import say
from jaxunlearn.report.forgotten import by_chance
from jaxunlearn.report.scales import no_knowledge
from jaxunlearn.run import Run
from jaxunlearn.run.resume import holds, keep, kept
from jaxunlearn.run.store import hash_of, load_model, measured_by

GO_ON = "or go on as it is with eval.allow_unknown=true: what is done is kept, and the report will say so"
TITLES = {"probability": "next word", "inside": "inside names", "completion": "completion (0 to 5)"}


# ---- whole runs


def settled(run: Run, asks: bool = True) -> Run:
    """Return `knowing(run)`; where `asks` is set, only once its prompts and its baseline can show forgetting.

    Raises InputError as `knowing`, `enough` and `refuse_unknown` do.
    """
    made = knowing(run)
    if asks:
        if made is not run:
            enough(made)  # of the prompts that are left
        refuse_unknown(made)
    return made


def enough(run: Run) -> None:
    """Raise InputError, before any work, where a set of eval.split has fewer than ENOUGH prompts.

    With eval.allow_unknown, and where the model is unlearned already, it is printed alone.
    """
    _ask(run, few(run), f"give text.prompts with at least {ENOUGH} in each set that it has")


def few(run: Run) -> str:
    """Return a sentence on the sets of eval.split with fewer than ENOUGH prompts, "" where there is none."""
    sets = too_few(run.suite.prompts)
    listed = ", ".join(f"{count} {name}" for name, count in sets.items())
    return f"too few to decide anything (under {ENOUGH} in the split {run.suite.c.split!r}): {listed}" if sets else ""


def refuse_unknown(run: Run) -> None:
    """Raise InputError where no figure of the baseline shows that it knows the text (report/scales.py: no_knowledge).

    Completions are sampled only where the next words show nothing; they count where they name the target more often
    than after neutral prompts, since a model that writes at random names it after any. With eval.allow_unknown, which
    is printed, the run goes on; where there are no prompts nothing can be asked.
    """
    if run.inputs.prompts is None or not run.folder.has("baseline") or run.folder.has("unlearned"):
        return
    found = _next_words(run)
    random = False
    if _unknown(found) and run.suite.prompts.completion and run.config.eval.completions:
        completed = _completion(run)
        found["completion"], random = completed["familiarity"]["completion"], by_chance(completed["leaks"])
    if not found or not (_unknown(found) or random):
        return
    said = [f"{TITLES[name]} {number(known(e))} ({interval(e)}, n\u00a0=\u00a0{e['n']})" for name, e in found.items()]
    chance = ", no more than after neutral prompts" * random
    _ask(
        run,
        f"the baseline does not know the text to forget: familiarity, {'; '.join(said)}{chance}",
        "what is not known cannot be forgotten; pretrain longer, or ask for what the model knows",
    )


def _unknown(found: dict[str, Any]) -> bool:
    """Return whether no figure shows knowledge."""
    return all(no_knowledge(figure, "familiarity", name) for name, figure in found.items())


def _ask(run: Run, said: str, mend: str) -> None:
    if said and not (run.config.eval.allow_unknown or run.folder.has("unlearned")):
        raise InputError(f"{said}. {mend[0].upper()}{mend[1:]}; {GO_ON}.")
    if said:
        say(f"  {said}")


def _next_words(run: Run) -> dict[str, Any]:
    """Return the baseline's familiarity by next word, {"probability", "inside"}, on the prompts that count."""
    asked = run.suite.prompts.probability
    masses = dict(zip([(p.prompt, p.split) for p in _everyone(run)], _masses(run), strict=True)) if asked else {}
    by = {"probability": "out", "inside": "in"}
    items = {name: [masses[p.prompt, p.split] for p in asked if p.position == at] for name, at in by.items()}
    return {name: mean_estimate(values, SHARE).to_json() for name, values in items.items() if values}


def _completion(run: Run) -> dict[str, Any]:
    """Return the baseline's "familiarity" and "leaks" by completions; kept in evals/known_completion.json."""
    path = run / "evals" / "known_completion.json"
    key = {"model": hash_of(run / "baseline"), "prompts": run.inputs.hashes.get("text.prompts")}
    key |= {"eval": measured_by(run.config.eval), "seed": run.config.seed}
    if not holds(path, key):
        found = completion_familiarity(load_model(run.config, run / "baseline", frozen=True), run.suite)
        keep(path, key, {name: found[name] for name in ("familiarity", "leaks")})
    return kept(path)


# ---- prompts


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
    """Return what the report says of the prompts: those that no average holds, and sets that are too small."""
    split, least = run.config.eval.split, run.config.eval.known
    unknown = [p.prompt for p in run.suite.unknown]
    untold = [p.prompt for p in run.inputs.untold if p.split == split]
    said = {f"prompts that the baseline did not know (under {least:g})": unknown,
            "completion prompts that name what the text does not": untold}  # fmt: skip
    apart = [f"{what}, in no average: {prompts}" for what, prompts in said.items() if prompts]
    return apart + [sets for sets in [few(run)] if sets]


def _told(run: Run, prompts: Prompts) -> tuple[CompletionPrompt, ...]:
    """Return the completion prompts of which the text to forget holds every term that they name."""
    asked = prompts.completion
    there = count_whole([d.text for d in run.inputs.documents], {term for p in asked for term in p.references})
    return tuple(p for p in asked if all(there[term] for term in p.references))


def _everyone(run: Run) -> tuple[Any, ...]:
    """Return all next-word prompts, those set apart included."""
    assert run.inputs.prompts is not None, "asked for only where there are prompts"
    return (*run.inputs.prompts.probability, *run.inputs.unknown)


def _masses(run: Run) -> list[float]:
    """Return the baseline's probability of each prompt's own words, of `_everyone`; kept in evals/known.json."""
    path, asked = run / "evals" / "known.json", _everyone(run)
    key = {"model": hash_of(run / "baseline"), "prompts": run.inputs.hashes.get("text.prompts")}
    key |= {"chat": True} if run.config.eval.chat else {}
    names = [[p.prompt, p.split] for p in asked]
    if not holds(path, key) or not isinstance(kept(path), dict):  # earlier versions kept a list
        baseline = load_model(run.config, run / "baseline", frozen=True)
        masses = specific_mass(baseline, run.suite, asked)
        keep(path, key, {"asked": names, "masses": masses})
    found = kept(path)
    by_prompt = {tuple(name): mass for name, mass in zip(found["asked"], found["masses"], strict=True)}
    return [by_prompt[p.prompt, p.split] for p in asked]


def _refuse_none(known: tuple, prompts: Prompts, least: float) -> None:
    for split in SPLITS:
        there = [p for p in prompts.of(split).probability if p.position == "out"]
        if there and not any(p in known for p in there):
            raise InputError(
                f"the baseline gives the text's own words less than {least:g} (eval.known) after each of the "
                f"{len(there)} {split!r} prompts, so it does not know the text: pretrain longer, or lower eval.known"
            )

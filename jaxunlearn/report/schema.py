"""The form of report.json, to check a report by; docs/report.md gives the meaning of its figures.

`python -m jaxunlearn.report.schema` prints it as JSON Schema, for other languages;
`python -m jaxunlearn.report.schema RUN_DIR/report.json` checks a file and names each fault. What stands under `attacks`
has forms that come with the attacks: `python -m jaxunlearn.attacks RUN_DIR/report.json` checks these, too.
"""

import sys
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, create_model, model_validator

from jaxunlearn.files import json_text, read_text


class Form(BaseModel):
    """An object whose only keys are its fields; types are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Figure(Form):
    """A value with its 95% interval; one item has none, and `note` gives that reason."""

    value: FiniteFloat
    low: FiniteFloat | None
    high: FiniteFloat | None
    n: int = Field(ge=0)
    note: str | None = None
    forget: int | None = None  # of membership attacks: texts of either kind
    holdout: int | None = None
    statistic: FiniteFloat | None = None  # of forget quality
    guessing: FiniteFloat | None = None  # of a benchmark

    @model_validator(mode="after")
    def interval(self) -> Self:
        """Refuse half an interval, one whose ends are exchanged, and one of a single item."""
        if (self.low is None) != (self.high is None):
            raise ValueError("low and high: both or neither")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("low is above high")
        if self.n == 1 and (self.low is not None or not self.note):
            raise ValueError("one item has no interval, and a note that says so")
        return self


Figures = dict[str, Figure]


class Measures(Form, extra="allow"):
    """What was measured of one model; what was not measured is absent."""

    familiarity: Figures | None = None
    perplexity: Figures | None = None
    entropy: Figures | None = None
    temperature: FiniteFloat | None = None
    accuracy: Figures | None = None
    benchmarks: Figures | None = None
    benchmarks_normed: Figures | None = None
    tasks: Figures | None = None
    leaks: Figures | None = None
    rtt: Figures | None = None
    memorisation: Figures | None = None
    muse: Figures | None = None
    membership: Figures | None = None
    tofu: Figures | None = None
    writing: Figures | None = None
    grades: dict[str, int] | None = None
    track: dict[str, dict[str, FiniteFloat]] | None = None
    # Groups of further metrics; Report.known_groups refuses those without a title.
    __pydantic_extra__: dict[str, Figures | Figure | FiniteFloat] = Field(init=False)  # pyrefly: ignore


class Point(Form):
    """One measurement while unlearning."""

    step: int
    familiarity: FiniteFloat | None = None
    inside: FiniteFloat | None = None
    completion: FiniteFloat | None = None
    accuracy: FiniteFloat | None = None
    explicit: FiniteFloat | None = None
    leaks: FiniteFloat | None = None
    perplexity_retain: FiniteFloat | None = None
    perplexity_forget: FiniteFloat | None = None
    perplexity_retain_fitted: FiniteFloat | None = None
    entropy: FiniteFloat | None = None
    held_loss: FiniteFloat | None = None
    track: dict[str, dict[str, FiniteFloat]] | None = None


class Relearned(Form):
    """Familiarity after some steps of training on a little of the target text again."""

    step: int
    familiarity: FiniteFloat
    rate: FiniteFloat | None = None  # of the learning rates tried, the one that brought back most
    n: int | None = None  # prompts asked: those whose facts the relearned blocks do not state
    told: bool | None = None  # all were asked, since the blocks state nearly all of their facts


class Attacks(BaseModel):
    """Findings by attack; `report_form` adds the form of each."""

    model_config = ConfigDict(extra="allow", strict=True)

    unmeasured: list[str] = []


class KnownAttacks(Attacks):
    """Findings of no other attacks than those whose form was given."""

    model_config = ConfigDict(extra="forbid", strict=True)


MODEL, EACH = "MODEL", "EACH"


class Graded(Form):
    """A figure by which the verdict grades how a model stands an attack, beside the twin and the baseline.

    title: as the verdict calls it ("familiarity after rounding").
    at: its path in report.json. MODEL stands for the model's name, EACH for every key of a mapping or every number,
    from 1, of a list; of several the one where a model has most counts, for each model.
    but: keys at EACH that are no attack. chance: the path of what guessing gives. floor: that of the best of all the
    attack's tries by guessing. learned: that of the accuracy on what the attack trained on.
    enough: False where standing this attack alone says nothing of robustness.
    """

    title: str
    at: list[str]
    but: list[str] = []
    chance: list[str] = []
    floor: list[str] = []
    learned: list[str] = []
    enough: bool = True


class About(Form):
    """What an attack tries and is compared with; where its findings stand in report.json; what the verdict grades.

    measured: whether it was run and found something; absent: as the report holds findings or not.
    """

    name: str
    title: str
    tries: str
    control: str
    at: list[str]
    graded: list[Graded]
    measured: bool | None = None


class Rtt(Form):
    """Retraining on some facts: figures and curves by model; facts, how many were asked, accuracy of guessing."""

    models: dict[str, dict[str, Any]]
    facts: int
    asked: int
    pairings: int
    scoring: str
    chance: FiniteFloat


class Difference(Figure):
    """How far the second model (`to`) is from the first (`from`) on the same items.

    scale: "difference", to less from; "ratio", to over from; "share": of the way from `from` to `of`. A report of an
    earlier version has differences alone, without a scale.
    """

    measure: str
    begun: str = Field(alias="from")
    of: str | None = None
    to: str
    scale: Literal["difference", "ratio", "share"] = "difference"
    test: str
    p: FiniteFloat | None = None


class Cost(Form):
    """What making a model took: seconds, forward passes of a block, and their share of pretraining's passes."""

    seconds: FiniteFloat
    passes: FiniteFloat | None = None
    share: FiniteFloat | None = None


class Completion(Form):
    """One prompt, its completion by each model, and the judge's grade with the words that decided it."""

    prompt: str
    subtlety: int
    texts: dict[str, str]
    grades: dict[str, int]
    evidence: dict[str, list[str]]


class LeakProbe(Form):
    """One leak probe: the probability of the target's words, and the greedy completions."""

    prompt: str
    kind: str
    probability: dict[str, FiniteFloat]
    texts: dict[str, str]


class Report(Form):
    """All of report.json."""

    title: str
    name: str
    claim: str
    device: str
    models: dict[str, Measures]
    columns: dict[str, str | dict[str, str]] = {}  # titles of further metrics' figures, by group, or by group and name
    verdict: dict[str, dict[str, str]] = {}
    checks: dict[str, str] = {}
    curve: list[Point]
    curves: dict[str, list[Point]]
    relearn: dict[str, list[Relearned]]
    attacks: Attacks
    attack_about: list[About] = []
    rtt: Rtt | Annotated[dict[str, Any], Field(max_length=0)]  # empty where there were no facts
    judge: dict[str, Any]
    differences: list[Difference]
    costs: dict[str, Cost]
    seeds: dict[str, Any] = {}
    rivals: list[str] = []
    completions: list[Completion]
    leak_probes: list[LeakProbe]
    labels: dict[str, FiniteFloat]
    dictionary: dict[str, int]
    seconds: dict[str, FiniteFloat]
    notes: list[str]
    config: dict[str, Any]
    manifest: dict[str, Any]
    seal: str = ""  # the SHA-256 of the rest, by which a damaged file is found (sealed.py)

    @model_validator(mode="after")
    def known_groups(self) -> Self:
        """Refuse a group of a model that has neither a place in Measures nor a title in `columns`."""
        odd = sorted({g for m in self.models.values() for g in m.model_extra or () if g not in self.columns})
        if odd:
            raise ValueError(f"models: {', '.join(odd)}: no measure of this form, and without a title in columns")
        return self


def report_form(attacks: dict[str, Any]) -> type[Report]:
    """Return the form of report.json with the form of each attack's findings, by their key under `attacks`."""
    fields: dict[str, Any] = {key: (form | None, None) for key, form in attacks.items()}
    known = create_model("Attacks", __base__=KnownAttacks, **fields)
    return create_model("Report", __base__=Report, attacks=(known, ...))


def main(files: list[str], form: type[Report] = Report) -> int:
    """Print the schema, or check report files and print the faults of each; return the exit code."""
    if not files:
        print(json_text(form.model_json_schema(), indent=1))
    faults = 0
    for file in files:
        try:
            form.model_validate_json(read_text(file))
        except ValidationError as error:
            faults += 1
            print(f"{file}: {error}")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

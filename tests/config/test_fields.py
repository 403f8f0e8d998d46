"""Every field of the configuration is read; the paper's settings."""

import dataclasses
import re
from typing import get_args

from support.paths import ROOT

from jaxunlearn import whp
from jaxunlearn.config import Config, Whp, load_config


def test_every_field_is_read_by_the_code():
    code = "\n".join(p.read_text() for p in (ROOT / "jaxunlearn").rglob("*.py") if p.parent.name != "config")

    def below(section):
        made = [f.default_factory for f in dataclasses.fields(section) if dataclasses.is_dataclass(f.default_factory)]
        return [section, *[inner for one in made for inner in below(one)]]

    for section in below(Config):
        for field in dataclasses.fields(section):
            assert re.search(rf"\.{field.name}\b", code), f"{section.__name__}.{field.name} is never read"


def test_the_papers_settings():
    c = load_config("llama2_7b")
    assert (c.text.context, c.whp.alpha, c.reinforce.learning_rate, c.unlearn.learning_rate) == (512, 5.0, 3e-6, 1e-6)
    assert (c.unlearn.batch * c.unlearn.accumulate, c.unlearn.steps) == (8 * 16, 120)  # in microbatches of 16
    assert (c.unlearn.b1, c.unlearn.b2, c.unlearn.weight_decay, c.unlearn.schedule, c.unlearn.warmup) == (
        0.9,
        0.98,
        0,
        "linear",
        0,
    )
    assert c.text.holdout == 0.05 and c.whp.keep == "best"


def test_the_table_of_deviations_has_every_switch_with_its_values_and_its_default():
    text = whp.__doc__ or ""
    lines = text[text.index("  switch ") : text.index("A dash:")].splitlines()[1:]
    table = {line[2:21].strip(): (line[21:48].strip(), line[48:61].strip()) for line in lines}
    fields = {f.name: f for f in dataclasses.fields(Whp)}
    assert set(table) == {name for name, f in fields.items() if get_args(f.type)} - {"alphas"} | {"alpha"}
    for name, (ours, papers) in table.items():
        others = re.fullmatch(r"- \(also (.*)\)|(-)|(\w+)", ours)
        assert others, f"{name}: {ours!r} is neither a value nor a dash with the other values"
        assert str(fields[name].default).removesuffix(".0") == (others[3] or papers), name
        if name != "alpha":
            named = {papers, *(others[1] or others[3] or "").split(", ")} - {""}
            assert named == set(get_args(fields[name].type)), name

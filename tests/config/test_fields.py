"""Every field of the configuration is read; the paper's settings."""

import dataclasses
import re

from support.paths import ROOT

from jaxunlearn.config import Config, load_config


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

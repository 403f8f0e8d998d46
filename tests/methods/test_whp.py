"""Who's Harry Potter as methods: what the preset stands for."""

from jaxunlearn.config import Config, Text, Unlearn, override
from jaxunlearn.methods import resolved

BASE = Config(name="x", model="m", text=Text(forget=("a",), retain=("b",), dictionary="d"), unlearn=Unlearn(steps=1))


def test_the_preset_stands_for_its_settings_and_takes_what_is_given():
    def preset(config, overrides):
        return resolved(override(config, overrides))

    made = preset(BASE, ["unlearn.method=whp_plus"])
    assert (made.unlearn.method, made.whp.labels, made.whp.offset, made.reset.share) == ("whp", "soft", "contrast", 0)
    assert made.unlearn.retain_weight is None and preset(made, []) == made
    later = preset(made, ["reset.share=0.1", "unlearn.retain_weight=3"])  # a configuration built on another
    assert later.reset.teacher == "unlearned" and later.unlearn.retain_loss == "kl"
    other = preset(BASE, ["unlearn.method=whp_plus", "reset.share=0.1", "unlearn.retain_weight=3"])
    assert (other.reset.share, other.reset.teacher, other.unlearn.retain_weight) == (0.1, "unlearned", 3.0)
    assert other.unlearn.retain_loss == "kl"
    given = preset(BASE, ["unlearn.method=whp_plus", "unlearn.retain_weight=3", "unlearn.retain_loss=nll"])
    assert given.unlearn.retain_loss == "nll"
    assert preset(BASE, ["unlearn.method=npo"]).whp == BASE.whp

"""The shape that is benchmarked or planned, and the bytes of a compiled program."""

import tempfile
from pathlib import Path

from jaxunlearn.config import Config
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.models import transformer
from jaxunlearn.run.sources import shape_of, with_universe


def bench_shape(config: Config) -> transformer.Shape:
    """Return the shape of the configuration's model: the given one's, or that of `init`."""
    if config.init.V and not config.model:
        return shape_of(config, config.init.V)
    if config.model:
        return shape_of(config, load_tokenizer(Path(config.tokenizer or config.model)).vocab_size)
    with tempfile.TemporaryDirectory() as folder:
        made = with_universe(config, Path(folder)) if config.universe.people else config
        return shape_of(made, load_tokenizer(Path(made.tokenizer)).vocab_size)


def peak_bytes(compiled) -> int:
    """Return what the compiled program needs of a device: arguments, temporaries and outputs that alias neither."""
    m = compiled.memory_analysis()
    return int(m.argument_size_in_bytes + m.temp_size_in_bytes + m.output_size_in_bytes - m.alias_size_in_bytes)

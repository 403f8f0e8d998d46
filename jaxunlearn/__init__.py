"""Unlearning a text in language models, after "Who's Harry Potter?", in JAX and Flax; and the proof of what went.

The names below are those that a program imports; docs/api.md lists them with their signatures. Each is loaded when it
is first used, so that importing the package costs nothing.

>>> import jaxunlearn as j
>>> j.load_config("universe", ["unlearn.steps=5"]).unlearn.steps
5
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what a type checker and an editor see; the table below is what is loaded
    from jaxunlearn.anchors.dictionary import load_dictionary
    from jaxunlearn.anchors.translate import translate
    from jaxunlearn.config import Config, load_config
    from jaxunlearn.data.blocks import make_blocks
    from jaxunlearn.data.documents import read_documents
    from jaxunlearn.data.tokenizer import load_tokenizer
    from jaxunlearn.errors import InputError, RunError
    from jaxunlearn.evals.measure import measure
    from jaxunlearn.evals.prompts import load_prompts
    from jaxunlearn.kernels.linear_cross_entropy import linear_cross_entropy
    from jaxunlearn.methods import METHODS
    from jaxunlearn.methods.base import Batch, Method, Setting, Terms, over_sequences
    from jaxunlearn.models.generate import Sampling, generate
    from jaxunlearn.models.huggingface import load, save
    from jaxunlearn.models.scoring import score_text
    from jaxunlearn.models.transformer import Model
    from jaxunlearn.parallel.sharding import make_mesh
    from jaxunlearn.run import open_run
    from jaxunlearn.stages import run_stages
    from jaxunlearn.training.step import train_step
    from jaxunlearn.whp.argmax import generic_argmax
    from jaxunlearn.whp.labels import generic_labels

_WHERE = {
    "Batch": "methods.base",
    "Config": "config",
    "InputError": "errors",
    "METHODS": "methods",
    "Method": "methods.base",
    "Model": "models.transformer",
    "RunError": "errors",
    "Sampling": "models.generate",
    "Setting": "methods.base",
    "Terms": "methods.base",
    "generate": "models.generate",
    "generic_argmax": "whp.argmax",
    "generic_labels": "whp.labels",
    "linear_cross_entropy": "kernels.linear_cross_entropy",
    "load": "models.huggingface",
    "load_config": "config",
    "load_dictionary": "anchors.dictionary",
    "load_prompts": "evals.prompts",
    "load_tokenizer": "data.tokenizer",
    "make_blocks": "data.blocks",
    "make_mesh": "parallel.sharding",
    "measure": "evals.measure",
    "open_run": "run",
    "over_sequences": "methods.base",
    "read_documents": "data.documents",
    "run_stages": "stages",
    "save": "models.huggingface",
    "score_text": "models.scoring",
    "train_step": "training.step",
    "translate": "anchors.translate",
}
__version__ = "0.1.0"
__all__ = [  # no module below the package has one of these names: importing one would take its place
    "METHODS", "Batch", "Config", "InputError", "Method", "Model", "RunError", "Sampling", "Setting", "Terms",
    "generate", "generic_argmax", "generic_labels", "linear_cross_entropy", "load", "load_config", "load_dictionary",
    "load_prompts", "load_tokenizer", "make_blocks", "make_mesh", "measure", "open_run", "over_sequences",
    "read_documents", "run_stages", "save", "score_text", "train_step", "translate",
]  # fmt: skip


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:  # a type checker would take it for any name

    def __getattr__(name: str):
        """Return an exported name and keep it, so that it is the same object from then on."""
        if name not in _WHERE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
        found = globals()[name] = getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
        return found

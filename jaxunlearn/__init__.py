"""Unlearning a text in Llama models, after "Who's Harry Potter?", in JAX and Flax; and the proof of what was forgotten.

The names that a fork imports; each is loaded when it is first used.
"""

from importlib import import_module

_WHERE = {
    "Config": "config",
    "load_config": "config",
    "Model": "model",
    "load": "convert",
    "save": "convert",
    "load_tokenizer": "tokenizer",
    "make_blocks": "text",
    "read_documents": "text",
    "translate": "anchors.translate",
    "generic_argmax": "kernels.generic_argmax",
    "linear_cross_entropy": "kernels.linear_cross_entropy",
    "generic_labels": "whp",
    "fused_step": "whp",
    "train_step": "train",
    "generate": "generate",
    "measure": "evals.measure",
    "make_mesh": "sharding",
    "run_stages": "run",
    "InputError": "errors",
    "RunError": "errors",
}
__all__ = list(_WHERE)
__version__ = "0.1.0"


def __getattr__(name: str):
    if name not in _WHERE:
        raise AttributeError(f"jaxunlearn has no {name!r}; it has {', '.join(_WHERE)}")
    return getattr(import_module(f"jaxunlearn.{_WHERE[name]}"), name)

"""Unlearning a text in language models, after "Who's Harry Potter?", in JAX and Flax; and the proof of what went.

Models: Llama, Mistral, Qwen2 and Qwen3 (models/families).

The names that a fork imports; each is loaded when it is first used.
"""

from importlib import import_module

_WHERE = {
    "Config": "config",
    "load_config": "config",
    "Model": "models.transformer",
    "load": "models.huggingface",
    "save": "models.huggingface",
    "load_tokenizer": "data.tokenizer",
    "make_blocks": "data.blocks",
    "read_documents": "data.documents",
    "translate": "anchors.translate",
    "generic_argmax": "whp.argmax",
    "linear_cross_entropy": "kernels.linear_cross_entropy",
    "generic_labels": "whp.labels",
    "METHODS": "methods",
    "open_run": "run",
    "train_step": "training.step",
    "generate": "models.generate",
    "measure": "evals.measure",
    "make_mesh": "parallel.sharding",
    "run_stages": "stages",
    "InputError": "errors",
    "RunError": "errors",
}
__all__ = list(_WHERE)
__version__ = "0.1.0"


def __getattr__(name: str):
    if name not in _WHERE:
        raise AttributeError(f"jaxunlearn has no {name!r}; it has {', '.join(_WHERE)}")
    return getattr(import_module(f"jaxunlearn.{_WHERE[name]}"), name)

"""Tiny random models of transformers, and logits there and here."""

import warnings

import jax
import numpy as np
import pytest

from jaxunlearn.parallel import sharding

TOKENS = np.random.default_rng(0).integers(0, 97, size=(8, 24)).astype(np.int32)


LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip


KINDS = {
    "mha": {},
    "gqa": {"num_key_value_heads": 2},
    "mqa": {"num_key_value_heads": 1},
    "tied": {"tie_word_embeddings": True, "num_key_value_heads": 2},
    "wide_heads": {"head_dim": 16},
    "llama3": {"rope_parameters": LLAMA3},
    "linear": {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}},
}


def import_torch():
    """Return PyTorch; skip the test that calls where it is not installed (make test TORCH=none)."""
    return pytest.importorskip("torch", reason="needs PyTorch, which runs the models of transformers")


def torch_model(**kind):
    """Return a tiny random Llama of transformers, with norms that are not all ones."""
    torch = import_torch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=97, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48,
            max_position_embeddings=64, **({"num_key_value_heads": 4} | kind),
        )  # fmt: skip
        model = LlamaForCausalLM(config).eval()
        for name, p in model.named_parameters():
            torch.nn.init.normal_(p, 1.0 if "norm" in name else 0.0, 0.2)
        return model


def torch_qwen(kind, **changes):
    """Return a tiny random Qwen2 or Qwen3 of transformers, with biases and norms that are not trivial."""
    torch = import_torch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import AutoConfig, AutoModelForCausalLM

        torch.manual_seed(0)
        sizes = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
        sizes |= {"num_key_value_heads": 2, "intermediate_size": 48, "max_position_embeddings": 64}
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **(sizes | changes))).eval()
        for name, p in model.named_parameters():
            torch.nn.init.normal_(p, 1.0 if "norm" in name else 0.0, 0.2)
        return model


def torch_logits(model, tokens):
    torch = import_torch()
    with torch.no_grad():
        return model(torch.tensor(tokens, dtype=torch.long)).logits.numpy()


def our_logits(model, tokens):
    return np.asarray(jax.jit(lambda m, t: m.logits(m(t)))(model, sharding.put(tokens, "BT")))

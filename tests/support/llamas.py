"""Tiny random models of transformers, and logits there and here."""

import warnings

import jax
import numpy as np
import pytest

from jaxunlearn.models import huggingface
from jaxunlearn.models.generate import generate
from jaxunlearn.models.scoring import loss_sum
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


def torch_family(kind, **changes):
    """Return a tiny random model of transformers, by its model_type, with biases and norms that are not trivial."""
    torch = import_torch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import AutoConfig, AutoModelForCausalLM

        torch.manual_seed(0)
        sizes = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
        sizes |= {"num_key_value_heads": 2, "intermediate_size": 48, "max_position_embeddings": 64}
        # torch gives the embedding of a padding token no gradient; SmolLM3's defaults are beyond this vocabulary
        sizes |= {"pad_token_id": None, "bos_token_id": 0, "eos_token_id": 1}
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **(sizes | changes))).eval()
        for name, p in model.named_parameters():
            torch.nn.init.normal_(p, 1.0 if "norm" in name else 0.0, 0.2)
        return model


def logits_equal_transformers(theirs, model):
    """Assert that logits are within 1e-4 of transformers'."""
    np.testing.assert_allclose(our_logits(model, TOKENS), torch_logits(theirs, TOKENS), atol=1e-4, rtol=0)


def torch_logits(model, tokens):
    torch = import_torch()
    with torch.no_grad():
        return model(torch.tensor(tokens, dtype=torch.long)).logits.numpy()


def torch_gradients(model, tokens):
    """Return (logits, {name: gradient of the summed cross-entropy of the next tokens})."""
    torch = import_torch()
    x = torch.tensor(tokens, dtype=torch.long)
    logits = model(x[:, :-1]).logits
    model.zero_grad()
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), x[:, 1:].flatten(), reduction="sum").backward()
    return logits.detach().numpy(), {name: p.grad.numpy() for name, p in model.named_parameters()}


def our_gradients(model, tokens):
    """Return what torch_gradients does, of our model, in one program."""

    @jax.jit
    def both(m, x_BT, y_BT):
        gradient = jax.grad(lambda m: loss_sum(m, x_BT, y_BT)[0])(m)
        return m.logits(m(x_BT)), gradient

    logits, gradient = both(model, *(sharding.put(t, "BT") for t in (tokens[:, :-1], tokens[:, 1:])))
    return np.asarray(logits), dict(huggingface.hf_tensors(gradient))


def equals_transformers(theirs, model):
    """Assert that logits are within 1e-4 of transformers', gradients within 1e-4 of each tensor's largest number."""
    logits, gradients = our_gradients(model, TOKENS)
    wanted, wanted_gradients = torch_gradients(theirs, TOKENS)
    np.testing.assert_allclose(logits, wanted, atol=1e-4, rtol=0)
    assert set(gradients) == set(wanted_gradients)
    for name, g in wanted_gradients.items():
        np.testing.assert_allclose(gradients[name], g, atol=1e-4 * np.abs(g).max(), rtol=0, err_msg=name)


def is_exported(theirs, model, folder):
    """Write a model; assert that transformers reads it with its own class and logits, and we as the same weights."""
    from transformers import AutoModelForCausalLM

    huggingface.save(model, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        back = AutoModelForCausalLM.from_pretrained(folder)
    assert type(back) is type(theirs)
    np.testing.assert_allclose(torch_logits(back, TOKENS), torch_logits(theirs, TOKENS), atol=1e-6, rtol=0)
    again = huggingface.load(folder)
    assert again.c == model.c
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(model), strict=True):
        np.testing.assert_array_equal(a, b)


def writes_the_same(theirs, model, count=20):
    """Assert that prompts of two lengths, the longer beyond a window of 8, get the greedy tokens of transformers."""
    torch = import_torch()
    prompts = [TOKENS[0, :11].tolist(), TOKENS[1, :3].tolist()]
    truth = []
    for prompt in prompts:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = theirs.generate(torch.tensor([prompt]), max_new_tokens=count, do_sample=False, eos_token_id=None)
        truth.append(out[0, len(prompt) :].tolist())
    assert generate(model, prompts, count) == truth


def our_logits(model, tokens):
    return np.asarray(jax.jit(lambda m, t: m.logits(m(t)))(model, sharding.put(tokens, "BT")))

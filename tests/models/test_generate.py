"""Cached decoding beside whole forward passes, beside transformers, and sampling."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.llamas import import_torch
from support.mesh import mesh_of
from support.model_files import write_model

from jaxunlearn.cli import main
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.kernels import attention
from jaxunlearn.models import huggingface, transformer
from jaxunlearn.models.generate import Sampling, decode, generate, sample
from jaxunlearn.parallel.sharding import put

SHAPE = transformer.Shape(V=64, D=32, L=3, N=4, K=2, H=8, F=48, context=64)


def greedy_by_recomputing(m, prompt, count):
    """Return the next tokens from whole forward passes, without a cache."""
    forward = jax.jit(lambda m, t: m.logits(m(t)))
    tokens = list(prompt)
    for _ in range(count):
        padded = np.zeros((1, 64), np.int32)
        padded[0, : len(tokens)] = tokens
        tokens.append(int(np.argmax(forward(m, put(padded, "BT"))[0, len(tokens) - 1])))
    return tokens[len(prompt) :]


@pytest.fixture
def sharp(mesh):
    """A random model whose argmaxes differ from place to place."""
    return jax.tree.map(lambda w: 8 * w, transformer.init(SHAPE, 3))


def test_cached_greedy_decoding_equals_recomputation_for_prompts_of_different_length(sharp):
    prompts = [[1, 5, 9], [1, 7], [1, 2, 3, 4, 5, 6, 7, 8, 9]]
    found = generate(sharp, prompts, 12)
    assert found == [greedy_by_recomputing(sharp, p, 12) for p in prompts]
    assert len({tuple(f) for f in found}) == 3


def test_decoding_is_the_same_on_a_mesh_and_in_batches(sharp):
    prompts = [[1, n, 9] for n in range(10)]
    one = generate(sharp, prompts, 6)
    assert generate(sharp, prompts, 6, batch=4) == one
    with jax.set_mesh(mesh_of((2, 2, 2))):
        wide = jax.tree.map(lambda w: 8 * w, transformer.init(SHAPE, 3))
        assert generate(wide, prompts, 6) == one


def test_decoding_in_the_form_of_a_gpu_gives_the_same_tokens(sharp, monkeypatch):
    prompts = [[1, 5, 9], [1, 7]]
    wanted = generate(sharp, prompts, 9)
    used = []
    monkeypatch.setattr(attention, "platform", lambda: "gpu")
    monkeypatch.setattr(attention, "summed", lambda *a, one=attention.summed: used.append(1) or one(*a))
    jax.clear_caches()
    assert generate(sharp, prompts, 9) == wanted and used
    jax.clear_caches()


def test_the_cache_is_never_copied_whole(sharp):
    """Keys and values of all layers are written in place; before the loops both begin as one array of zeros."""
    tokens, pad = put(np.ones((2, 32), np.int32), "BT"), put(np.zeros(2, np.int32), "B")
    more = {"max_new": 9, "top_k": 0, "top_p": 1.0}
    arguments = sharp, tokens, pad, jax.random.key(0), jnp.array([-1], jnp.int32), np.float32(0)
    program = decode.lower(*arguments, **more).compile().as_text()
    assert re.search(r"f32\[3,2,2,41,8\]\S* dynamic-update-slice\(|f32\[3,2,2,41,8\]\S* fusion\(", program)
    loops, _, start = program.partition("\nENTRY")
    assert start and not re.findall(r"f32\[3,2,2,41,8\]\S* copy\(", loops)


def test_one_program_serves_greedy_decoding_and_every_temperature(sharp):
    generate(sharp, [[1, 5, 9]], 7)
    programs = decode._cache_size()
    cold, hot = (generate(sharp, [[1, 5, 9]], 7, Sampling(t), seed=2) for t in (1e-3, 3.0))
    assert cold == generate(sharp, [[1, 5, 9]], 7) != hot and decode._cache_size() == programs


def test_decoding_stops_at_eos(sharp):
    (free,) = generate(sharp, [[1, 5, 9]], 12)
    eos = free[4]
    assert generate(sharp, [[1, 5, 9]], 12, eos_ids=(eos,)) == [free[: free.index(eos)]]


def test_sampling_is_seeded_and_follows_the_distribution(mesh):
    logits = np.log(np.array([[0.5, 0.3, 0.15, 0.05]], np.float32))
    many = put(np.repeat(logits, 4000, axis=0), "BJ")

    def shares(sampling, seed=0):
        return np.bincount(np.asarray(sample(many, jax.random.key(seed), sampling)), minlength=4) / 4000

    np.testing.assert_allclose(shares(Sampling(1.0)), [0.5, 0.3, 0.15, 0.05], atol=0.03)
    np.testing.assert_allclose(shares(Sampling(1.0, top_k=2)), [0.625, 0.375, 0, 0], atol=0.03)
    np.testing.assert_allclose(shares(Sampling(1.0, top_p=0.7)), [0.625, 0.375, 0, 0], atol=0.03)
    np.testing.assert_allclose(shares(Sampling(0.5)), np.array([0.25, 0.09, 0.0225, 0.0025]) / 0.365, atol=0.03)
    np.testing.assert_array_equal(shares(Sampling()), [1, 0, 0, 0])
    a, b, c = (np.asarray(sample(many, jax.random.key(s), Sampling(1.0))) for s in (0, 0, 1))
    assert (a == b).all() and (a != c).any()


def test_prompts_that_cannot_be_continued_are_refused(sharp):
    with pytest.raises(InputError, match="empty prompt"):
        generate(sharp, [[1], []], 4)
    with pytest.raises(InputError, match="longer than the model's context of 64"):
        generate(sharp, [[1] * 60], 12)
    assert generate(sharp, [], 4) == []
    with pytest.raises(RunError, match="not numbers after the tokens"):  # and would be the likeliest token otherwise
        generate(jax.tree.map(lambda w: w * jnp.nan, sharp), [[1, 5]], 4)


def test_the_same_hundred_greedy_tokens_as_transformers(shared, mesh, capsys):
    import warnings

    torch = import_torch()
    folder = shared / "models" / "tinystories-656k"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import AutoTokenizer, LlamaForCausalLM

        reference = LlamaForCausalLM.from_pretrained(folder)
        prompt = [1, 80, 147, 201, 189, 111, 85]
        truth = reference.generate(torch.tensor([prompt]), max_new_tokens=100, do_sample=False, eos_token_id=None)
        assert generate(huggingface.load(folder), [prompt], 100)[0] == truth[0, len(prompt) :].tolist()
        # The command continues exactly the prompt: no space is put after it, and none is lost from what is printed.
        names = AutoTokenizer.from_pretrained(folder)
        prompts, wholes = ("Once upon a time", "Once upon a time ", 'Tom said: "'), []
        for prompt in prompts:
            ids = names(prompt, return_tensors="pt").input_ids
            (new,) = reference.generate(ids, max_new_tokens=20, do_sample=False)
            wholes.append(names.decode(new, skip_special_tokens=True))
    asked = [part for prompt in prompts for part in ("--prompt", prompt)]
    assert main(["generate", "--model", str(folder), *asked, "--max-new-tokens", "20"]) == 0
    assert capsys.readouterr().out == "\n\n".join(wholes) + "\n"


def test_the_command_asks_through_the_chat_template_as_transformers_does(tmp_path, mesh, capsys):
    import_torch()
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    words, prompts = {letter: n for n, letter in enumerate("defghijklm", 6)}, ("a b", "c", "b c <s> a", "f g h")
    folder = write_model(tmp_path / "m", config={"tie_word_embeddings": False}, ids=words)
    weights = {name: 12 * w for name, w in load_file(folder / "model.safetensors").items()}  # sure, and of many words
    save_file(weights, folder / "model.safetensors")
    command = ["generate", "--model", str(folder), "--max-new-tokens", "6"]
    command += [part for prompt in prompts for part in ("--prompt", prompt)]
    assert main([*command, "--chat"]) == 2 and "no chat template" in capsys.readouterr().err
    (folder / "chat_template.jinja").write_text("{{ bos_token }} c {{ messages[0].content }} {{ eos_token }} a ")
    tokens, model = PreTrainedTokenizerFast.from_pretrained(folder), LlamaForCausalLM.from_pretrained(folder).eval()
    expected = []
    for prompt in prompts:
        told = [{"role": "user", "content": prompt}]
        ids = tokens.apply_chat_template(told, add_generation_prompt=True, return_dict=True, return_tensors="pt")
        (new,) = model.generate(**ids, max_new_tokens=6, do_sample=False, pad_token_id=0)
        expected.append(new[ids["input_ids"].shape[1] :].tolist())
    assert main([*command, "--chat", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["completions"]
    assert [one["tokens"] for one in found] == expected and [one["prompt"] for one in found] == list(prompts)
    assert len({tuple(one["tokens"]) for one in found}) == len(prompts) and all(one["text"] for one in found)
    assert main([*command, "--json"]) == 0  # without it the template is not asked
    assert [one["tokens"] for one in json.loads(capsys.readouterr().out)["completions"]] != expected
    assert main([*command, "--chat"]) == 0  # in words, the answer begins on a line of its own
    assert capsys.readouterr().out == "\n\n".join(f"{one['prompt']}\n{one['text']}" for one in found) + "\n"

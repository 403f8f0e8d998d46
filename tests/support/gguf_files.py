"""GGUF files in tests: what they hold by the format's own reader, changed copies, and llama.cpp itself."""

import json
import subprocess
import sys

import jax
import numpy as np

from jaxunlearn.models.gguf.write_tokens import add_tokenizer
from jaxunlearn.models.transformer import Model


def tensors(path):
    """Read a GGUF file back with the format's own reader: {name: fp32 array}."""
    from gguf import GGUFReader, dequantize

    return {t.name: dequantize(t.data, t.tensor_type).astype(np.float32) for t in GGUFReader(path).tensors}


def fields(path):
    from gguf import GGUFReader

    return {k: f.contents() for k, f in GGUFReader(path).fields.items()}


def random_model(c, scale=0.2):
    """Return a model of random weights, on the host: nothing is compiled."""
    rng = np.random.default_rng(0)
    like = jax.eval_shape(lambda: Model(c, jax.random.key(0)))
    return jax.tree.map(lambda w: (scale * rng.normal(size=w.shape)).astype(np.float32), like)


def vocabulary_file(source, path, V):
    """Write a GGUF file that holds the tokenizer of a directory alone; return its fields and what the writer said."""
    from gguf import GGUFWriter

    writer = GGUFWriter(path, "llama")
    said = add_tokenizer(writer, source, V)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return fields(path), said


def changed(path, out, keys=None, arrays=None):
    """Write a copy of a GGUF file with other metadata or tensors, and return its path.

    None leaves one out; a tensor is an array, or bytes and their type, (array, GGMLQuantizationType).
    """
    from gguf import GGUFReader, GGUFValueType, GGUFWriter

    reader, keys, arrays = GGUFReader(path), dict(keys or {}), dict(arrays or {})
    kept = {k: f for k, f in reader.fields.items() if not k.startswith("GGUF.") and k not in keys}
    architecture = keys.pop("general.architecture", None) or kept.pop("general.architecture").contents()
    writer = GGUFWriter(out, architecture)
    for key, field in kept.items():
        writer.add_key_value(key, field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None)
    for key, value in keys.items():
        if isinstance(value, list):
            writer.add_array(key, value)
        elif value is not None:
            writer.add_key_value(key, value, GGUFValueType.get_type(value))
    for tensor in reader.tensors:
        if tensor.name not in arrays:
            writer.add_tensor(tensor.name, np.array(tensor.data), raw_dtype=tensor.tensor_type)
    for name, array in arrays.items():
        if array is not None:
            data, kind = array if isinstance(array, tuple) else (array, None)
            writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


LLAMA_CPP = """
import json, sys
import xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.n_ctx, p.n_parallel, p.warmup, p.cpuparams.n_threads = sys.argv[1], 256, 1, False, 1
p.cache_type_k = p.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32  # it would round keys and values to fp16
p.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
server = xllamacpp.Server(p)
ask = {"n_predict": int(sys.argv[3]), "temperature": 0, "top_k": 1, "logprobs": 1}
print("ANSWER" + json.dumps([server.handle_completions(ask | {"prompt": q}) for q in json.loads(sys.argv[2])]))
"""


def llama_cpp(path, prompts, count=40):
    """Return (token ids, their log-probabilities) of what the program writes after each prompt."""
    run = [sys.executable, "-c", LLAMA_CPP, str(path), json.dumps(prompts), str(count)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert "ANSWER" in done.stdout, done.stderr[-2000:]
    answers = json.loads(done.stdout.split("ANSWER")[1].splitlines()[0])
    words = [answer["choices"][0]["logprobs"]["content"] for answer in answers]
    return [([t["id"] for t in some], [t["logprob"] for t in some]) for some in words]


TOKENIZE = """
import json, sys, urllib.request
import xllamacpp
for path, texts in json.loads(sys.argv[1]):
    p = xllamacpp.CommonParams()
    p.model.path, p.n_ctx, p.n_parallel, p.warmup, p.cpuparams.n_threads = path, 256, 1, False, 1
    server, found = xllamacpp.Server(p), []
    for text in texts:
        asked = json.dumps({"content": text, "add_special": False, "parse_special": False}).encode()
        request = urllib.request.Request(server.listening_address + "/tokenize", asked)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            found.append(json.load(answer)["tokens"])
    print("ANSWER" + json.dumps(found))
"""


def llama_cpp_ids(asked):
    """Return llama.cpp's token ids of texts: [(path of a model, texts), ...] -> a list of lists of ids for each."""
    run = [sys.executable, "-c", TOKENIZE, json.dumps([(str(path), texts) for path, texts in asked])]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert done.stdout.count("ANSWER") == len(asked), done.stderr[-2000:]
    return [json.loads(part.splitlines()[0]) for part in done.stdout.split("ANSWER")[1:]]

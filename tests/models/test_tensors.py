"""The tensors of a checkpoint: narrowing that keeps numbers finite, and files cut at a size."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.gguf_files import random_model
from support.tokenizers import byte_level_tokenizer

from jaxunlearn.errors import InputError
from jaxunlearn.models import huggingface, transformer
from jaxunlearn.models.tensors import narrowed, write_shards


@pytest.mark.parametrize(
    ("dtype", "most", "above"), [("float16", 65504, 65520), ("bfloat16", 3.3895e38, 3.4e38), ("float32", 1e38, None)]
)
def test_a_number_is_refused_where_it_would_become_infinite(dtype, most, above):
    fine = np.array([most, -most, 1.0], np.float32)
    assert np.isfinite(narrowed("w", fine, dtype).astype(np.float32)).all()
    assert np.isinf(narrowed("w", np.array([np.inf], np.float32), dtype)).all()  # was so before
    if above:
        with pytest.raises(InputError, match=f"w holds values beyond {dtype}'s"):
            narrowed("w", np.array([0, -above], np.float32), dtype)


def test_a_directory_is_not_written_where_fp16_cannot_hold_the_weights(tmp_path):
    model = random_model(transformer.Shape(V=97, D=8, L=1, N=1, K=1, H=8, F=8, context=8), scale=1e6)
    source = byte_level_tokenizer(tmp_path / "t")
    with pytest.raises(InputError, match="weight holds values beyond float16's 65504"):
        huggingface.save(model, tmp_path / "m", source=source, dtype="float16")
    assert not (tmp_path / "m").exists()


def test_files_are_cut_at_a_size_and_an_index_names_them(tmp_path):
    arrays = {name: np.full(4, n, np.float32) for n, name in enumerate("abc")}  # 16 bytes each
    write_shards(arrays.items(), tmp_path, 32)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 48 and len(set(index["weight_map"].values())) == 2
    found = {name: load_file(tmp_path / file)[name] for name, file in index["weight_map"].items()}
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())

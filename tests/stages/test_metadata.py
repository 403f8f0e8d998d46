"""The metadata of a card: licence and base model, by what stands beside the baseline."""

import json

import yaml

from jaxunlearn.stages.metadata import UNKNOWN, base_name, head

CARD = "---\nlicense: other\nlicense_name: llama2\nlicense_link: L\ntags: [x]\n---\nhello"


def read(text):
    assert text.startswith("---\n") and text.endswith("\n---")
    return yaml.safe_load(text.strip("-"))


def test_licence_and_name_are_those_of_the_baseline(tmp_path):
    folder = tmp_path / "hub" / "models--owner--base-1" / "snapshots" / "ab"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "baseline").symlink_to(folder)
    text, said = head(tmp_path / "run" / "unlearned", str(folder), "gguf")
    assert read(text) == {
        "license": "other", "license_name": "llama2", "license_link": "L", "base_model": "owner/base-1",
        "base_model_relation": "finetune", "library_name": "gguf", "pipeline_tag": "text-generation",
        "tags": ["unlearning", "jaxunlearn"],
    }  # fmt: skip
    assert said.startswith("Licence: llama2, that of the model")


def test_what_is_not_on_record_is_called_so(tmp_path):
    (tmp_path / "baseline").mkdir()
    for content in ("", "---\nlicense: [1\n---\n", "no metadata"):
        (tmp_path / "baseline" / "README.md").write_text(content)
        text, said = head(tmp_path / "unlearned", None, "transformers")
        assert read(text)["license"] == UNKNOWN and "base_model" not in read(text)
        assert "not on record" in said
    assert "trained from nothing" in head(tmp_path / "unlearned", "", "transformers")[1]
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "README.md").write_text(CARD)  # a model that no run made
    assert "llama2" in head(tmp_path / "alone", None, "transformers")[1]
    for named, base in (("owner/name", "owner/name"), ("/home/me/model", ""), (3, "")):
        (tmp_path / "baseline" / "config.json").write_text(json.dumps({"_name_or_path": named}))
        assert base_name(tmp_path, None) == base
    assert base_name(tmp_path, "own/er\nlicense: mit") == "" and base_name(tmp_path / "x", "a/b") == "a/b"

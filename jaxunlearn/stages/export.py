"""Export a model for other programs: as a Hugging Face directory or as GGUF, with a model card; push it where asked."""

import glob
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from jaxunlearn.data.chat import templates
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.estimates import single, value_of
from jaxunlearn.files import json_text, markdown_text, read_json, write_whole
from jaxunlearn.methods import card_sentence
from jaxunlearn.models import huggingface
from jaxunlearn.models.gguf import context, library, write
from jaxunlearn.models.hub import find_model
from jaxunlearn.models.transformer import Model
from jaxunlearn.outputs import note, refuse_around, refuse_foreign, refuse_full, replace_folder
from jaxunlearn.report.claim import claim
from jaxunlearn.report.tables import COLUMNS, MAIN
from jaxunlearn.report.verdict import QUESTIONS, verdicts
from jaxunlearn.stages.metadata import head

FORMATS = {"hf": ("float32", "float16", "bfloat16"), "gguf": write.DTYPES}
BESIDE = ("Modelfile", "README.md")  # written beside a GGUF file
BEFORE = ("baseline", "reinforced", "twin")  # models of a run that nothing was forgotten by
SHORT = {"float32": "f32", "float16": "f16", "q8_0": "q8_0"}


def check(form: str, dtype: str, push: str, out: Path) -> None:
    """Raise InputError, before anything is read, for a format, dtype or place that cannot be written."""
    if dtype not in FORMATS[form]:
        raise InputError(f"--format {form} stores {', '.join(FORMATS[form])}; --dtype {dtype} is not among them")
    if form == "gguf":
        library()
    if push and (push.count("/") != 1 or push.startswith(("/", ".", "~"))):
        raise InputError(f"--push {push}: expected OWNER/NAME, as the hub names its repositories")
    if Path(out).is_file() and not (form == "gguf" and Path(out).suffix == ".gguf"):
        raise InputError(f"--out {out} is a file; give a folder (or for GGUF, the name of a .gguf file)")


def check_target(form: str, dtype: str, out: Path, models: Sequence[Path], force: bool) -> None:
    """Raise InputError where writing would lose a file that `export` did not write; `force` allows that.

    models: the model first, and others that are read. A Hugging Face directory is replaced as a whole, so a folder that
    is one of them, or that holds one as their run does, is refused also with `force`.
    """
    if form == "hf":
        refuse_around(out, models)
        if not force:
            refuse_full(out, by="export")
    else:
        folder, name = gguf_place(out, models[0], dtype)
        if not force:
            refuse_foreign(folder, (name, *BESIDE), by="export")


def export_hf(model: Model, out: Path, *, source: Path, dtype: str, lost: Sequence[str] = ()) -> list[str]:
    """Write a directory that transformers and vLLM load: weights, tokenizer, generation config and card.

    It is written beside its place and moved there when it is complete. lost: what `rounding` says, for the card. Return
    the names of its files.
    """
    made = out.resolve().with_name(f".{out.resolve().name}.made")
    shutil.rmtree(made, ignore_errors=True)
    try:
        huggingface.save(model, made, source=source, dtype=dtype)
        if not (made / "generation_config.json").is_file():
            config = read_json(made / "config.json", dict)
            tokens = {k: config[k] for k in ("bos_token_id", "eos_token_id") if config.get(k) is not None}
            write_whole(made / "generation_config.json", json_text(tokens | {"do_sample": False}, indent=1))
        use = HF_USE.format(name=out.name)
        write_whole(made / "README.md", card(source, out.name, use, "transformers", dtype, lost))
        names = sorted(p.relative_to(made).as_posix() for p in made.rglob("*") if p.is_file())
        replace_folder(made, out, by="export")
    finally:
        shutil.rmtree(made, ignore_errors=True)
    note(out, names, by="export")
    return names


def export_gguf(
    model: Model, out: Path, *, source: Path, dtype: str, lost: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """Write FILE.gguf, a Modelfile and the card; return the files' names, FILE.gguf first, and notes for the user."""
    folder, name = gguf_place(out, source, dtype)
    said = write.write_gguf(model, folder / name, source=source, dtype=dtype)
    write_whole(folder / "Modelfile", modelfile(name, model.c, source))
    write_whole(folder / "README.md", card(source, source.name, GGUF_USE.format(file=name), "gguf", dtype, lost))
    note(folder, names := [name, *BESIDE], by="export")
    return names, said


def gguf_place(out: Path, source: Path, dtype: str) -> tuple[Path, str]:
    """Return (folder, file name) of a GGUF file: `out`, or a name made of the model's in the folder `out`."""
    return (out.parent, out.name) if out.suffix == ".gguf" else (out, f"{source.name}-{SHORT[dtype]}.gguf")


def rounding(model: Model, source: Path, baseline: str, form: str, dtype: str) -> list[str]:
    """Return notes on how much of the edit a format below fp32 loses.

    The edit is the difference to the baseline, so the share is given only where there is one.
    """
    if dtype == "float32":
        return []
    below = find_model(baseline) if baseline else source.parent / "baseline"
    if not below.is_dir() or below.resolve() == source.resolve():
        return [f"written in {dtype}; give --baseline DIR to see how much of the edit the rounding loses"]
    stored = partial(write.rounded, dtype=dtype) if form == "gguf" else None
    loss = huggingface.rounding_loss(model, huggingface.load(below), dtype, stored)
    return [
        f"rounding to {dtype} loses {loss['lost']:.1%} of the edit (norm of error over norm of edit); "
        f"{loss['unchanged']:.1%} of the edited weights fall back to the baseline's value"
    ]


HF_USE = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model, tokenizer = AutoModelForCausalLM.from_pretrained("{name}"), AutoTokenizer.from_pretrained("{name}")
```"""
GGUF_USE = """\
```
llama-cli -m {file} -no-cnv --temp 0 -p "Once upon a time"
ollama create my-model -f Modelfile && ollama run my-model
```"""


def modelfile(name: str, c, source: Path) -> str:
    """Return an ollama Modelfile: greedy sampling, the model's own context, raw prompts without a chat template."""
    lines = [f"FROM ./{name}", "PARAMETER temperature 0", f"PARAMETER num_ctx {context(c)}"]
    if not templates(source):
        lines.append('TEMPLATE "{{ .Prompt }}"')
    return "\n".join(lines) + "\n"


# ---- the card


def card(source: Path, name: str, use: str, library: str, dtype: str = "float32", lost: Sequence[str] = ()) -> str:
    """Return the model card, from the run's own files: what was done, what was measured, what is not claimed.

    dtype: of the weights that the card lies beside. lost: what `rounding` says of them.
    """
    run = source.resolve().parent
    config, report = (_read(run / n) for n in ("config.json", "report.json"))
    base = Path(config["model"]).name if config.get("model") and Path(config["model"]).exists() else config.get("model")
    metadata, licence = head(source, config.get("model"), library)
    parts = [metadata, f"# {markdown_text(name)}", _made(config, source.name, base)]
    if measured := _measured(report, source.name):
        parts += [measured, _rounded(dtype, lost)]
    parts += [f"## Use\n\n{use}", licence]
    return "\n\n".join(filter(None, parts)) + "\n"


def _read(path: Path) -> dict:
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _made(config: dict, part: str, base: str | None) -> str:
    if "whp" not in config:
        return "Written by jaxunlearn from a model directory; nothing about its making is on record beside it."
    what = {
        "baseline": "the model before unlearning", "twin": "trained without the text to forget",
        "reinforced": "fine-tuned further on the text to forget",
        "repaired": "unlearned, then fine-tuned on text that it should keep",
    }.get(part, "made to forget a text")  # fmt: skip
    said = f"`{markdown_text(part)}` of the run “{markdown_text(config.get('title') or config.get('name'))}”: {what}."
    if base:
        said += f" Baseline: {markdown_text(base)}."
    if part.startswith(("unlearned", "repaired")):
        said += f" {card_sentence(config)}"
    return said


def _measured(report: dict, part: str) -> str:
    models = report.get("models") or {}
    names = [n for n in dict.fromkeys([*MAIN, part]) if n in models]
    if not names:
        return ""
    rows = []
    for path, label in COLUMNS.items():
        cells = [_interval(models[n], path) for n in names]
        if any(cells):
            rows.append(f"| {label} | {' | '.join(cells)} |")
    grid = [f"| | {' | '.join(map(markdown_text, names))} |", "|---" * (len(names) + 1) + "|", *rows]
    parts = ["## Measured, with 95% intervals", "\n".join(grid), "\n".join(_judged(report, part))]
    parts.append(claim(report, part) if part not in BEFORE else "")
    return "\n\n".join(text for text in parts if text)


def _judged(report: dict, part: str) -> list[str]:
    """Return the verdict on an exported model, a line a question, as the report's page has it."""
    answers = verdicts(report).get(part) or ()
    judged = zip(QUESTIONS[:-1], answers, strict=False)  # the last question is what it took
    return [f"- {question} {markdown_text(answer.word)}" for question, answer in judged if answer.word]


def _rounded(dtype: str, lost: Sequence[str]) -> str:
    """Return what the figures of a card are not: measured after rounding. "" for weights that are not rounded."""
    if dtype == "float32":
        return ""
    said = "".join(f" {line[:1].upper()}{line[1:]}." for line in lost if line.startswith("rounding"))
    return (
        f"**These figures are of the run's own weights, before they were rounded to {dtype} for this file.** The file "
        f"itself was not measured.{said}"
    )


def _interval(measures: dict, path: tuple[str, ...]) -> str:
    node = measures
    for key in path:
        node = node.get(key) if isinstance(node, dict) else None
    if value_of(node) is None:
        return ""
    if not isinstance(node, dict) or node.get("low") is None:
        return f"{value_of(node):.3g}" + " (one item: no interval)" * single(node)
    return f"{node['value']:.3g} ({node['low']:.3g} to {node['high']:.3g})"


# ---- the hub


def push(folder: Path, files: Sequence[str], name: str, private: bool = True) -> str:
    """Create the hub repository OWNER/NAME where there is none, upload these files and return its address.

    files: names in the folder, which may hold others that are nobody's business.

    Raises RunError, with the reason, where the hub cannot be reached or refuses.
    """
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        address = api.create_repo(repo_id=name, private=private, exist_ok=True)
        # a name is a pattern there
        allowed = [glob.escape(file) for file in files]
        message = "Upload from jaxunlearn"
        api.upload_folder(repo_id=name, folder_path=str(folder), allow_patterns=allowed, commit_message=message)
    except Exception as error:  # no network, token or permission: the user can mend each
        reason = str(error).strip().split("\n")[0]
        raise RunError(
            f"{folder} is written, but could not be pushed to {name}: {reason}\n"
            "Log in with `hf auth login` (a token that may write), and give the same command again."
        ) from None
    return str(address)

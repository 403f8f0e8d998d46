"""Subcommands that work on one model: generate, score, export."""

from pathlib import Path

from jaxunlearn.cli.common import add_force, number, one_model_mesh
from jaxunlearn.config.bounds import NONE_OR_SOME, SEED, SOME, TEMPERATURE, Range
from jaxunlearn.errors import InputError
from jaxunlearn.files import json_text
from jaxunlearn.parallel import processes


def add_generate(add) -> None:
    command = add("generate", generate, "continue a prompt, exactly as it is given", shared=True)
    command.add_argument("--model", required=True, help="Hugging Face directory, a model of a run, or a .gguf file")
    command.add_argument("--prompt", required=True, action="append", help="may be given several times")
    command.add_argument(
        "--chat", action="store_true", help="ask the prompt through the model's chat template, as its users do"
    )
    command.add_argument("--max-new-tokens", type=number(SOME), default=64)
    command.add_argument("--temperature", type=number(TEMPERATURE, float), default=0.0, help="0: greedy")
    command.add_argument("--top-k", type=number(NONE_OR_SOME), default=0)
    command.add_argument("--top-p", type=number(Range(0, 1, above=True), float), default=1.0)
    command.add_argument("--seed", type=number(SEED), default=0)
    command.add_argument("--json", action="store_true")


def generate(a) -> None:
    """Print the continuations of prompts, on process 0."""
    from jaxunlearn.methods import inference
    from jaxunlearn.models.generate import Sampling
    from jaxunlearn.models.generate import generate as continue_
    from jaxunlearn.run.store import found_model, read_model

    with one_model_mesh():
        path, tokenizer, _ = found_model(a.model)
        model = read_model(path)
        prefix = inference.prefix(path)
        prompts = [tokenizer.asked(prefix + p, a.chat) for p in a.prompt]
        sampling = Sampling(a.temperature, a.top_k, a.top_p)
        new = continue_(model, prompts, a.max_new_tokens, sampling, seed=a.seed, eos_ids=tokenizer.eos_ids)
    if processes.index():
        return
    texts = [tokenizer.decode(p + n)[len(tokenizer.decode(p)) :] for p, n in zip(prompts, new, strict=True)]
    if a.json:
        print(
            json_text(
                {
                    "completions": [
                        {"prompt": p, "text": t, "tokens": n} for p, t, n in zip(a.prompt, texts, new, strict=True)
                    ]
                }
            )
        )
    else:
        print("\n\n".join(p + "\n" * a.chat + t for p, t in zip(a.prompt, texts, strict=True)))


def add_score(add) -> None:
    command = add("score", score, "mean negative log-likelihood of a text, every token once", shared=True)
    command.add_argument("--model", required=True)
    command.add_argument("--text", required=True, help="a .txt file")
    command.add_argument(
        "--context",
        type=number(NONE_OR_SOME),
        default=0,
        help="block length, BOS included (default: the model's, at most 2048)",
    )
    command.add_argument("--json", action="store_true")


def score(a) -> None:
    """Print {"tokens": n, "nll": mean nats per token} of a text, on process 0."""
    from jaxunlearn.data.documents import read_documents
    from jaxunlearn.models.scoring import LONGEST, score_text
    from jaxunlearn.models.transformer import context_fits
    from jaxunlearn.run.store import found_model, read_model

    text = "\n\n".join(d.text for d in read_documents([a.text]))
    with one_model_mesh():
        path, tokenizer, _ = found_model(a.model)
        model = read_model(path)
        context = a.context or min(model.c.context, LONGEST)
        context_fits(model.c, context, "--context")
        found = score_text(model, tokenizer, text, context)
    if processes.index():
        return
    said = json_text(found)  # refuses what is no finite number, also where words are asked for
    print(said if a.json else f"{found['tokens']} tokens, {found['nll']:.5f} nats a token")


def add_export(add) -> None:
    command = add("export", export, "write a model for other programs")
    command.add_argument("--model", required=True)
    command.add_argument("--format", choices=("hf", "gguf"), default="hf")
    command.add_argument("--out", required=True)
    command.add_argument("--dtype", choices=("float32", "float16", "bfloat16", "q8_0"), default="float32")
    command.add_argument(
        "--baseline", default="", help="to say how much of the edit rounding loses (default: the run's)"
    )
    command.add_argument("--push", default="", metavar="OWNER/NAME", help="then upload it to the hub, private")
    add_force(command)
    command.add_argument("--public", action="store_true", help="what --push makes is for everybody to see")


def export(a) -> None:
    """Write a Hugging Face directory or a GGUF file; below fp32, print how much of the edit the rounding loses."""
    from jaxunlearn.methods import inference
    from jaxunlearn.models import directory, hub, huggingface
    from jaxunlearn.run.store import verify
    from jaxunlearn.stages import export as exports

    out = Path(a.out)
    exports.check(a.format, a.dtype, a.push, out)
    if inference.is_guided(Path(a.model)):
        raise InputError(
            f"{a.model} forgets at inference time and has no weights of its own; export a model that was trained"
        )
    source = hub.find_model(a.model)
    verify(source)
    directory.check_model(source)
    exports.check_target(a.format, a.dtype, out, [source, *map(Path, filter(None, [a.baseline]))], a.force)
    with one_model_mesh():
        model = huggingface.load(source)
        said: list[str] = []
        lost = exports.rounding(model, source, a.baseline, a.format, a.dtype)
        if a.format == "gguf":
            names, said = exports.export_gguf(model, out, source=source, dtype=a.dtype, lost=lost)
            folder, _ = exports.gguf_place(out, source, a.dtype)
            written = folder / names[0]
        else:
            names, folder = exports.export_hf(model, out, source=source, dtype=a.dtype, lost=lost), out
            written = out
    print("\n".join([*said, *lost, f"{written}: {'GGUF' if a.format == 'gguf' else 'Hugging Face format'}, {a.dtype}"]))
    if a.push:
        print(exports.push(folder, names, a.push, private=not a.public))

"""Subcommands for the first hour with one's own text: init, prompts build; and what `run --dry-run` prints."""

from pathlib import Path

from jaxunlearn.cli.common import add_force, add_overrides, configured, number, one_model_mesh
from jaxunlearn.config.bounds import NONE_OR_SOME
from jaxunlearn.errors import InputError
from jaxunlearn.files import json_text, write_whole
from jaxunlearn.outputs import refuse_foreign, taken


def add_init(add) -> None:
    command = add("init", init, "write a small configuration for your model and text; asks nothing")
    command.add_argument("dir", metavar="DIR", help="folder for config.py; the run will lie there, too")
    command.add_argument("--model", default="", help="Hugging Face directory, hub name or .gguf file")
    command.add_argument("--forget", nargs="+", default=[], metavar="TEXT", help=".txt files, folders, globs")
    command.add_argument("--retain", nargs="+", default=[], metavar="TEXT", help="text to keep, of the same kind")
    add_force(command)


def init(a) -> None:
    """Write DIR/config.py, and print what it holds and what comes next."""
    from jaxunlearn.perf.suggest import BY, CONFIG, suggest

    folder = Path(a.dir)
    if not a.force:
        refuse_foreign(folder, [CONFIG], by=BY)
    with one_model_mesh():
        text, said = suggest(folder, a.model, a.forget, a.retain)
    folder.mkdir(parents=True, exist_ok=True)
    with taken(folder, [CONFIG], by=BY, force=a.force):
        write_whole(folder / CONFIG, text)
    print("\n".join([f"{folder / CONFIG}: written", *(f"  {line}" for line in said)]))


def dry_run(config, as_json: bool = False) -> None:
    """Print what a run would do, need and not measure; nothing is compiled, and nothing is written but caches."""
    from jaxunlearn.perf.forecast import forecast, lines

    found = forecast(config)
    print(json_text(found) if as_json else "\n".join(lines(found)))


def without_prompts(config):
    """Return the configuration without prompts that are not there yet: teaching a model the text needs none."""
    import dataclasses

    from jaxunlearn.files import find_data
    from jaxunlearn.parallel.console import say

    if not config.text.prompts or find_data(config.text.prompts).exists():
        return config
    say(f"  {config.text.prompts} is not there yet: `jaxunlearn prompts build` makes it by what the model knows then")
    return dataclasses.replace(config, text=dataclasses.replace(config.text, prompts=""))


def add_prompts(add) -> None:
    command = add("prompts", lambda a: a.action(a), "make the prompts that a run measures by")
    actions = command.add_subparsers(required=True, metavar="build")
    text = "make prompts from the texts of a configuration: by counting, or with --source llm by a language model too"
    build = actions.add_parser("build", help=text, description=text)
    build.set_defaults(action=build_command)
    build.add_argument("config")
    build.add_argument("--out", default="", metavar="DIR", help="folder for prompts.json (default: of text.prompts)")
    build.add_argument("--source", choices=("offline", "llm"), default="offline", help="llm: anchors.llm.* says which")
    build.add_argument(
        "--model", default="", help="choose the windows by what this model knows (default: the run's reinforced/)"
    )
    build.add_argument("--no-models", action="store_true", help="by counting alone: ask no model what it knows")
    build.add_argument(
        "--before", type=number(NONE_OR_SOME), default=0, metavar="N",
        help="begin next-word prompts with the N sentences before (0)",
    )  # fmt: skip
    build.add_argument(
        "--choose", type=number(NONE_OR_SOME), default=None, metavar="N",
        help="leave N next-word prompts and completions to choose settings by, and report the others (half)",
    )  # fmt: skip
    build.add_argument("--json", action="store_true")
    add_force(build)
    add_overrides(build)


def build_command(a) -> None:
    """Write prompts.json, what is known of the prompts and a page to review them; print how many there are."""
    from jaxunlearn.evals.building.make import BY, build, write, written_names
    from jaxunlearn.parallel.console import say
    from jaxunlearn.run.sources import read_texts

    config = configured(a.config, a.overrides)
    folder, name = _place(a.out, config.text.prompts)
    if not a.force:
        refuse_foreign(folder, written_names(name), by=BY)
    documents, retain = read_texts(config)
    with one_model_mesh():
        asked, models = (None, {}) if a.no_models else _models(config, a.model)
        replies = folder / "replies" if a.source == "llm" else None
        made = build(config, documents, retain, asked, replies, a.before, few=a.choose)
    folder.mkdir(parents=True, exist_ok=True)
    with taken(folder, written_names(name), by=BY, force=a.force):
        write(made, folder, name, models)
    counts = {section: len(made.prompts[section]) for section in ("probability", "completion", "leaks", "choice")}
    for line in made.notes:
        say(f"  {line}")
    if a.json:
        print(json_text({"path": str(folder / name), "prompts": counts, "asked": models, "notes": made.notes}))
    else:
        said = ", ".join(f"{section} {n}" for section, n in counts.items())
        print(f"{folder / name}: {said}; review them in {folder / written_names(name)[2]}")


def _place(out: str, prompts: str) -> tuple[Path, str]:
    """Return (folder, name) of the file to write."""
    from jaxunlearn.files import find_data

    if out:
        return Path(out), "prompts.json"
    if not prompts or (not Path(prompts).exists() and find_data(prompts).exists()):
        raise InputError("where to? give --out DIR, or set text.prompts to the file that should be made")
    if not prompts.endswith(".json"):
        raise InputError(f"text.prompts={prompts}: the file to be made ends in .json")
    return Path(prompts).parent, Path(prompts).name


def _models(config, given: str):
    """Return (the models to ask, {what each is asked for: where it lies}); None where there is none to ask.

    Of a run that has them these are its reinforced/, to choose windows by, and its baseline/. Before there is a run
    it is the given model: the baseline, or where the run will teach it the text (pretrain.steps) the untaught model.
    """
    from jaxunlearn.data.tokenizer import load_tokenizer
    from jaxunlearn.evals.building.make import Asked
    from jaxunlearn.models.hub import find_model
    from jaxunlearn.run.store import load_model

    roles = {n: config.directory / n for n in ("baseline", "reinforced") if (config.directory / n).is_dir()}
    if config.model and not roles:
        roles["untaught" if config.pretrain.steps else "baseline"] = find_model(config.model)
    if given:
        roles["reinforced"] = find_model(given)
    if not roles:
        return None, {}
    own = config.tokenizer or (find_model(config.model) if config.model else next(iter(roles.values())))
    tokenizer = load_tokenizer(own)
    for folder in roles.values():
        _same_vocabulary(tokenizer, folder)
    found = {name: load_model(config, folder, frozen=True) for name, folder in roles.items()}
    asked = Asked(
        tokenizer, config.eval.batch, baseline=found.get("baseline"), untaught=found.get("untaught"),
        reader=found.get("reinforced", found.get("baseline")),
    )  # fmt: skip
    return asked, {name: str(folder) for name, folder in roles.items()}


def _same_vocabulary(tokenizer, folder: Path) -> None:
    """Raise InputError for a model whose weights or tokenizer do not belong to the run's tokenizer."""
    from jaxunlearn.data.tokenizer import has_tokenizer, load_tokenizer
    from jaxunlearn.models.directory import check_model

    check_model(folder, tokenizer)
    if has_tokenizer(folder):
        own, ids = load_tokenizer(folder), range(tokenizer.reach)
        if own.reach != tokenizer.reach or own.pieces(ids) != tokenizer.pieces(ids):
            raise InputError(
                f"{folder} has another vocabulary than the run's tokenizer ({own.reach:,} tokens, the run's "
                f"{tokenizer.reach:,}): give a model of the same family"
            )

"""Subcommands that make and check the dictionary of anchored terms."""

from pathlib import Path

from jaxunlearn.cli.common import add_force, add_overrides, configured, one_model_mesh
from jaxunlearn.errors import InputError
from jaxunlearn.files import json_text
from jaxunlearn.parallel.console import doing


def add_anchors(add) -> None:
    command = add("anchors", lambda a: a.action(a), "make and check the dictionary of anchored terms")
    actions = command.add_subparsers(required=True, metavar="build|audit")
    _add_build(actions)
    _add_audit(actions)


def _add_build(actions) -> None:
    text = "make a dictionary from the texts of a configuration: by counting, or with anchors.source=llm by a model"
    build = actions.add_parser("build", help=text, description=text)
    build.set_defaults(action=build_command)
    build.add_argument("config")
    build.add_argument("--out", default="", help="folder for dictionary.json (default RUN_DIR/anchors)")
    build.add_argument(
        "--lift", action="store_true", help="use what the run's reinforced/ raises over its baseline/ as a further sign"
    )
    build.add_argument("--json", action="store_true")
    add_force(build)
    add_overrides(build)


def build_command(a) -> None:
    """Make a dictionary from the texts of a configuration, and print where it is."""
    from jaxunlearn.anchors.building.make import BY, WRITTEN, build_dictionary
    from jaxunlearn.anchors.dictionary import load_dictionary
    from jaxunlearn.outputs import refuse_foreign
    from jaxunlearn.run.sources import read_texts

    config = configured(a.config, a.overrides)
    out = Path(a.out) if a.out else config.directory / "anchors"
    if not a.force:
        refuse_foreign(out, WRITTEN, by=BY)
    doing("reading the texts")
    documents, retain = read_texts(config)
    lift = _lift(config, documents) if a.lift else None
    path = build_dictionary(config, documents, retain, out, again=True, lift=lift)
    found = load_dictionary(path)
    if a.json:
        print(json_text({"path": str(path), "terms": len(found), "source": config.anchors.source}))
    else:
        print(f"{path}: {len(found)} terms; check it with: jaxunlearn anchors audit {path} --text ...")


def _lift(config, documents):
    """Return {word: nats by which a finished run's reinforced model raises it over the baseline}."""
    from jaxunlearn.anchors.building.lift import word_lift
    from jaxunlearn.data.blocks import make_blocks
    from jaxunlearn.data.tokenizer import load_tokenizer
    from jaxunlearn.models import huggingface
    from jaxunlearn.models.directory import check_model

    folders = [config.directory / name for name in ("baseline", "reinforced")]
    if not all(f.is_dir() for f in folders):
        raise InputError(f"--lift needs {folders[0]} and {folders[1]}: run the stage `reinforce` first")
    tokenizer = load_tokenizer(folders[0])
    for folder in folders:
        check_model(folder, tokenizer)
    blocks = make_blocks(documents, tokenizer, config.text.context, config.whp.block_bos)
    with one_model_mesh():
        baseline, reinforced = [huggingface.load(f, config.compute) for f in folders]
        return word_lift(baseline, reinforced, tokenizer, blocks, batch=config.eval.batch)


def _add_audit(actions) -> None:
    text = "check a dictionary against the text it is for; exit code 1 while an error-level fault remains"
    audit = actions.add_parser("audit", help=text, description=text)
    audit.set_defaults(action=audit_command)
    audit.add_argument("file", help="the dictionary, JSON")
    audit.add_argument("--text", nargs="+", required=True, help="the text to forget: .txt files, folders, globs")
    audit.add_argument("--retain", nargs="+", default=[], help="text to compare with")
    audit.add_argument("--tokenizer", default="", help="model directory, to find traps of its tokenizer")
    audit.add_argument("--match", choices=("longest", "first"), default="longest", help="as in whp.match")
    audit.add_argument("--unwrap", action="store_true", help="join hard line breaks, as text.unwrap does")
    audit.add_argument("--fix", default="", metavar="OUT", help="write the repaired dictionary and audit that")
    audit.add_argument(
        "--drop-frequent", action="store_true", help="let --fix remove terms that the text has 10 times or more, too"
    )
    audit.add_argument("--json", action="store_true")
    add_force(audit)


def audit_command(a) -> int:
    """Print the faults of a dictionary, and what --fix changed; return 1 while an error-level fault remains."""
    from jaxunlearn.anchors.auditing.findings import exit_status, rich_table, to_json
    from jaxunlearn.anchors.auditing.repair import audit_files
    from jaxunlearn.data.tokenizer import load_tokenizer
    from jaxunlearn.outputs import taken

    tokenizer = load_tokenizer(a.tokenizer) if a.tokenizer else None
    fix = Path(a.fix)
    doing("reading and checking")
    with taken(fix.parent, [fix.name] if a.fix else [], by="anchors audit --fix", force=a.force):
        found = audit_files(
            a.file, a.text, retain=a.retain, tokenizer=tokenizer, match=a.match, unwrap=a.unwrap, fix=a.fix,
            drop_frequent=a.drop_frequent,
        )  # fmt: skip
    if a.json:
        spared = to_json(found.spared)["findings"]
        more = {"before": to_json(found.findings), "changes": found.changes(), "spared": spared} if a.fix else {}
        print(json_text(to_json(found.left) | more))
        return exit_status(found.left)
    from rich.console import Console

    Console().print(rich_table(found.findings))
    if a.fix:
        print("\n".join(found.diff(a.file, a.fix)))
        for finding in found.spared:
            print(f"kept, as the text has it so often: {finding.message}")
        if found.spared:
            print("mend these by hand, or take them out with --drop-frequent")
        Console().print(rich_table(found.left))
    return exit_status(found.left)

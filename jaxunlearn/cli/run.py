"""Subcommands on a run: demo, run, its stages, labels, sweep, report; and methods and birthdays, which prepare one."""

import sys
from pathlib import Path

from jaxunlearn.cli import measured
from jaxunlearn.cli.common import add_force, add_overrides, configured, number, quick
from jaxunlearn.cli.start import dry_run, without_prompts
from jaxunlearn.config.bounds import NONE_OR_SOME, SEED, SOME
from jaxunlearn.files import json_text, read_json
from jaxunlearn.outputs import refuse_foreign, taken


def add_demo(add) -> None:
    command = add("demo", demo, "the whole story on the built-in universe; downloads nothing", shared=True)
    command.add_argument("--out", default="", help="run directory (default runs/universe)")
    command.add_argument("--ablate", action="store_true", help="also train the controls")
    add_overrides(command)


def demo(a) -> None:
    """Run every stage on the built-in universe."""
    overrides = [*a.overrides, *([f"run.dir={a.out}"] if a.out else [])]
    _run(configured("universe", overrides, a.ablate))


def add_run(add) -> None:
    command = add("run", run, "every stage, resumable; re-running skips what is done", shared=True)
    command.add_argument(
        "config", help="a file with a config() function, or the name of one that ships with the package"
    )
    command.add_argument("--ablate", action="store_true", help="also train the controls")
    command.add_argument("--dry-run", action="store_true", help="say what it would do, need and not measure; no more")
    command.add_argument("--json", action="store_true", help="of --dry-run")
    add_overrides(command)


def run(a) -> None:
    """Run every stage of a configuration; with --dry-run print what that would be."""
    config = configured(a.config, a.overrides, a.ablate)
    dry_run(config, a.json) if a.dry_run else _run(config)


def add_stages(add) -> None:
    for name in ("pretrain", "reinforce", "label", "unlearn", "repair", "evaluate", "attack"):
        also = "; or one model, by --model DIR" if name == "evaluate" else ""
        command = add(name, stage, f"the stage {name!r} of a run, and what it needs{also}", shared=True)
        command.add_argument("config", **({"nargs": "?", "default": ""} if also else {}))
        command.add_argument(
            "--quick", action="store_true", help="a few steps, in runs/NAME-quick; attacks of a finished run: fewer"
        )
        command.set_defaults(stage=name)
        if also:
            measured.add_options(command)
        add_overrides(command)


def stage(a) -> None:
    """Run one stage, after the stages that it builds on; `evaluate --model` measures a model that no run made."""
    from jaxunlearn.stages import STAGES

    if a.stage == "evaluate":
        if a.model:
            return measured.evaluate(a)
        measured.refuse_options(a)
    config = configured(a.config, a.overrides)
    finished = a.stage in ("evaluate", "attack") and (config.directory / "unlearned").is_dir()
    if a.quick and not finished:
        config = quick(config)
    if a.stage == "attack":
        from jaxunlearn.attacks import everything

        written = config.directory / "report.json"
        config = everything(config, a.quick, read_json(written, dict) if finished and written.is_file() else None)
    if a.stage == "pretrain":
        config = without_prompts(config)
    done = (*STAGES[: STAGES.index(a.stage) + 1], *(("twin",) if a.stage == "pretrain" else ()))
    left = {"controls"} if a.stage == "attack" else {"evaluate", "controls"}
    _run(config, tuple(s for s in done if s not in left or s == a.stage or config.controls))


PAGE = "labels show --html"


def add_labels(add) -> None:
    command = add("labels", labels, "what a block was labelled with: tokens, translation and labels side by side")
    command.add_argument("action", choices=("show",))
    command.add_argument("config")
    command.add_argument("--block", type=number(NONE_OR_SOME), default=0)
    command.add_argument("--json", action="store_true")
    command.add_argument("--html", default="", metavar="FILE", help="write a page: the text tinted by its labels")
    add_force(command)
    command.add_argument("--no-models", action="store_true", help="faster: without top tokens and departures")
    command.add_argument("--quick", action="store_true", help="of the run that `label --quick` made")
    add_overrides(command)


def labels(a) -> None:
    """Print one block of a labelled run as a table or as JSON, or write it as a page."""
    from jaxunlearn.report.block import print_table, write_page
    from jaxunlearn.stages.inspect import show_labels

    config = configured(a.config, a.overrides)
    page = Path(a.html)
    if a.html and not a.force:
        refuse_foreign(page.parent, [page.name], by=PAGE)
    shown = show_labels(quick(config) if a.quick else config, a.block, ask_models=not a.no_models)
    if a.html:
        with taken(page.parent, [page.name], by=PAGE, force=a.force):
            write_page(shown, page)
        print(f"{a.html}: block {a.block}", file=sys.stderr)
    if a.json:
        print(json_text(shown))
    elif not a.html:
        print_table(shown)


def _run(config, stages=None) -> None:
    from jaxunlearn.stages import STAGES, run_stages

    run_stages(config, stages or STAGES)


def add_methods(add) -> None:
    command = add("methods", methods, "every unlearning method with one line each")
    command.add_argument("--json", action="store_true")


def methods(a) -> None:
    """Print the methods: what each does, its settings with their defaults, its paper."""
    from jaxunlearn.methods import METHODS, needs_of

    if a.json:
        print(json_text([
            {"name": m.name, "paper": m.paper, "one_line": m.summary, "needs": sorted(needs_of(m, m.defaults)),
             "settings": m.defaults, "trains": m.trains}
            for m in METHODS.values()
        ]))  # fmt: skip
        return
    for name, m in METHODS.items():
        settings = ", ".join(f"{k}={v}" for k, v in m.defaults.items())
        print(f"{name:20} {m.summary}{f' [{settings}]' if settings else ''} ({m.paper})")


def add_sweep(add) -> None:
    command = add("sweep", sweep, "compare methods over seeds, each tuned with as many trials; resumable")
    command.add_argument("config")
    add_overrides(command)


def sweep(a) -> None:
    """Compare methods, each at the setting that the stop rule chooses."""
    from jaxunlearn.stages.sweep import sweep as compare

    compare(configured(a.config, a.overrides))


def add_birthdays(add) -> None:
    command = add("birthdays", birthdays, "invent people with random years of birth: independent facts for RTT")
    command.add_argument("--out", required=True, metavar="DIR", help="for facts.json, statements.txt, dictionary.json")
    command.add_argument(
        "--count", type=number(NONE_OR_SOME), default=785, help="people (default 785: five splits of 157)"
    )
    command.add_argument("--seed", type=number(SEED), default=0)
    command.add_argument(
        "--wordings", type=number(SOME), default=1, help="ways in which the text states each fact (1 to 5)"
    )
    command.add_argument("--dictionary", default="", metavar="FILE", help="of your text; dictionary.json then has both")
    add_force(command)


def birthdays(a) -> None:
    """Write facts to ask for, the text that teaches them and its dictionary, and print how a run uses them."""
    from jaxunlearn.anchors.dictionary import load_dictionary
    from jaxunlearn.data.facts import BIRTHDAYS, write_birthdays
    from jaxunlearn.files import find_data

    terms = load_dictionary(find_data(a.dictionary)) if a.dictionary else {}
    with taken(Path(a.out), BIRTHDAYS, by="birthdays", force=a.force):
        facts, text, dictionary = write_birthdays(Path(a.out), a.count, a.seed, a.wordings, terms)
    print(f"{facts}: {a.count} questions; {text}: the text to train on and to forget. In a run:")
    print(f"  text.forget=YOUR_TEXT,{text} text.dictionary={dictionary} attack.rtt.facts={facts}")


def add_report(add) -> None:
    command = add("report", report, "report.html and report.json from what a run holds")
    command.add_argument("run_dir")
    command.add_argument("--figures", default="", help="also save the pictures as PNG files in this folder")
    add_force(command)
    command.add_argument(
        "--seeds", nargs="+", default=[], metavar="RUN_DIR", help="runs with other seeds, to set beside"
    )
    command.add_argument(
        "--rivals", nargs="+", default=[], metavar="RUN_DIR", help="runs of other methods on the same baseline"
    )


def report(a) -> None:
    """Write the report again from report.json of a finished run, and print its key figures."""
    from jaxunlearn.report.compare import beside, over_seeds, read_reports
    from jaxunlearn.report.headline import table
    from jaxunlearn.report.page import export_figures, figure_names, write_report

    (found,) = read_reports([a.run_dir])
    if "attack_about" not in found:
        from jaxunlearn.attacks import about

        found["attack_about"] = about()  # a report of an earlier version
    if a.seeds:
        found["seeds"] = over_seeds([found, *read_reports(a.seeds)])
    if a.rivals:
        found = beside(found, read_reports(a.rivals))
    if not a.figures:
        write_report(Path(a.run_dir), found)
    else:
        with taken(Path(a.figures), figure_names(found), by="report --figures", force=a.force):
            write_report(Path(a.run_dir), found)
            export_figures(found, Path(a.figures))
    print(table(found))

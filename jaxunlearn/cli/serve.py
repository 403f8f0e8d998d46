"""The subcommand that shows a run's page beside its models."""

from pathlib import Path

from jaxunlearn.cli.common import number
from jaxunlearn.config.bounds import NONE_OR_SOME, SEED, SOME, TEMPERATURE, Range


def add_serve(add) -> None:
    command = add("serve", serve, "the report with a box for a prompt that all models of the run continue")
    command.add_argument("run_dir")
    command.add_argument("--port", type=number(Range(0, 65535)), default=8642, help="on 127.0.0.1; 0: any free one")
    command.add_argument("--model", nargs="+", action="extend", default=[], metavar="NAME", help="only these")
    command.add_argument("--max-new-tokens", type=number(SOME), default=64, help="what the page begins with")
    command.add_argument("--temperature", type=number(TEMPERATURE, float), default=0.0, help="0: greedy")
    command.add_argument("--top-k", type=number(NONE_OR_SOME), default=0)
    command.add_argument("--top-p", type=number(Range(0, 1, above=True), float), default=1.0)
    command.add_argument("--seed", type=number(SEED), default=0)


def serve(a) -> None:
    """Serve the page and the models of a run on this machine until Ctrl-C."""
    from jaxunlearn.parallel.console import say
    from jaxunlearn.serving.server import Server

    server = Server(a.port)  # first: a taken port is told before models are loaded
    try:
        names = _load(a, server)
        print(f"{server.address} shows {', '.join(names)}; Ctrl-C ends it", flush=True)
        server.serve_forever()
    except KeyboardInterrupt:
        say("stopping")
    finally:
        server.end()


def _load(a, server) -> list[str]:
    """Load the models of a run, let the server offer them with the page, and return their names."""
    from jaxunlearn.parallel.console import say
    from jaxunlearn.report.compare import read_reports
    from jaxunlearn.report.page import page
    from jaxunlearn.serving import answers

    folder = Path(a.run_dir)
    models = answers.load(folder, a.model, say)
    report = read_reports([a.run_dir])[0] if (folder / "report.json").is_file() else {"title": folder.resolve().name}
    begin = {"max_new_tokens": min(a.max_new_tokens, models.context - 1), "temperature": a.temperature}
    begin |= {"top_k": a.top_k, "top_p": a.top_p, "seed": a.seed}
    chat = all(one.tokenizer.has_chat for one in models.models)
    live = {"models": models.names, "context": models.context, "begin": begin, "chat": chat}
    server.offers(page(report, live), models.stream)
    return models.names

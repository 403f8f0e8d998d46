"""Subcommands for auditors: certify writes a run's certificate, verify checks one."""

from contextlib import nullcontext
from pathlib import Path

from jaxunlearn.cli.common import add_force, number, one_model_mesh
from jaxunlearn.config.bounds import Range
from jaxunlearn.files import json_text


def add_certify(add) -> None:
    command = add("certify", certify, "the certificate of a finished run: one page and one signed statement")
    command.add_argument("run_dir")
    command.add_argument("--model", default="unlearned", metavar="NAME", help="as report.json names it, or twin")
    command.add_argument("--out", default="", metavar="DIR", help="default: certificate/ in the run's folder")
    command.add_argument("--by", default="", metavar="NAME", help="who measured, and answers for it")
    command.add_argument(
        "--export", nargs="+", action="extend", default=[], metavar="PATH",
        help="files that are to be covered: a Hugging Face folder or a .gguf file, each tested again",
    )  # fmt: skip
    command.add_argument("--key", default="", metavar="FILE", help="sign by this Ed25519 private key (PEM)")
    command.add_argument(
        "--windows", type=number(Range(2, 10**6)), default=0, help="of the text, at most (default 400)"
    )
    command.add_argument("--json", action="store_true")
    add_force(command)


def certify(a) -> None:
    """Write the certificate and print its verdict."""
    from jaxunlearn.certificate.certify import Wanted
    from jaxunlearn.certificate.certify import certify as make
    from jaxunlearn.evals.extraction import WINDOWS

    wanted = Wanted(
        run=Path(a.run_dir), model=a.model, out=Path(a.out) if a.out else None, by=a.by,
        exports=tuple(map(Path, a.export)), key=a.key, windows=a.windows or WINDOWS, force=a.force,
    )  # fmt: skip
    with one_model_mesh():
        found = make(wanted)
    said = found["verdict"] | {
        "certificate": str(wanted.folder), "findings": len(found["findings"]),
        "exports": {e["name"]: e["covered"] for e in found["exports"]},
    }  # fmt: skip
    if a.json:
        print(json_text(said))
        return
    print(f"{said['word']}\n{said['meaning']}")
    print("".join(f"  {reason}\n" for reason in said["reasons"]), end="")
    print(f"residual findings: {said['findings']}")
    for e in found["exports"]:
        print(f"export {e['name']}: {'covered' if e['covered'] else 'NOT covered: ' + e['why']}")
    print(f"{wanted.folder / 'certificate.html'}  {wanted.folder / 'statement.json'}")


def add_verify(add) -> None:
    command = add("verify", verify, "check a certificate: files, verdict, signature; with the run, models and tests")
    command.add_argument("certificate", metavar="DIR")
    command.add_argument("--run", default="", metavar="RUN", help="the run: hash its files, and repeat the named tests")
    command.add_argument("--export", nargs="+", action="extend", default=[], metavar="PATH", help="exports to hash")
    command.add_argument("--key", default="", metavar="FILE", help="the signer's public key (PEM)")
    command.add_argument("--json", action="store_true")


def verify(a) -> int:
    """Print every check; return 1 where something does not agree."""
    from jaxunlearn.certificate.verify import DIFFERS
    from jaxunlearn.certificate.verify import verify as check

    run = Path(a.run) if a.run else None
    with one_model_mesh() if run else nullcontext():
        checks = check(Path(a.certificate), run, [Path(p) for p in a.export], a.key)
    wrong = any(c.outcome == DIFFERS for c in checks)
    if a.json:
        print(json_text({"agrees": not wrong, "checks": [{"outcome": c.outcome, "what": c.what} for c in checks]}))
    else:
        print("\n".join(f"{c.outcome}: {c.what}" for c in checks))
    return int(wrong)

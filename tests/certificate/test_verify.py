"""Checking a certificate: one that was tampered with is named, whatever was changed; signatures by their key."""

import json
from types import SimpleNamespace

import pytest
from support.certificates import certificate, predicate

from jaxunlearn.certificate import measured, rules, sections, signing, statement
from jaxunlearn.certificate.digests import SUMS, write_sums
from jaxunlearn.certificate.verify import AGREES, DIFFERS, UNCHECKED, _repeat, verify
from jaxunlearn.errors import InputError
from jaxunlearn.evals.extraction import Window, Windows
from jaxunlearn.evals.prompts import ProbabilityPrompt


def wrong(folder, **more):
    return [check.what for check in verify(folder, **more) if check.outcome == DIFFERS]


@pytest.fixture
def made(tmp_path, report, logps):
    """The folder of a certificate that is not signed."""
    certificate(tmp_path / "c", report, logps)
    return tmp_path / "c"


def edit(folder, change):
    """Change a certificate's statement, and hash it again as who forges it would."""
    path = folder / statement.STATEMENT
    found = json.loads(path.read_text())
    change(found["predicate"])
    path.write_text(statement.as_text(found))
    write_sums(folder, [statement.STATEMENT, statement.PAGE])


def test_a_whole_certificate_agrees_and_what_was_not_checked_is_said(made):
    checks = verify(made)
    assert not [c for c in checks if c.outcome == DIFFERS]
    assert [c.what.split(":")[0] for c in checks if c.outcome == UNCHECKED] == [
        "who wrote it", "the model's files and a repetition",
    ]  # fmt: skip
    assert "the verdict follows from the figures by the rules" in [c.what for c in checks if c.outcome == AGREES]


@pytest.mark.parametrize("name", [statement.PAGE, statement.STATEMENT])
def test_a_tampered_or_missing_file_is_named(made, name):
    text = (made / name).read_text()
    (made / name).write_text(text.replace("suppressed", "erased"))
    assert any(name in what and "changed after it was written" in what for what in wrong(made))
    (made / name).unlink()
    assert any(name in what and "is missing" in what for what in wrong(made))


def test_a_list_that_leaves_the_statement_out_is_found(made):
    write_sums(made, [statement.PAGE])
    assert f"{SUMS} does not list {statement.STATEMENT}" in wrong(made)


def test_a_forged_word_does_not_follow_from_the_figures(made):
    edit(made, lambda p: p["verdict"].update(word="erased to the twin's level"))
    assert any("by them it is: suppressed" in what for what in wrong(made))
    assert "the page shows what the statement says" in wrong(made)


def test_a_forged_export_and_figures_that_are_gone_are_found(made):
    entry = {"name": "a.gguf", "files": [], "measures": [], "nats": None, "covered": True, "why": ""}
    edit(made, lambda p: p["exports"].append(entry))
    assert any("which exports are covered" in what and "a.gguf" in what for what in wrong(made))


def test_a_damaged_statement_does_not_agree_and_raises_nothing(made):
    def damage(change):
        path = made / statement.STATEMENT
        before = path.read_text()
        found = json.loads(before)
        change(found)
        path.write_text(json.dumps(found))
        said = wrong(made)
        path.write_text(before)
        return any("the statement is damaged" in what for what in said)

    for key in ("measures", "exports", "signed", "logps", "repeat", "code", "verdict", "known_by", "conditions"):
        assert damage(lambda found, key=key: found["predicate"].pop(key)), key
        assert damage(lambda found, key=key: found["predicate"].update({key: 3})) or key == "signed", key
    assert damage(lambda found: found["subject"].append({"name": "x"}))
    assert damage(lambda found: found["predicate"].update(logps={"baseline": {"10": []}, "unlearned": {"10": []}}))


def test_a_forged_grade_tolerance_or_page_is_found_though_the_word_follows(made):
    def forge(p):
        back = [m for m in p["measures"] if m["grade"] == "bad"]
        for m in back:
            m["grade"] = "good"
        p["verdict"] = rules.verdict(p["measures"], p["known_by"], p["conditions"])
        p["repeat"]["tolerance"] = {"probability": 1.0, "nats_a_token": 99.0}
        p["code"]["source_sha256"] = "0" * 64  # so that the page is not drawn again

    edit(made, forge)
    said = wrong(made)
    assert any(what.startswith("kinds and grades follow") and "relearning" in what for what in said)
    assert any(what.startswith("the tolerances are") for what in said)
    assert any(what.startswith("the page opens with the statement's word") for what in said)


def test_the_word_is_read_from_the_page_as_it_is_shown(tmp_path, report, logps):
    certificate(tmp_path / "c", report, logps, verdict={"word": rules.ERASED, "meaning": "", "reasons": []})
    assert not any("opens with" in what for what in wrong(tmp_path / "c"))


def test_an_envelope_that_is_gone_is_found(made):
    edit(made, lambda p: p.update(signed=True))
    assert any("says that it is signed" in what for what in wrong(made))


def test_a_statement_of_another_kind_and_a_folder_without_one_are_refused(made, tmp_path):
    (made / statement.STATEMENT).write_text("{}")
    assert any("no certificate of this version" in what for what in wrong(made))
    with pytest.raises(InputError, match="is no certificate"):
        verify(tmp_path)


def test_an_export_is_known_by_name_and_files(tmp_path, report, logps):
    (tmp_path / "a.gguf").write_text("weights")
    from jaxunlearn.certificate.digests import files_of

    entry = {
        "name": "a.gguf",
        "files": files_of(tmp_path / "a.gguf"),
        "measures": [],
        "nats": None,
        "covered": False,
        "why": "no",
    }
    certificate(tmp_path / "c", report, logps, exports=[entry])
    assert wrong(tmp_path / "c", exports=[tmp_path / "a.gguf"]) == []
    assert any("a.gguf: give --export" in c.what for c in verify(tmp_path / "c") if c.outcome == UNCHECKED)
    (tmp_path / "a.gguf").write_text("other weights")
    assert any("not those that were certified" in what for what in wrong(tmp_path / "c", exports=[tmp_path / "a.gguf"]))
    (tmp_path / "b.gguf").write_text("more")
    assert any("is not in the certificate" in what for what in wrong(tmp_path / "c", exports=[tmp_path / "b.gguf"]))


def test_a_signature_is_checked_by_the_key_that_is_given(tmp_path, report, logps):
    ed = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519", reason="needs cryptography")
    from cryptography.hazmat.primitives import serialization as s

    mine, other = ed.Ed25519PrivateKey.generate(), ed.Ed25519PrivateKey.generate()
    for name, key in (("mine", mine), ("other", other)):
        pem = key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / f"{name}.pem").write_bytes(pem)
    certificate(tmp_path / "c", report, logps, mine)
    assert wrong(tmp_path / "c", key=str(tmp_path / "mine.pem")) == []
    assert any("no signature by the key" in what for what in wrong(tmp_path / "c", key=str(tmp_path / "other.pem")))
    assert any("give --key" in c.what for c in verify(tmp_path / "c") if c.outcome == UNCHECKED)
    edit(tmp_path / "c", lambda p: p.update(by="Somebody else"))
    assert any("another statement" in what for what in wrong(tmp_path / "c", key=str(tmp_path / "mine.pem")))
    assert signing.key_id(mine.public_key()) != signing.key_id(other.public_key())


def test_a_key_for_a_certificate_that_is_not_signed_does_not_agree(made, tmp_path):
    pytest.importorskip("cryptography", reason="needs cryptography")
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import ed25519

    public = ed25519.Ed25519PrivateKey.generate().public_key()
    (tmp_path / "key.pem").write_bytes(public.public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo))
    assert "the certificate is not signed, and a key was given" in wrong(made, key=str(tmp_path / "key.pem"))


# ---- with the run


@pytest.fixture
def again(monkeypatch, report, logps):
    """Return verify's repetition of a made-up run, whose models give `now`, against a predicate with changes."""
    of = {"specific": ("a",), "position": "out", "split": "report"}
    prompts = tuple(ProbabilityPrompt(prompt=f"p{n}", **of) for n in range(3))
    made = tuple(Window(document="d", at=n, context=(n,), continuation=(2,) * 50) for n in range(40))
    asked = Windows(windows=made, prefix=1, lengths=(10, 50), there=90, wanted=(1, 50))
    masses = {"baseline": [0.9] * 3, "unlearned": [0.1] * 3, "twin": [0.1] * 3}
    now = {n: {"masses": masses[n], "logp": of | {"50": of["10"]}} for n, of in logps.items()}
    monkeypatch.setattr(measured, "windows", lambda run, most: asked)
    monkeypatch.setattr(measured, "load", lambda s, name: name)
    monkeypatch.setattr(measured.inference, "suite", lambda folder, suite: suite)
    monkeypatch.setattr(measured, "measure", lambda name, suite, some: {
        "masses": now[name]["masses"],
        "logp": {k: [of[w.at] for w in some.windows] for k, of in now[name]["logp"].items()},
    })  # fmt: skip
    inputs = SimpleNamespace(tokenizer=SimpleNamespace(decode=lambda ids: " ".join(map(str, ids))))
    run = SimpleNamespace(suite=SimpleNamespace(prompts=SimpleNamespace(probability=prompts)), inputs=inputs)
    s = SimpleNamespace(name="unlearned", run=run, report=report, folders=dict.fromkeys(logps, "x"))
    named = {"prompt": "p1", "specific": ["a"], "probability": 0.1}

    def check(change=lambda p: None):
        p = predicate(report, {n: dict(of["logp"]) for n, of in now.items()})
        p["repeat"] |= {"prompts": [dict(named)], "windows": [{"window": 0, "at": 0}]}
        p["extraction"] = sections.windows(asked) | {"models": {}}
        change(p)
        return [c.what for c in _repeat(s, p) if c.outcome == DIFFERS]

    check.now = now
    return check


@pytest.mark.parametrize("length", ["10", "50"])
@pytest.mark.parametrize("name", ["baseline", "unlearned", "twin"])
def test_a_forged_extraction_of_any_length_is_found_by_asking_again(again, name, length):
    assert again() == []
    said = again(lambda p: p["logps"][name].update({length: [-12.0] * 40}))
    assert len(said) == 1 and f"windows asked again of {name}" in said[0]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "the named prompts are not those of the run"),
        ([{"prompt": "nothing", "specific": ["a"], "probability": 0.0}], "the named prompts are not those of the run"),
        ([{"prompt": "p1", "specific": ["zzz"], "probability": 0.0}], "the named prompts are not those of the run"),
        ([{"prompt": "p1", "specific": ["a"], "probability": 0.05}], "1 named prompts, probabilities at most 0.05"),
    ],
)
def test_named_prompts_are_the_runs_and_give_what_is_said(again, rows, said):
    found = again(lambda p: p["repeat"].update(prompts=rows))
    assert len(found) == 1 and found[0].startswith(said)


def test_the_familiarity_of_the_report_is_asked_again_of_every_model(again, report):
    assert again() == []
    report["models"]["twin"]["familiarity"]["probability"]["value"] = 0.2
    assert len(said := again()) == 1 and "0.2 of twin's next-word familiarity, measured again it is 0.1" in said[0]


def test_a_residual_finding_of_prompts_or_windows_that_is_left_out_or_made_up_is_found(again):
    again.now["unlearned"]["masses"] = [0.9, 0.1, 0.06]  # the first alone is surely one; the twin gives 0.1
    again.now["twin"]["masses"] = [0.1, 0.1, 0.02]
    again.now["unlearned"]["logp"] = {n: [-0.1, *of[1:]] for n, of in again.now["unlearned"]["logp"].items()}
    row = {"probability": 0.9, "twin": 0.1}
    named = row | {"test": "next word, running text", "prompt": "p0", "came_out": "a"}
    window = row | {"test": "extraction, 50 tokens", "prompt": "0", "came_out": " ".join("2" * 50)}
    unlike = "next-word familiarity, measured again"

    def said(*rows):
        return [what for what in again(lambda p: p.update(findings=list(rows))) if unlike not in what]

    assert said(named, window) == said(named, window, named | {"prompt": "p2"}) == []
    assert said(named) == ["residual findings follow from the windows' log-probabilities"]
    assert said(window) == ["0 residual findings of next words, asked again: p0"]
    assert said(named, window, named | {"prompt": "p1"}) == ["2 residual findings of next words, asked again: p1"]


@pytest.mark.parametrize("name", ["prefix", "lengths", "windows", "there", "wanted", "clipped", "documents", "short"])
def test_windows_of_other_sizes_are_found(again, name):
    said = again(lambda p: p["extraction"].update({name: 77}))
    assert said == ["the windows of the text are not those that were certified"]

"""The dictionary made and checked by the command."""

import json

from jaxunlearn.cli import main


def test_a_dictionary_is_built_where_asked_for_and_audited_there(world, tmp_path, capsys):
    assert main(["anchors", "build", str(world / "world.py"), "--out", str(tmp_path), "--json", "-q"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert printed.err == ""
    assert found == {"path": str(tmp_path / "dictionary.json"), "terms": found["terms"], "source": "offline"}
    dictionary = json.loads((tmp_path / "dictionary.json").read_text())
    assert found["terms"] == len(dictionary) > 0
    (tmp_path / "faulty.json").write_text(json.dumps({"Zara": ["Zara", "Ada"], "Orm": ["Orm"]}))
    audit = ["anchors", "audit", str(tmp_path / "faulty.json"), "--text", str(world / "forget.txt")]
    assert main([*audit, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["errors"] > 0
    code = main([*audit, "--fix", str(tmp_path / "mended.json"), "--json"])
    left = json.loads(capsys.readouterr().out)
    assert left["errors"] < left["before"]["errors"] and code == int(left["errors"] > 0)
    assert (tmp_path / "mended.json").is_file()
    assert left["changes"]["changed"] == {"Zara": [["Zara", "Ada"], ["Ada"]]} and not left["changes"]["removed"]
    assert [f["term"] for f in left["spared"]] == ["Orm"]
    assert main([*audit, "--fix", str(tmp_path / "mended.json")]) == code
    said = capsys.readouterr().out
    assert "terms: 0 removed, 1 changed, " in said and "kept, as the text has it so often: 'Orm'" in said


def test_lift_needs_two_models_of_the_run(world, tmp_path, capsys):
    command = ["anchors", "build", str(world / "world.py"), f"run.dir={tmp_path}/none", "--lift"]
    assert main(command) == 2 and "run the stage `reinforce` first" in capsys.readouterr().err

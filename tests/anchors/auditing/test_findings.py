"""How findings are shown."""

import io
import json

from rich.console import Console

from jaxunlearn.anchors.auditing.audit import audit
from jaxunlearn.anchors.auditing.findings import exit_status, rich_table, summary, to_json

TEXT = "Zorvath's hat lay there. Mirelda saw that Zorvath slept. "


def test_findings_are_shown_as_table_and_json():
    found = audit({"Zorvath": ["Zorvath"], "Ab": ["[x]"], "Cd": ["Tom"]}, TEXT)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(rich_table(found))
    title, _, _, _, first, *rows = console.export_text().split("\n")
    assert title.strip() == "1 error, 0 warnings, 3 notes" and first.split("│")[1].strip() == "error"
    assert first.split("│")[2].strip() == "self-map"
    assert [row for row in rows if "dead" in row and "2 terms: 'Ab', 'Cd'" in row]
    shown = json.loads(json.dumps(to_json(found)))
    assert (shown["errors"], shown["warnings"], shown["notes"], len(shown["findings"])) == (1, 0, 3, 4)
    assert shown["findings"][0]["fix"] == {"drop": {"Zorvath": ["Zorvath"]}}
    assert summary([]) == "0 errors, 0 warnings, 0 notes" and exit_status([]) == 0

"""Run a notebook's code cells in this process, one after another, in one namespace."""

import json
from pathlib import Path
from typing import Any


def run_notebook(path: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Return the namespace after the last cell; `given` takes the place of the cell tagged "parameters"."""
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    for n, cell in enumerate(cells):
        assert cell["outputs"] == [] and cell["execution_count"] is None, f"{path.name}: clear the outputs of cell {n}"
        program = compile("".join(cell["source"]), f"{path.name}, code cell {n}", "exec")
        if "parameters" in cell["metadata"].get("tags", ()):
            unset = set(program.co_names) - given.keys()
            assert not unset, f"{path.name}: cell {n} sets {sorted(unset)}, which was not given"
            names |= given
        else:
            exec(program, names)
    return names

"""Where the checkout and the shared data lie."""

import os
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SHARED = Path(os.environ.get("JAXUNLEARN_SHARED", ROOT.parent / "shared"))

"""Check report files, the findings of attacks included: `python -m jaxunlearn.attacks RUN_DIR/report.json`."""

import sys

from jaxunlearn.attacks import form
from jaxunlearn.report import schema

if __name__ == "__main__":
    sys.exit(schema.main(sys.argv[1:], form()))

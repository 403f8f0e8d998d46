"""`python -m jaxunlearn`, for launchers."""

import sys

from jaxunlearn.cli import main

sys.exit(main())

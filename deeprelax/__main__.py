"""`python -m deeprelax` is `deeprelax`."""

import sys

from .cli import main

sys.exit(main())

"""Run `deeprelax` as `python -m deeprelax`."""

import sys

from .cli import main

sys.exit(main())

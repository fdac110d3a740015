"""`python -m elastic_inference.cli`, the same as `ei`."""

import sys

from elastic_inference.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m elastic_inference.accelerator CONFIG.json`."""

import os
import sys
from pathlib import Path

# OpenSSL reads its configuration when it is first loaded, so this comes before other imports.
os.environ.setdefault("OPENSSL_CONF", str(Path(__file__).with_name("openssl.cnf")))
# What runs here is its owner's business; ONNX Runtime looks at this when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from elastic_inference.accelerator.process import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

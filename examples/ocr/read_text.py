"""Read the text in a picture. An ordinary application: it knows nothing of accelerators."""

from __future__ import annotations

import sys

from rapidocr_onnxruntime import RapidOCR


def main() -> None:
    read = RapidOCR()
    lines, _ = read(sys.argv[1])
    for _box, text, _score in lines or []:
        print(text)


if __name__ == "__main__":
    main()

"""EC2's instance types in the catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from elastic_inference.catalog import Catalog
from elastic_inference.errors import ConfigurationError


def test_prices_are_those_of_the_originals_documents() -> None:
    types = Catalog().instance_types
    assert types["m5.large"].price_per_hour == pytest.approx(0.096)
    assert types["c5.4xlarge"].price_per_hour == pytest.approx(0.68)
    assert types["p2.xlarge"].price_per_hour == pytest.approx(0.90)
    assert (types["m5.4xlarge"].vcpus, types["m5.4xlarge"].memory_mib) == (16, 64 * 1024)
    assert types["p3.2xlarge"].gpu is not None
    assert all(each.price_per_hour > 0 and each.vcpus > 0 for each in types.values())


def test_a_catalogue_file_changes_and_adds_types(tmp_path: Path) -> None:
    path = tmp_path / "catalog.toml"
    path.write_text(
        '[instance_types."m5.large"]\nprice_per_hour = 0.2\n'
        '[instance_types."m7i.large"]\nvcpus = 2\nmemory_mib = 8192\nprice_per_hour = 0.1\n'
    )
    types = Catalog.load(path).instance_types
    assert types["m5.large"].price_per_hour == pytest.approx(0.2)
    assert types["m5.large"].vcpus == 2
    assert (types["m7i.large"].cores, types["m7i.large"].family) == (1, "m7i")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[instance_types."Large"]\nvcpus = 1\n', "a name is"),
        ('[instance_types]\n"m5.large" = 1\n', "must be a table"),
        ('[instance_types."m5.large"]\nprice = 1\n', "unknown key 'price'"),
        ('[instance_types."m5.large"]\nvcpus = 0\n', "vcpus must be"),
        ('[instance_types."m5.large"]\nprice_per_hour = nan\n', "price_per_hour must be"),
        ('[instance_types."m9.large"]\nvcpus = 1\n', "memory_mib is missing"),
    ],
)
def test_wrong_types_are_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "catalog.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=says):
        Catalog.load(path)

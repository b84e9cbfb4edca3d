"""Real exports through the shipped mappings, where ../shared/data is present."""

import shutil
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _accounts(shop) -> tuple[int, int, int]:
    ((lines,),) = shop.rows("SELECT sum(rows)::BIGINT FROM landing_files WHERE state = 'landed'")
    ((landed,),) = shop.rows("SELECT count(*) FROM pos_lines")
    ((rejected,),) = shop.rows("SELECT count(*) FROM pos_quarantine")
    return lines, landed, rejected


def test_a_bakerys_till_lands(shop, public_data):
    shutil.copy(public_data / "bread_basket.csv", shop.folder)
    shutil.copy(ROOT / "examples" / "bread_basket" / "mapping.toml", shop.folder)
    shop.warehouse.settings = shop.warehouse.settings.__class__(
        **{**vars(shop.warehouse.settings), "quiet_seconds": 0}
    )
    shop.ingest()
    lines, landed, rejected = _accounts(shop)
    assert lines == landed + rejected == 21_293
    assert landed / lines >= 0.95
    content = shop.rows("SELECT * FROM interval_sales ORDER BY ALL")
    assert shop.ingest() == []
    shop.ingest(force=True)
    assert shop.rows("SELECT * FROM interval_sales ORDER BY ALL") == content


def test_305_day_files_of_an_online_shop_land(new_shop, public_data):
    shop = new_shop(quiet_seconds=0)
    with tarfile.open(public_data / "online_retail_by_day.tar.gz") as tar:
        tar.extractall(shop.folder, filter="data")
    shutil.copy(ROOT / "examples" / "online_retail" / "mapping.toml", shop.folder)
    shop.ingest()
    lines, landed, rejected = _accounts(shop)
    assert lines == landed + rejected == 541_909
    assert landed / lines >= 0.95
    states = shop.rows("SELECT state, count(*) FROM landing_files GROUP BY 1")
    assert states == [("landed", 305)]
    returns = shop.rows("SELECT count(*) FROM pos_lines WHERE line_type = 'return'")
    assert 9_000 < returns[0][0] <= 10_624
    assert shop.ingest() == []

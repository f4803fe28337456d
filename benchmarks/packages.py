"""Benchmark of search and lists among many packages: `.venv/bin/python -m benchmarks.packages [--count 200000]`.

Makes them in a fresh data directory on SQLite, or in the empty PostgreSQL that `REGISTRY_DATABASE_URL` names
(`.ci/postgres .venv/bin/python -m benchmarks.packages`), asks a running registry, and prints one table in Markdown.
About two minutes; it leaves nothing but what is in that PostgreSQL.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import django
from django.core.management import call_command

from benchmarks.http_timing import ROUNDS, Measure, format_count, print_progress, render, run_server, time_requests

if TYPE_CHECKING:
    from accounts.models import User
    from namespaces.models import Namespace
    from packages.models import Package, Release

COUNT = 200_000
NAMESPACES = 2_000
LARGE = "warehouse"  # the namespace of a tenth of all packages, the last ones
PUBLISHERS = 20
BATCH = 5_000
TABLE = "packages_package"


def _words(text: str) -> list[str]:
    return text.split()


# The vocabulary of all texts. The searched words stand only where `describe` and `package_name` put them.
TOPICS = _words(
    "json xml yaml csv http tls smtp dns cache queue log metric trace image audio video font color matrix graph tree "
    "string date locale money tax order cart payment parcel map route sensor clock file archive socket thread task"
)
KINDS = _words(
    "parser reader writer encoder decoder router builder checker formatter scheduler runner bridge adapter wrapper "
    "toolkit engine filter index store pool pipeline template plugin theme driver monitor validator"
)
QUALITIES = _words("small fast strict lazy modern portable complete simple typed streaming parallel tested embedded")
ENDS = (
    "for command line programs",
    "with no dependencies",
    "that never blocks",
    "for long running services",
    "which keeps memory low",
    "in pure Java",
    "for PHP and Laravel",
    "used in production since 2019",
    "ported from another language",
)
CHINESE_TOPICS = _words("配置 文件 网络 数据 图像 语音 缓存 消息 订单 支付 地图 时间 权限 用户 表格 加密 压缩 测试")
CHINESE_KINDS = _words("解析 管理 转换 生成 监控 分析 校验 调度 同步 存储 渲染 下载")
CHINESE_ENDS = _words("工具 组件 框架 服务的轻量级客户端库 模块 工具集 中间件 插件")
FIELDS = _words("java php npm pypi go ruby text")

COMMON, NEVER_BESIDE_IT, RARE, PAIR = "client", "daemon", "quaternion", "日志"
ABSENT = "unheardof"
EXACT = "http-client"  # its words are common: hundreds have them


@dataclass
class Search(Measure):
    """A search, with the entries of GIN indexes that PostgreSQL reads for it."""

    entries: int | None = None

    def cells(self, unit: float) -> list[str]:
        *cells, result = super().cells(unit)
        return [*cells, format_count(self.entries), result]


HEAD = ["request", "p50, ms", "p95, ms", "p50 / GET", "p95 / GET", "rows read", "entries of GIN", "found"]


def main() -> None:
    """Create the packages, measure, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=COUNT, help="how many packages, in thousands: 200000")
    count = max(1, options.parse_args().count // 1000) * 1000
    with tempfile.TemporaryDirectory(prefix="entrepot-benchmark-") as directory:
        data = Path(directory) / "data"
        os.environ |= {"REGISTRY_DATA_DIR": str(data), "DJANGO_SETTINGS_MODULE": "registry_site.settings"}
        django.setup()
        call_command("migrate", verbosity=0)
        began = time.monotonic()
        measures = plan(count, fill(count))
        print_progress(f"{count:,} packages created in {time.monotonic() - began:.0f} s")
        with run_server(data) as server:
            time_requests(measures, server.port, lambda answer, body: answer.headers.get("X-Total-Count", "-"))
        for measure in measures:
            from tests.support.rows_read import rows_read  # imports Django, which is set up by now

            measure.rows, measure.entries = rows_read(measure.path, TABLE, "packages_package_search_")
        print(f"{describe_setup(count)}\n\n{render(HEAD, measures)}")


def plan(count: int, large: int) -> list[Search]:
    """List the requests for `count` packages; `large` of them are public in the large namespace."""
    one = f"/namespaces/{LARGE}/packages/{quote(package_name(count - count // 10, count))}"
    name = package_name(count // 2, count)
    queries = {
        f"a rare word ({RARE})": RARE,
        f"a word that a tenth has ({COMMON})": COMMON,
        "the beginning of a word, 2 letters (pa)": "pa",
        f"two words ({COMMON} parser)": f"{COMMON} parser",
        f"two common words that no package has both ({COMMON} {NEVER_BESIDE_IT})": f"{COMMON} {NEVER_BESIDE_IT}",
        f"the name of the large namespace ({LARGE})": LARGE,
        f"a Chinese pair ({PAIR})": PAIR,
        f"an exact name ({name})": name,
        f"an exact name of common words ({EXACT})": EXACT,
        f"nothing found ({ABSENT})": ABSENT,
        "an empty query: all by name": "",
    }
    pages = f"/namespaces/{LARGE}/packages"
    return [
        Search("GET of one package", one),
        Search("its 10 versions", f"{one}/versions"),
        *(Search(f"search: {label}", f"/packages?{urlencode({'query': query})}") for label, query in queries.items()),
        Search("list of the large namespace, first page", pages),
        Search("list of the large namespace, last page", f"{pages}?page={-(-large // 20)}"),
    ]


# --- The packages ------------------------------------------------------------------------------------------------


def fill(count: int) -> int:
    """Create accounts, namespaces and packages, and return the number of public packages in the large namespace."""
    from django.db import connection, transaction

    from packages.models import Collaboration, Package, Release

    if Package.objects.exists():
        sys.exit("There are packages in this database; give an empty one.")
    publishers = _publishers()
    namespaces = _namespaces(publishers)
    rows = _rows(count, namespaces, publishers)
    for start in range(0, count, BATCH):
        batch = [next(rows) for _ in range(min(BATCH, count - start))]
        with transaction.atomic():  # a package and its newest release refer to each other
            Package.objects.bulk_create(package for package, _ in batch)
            Release.objects.bulk_create(release for _, releases in batch for release in releases)
            Collaboration.objects.bulk_create(
                Collaboration(package=package, user=releases[0].publisher, role="OWNER") for package, releases in batch
            )
        print_progress(f"{start + len(batch):,} packages")
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            cursor.execute("VACUUM ANALYZE")  # as its autovacuum does within minutes
    return Package.objects.filter(namespace=namespaces[0], type="PUBLIC").count()


def _publishers() -> "list[User]":
    from accounts import registration

    return [registration.register(f"publisher{number}", "correct horse") for number in range(PUBLISHERS)]


def _namespaces(owners: "Sequence[User]") -> "list[Namespace]":
    """Create the namespaces, the large one first."""
    from accounts.models import NameReservation
    from accounts.names import skeleton
    from namespaces.models import Membership, Namespace

    names = [LARGE, *(f"{TOPICS[number % len(TOPICS)]}-{invent_word(number)}" for number in range(1, NAMESPACES))]
    reservations = NameReservation.objects.bulk_create(
        NameReservation(name=name, skeleton=skeleton(name)) for name in names
    )
    namespaces = Namespace.objects.bulk_create(
        Namespace(name=reservation.name, reservation=reservation) for reservation in reservations
    )
    Membership.objects.bulk_create(
        Membership(namespace=namespace, user=owners[number % len(owners)], role="OWNER")
        for number, namespace in enumerate(namespaces)
    )
    return namespaces


def _rows(
    count: int, namespaces: "Sequence[Namespace]", publishers: "Sequence[User]"
) -> "Iterator[tuple[Package, list[Release]]]":
    """Build packages with their releases, the newest last; every twentieth has ten, the others one."""
    from packages import names, search
    from packages.models import Package, Release, Status, Type

    random, releases = Random(1), 0
    for number in range(count):
        name, publisher = package_name(number, count), publishers[number % len(publishers)]
        package = Package(
            pk=number + 1,
            namespace=namespaces[0] if number >= count - count // 10 else namespaces[1 + number % (NAMESPACES - 1)],
            **names.columns(name),
            field=random.choice(FIELDS),
            type=Type.PRIVATE if number % 20 == 3 else Type.PUBLIC,
        )
        content = {"description": describe(number, count, random), "keywords": random.sample(TOPICS, 2)}
        versions = [f"1.{minor}.0" for minor in range(1 if number % 20 else 10)]
        package_releases = [
            Release(
                pk=releases + position,
                package=package,
                version=version,
                canonical_version=version,
                status=Status.RELEASE,
                is_final=True,
                publisher=publisher,
                **content,
            )
            for position, version in enumerate(versions, start=1)
        ]
        releases += len(package_releases)
        package.newest = package_releases[-1]
        search.set_listing(package)
        yield package, package_releases


def package_name(number: int, count: int) -> str:
    """Return the name of a package: every tenth is Chinese; one far from the first is `EXACT`."""
    if number == count // 2 + 1:
        return EXACT
    word = invent_word(number)
    if number % 10 == 1:
        return f"{_cycle(CHINESE_TOPICS, number // 10)}{_cycle(CHINESE_KINDS, number // 70)}-{word}"
    return f"{_cycle(TOPICS, number)}-{_cycle(KINDS, number // 7)}-{word}"


def describe(number: int, count: int, random: Random) -> str:
    """Return one sentence with the searched words; three in ten are Chinese."""
    if number % 10 in (1, 4, 8):
        topic = PAIR if random.randrange(40) == 0 else random.choice(CHINESE_TOPICS)
        return f"一个{topic}{random.choice(CHINESE_KINDS)}{random.choice(CHINESE_ENDS)}。"
    words = [random.choice(QUALITIES), random.choice(TOPICS), random.choice(KINDS)]
    if number % 10 in (0, 5):
        words.append(COMMON if number % 10 == 0 else NEVER_BESIDE_IT)
    if number % (count // 5) == 7:
        words.append(RARE)
    return f"A {' '.join(words)} {random.choice(ENDS)}."


def invent_word(number: int) -> str:
    """Return a word of three syllables, a different one for each number below a million."""
    syllables = [consonant + vowel for consonant in "bcdfghjklmnprstvwxyz" for vowel in "aeiou"]
    high, low = divmod(number * 618_033 % 1_000_000, 1000)
    return syllables[high // 10] + syllables[high % 10 * 10 + low // 100] + syllables[low % 100]


def _cycle(words: Sequence[str], number: int) -> str:
    return words[number % len(words)]


# --- Output ------------------------------------------------------------------------------------------------------


def describe_setup(count: int) -> str:
    """Describe the conditions of the figures."""
    from django.db import connection

    return (
        f"{count:,} packages in {NAMESPACES:,} namespaces on {connection.display_name}, one client, {ROUNDS} rounds, "
        f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the end. Milliseconds are by HTTP; "
        "the ratio is to the median of the first row."
    )


if __name__ == "__main__":
    main()

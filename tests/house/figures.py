"""Figures of the code: `python -m tests.house.figures [--report JUNIT.xml] [FOLDER …]` prints some lines for each room.

They show whether the code stays easy to read: short functions, few private helpers, docstrings that begin with a verb
or a noun, comments where something is not obvious.
"""

import argparse
import ast
import io
import re
import statistics
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from tests.house.source_code import MAY_IMPORT, ROOT, modules

PROSE = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", *(f"docs/{path.name}" for path in ROOT.glob("docs/*.md")))
RIDDLE_WORDS = """
    what who whom whose whoever whatever which of those that this these it its they how where when whether while
    from with without for to in on at by as like same no nobody nothing everything everybody somebody anybody
    is are was were has have had does did may must can
"""
RIDDLES = frozenset(RIDDLE_WORDS.split())

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Figures:
    """Counts over the modules of one folder."""

    lengths: list[int] = field(default_factory=list)
    private: int = 0
    private_used_once: int = 0
    code_lines: int = 0
    comments: int = 0
    openings: Counter[str] = field(default_factory=Counter)
    long_functions: list[str] = field(default_factory=list)
    riddles: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        count = len(self.lengths)
        lengths = sorted(self.lengths)
        median, p90 = statistics.median(lengths), lengths[count * 9 // 10]
        yield f"functions {count}, lines: median {median:.0f}, p90 {p90}, max {lengths[-1]}"
        yield f"private {self.private / count:.1%}, private and used once {self.private_used_once / count:.1%}"
        yield f"comments per 100 lines of code {100 * self.comments / self.code_lines:.1f}"
        total = self.openings.total()
        yield "docstrings: " + ", ".join(f"{kind} {number / total:.1%}" for kind, number in self.openings.most_common())


def measure(paths: Sequence[Path]) -> Figures:
    """Figures of these modules together."""
    figures = Figures()
    for path in paths:
        source = path.read_text()
        tree = ast.parse(source)
        _count_lines(figures, source)
        uses = Counter(
            node.id if isinstance(node, ast.Name) else node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Name | ast.Attribute)
        )
        for node in ast.walk(tree):
            if isinstance(node, Function | ast.ClassDef | ast.Module):
                _count_docstring(figures, node, path)
            if isinstance(node, Function):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                figures.lengths.append(length)
                if length > 50:
                    figures.long_functions.append(f"{path}:{node.lineno} {node.name} {length}")
                if node.name.startswith("_") and not node.name.endswith("__"):
                    figures.private += 1
                    figures.private_used_once += uses[node.name] <= 1
    return figures


def _count_lines(figures: Figures, source: str) -> None:
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    figures.comments += sum(
        token.type == tokenize.COMMENT and not re.match(r"# *(noqa|type:)", token.string) for token in tokens
    )
    quiet = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    figures.code_lines += len({token.start[0] for token in tokens if token.type not in quiet})


def _count_docstring(figures: Figures, node: Function | ast.ClassDef | ast.Module, path: Path) -> None:
    text = ast.get_docstring(node)
    if not text:
        return
    word = re.split(r"[\s,.;:]", text, maxsplit=1)[0]
    if word.startswith("`"):
        kind = "code"
    elif word.lower() in RIDDLES:
        kind = "riddle"
        figures.riddles.append(f"{path}:{getattr(node, 'lineno', 1)} {text.splitlines()[0][:80]}")
    elif word in ("The", "A", "An", "All", "One", "Each", "Every", "Another"):
        kind = "article"
    else:
        kind = "verb or noun"
    figures.openings[kind] += 1


def words_a_sentence(paths: Sequence[Path]) -> float:
    """The mean over the prose of these files, without code, tables and headings."""
    text = "\n".join(path.read_text() for path in paths)
    text = re.sub(r"(?s)```.*?```", "\n\n", text)
    blocks = re.split(r"\n\s*\n|\n(?=[*-] )", re.sub(r"(?m)^(\||#).*$", "", text))
    sentences = [s for block in blocks for s in re.split(r"(?<=[.!?:])\s+", block) if len(s.split()) > 2]
    return statistics.mean(len(sentence.split()) for sentence in sentences)


def main(arguments: Sequence[str]) -> None:
    """Print the figures of these folders; by default of all rooms, each and together, with those of the prose."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, help="JUnit report of a run of the tests: print its cases and its time")
    parser.add_argument("folders", nargs="*", default=list(MAY_IMPORT))
    options = parser.parse_args(arguments)
    for folder in options.folders:
        figures = measure(modules(folder))
        print(f"{folder}\n  " + "\n  ".join(figures.lines()))
        if len(options.folders) == 1:
            print("\n".join(f"    {line}" for line in (*figures.long_functions, *figures.riddles)))
    if len(options.folders) > 1:
        together = measure([path for folder in options.folders for path in modules(folder)])
        print("together\n  " + "\n  ".join(together.lines()))
        print(f"prose: {words_a_sentence([ROOT / name for name in PROSE]):.1f} words a sentence")
    if options.report:
        suite = ElementTree.parse(options.report).getroot()[0]
        print(f"tests: {suite.get('tests')} cases in {float(suite.get('time', 0)):.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])

"""Lines of source code and of comments, by language, as people count them: blank lines count as neither. Pure."""

from dataclasses import dataclass, field

# Of one crate, which takes up to half a second.
MAX_BYTES = 16 * 1024 * 1024
MAX_LINES = 400_000
MAX_FILE_BYTES = 4 * 1024 * 1024

LineCounts = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Language:
    """A language, with the beginnings of its comment lines, and the two ends of its comment blocks."""

    name: str
    comment: tuple[bytes, ...] = ()
    block: tuple[bytes, bytes] | None = None


SLASHES, STARS = (b"//",), (b"/*", b"*/")


def of_c_family(name: str) -> Language:
    return Language(name, SLASHES, STARS)


def with_hashes(name: str) -> Language:
    return Language(name, (b"#",))


C, CPP, JAVASCRIPT, TYPESCRIPT, GLSL = map(of_c_family, ("C", "C++", "JavaScript", "TypeScript", "GLSL"))
ASSEMBLY = Language("Assembly", (b"//", b"#", b";", b"@"), STARS)
HTML = Language("HTML", (), (b"<!--", b"-->"))
PYTHON, SHELL, RUBY, PERL = map(with_hashes, ("Python", "Shell", "Ruby", "Perl"))
LANGUAGES = {
    "rs": of_c_family("Rust"),
    "c": C,
    "h": C,
    **dict.fromkeys(("cc", "cpp", "cxx", "hh", "hpp", "hxx"), CPP),
    "m": of_c_family("Objective-C"),
    "mm": of_c_family("Objective-C++"),
    "cu": of_c_family("CUDA"),
    "cs": of_c_family("C#"),
    "dart": of_c_family("Dart"),
    "go": of_c_family("Go"),
    "java": of_c_family("Java"),
    "kt": of_c_family("Kotlin"),
    "swift": of_c_family("Swift"),
    "zig": Language("Zig", SLASHES),
    "proto": of_c_family("Protocol Buffers"),
    "wgsl": of_c_family("WGSL"),
    "hlsl": of_c_family("HLSL"),
    "metal": of_c_family("Metal"),
    "php": Language("PHP", (b"//", b"#"), STARS),
    "css": Language("CSS", (), STARS),
    "scss": of_c_family("SCSS"),
    **dict.fromkeys(("glsl", "vert", "frag", "comp"), GLSL),
    **dict.fromkeys(("js", "mjs", "cjs", "jsx"), JAVASCRIPT),
    **dict.fromkeys(("ts", "mts", "tsx"), TYPESCRIPT),
    **dict.fromkeys(("s", "asm"), ASSEMBLY),
    **dict.fromkeys(("html", "htm"), HTML),
    **dict.fromkeys(("py", "pyi"), PYTHON),
    **dict.fromkeys(("sh", "bash"), SHELL),
    "rb": RUBY,
    "pl": PERL,
    "lua": Language("Lua", (b"--",)),
    "sql": Language("SQL", (b"--",), STARS),
    "hs": Language("Haskell", (b"--",), (b"{-", b"-}")),
    "ml": Language("OCaml", (), (b"(*", b"*)")),
    "cmake": with_hashes("CMake"),
}


def language_of(path: str) -> Language | None:
    """Return the language of a file by the ending of its name; None for what is no source code."""
    stem, dot, ending = path.rpartition("/")[2].rpartition(".")
    return LANGUAGES.get(ending.lower()) if stem and dot else None


@dataclass
class LineCounter:
    """Lines of the files of a crate. `counts` is None as soon as there is more than the limits allow to count."""

    counts: LineCounts | None = field(default_factory=dict)
    remaining_bytes: int = MAX_BYTES
    remaining_lines: int = MAX_LINES

    def wants(self, path: str, size: int) -> bool:
        """Return whether the file is source to be counted; too large a one ends the count."""
        if self.counts is None or language_of(path) is None:
            return False
        self.remaining_bytes -= size
        if size > MAX_FILE_BYTES or self.remaining_bytes < 0:
            self.counts = None
        return self.counts is not None

    def add(self, path: str, source: bytes) -> None:
        language = language_of(path)
        self.remaining_lines -= source.count(b"\n")
        if self.remaining_lines < 0:
            self.counts = None
        if self.counts is None or language is None:
            return
        code, comments = count_lines(source, language)
        total = self.counts.setdefault(language.name, {"code_lines": 0, "comment_lines": 0, "files": 0})
        total["code_lines"] += code
        total["comment_lines"] += comments
        total["files"] += 1


def count_lines(source: bytes, language: Language) -> tuple[int, int]:
    """Return the numbers of lines with code and of lines that are comments only.

    A block counts as a comment if it begins a line: `/*` inside of a line may stand in a text.
    """
    code = comments = 0
    begin, end = language.block or (b"\0", b"\0")
    is_in_block = False
    for text in filter(None, map(bytes.strip, source.split(b"\n"))):
        if is_in_block:
            comments += 1
            is_in_block = end not in text
        elif text.startswith(begin):
            comments += 1
            is_in_block = end not in text[len(begin) :]
        elif text.startswith(language.comment):
            comments += 1
        else:
            code += 1
    return code, comments

"""Checks that every Python and TypeScript block of a document stands in one of the examples, line for line.

A block may be indented less than the code that it shows.
"""

import pathlib
import re
import sys
import textwrap

HERE = pathlib.Path(__file__).resolve().parent
SOURCES = {"python": HERE / "python", "typescript": HERE / "typescript" / "src"}
SUFFIXES = {"python": "*.py", "typescript": "*.ts"}
BLOCK = re.compile(r"^```(python|typescript)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def shows(source: str, block: str) -> bool:
    """Whether the lines of the block stand together in the source, at one indentation."""
    lines, wanted = source.splitlines(), block.splitlines()
    for start in range(len(lines) - len(wanted) + 1):
        part = lines[start : start + len(wanted)]
        if textwrap.dedent("\n".join(part)) == textwrap.dedent("\n".join(wanted)):
            return True
    return False


def main(document: str) -> int:
    blocks = BLOCK.findall(pathlib.Path(document).read_text())
    missing = 0
    for language, block in blocks:
        sources = [path.read_text() for path in SOURCES[language].glob(SUFFIXES[language])]
        if not any(shows(source, block) for source in sources):
            missing += 1
            print(f"{document}: this {language} is not in the examples:\n{block}", file=sys.stderr)
    print(f"{len(blocks)} blocks of code, {len(blocks) - missing} of them from the examples")
    return 1 if missing or not blocks else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""form.py [--fix[=FORM]] FILE...   one form for what C allows in several. Called by
lint.sh.

null     !p and p, no comparison with NULL
sizeof   sizeof(x), always with parentheses and no space
extern   prototypes without it; variables have it
enum     private integer constants are enumerators: no #define in a .c file, unless the preprocessor
         reads it (#if, # or ## of a macro) or it is no plain int
banner   /* --- name --- */
comment  if it begins with text, it ends with text: no line with nothing but */

Prints FILE:LINE: form: what for each violation, and fails if there are any. --fix rewrites what it
finds; compile and read the result.
"""

import re
import sys
import textwrap

WIDTH = 100
COMPARED = re.compile(r"([!=]=)\s*NULL\b")
REVERSED = re.compile(r"\bNULL\s*[!=]=")
SIZEOF = re.compile(r"\bsizeof(\s+\(|\s*[^\s(\w])|\bsizeof\s+\w")
SIZEOF_BARE = re.compile(r"\bsizeof\s+([*&]*[A-Za-z_]\w*(?:(?:->|\.)\w+|\[[^][]*\])*)")
EXTERN = re.compile(r"^extern (?!__typeof__)[^;={(]*\b(?!__attribute__)\w+\(", re.M)
DEFINE = re.compile(r"^#define +([A-Z][A-Z0-9_]*) +(-?\(?[-+*/ ()0-9xA-Fa-f<]+\)?) *(/\*.*)?$")
BANNER = re.compile(r"^/\* ?-{2,}|-{2,} ?\*/$")
SHORT = re.compile(r"^/\* --- [^-]([^\n]*[^-\s])? --- \*/$")
BOX = re.compile(r"^/\* -{20,}\n((?: \*(?: [^\n]*)?\n)+?) \* -{20,} \*/$", re.M)
DRAWN_OUT = re.compile(
    r"^/\* --- (\S[^\n]*?(?:\n \*(?!/)[^\n]*?)*?)(?:\s-+|\n \* -+)?\s*\*/$", re.M)


def masked(text):
    """The text with comments and literals blanked: positions stay."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match[0])
    return re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", blank, text,
                  flags=re.S)


def opening(code, end):
    """Where the bracket that closes at `end` opens."""
    depth = 0
    for i in range(end, -1, -1):
        if code[i] in ")]":
            depth += 1
        elif code[i] in "([":
            depth -= 1
            if depth == 0:
                return i
    raise ValueError("brackets")


def operand_start(code, end):
    """Where the postfix or unary expression begins whose last character is before `end`."""
    i = end
    while code[i - 1].isspace():
        i -= 1
    while True:
        if code[i - 1] in ")]":
            i = opening(code, i - 1)
            if code[i - 1].isalnum() or code[i - 1] in "_)]":
                continue  # a call, or an element
        else:
            while code[i - 1].isalnum() or code[i - 1] == "_":
                i -= 1
        if code[i - 2:i] == "->":
            i -= 2
        elif code[i - 1] == "." and not code[i - 2].isdigit():
            i -= 1
        else:
            break
    while code[i - 1] in "*&" and \
            re.search(r"(^|[(,=&|!?:;{}<>*]|return)\s*$", code[:i - 1][-80:]) \
            and code[i - 2:i] != "&&":
        i -= 1
    return i


def is_truth(code, start, end):
    """Whether a pointer may stand where the comparison code[start:end] stands: as a condition, or
    where it becomes a bool."""
    before, after = code[:start].rstrip(), code[end:].lstrip()
    if before.endswith(("&&", "||", "!")) or after.startswith(("&&", "||", "?")):
        return True
    if before.endswith("return"):
        headers = re.findall(r"^(\w[^;\n]*\([^;{}]*\))\s*\n\{", code[:start], re.M)
        return bool(headers) and re.match(r"(static |inline )*bool\b", headers[-1]) is not None
    if before.endswith("=") and not before.endswith(("==", "!=")):
        return re.match(r"\s*(static |const )*bool\b", before[before.rfind("\n") + 1:]) is not None
    if before.endswith("("):
        outside = before[:-1].rstrip()
        if re.search(r"[!=]=$", outside) or re.match(r"\)\s*[!=]=", after):
            return False
        return True
    return before.endswith((";", ","))


def fix_null(text):
    """No comparison with NULL."""
    while True:
        code = masked(text)
        match = COMPARED.search(code)
        if match is None:
            return text
        start, end = operand_start(code, match.start()), match.end()
        operand = text[start:match.start()].rstrip()
        if match[1] == "==":
            new = "!" + operand
        else:
            new = operand if is_truth(code, start, end) else "!!" + operand
        text = text[:start] + new + text[end:]


def fix_sizeof(text):
    """Parentheses without a space."""
    code = masked(text)
    for match in reversed(list(SIZEOF_BARE.finditer(code))):
        text = text[:match.start()] + "sizeof(" + text[match.start(1):match.end(1)] + ")" \
            + text[match.end():]
    code = masked(text)
    for match in reversed(list(re.finditer(r"\bsizeof\s+\(", code))):
        text = text[:match.start()] + "sizeof(" + text[match.end():]
    return text


def fix_extern(text):
    """Prototypes do not need it."""
    code = masked(text)
    for match in reversed(list(EXTERN.finditer(code))):
        text = text[:match.start()] + text[match.start() + len("extern "):]
    return text


def read_by_preprocessor(name, text):
    """Whether a constant is used as more than a number: in a condition, or as a string."""
    if re.search(rf"^#\s*(if|elif|ifndef|ifdef|undef)\b.*\b{name}\b", text, re.M):
        return True
    return re.search(rf"\b\w*(STRING|NUMBER|TEXT|STR)\w*\(\s*{name}\b", text) is not None


def enumerator(line):
    """(NAME = value, its comment)"""
    name, value, comment = DEFINE.match(line).groups()
    value = value.strip()
    if value.startswith("(") and opening(value, len(value) - 1) == 0:
        value = value[1:-1]
    return f"{name} = {value}", " " + comment if comment else ""


def fix_enum(text):
    """Runs of constants, with the comments between them, become one enum."""
    out, run = [], []

    def flush():
        while run and not DEFINE.match(run[-1]):
            tail.insert(0, run.pop())
        if len(run) == 1:
            constant, comment = enumerator(run[0])
            out.append(f"enum {{ {constant} }};{comment}")
        elif run:
            out.append("enum {")
            for line in run:
                out.append("    " + (",".join(enumerator(line)) if DEFINE.match(line) else line))
            out.append("};")
        out.extend(tail)
        run.clear()
        tail.clear()

    tail = []
    for line in text.split("\n"):
        if private_constant(line, text):
            run.append(line)
        elif run and re.match(r"/\*.*\*/$", line):
            run.append(line)
        else:
            flush()
            out.append(line)
    flush()
    return "\n".join(out)


def titled(lines):
    """A banner; whatever it says beyond its title becomes a comment."""
    said = " ".join(re.sub(r"^ \*|-{2,}$", "", line.strip("\n")).strip() for line in lines).strip()
    title, rest = said, ""
    if len(lines) > 1 or len(said) + len("/* ---  --- */") > WIDTH:
        stop = re.search(r"\w: |\. ", said)
        if stop:
            title, rest = said[:stop.start()] + stop[0][:-2], said[stop.end():]
    banner = f"/* --- {title.rstrip('. -')} --- */"
    if not rest:
        return banner
    rest = textwrap.wrap(rest[0].upper() + rest[1:] + " */", WIDTH - 3)
    return banner + "\n\n/* " + "\n * ".join(rest)


def fix_banner(text):
    """One line each."""
    text = BOX.sub(lambda match: titled(match[1].strip("\n").split("\n")), text)
    return DRAWN_OUT.sub(lambda match: match[0] if SHORT.match(match[0])
                         else titled(match[1].split("\n")), text)


def fix_comment(text):
    """The end of a comment is moved to the line of its last words."""
    def close(match):
        if match[1] + " */" and len(match[1]) + 3 <= WIDTH:
            return match[1] + " */"
        head, _, word = match[1].rpartition(" ")
        return f"{head}\n{match[2]}* {word} */"
    starts = [number for number, comment in comments(text) if torn(comment)]
    lines = text.split("\n")
    for start in reversed(starts):
        end = start
        while lines[end].strip() != "*/":
            end += 1
        both = lines[end - 1] + "\n" + lines[end]
        lines[end - 1:end + 1] = re.sub(r"^(.*)\n( *)\*/$", close, both).split("\n")
    return "\n".join(lines)


def torn(comment):
    """Whether it begins with text, but its last line has nothing but the end mark."""
    return len(comment) > 1 and re.match(r"/\*\*?<?\s+[^\s-]", comment[0]) is not None \
        and comment[-1].strip() == "*/"


def private_constant(line, text):
    """Whether a line defines a plain int that the preprocessor does not read."""
    define = DEFINE.match(line)
    if define is None or read_by_preprocessor(define[1], text):
        return False
    value = re.sub(r"\b0+(\d)", r"0o\1", define[2])
    try:
        return -2**31 <= eval(value, {"__builtins__": {}}) < 2**31  # digits and operators alone
    except SyntaxError:
        return False


def comments(text):
    """(first line, lines) of each comment."""
    for match in re.finditer(r"/\*.*?\*/", re.sub(r"\"(?:\\.|[^\"\\\n])*\"",
                                                  lambda m: " " * len(m[0]), text), re.S):
        yield text.count("\n", 0, match.start()) + 1, text[match.start():match.end()].split("\n")


def find(path, text):
    """(line, form, what) of each offence."""
    code = masked(text)
    lines = text.split("\n")
    for pattern, form, what in ((COMPARED, "null", "compared with NULL"),
                                (REVERSED, "null", "compared with NULL"),
                                (SIZEOF, "sizeof", "not sizeof(x)"),
                                (EXTERN, "extern", "a prototype with extern")):
        for match in pattern.finditer(code):
            yield text.count("\n", 0, match.start()) + 1, form, what
    for number, line in enumerate(lines, 1):
        if path.endswith(".c") and private_constant(line, text):
            yield number, "enum", f"{DEFINE.match(line)[1]} could be an enumerator"
        if BANNER.search(line) and not SHORT.match(line):
            yield number, "banner", line.strip()
    for number, comment in comments(text):
        if torn(comment):
            yield number + len(comment) - 1, "comment", "a line with nothing but */"


FIXES = {"null": fix_null, "sizeof": fix_sizeof, "extern": fix_extern, "enum": fix_enum,
         "banner": fix_banner, "comment": fix_comment}


def main(arguments):
    """Checks, or rewrites."""
    wanted = []
    if arguments and arguments[0].startswith("--fix"):
        wanted = arguments[0].partition("=")[2].split(",") if "=" in arguments[0] else list(FIXES)
        arguments = arguments[1:]
    bad = 0
    for path in arguments:
        with open(path, encoding="utf-8") as file:
            text = new = file.read()
        for form in wanted:
            if form != "enum" or path.endswith(".c"):
                new = FIXES[form](new)
        if new != text:
            with open(path, "w", encoding="utf-8") as file:
                file.write(new)
        for number, form, what in sorted(find(path, new)):
            print(f"{path}:{number}: {form}: {what}")
            bad += 1
    return bad != 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

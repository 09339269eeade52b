# SPDX-License-Identifier: Apache-2.0
#
# man.awk  generates libst's manual pages from the comments of include/st.h: one in section 3 for
# each call, and libst.3, which lists them. Called by the Makefile:
#   awk -v out=FOLDER -v version=2.0 -f scripts/man.awk include/st.h
# A comment consists of text, then lines "@param name  text", "@return text", "@errno NAME  text",
# "@yields text", "@since version"; a line without @ continues the one before.

# Escapes what troff would interpret.
function roff(text)
{
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    if (text ~ /^[.']/)
        text = "\\&" text
    return text
}

function trim(text)
{
    sub(/^[ \t]+/, "", text)
    sub(/[ \t]+$/, "", text)
    return text
}

# A name and its description, as a list entry.
function item(name, text)
{
    return ".TP\n.B " name "\n" roff(trim(text)) "\n"
}

# Starts a tagged line, or continues the one before.
function take(line,    tag, rest, name)
{
    if (line !~ /^@/) {
        if (tag_now == "")
            text = text (line == "" ? "\n.PP\n" : roff(line) "\n")
        else
            part[tag_now] = part[tag_now] roff(line) "\n"
        return
    }
    tag = rest = line
    sub(/ .*/, "", tag)
    sub(/^[^ ]+ */, "", rest)
    tag_now = tag
    if (tag == "@param" || tag == "@errno") {
        name = rest
        sub(/ .*/, "", name)
        sub(/^[^ ]+ */, "", rest)
        part[tag] = part[tag] item(name, rest)
    } else
        part[tag] = part[tag] roff(rest) "\n"
}

# The first sentence, for the NAME line.
function summary(    line)
{
    line = text != "" ? text : "tells " part["@return"]
    gsub(/\n/, " ", line)
    sub(/\. .*/, "", line)
    sub(/\.? *$/, "", line)
    return tolower(substr(line, 1, 1)) substr(line, 2)
}

function section(file, title, body)
{
    if (body != "")
        printf ".SH %s\n%s", title, body > file
}

function page(prototype,    name, file)
{
    name = prototype
    sub(/\(.*/, "", name)
    sub(/.*[ *]/, "", name)
    sub(/^extern /, "", prototype)
    sub(/ *__attribute__.*/, "", prototype)
    sub(/;.*/, "", prototype)
    file = out "/" name ".3"
    printf ".\\\" Made from st.h.\n.TH %s 3 \"\" \"libst %s\" \"State Threads\"\n", \
        toupper(name), version > file
    section(file, "NAME", name " \\- " summary() "\n")
    gsub(/\n/, "\"\n.B \"", prototype)
    section(file, "SYNOPSIS", \
        ".nf\n.B #include <st.h>\n.PP\n.B \"" roff(prototype) ";\"\n.fi\n")
    section(file, "DESCRIPTION", text part["@param"])
    section(file, "RETURN VALUE", part["@return"])
    section(file, "ERRORS", part["@errno"])
    section(file, "NOTES", (part["@yields"] == "" ? "" : "Yields: " part["@yields"]) \
        (part["@since"] == "" ? "" : ".br\nSince: " part["@since"]))
    section(file, "SEE ALSO", ".BR libst (3)\n")
    close(file)
    list = list ".TP\n.BR " name " (3)\n" summary() "\n"
}

/^\/\*\*/ {
    inside = 1
    text = tag_now = ""
    split("", part)
    sub(/^\/\*\*/, "")
}
inside {
    ended = sub(/ *\*\/.*/, "")
    sub(/^ \* ?/, "")
    if (trim($0) != "" || (text != "" && tag_now == ""))
        take(trim($0))
    if (ended)
        inside = 0
    next
}
# The headings of the header's own parts.
/^\/\* -----/ {
    getline
    sub(/^ \* */, "")
    list = list ".SS " $0 "\n"
    getline
    next
}
/^\/\* --- / {
    sub(/^\/\* --- /, "")
    sub(/ --- \*\/$/, "")
    list = list ".SS " $0 "\n"
    next
}
(/^(extern )?[a-z][a-z_ ]*[ *]+st_[a-z0-9_]+\(/ && !/^(typedef|static)/) || declaration != "" {
    declaration = declaration (declaration == "" ? "" : "\n") $0
    if (declaration ~ /;/) {
        page(declaration)
        declaration = ""
    }
}

END {
    file = out "/libst.3"
    printf ".\\\" Made from st.h.\n.TH LIBST 3 \"\" \"libst %s\" \"State Threads\"\n", version > file
    section(file, "NAME", "libst \\- State Threads, user-mode threads for network programs\n")
    section(file, "SYNOPSIS", ".nf\n.B #include <st.h>\n.PP\n" \
        ".B cc program.c $(pkg\\-config \\-\\-cflags \\-\\-libs st)\n.fi\n")
    section(file, "DESCRIPTION", "State threads are scheduled in user mode, by the kernel thread" \
        " that runs them (a virtual\nprocessor), and are never preempted: one runs until it waits" \
        " or yields. Waiting for I/O is\ndone by edge\\-triggered epoll. The library is source" \
        " compatible with State Threads 1.9.\nTimes are in microseconds.\n.SH CALLS\n" list)
    close(file)
}

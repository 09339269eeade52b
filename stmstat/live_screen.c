/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts lines of the live view on the terminal, whatever its size: nothing is ever written beyond
 * its right edge or its bottom.
 */
#include <curses.h>
#include <string.h>

#include "stmstat/live.h"

/* Text from clients may contain anything: only printable ASCII reaches the terminal. Returns the
 * next line. */
int live_draw(int line, const char *text, int left, unsigned how)
{
    int length = (int)strlen(text);

    if (line < 0 || line >= LINES)
        return line;
    if (how)
        attron(how);
    move(line, 0);
    for (int column = 0; column < COLS; column++) {
        char c = column + left < length ? text[column + left] : ' ';

        if (column + left >= length && !(how & A_REVERSE))
            break;
        /* insch() in the last column, where writing a character would make the terminal scroll. */
        if (column == COLS - 1)
            insch((chtype)(c >= ' ' && c < 0x7f ? c : '?'));
        else
            addch((chtype)(c >= ' ' && c < 0x7f ? c : '?'));
    }
    if (how)
        attroff(how);
    return line + 1;
}

/* Between words, in at most `most` lines. */
int live_draw_wrapped(int line, const char *text, int most, unsigned how)
{
    while (*text && most-- > 0) {
        int length = (int)strlen(text), end = length;
        char part[LIVE_LINE];

        if (length > COLS && most > 0) {
            for (end = COLS; end > 0 && text[end] != ' '; end--) {
            }
            if (end == 0)
                end = COLS;
        }
        snprintf(part, sizeof(part), "%.*s", end, text);
        line = live_draw(line, part, 0, how);
        text += end;
        text += strspn(text, " ");
    }
    return line;
}

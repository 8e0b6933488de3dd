#!/usr/bin/env python3
"""Writes unicode_table.def: where, in ascending order, the class of code points changes, as code point * 4 + class
(0 other, 1 letter: L*, 2 number: N*, 3 white space). Needs the package unicodedata2 of the version wanted."""
import unicodedata2

SPACE = {*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}


def char_class(c):
    return 3 if c in SPACE else {"L": 1, "N": 2}.get(unicodedata2.category(chr(c))[0], 0)


changes, last = [], None
for code in range(0x110000):
    if (k := char_class(code)) != last:
        changes.append(f"0x{code * 4 + k:X},")
        last = k
with open("unicode_table.def", "w") as f:
    f.write(f"/* Unicode {unicodedata2.unidata_version}; made by unicode_table.py. */\n/* clang-format off */\n")
    line = ""
    for word in changes:
        if len(line) + len(word) > 98:
            f.write(line.rstrip() + "\n")
            line = ""
        line += word + " "
    f.write(line.rstrip() + "\n/* clang-format on */\n")

# Lists every one-line bug that the rules below can plant in a backward, from the sources named as arguments:
#   bucket <tab> ops one of whose tests must find it <tab> file <tab> line <tab> rule <tab> the new line
# Where a bug may stand: the functions named *backward*, all that they call in autograd/ (kernels by ->name( too), and
# the gradient columns of .def tables. A bucket is the op, or the file where several ops share the code; then any of
# them may find it, those first that are the fewest calls away. Relies on clang-format: a function's braces are alone in the first
# column, in a macro in the fifth.
# -v only: these buckets. -v isas: what is built. -v skip: a file with the lines that are left out, see tests/mutants.equal.

# ---- Reading: functions, the names in them, op tables ------------------------------------------------------------

FNR == 1 { head = ""; inside = 0; macro = ""; comment = 0; asserting = 0 }

FILENAME == skip {
    if ($0 ~ /^#/ || $0 == "") next
    if ($1 == "stop") stops[$2] = 1
    else if ($1 == "leave") leaves[$2] = 1
    else if ($1 == "base" && $2 ~ /:$/) base_line[substr($2, 1, length($2) - 1), substr($0, length($2) + 7)] = 1
    else if ($1 == "base") same_in_base[$2] = 1
    else if ($1 == "any") {
        at = index($0, ": ")
        no_change[substr($0, 5, at - 5), substr($0, at + 2)] = 1
    } else {
        at = index($0, ": ")
        equal[substr($0, 1, at - 1), substr($0, at + 2)] = 1
    }
    next
}

{
    text[FILENAME, FNR] = $0
    last_line[FILENAME] = FNR
    code = bare($0)
    if (FILENAME ~ /\.def$/) { def_row($0); next }
    if ($0 ~ /^# *include "autograd\/[a-z_]*\.def"/) { split($0, part, "\""); table[FILENAME] = part[2] }
    if (code ~ /^#define [A-Za-z_]+\(/) {
        macro = code
        sub(/^#define /, "", macro)
        sub(/\(.*/, "", macro)
        begin(macro)
        if (code !~ /\\$/) { add(code); end(); macro = "" }
        next
    }
    last_of_macro = macro != "" && code !~ /\\$/
    if (macro != "") { sub(/[ \t]*\\$/, "", code); sub(/^    /, "", code) }
    ops_of_table(code)
    enums(code)
    if (code ~ /^[A-Za-z_].*[^ ]\(.*\) *\{.*\}$/ && code !~ /^(typedef|enum|#)/) { # on one line
        head = code
        begin(name_of(code)); add(code); end()
    } else if (code ~ /^[A-Za-z_][A-Za-z_0-9 *#,()]*\(/ && code !~ /;$/) {
        head = code
    } else if (code == "{" && head != "") {
        begin(name_of(head)); inside = 1
    } else if (code == "}" && inside) {
        end(); inside = 0; head = ""
    } else if (inside || macro != "") {
        add(code)
    }
    if (last_of_macro) { end(); macro = "" }
}

# A line without comments and without the text of strings.
function bare(s,   a, b)
{
    if (comment) {
        b = index(s, "*/")
        if (!b) return ""
        s = substr(s, b + 2)
        comment = 0
    }
    while ((a = index(s, "/*")) > 0) {
        b = index(substr(s, a), "*/")
        if (!b) { comment = 1; s = substr(s, 1, a - 1) }
        else s = substr(s, 1, a - 1) substr(s, a + b + 1)
    }
    sub(/\/\/.*/, "", s)
    sub(/[ \t]+$/, "", s)
    return s
}

# K(name) is a kernel and goes by the name K(name), since its name alone may also be a variable's.
function name_of(s)
{
    if (match(s, /K\([A-Za-z0-9_#]+\)/)) return substr(s, RSTART, RLENGTH)
    sub(/__attribute__\(\([a-z_]*\)\)/, "", s)
    match(s, /[A-Za-z0-9_#]+ *\(/)
    s = substr(s, RSTART, RLENGTH - 1)
    sub(/ +$/, "", s)
    return s
}

function begin(name)
{
    depth++
    fn[depth] = ++functions
    fname[functions] = name
    ffile[functions] = FILENAME
    fhead[functions] = head
    by_name[FILENAME, name] = functions
    if (name ~ /^(K\(|qp_)/ || FILENAME ~ /\.h$/) global[name] = functions
    if (name ~ /^K\(.*##/) patterns[++npatterns] = functions
}
function end() { depth-- }
function add(code,   f, s, t)
{
    f = fn[depth]
    flines[f] = flines[f] " " FNR
    s = code
    while (match(s, /(->|K\(|\.)?[A-Za-z_][A-Za-z0-9_#]*/)) {
        t = substr(s, RSTART, RLENGTH)
        s = substr(s, RSTART + RLENGTH)
        if (t ~ /^->/) { t = substr(t, 3); calls[f] = calls[f] " K(" t ")" }
        else if (t ~ /^K\(/) calls[f] = calls[f] " " t ")"
        else if (t !~ /^\./) calls[f] = calls[f] " " t (s ~ /^\(/ ? "(" : "")
    }
}

# static const qp_op name_op = { "name", name_backward };   or, in a macro, { #name, name##_backward }
function ops_of_table(code,   s, t, part)
{
    s = code
    while (match(s, /\{ (#name|"[a-z_0-9]+"), [A-Za-z_0-9#]*backward \}/)) {
        t = substr(s, RSTART + 2, RLENGTH - 4)
        s = substr(s, RSTART + RLENGTH)
        split(t, part, ", ")
        gsub(/"/, "", part[1])
        roots++
        root_op[roots] = part[1]
        root_fn[roots] = part[2]
        root_file[roots] = FILENAME
    }
}

function enums(code,   s, part, n, i)
{
    if (code !~ /^enum \{ [A-Z]/) return
    s = code
    sub(/^enum \{ /, "", s)
    sub(/ \}.*/, "", s)
    n = split(s, part, /, */)
    for (i = 1; i <= n; i++) sibling[FILENAME, part[i]] = part[i % n + 1]
}

# MACRO(name, value, gradient, ...): the columns behind the value are gradients.
function def_row(line,   n, i)
{
    if (line !~ /^[A-Z_]+\([a-z_0-9]+, / || line ~ /^QP_KERNEL/) return
    n = columns(line)
    if (n < 3) return
    rows_of[FILENAME] = rows_of[FILENAME] " " column[1]
    for (i = 3; i <= n; i++) {
        drow[++drows] = FILENAME SUBSEP FNR SUBSEP column[1]
        dfrom[drows] = column_at[i]
        dlen[drows] = length(column[i])
    }
}
# The arguments of the call that the line begins with, into column[], column_at[].
function columns(line,   i, c, open, n, from)
{
    n = 0
    open = 0
    for (i = 1; i <= length(line); i++) {
        c = substr(line, i, 1)
        if (c == "(" && open++ == 0) from = i + 1
        if (c == ")") open--
        if ((c == "," && open == 1) || (c == ")" && open == 0)) {
            while (substr(line, from, 1) == " ") from++
            column[++n] = substr(line, from, i - from)
            column_at[n] = from
            from = i + 1
            if (c == ")") break
        }
    }
    return n
}

# ---- Reaching: which ops' backward comes to a function ---------------------------------------------------------------

# In its own file any mention counts; elsewhere calls of what is public or in a header.
function resolve(from, name,   i, p, call)
{
    call = sub(/\($/, "", name)
    if ((from, name) in by_name) return by_name[from, name]
    if ((call || name ~ /^(K\(|qp_)/) && name in global) return global[name]
    if (name !~ /^K\(/) return 0
    for (i = 1; i <= npatterns; i++) { # K(name##_bwd_##side) for name##_bwd_a
        p = fname[patterns[i]]
        gsub(/[a-z]+##|##[a-z]+/, "[A-Za-z0-9_#]*", p)
        gsub(/[()]/, ".", p)
        if (name ~ ("^" p "$")) return patterns[i]
    }
    return 0
}

# All that f calls, nearest first; steps says how many calls away it is.
function reach(f, op, far,   n, i, name, g, queue, at, to)
{
    to = 0
    if (f && !(fname[f] in stops)) { queue[++to] = f; distance[f] = far }
    for (at = 1; at <= to; at++) {
        f = queue[at]
        far = distance[f]
        if (op == "tape" && ffile[f] !~ /tape\.c$/) continue
        if ((f, op) in steps && steps[f, op] <= far) continue
        if (!((f, op) in steps)) owners[f] = owners[f] " " op
        steps[f, op] = far
        if (!(f in least) || far < least[f]) least[f] = far
        n = split(calls[f], name, " ")
        for (i = 1; i <= n; i++) {
            g = resolve(ffile[f], name[i])
            if (!g || g == f || fname[g] in stops || ((g, op) in steps && steps[g, op] <= far + 1)) continue
            queue[++to] = g
            distance[g] = far + 1
        }
    }
    split("", queue)
}

# The ops that come to f, those that are the fewest calls away first, in turns.
function nearest(f,   all, n, i, far, some)
{
    n = split(owners[f], all, " ")
    op_count = 0
    split("", op_list)
    for (far = 0; far < 2; far++) {
        some = 0
        for (i = 1; i <= n; i++)
            if ((steps[f, all[i]] > least[f]) == far) {
                op_list[++op_count] = all[i]
                some++
            }
        group[far] = some
    }
    return n
}
# All of them for a mutant, whose length says who is first: it does not depend on other mutants.
function in_turn(new,   turn, far, first, i, op)
{
    op = ""
    turn = length(new)
    first = 0
    for (far = 0; far < 2; far++) {
        for (i = 0; i < group[far]; i++) op = op (op == "" ? "" : " ") op_list[first + (turn + i) % group[far] + 1]
        first += group[far]
    }
    return op
}

# The kernel file of a table has the functions that its rows name.
function reach_from_row(i,   part, kernels, s, t)
{
    split(drow[i], part, SUBSEP)
    kernels = part[1]
    sub(/autograd/, "autograd/cpu", kernels)
    sub(/def$/, "c", kernels)
    s = substr(text[part[1], part[2]], dfrom[i], dlen[i])
    while (match(s, /[A-Za-z_0-9]+\(/)) {
        t = substr(s, RSTART, RLENGTH)
        s = substr(s, RSTART + RLENGTH)
        reach(resolve(kernels, t), part[3], 2)
    }
}

# ---- Planting --------------------------------------------------------------------------------------------------------

function plant(rule, new)
{
    if (new == now || planted_here[new]++) return
    squeezed = new
    sub(/[ \t]*\\$/, "", squeezed)
    gsub(/^[ \t]+|[ \t]+$/, "", squeezed)
    if ((file, squeezed) in equal || spared()) { printf "equal\t%s\t%s\n", file, squeezed; return }
    op = in_turn(new)
    printf "mutant\t%s\t%s\t%s\t%d\t%s\t%s\n", bucket, op, file, line, rule, new
}

# Whether no mutant of this line changes a result in what is built.
function spared(   s, word)
{
    s = now
    gsub(/^[ \t]+|[ \t]+\\?$/, "", s)
    if ((file, s) in no_change || (isas == "base" && (file, s) in base_line)) return 1
    for (word in same_in_base) if (isas == "base" && (within == word || now ~ ("(^|[^A-Za-z_])" word "([^A-Za-z_]|$)"))) return 1
    return 0
}

# Every place where from (plain text) stands in code becomes to.
function each_place(rule, from, to,   at, rest)
{
    at = 1
    while ((rest = index(substr(code, at), from)) > 0) {
        at += rest - 1
        if (!(from ~ /^ [<>]=? $/ && chooses(substr(code, 1, at - 1), substr(code, at + length(from)))))
            plant(rule, before substr(code, 1, at - 1) to substr(code, at + length(from)) after)
        at += length(from)
    }
}

# left < right ? left : right, or the other way: between equals there is no choice.
function chooses(left, right,   i, one, two)
{
    i = index(right, " ? ")
    if (!i) return 0
    two = substr(right, i + 3)
    right = substr(right, 1, i - 1)
    i = index(two, " : ")
    if (!i) return 0
    one = substr(two, 1, i - 1)
    two = substr(two, i + 3)
    return ends_with(left, one) && index(two, right) == 1 || one == right && match(two, /^[A-Za-z0-9_]+/) && ends_with(left, substr(two, 1, RLENGTH))
}
function ends_with(s, part) { return length(s) >= length(part) && substr(s, length(s) - length(part) + 1) == part }

function balanced(s,   i, c, open) # length of the operand that s begins with
{
    open = 0
    for (i = 1; i <= length(s); i++) {
        c = substr(s, i, 1)
        if (c == "(" || c == "[") open++
        else if (c == ")" || c == "]") { if (open-- == 0) return i - 1 }
        else if (!open && c !~ /[A-Za-z0-9_.>#-]/) return i - 1
        else if (!open && c == "-" && substr(s, i + 1, 1) != ">") return i - 1
    }
    return length(s)
}

function drop_factor(sign,   at, rest, n)
{
    at = 1
    while ((rest = index(substr(code, at), " " sign " ")) > 0) {
        at += rest - 1
        n = balanced(substr(code, at + 3))
        if (n) plant("factor dropped", before substr(code, 1, at - 1) substr(code, at + 3 + n) after)
        at += 3
    }
}

function constants(whole,   at, s, t, keep)
{
    at = 1
    while (match(substr(code, at), whole ? /[0-9][0-9.]*/ : /[0-9]+\.[0-9]+/)) {
        s = substr(code, at)
        t = substr(s, RSTART, RLENGTH)
        keep = at + RSTART - 1
        if (substr(code, keep - 1, 1) !~ /[A-Za-z0-9_]/ && t + 0 != 0)
            plant("constant 1 % off", before substr(code, 1, keep - 1) sprintf("%.17g", t * 1.01) \
                  substr(code, keep + length(t)) after)
        at = keep + length(t)
    }
}

# The value that ACC(y, beta, value) and ST(value) take.
function values(   at, n, i, s)
{
    for (at = 1; match(substr(code, at), /(ACC|ST)\(/); at += i) {
        i = RSTART
        s = substr(code, at + i - 1)
        n = columns(s)
        if (column[n] == "") continue
        s = substr(code, 1, at + i - 2 + column_at[n] - 1)
        plant("value negated", before s "-(" column[n] ")" substr(code, length(s) + length(column[n]) + 1) after)
        plant("value 1 % off", before s "(R)1.01 * (" column[n] ")" \
              substr(code, length(s) + length(column[n]) + 1) after)
    }
}

# Arguments of calls: beta, 0 and 1, neighbours of one kind.
function arguments(   at, s, t)
{
    for (at = 1; match(substr(code, at), /, &?([a-z]+(\.|->))?(beta[a-z_]*|b[a-z])[,)]/); at += RSTART + 1) {
        s = substr(code, 1, at + RSTART)
        t = substr(code, at + RSTART + RLENGTH - 2)
        if (substr(code, at + RSTART - 1, RLENGTH) ~ /&/) continue
        plant("beta ignored: always 0", before s "0" t after)
        plant("beta ignored: always 1", before s "1" t after)
    }
    each_place("argument 0 is 1", ", 0,", ", 1,")
    each_place("argument 1 negated", ", 1,", ", -1,")
    each_place("argument 1 negated", ", 1)", ", -1)")
    each_place("argument 1 is 0", ", 1)", ", 0)")
    each_place("argument -1 is 1", ", -1,", ", 1,")
    for (at = 1; match(substr(code, at), /[(,] ?[A-Za-z_>.-]+, [A-Za-z_>.-]+[,)]/); at += RSTART) {
        s = substr(code, at + RSTART - 1, RLENGTH)
        swap(s, at + RSTART - 1)
    }
}
function swap(s, at,   a, b, comma, lead)
{
    lead = s ~ /^. / ? 2 : 1
    comma = index(substr(s, 2), ", ") + 1
    a = substr(s, lead + 1, comma - lead - 1)
    b = substr(s, comma + 2, length(s) - comma - 2)
    if (kind(a) == 0 || kind(a) != kind(b)) return
    plant("neighbours swapped", before substr(code, 1, at + lead - 1) b ", " a substr(code, at + length(s) - 1) after)
}
function kind(a)
{
    if (a ~ /->data$/) return 1
    if (a ~ /^[nmkdvrhegc]$/) return 2
    if (a ~ /^d?[xyabquvwk]$/) return 3
    return 0
}

function indices(   at, s, t)
{
    for (at = 1; match(substr(code, at), /\[[A-Za-z0-9_]+\]/); at += RSTART + RLENGTH - 2) {
        s = substr(code, 1, at + RSTART - 1)
        t = substr(code, at + RSTART, RLENGTH - 2)
        if (s ~ /sizeof [^ ,;]*$/) continue
        if ((file, t) in sibling) {
            if (sibling[file, t] != t)
                plant("inputs swapped", before s sibling[file, t] substr(code, at + RSTART + RLENGTH - 2) after)
        } else if (t ~ /^[a-z][a-z0-9]*$/)
            plant("index off by one", before s t " + 1" substr(code, at + RSTART + RLENGTH - 2) after)
        else if (t == "0" || t == "1")
            plant("index off by one", before s (1 - t) substr(code, at + RSTART + RLENGTH - 2) after)
    }
}

# All rules on code, which stands between before and after in its line. real: numbers in it are no counts.
function rules(real)
{
    each_place("+ is -", " + ", " - ")
    each_place("- is +", " - ", " + ")
    each_place("* is /", " * ", " / ")
    each_place("/ is *", " / ", " * ")
    drop_factor("*")
    drop_factor("/")
    constants(real)
    if (code !~ /for \(/) {
        each_place("< is <=", " < ", " <= ")
        each_place("> is >=", " > ", " >= ")
        each_place("<= is <", " <= ", " < ")
        each_place(">= is >", " >= ", " > ")
    } else {
        if (match(code, / < [A-Za-z0-9_>.-]+;/))
            plant("last one missed", before substr(code, 1, RSTART + RLENGTH - 2) " - 1" substr(code, RSTART + RLENGTH - 1) after)
        each_place("first one missed", " = 0; ", " = 1; ")
    }
    each_place("== is !=", " == ", " != ")
    each_place("!= is ==", " != ", " == ")
    each_place("&& is ||", " && ", " || ")
    each_place("|| is &&", " || ", " && ")
    each_place("overwrites", " += ", " = ")
    each_place("+= is -=", " += ", " -= ")
    each_place("adds", "] = ", "] += ")
}

function of_line(f, n,   whole, stmt, starts, tail, body)
{
    file = ffile[f]
    within = fname[f]
    line = n
    now = text[file, n]
    split("", planted_here)
    before = after = ""
    whole = now
    if (match(whole, /[ \t]*\\$/)) { after = substr(whole, RSTART); whole = substr(whole, 1, RSTART - 1) }
    if (match(whole, /[ \t]*(\/\*.*\*\/|\/\/.*)$/)) { after = substr(whole, RSTART) after; whole = substr(whole, 1, RSTART - 1) }
    if (whole ~ /^#define/) { match(whole, /^#define [A-Za-z_]+\([^)]*\)/); before = substr(whole, 1, RLENGTH); whole = substr(whole, RLENGTH + 1) }
    else if (match(whole, /\) \{ .* \}$/) && whole ~ /^[A-Za-z]/) { before = substr(whole, 1, RSTART + 2); whole = substr(whole, RSTART + 3) }
    code = whole
    if (code !~ /[A-Za-z0-9]/ || code ~ /^ *(\/\*|#)/) return
    if (code ~ /pragma|Pragma|recycle|arena_alloc|bytes|QP_TIMED|qp_timed|profile|_work\(|clang-format/) return
    if (asserts(file, n)) return
    rules(code ~ /ACC\(|ST\(|R [a-z_]+ =|\(R\)/ || fhead[f] ~ /^(static )?(inline )?(R|double) / || (before ~ /(^| )R [a-z]/))
    values()
    arguments()
    indices()
    stmt = code
    gsub(/^[ \t]+/, "", stmt)
    tail = previous(file, n)
    starts = tail ~ /[;{}]$/ || tail ~ /^ *(for|if) .*\)$/ || tail ~ /pragma/
    if (starts && tail !~ /pragma/ && before == "" && stmt ~ /[=(+]/ &&
        stmt !~ /^(const|int|int32_t|int64_t|R|T|E|H|void|double|size_t|bool|char|static|qp_[a-z_]+|return|else|struct|enum|typedef|[a-z_]+_node|[a-z]+) [*a-zA-Z_]+/ &&
        stmt !~ /^(return|else|do|break|continue)/) {
        body = code
        sub(/[^ \t].*/, "", body)
        plant("left out", body "if (0) " stmt after)
    }
    if (match(code, /if \(/)) {
        body = substr(code, RSTART + 3)
        starts = balanced(body)
        if (starts > 2) plant("condition negated", before substr(code, 1, RSTART + 2) "(!" substr(body, 1, starts) ")" substr(body, starts + 1) after)
    }
}
function previous(file, n,   s)
{
    do {
        s = text[file, --n]
        sub(/[ \t]*\\$/, "", s)
        sub(/[ \t]*(\/\*.*\*\/|\/\/.*)$/, "", s)
    } while (n > 1 && s ~ /^[ \t]*$/)
    sub(/[ \t]+$/, "", s)
    return s
}
# Line n belongs to a QP_ASSERT, which may go over several.
function asserts(file, n,   m, s)
{
    for (m = n; m > 0 && m > n - 6; m--) {
        s = text[file, m]
        if (s ~ /QP_ASSERT\(/) return 1
        if (m < n && s ~ /[;{}][ \t]*\\?$/) return 0
        if (m == n && text[file, m - 1] ~ /[;{}][ \t]*\\?$/) return s ~ /QP_ASSERT\(/
    }
    return 0
}

function of_row(i,   part)
{
    split(drow[i], part, SUBSEP)
    file = part[1]
    line = part[2]
    now = text[file, line]
    bucket = op_list[1] = part[3]
    if (only != "" && !index(" " only " ", " " bucket " ")) return
    within = ""
    op_count = group[0] = 1
    group[1] = 0
    split("", planted_here)
    before = substr(now, 1, dfrom[i] - 1)
    code = substr(now, dfrom[i], dlen[i])
    after = substr(now, dfrom[i] + dlen[i])
    plant("value negated", before "-(" code ")" after)
    plant("value 1 % off", before "(R)1.01 * (" code ")" after)
    rules(1)
    if (code ~ /-dy/) each_place("sign dropped", "-dy", "dy")
    if (code ~ /dy/) each_place("dy dropped", "dy", "(R)1")
    if (code ~ /(^|[^a-z])y([^a-z]|$)/) each_place("x for y", " y", " x")
    if (code ~ /(^|[^a-z])x([^a-z]|$)/) each_place("y for x", " x", " y")
    if (code ~ /(^|[^a-z])a([^a-z]|$)/) each_place("b for a", " a", " b")
    if (code ~ /(^|[^a-z])b([^a-z]|$)/) each_place("a for b", " b", " a")
}

END {
    for (i = 1; i <= roots; i++) {
        f = by_name[root_file[i], root_fn[i]]
        if (root_op[i] != "#name") { reach(f, root_op[i], 0); continue }
        n = split(rows_of[table[root_file[i]]], row, " ")
        for (j = 1; j <= n; j++) reach(f, row[j], 0)
    }
    for (f = 1; f <= functions; f++) # the walk itself
        if (ffile[f] ~ /tape\.c$/ && (fname[f] ~ /backward/ || fname[f] == "qp_grad")) reach(f, "tape", 0)
    for (i = 1; i <= drows; i++) reach_from_row(i)
    for (i = 1; i <= drows; i++) of_row(i)
    for (f = 1; f <= functions; f++) {
        if (owners[f] == "" || fname[f] in leaves) continue
        op_owners = nearest(f)
        bucket = ffile[f]
        gsub(/.*\/|\..*/, "", bucket)
        if (op_owners == 1) bucket = op_list[1]
        if (ffile[f] ~ /tape\.c$/) { bucket = op_list[1] = "tape"; group[0] = 1; group[1] = 0 }
        if (only != "" && !index(" " only " ", " " bucket " ")) continue
        m = split(flines[f], lines, " ")
        for (k = 1; k <= m; k++) of_line(f, lines[k] + 0)
        printf "function\t%s\t%s\t%s\n", ffile[f], fname[f], owners[f]
    }
}

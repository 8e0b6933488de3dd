# Results (name|figure|limit|quipu|peer|rate|state|peer's state|wanted|the limit's value): a line a row.
# head=1: with a head; md=1: as Markdown.
function human(figure, v) {
    if (v == "") return "-"
    if (figure == "extra") return sprintf("%.2f GiB", v / 2 ^ 30)
    if (figure ~ /seconds/) return sprintf("%.3f s", v)
    if (figure ~ /^(flops|up_1b)_per_s/) return sprintf("%.0f GFLOP/s", v / 1e9)
    if (figure == "text_bytes_per_s") return sprintf("%.1f MB/s", v / 1e6)
    return sprintf(v < 100 ? "%.1f tok/s" : "%.0f tok/s", v)
}
# One condition, such as share>=0.70; unknown figures satisfy none.
function holds(condition, p, x) {
    if (condition == "amx") return amx
    split(condition, p, /[<>]=/)
    x = p[1] == "ratio" ? ratio : p[1] == "share" ? share : value
    if (x == "") return 0
    return condition ~ />=/ ? x + 0 >= p[2] + 0 : x + 0 <= p[2] + 0
}
function met(wanted, any, all, n, m, i, j, good) {
    n = split(wanted, any, " or ")
    for (i = 1; i <= n; i++) {
        m = split(any[i], all, " and ")
        good = 1
        for (j = 1; j <= m; j++) good = good && holds(all[j])
        if (good) return 1
    }
    return 0
}
BEGIN {
    FS = "|"
    while ((getline line < "/proc/cpuinfo") > 0) if (line ~ /^flags/) { amx = line ~ /amx_bf16/; break }
    format = "%-22s %14s %14s %7s %6s  %-34s %s\n"
    if (md) format = "| %s | %s | %s | %s | %s | %s | %s |\n"
    if (head) printf format, md ? "row" : "", "quipu", "peer", "ratio", "share", "wanted", ""
    if (head && md) print "|---|---|---|---|---|---|---|"
}
{
    value = $4
    ratio = $4 != "" && $5 > 0 ? $4 / $5 : ""
    share = $10 > 0 && $6 != "" ? $6 / $10 : ""
    verdict = $7 == "failed" ? "failed" : $9 == "-" ? "" : met($9) ? "met" : $8 == "missing" && $9 ~ /ratio/ ? "no peer" : "missed"
    printf format, $1, human($2, $4), $8 == "missing" ? "no peer" : human($2, $5), ratio == "" ? "-" : sprintf("%.2fx", ratio),
        share == "" ? "-" : sprintf("%.0f%%", 100 * share), $9, verdict
}

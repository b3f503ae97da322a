# What the scripts in tools/ share. Sourced by bash with `root` set to the project's folder. All of it writes to stderr.

say() { printf 'troupe: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# kind KIND: the names that tools/packages.txt lists under KIND, one a line.
kind() { sed -n "s/^$1  *//p" "$root/tools/packages.txt"; }

# show_time TITLE: says every second on a terminal, else every half minute, that TITLE is still going on.
show_time() {
  local seconds=0
  while sleep 1 >/dev/null 2>&1 9>&- && kill -0 $$ 2>/dev/null; do # $$ is the script: when it is killed, this ends too
    seconds=$((seconds + 1))
    if [ -t 2 ]; then
      printf '\r\033[Ktroupe: %s ... %d s' "$1" "$seconds" >&2
    elif [ $((seconds % 30)) = 0 ]; then
      say "$1 ... $seconds s"
    fi
  done
}

# stage TITLE COMMAND...: runs COMMAND with its output in the file $log; a line at its begin and one at its end, with the time.
stage() {
  local title=$1 start=$SECONDS code=0 ticker
  shift
  if [ -t 2 ]; then printf 'troupe: %s ...' "$title" >&2; else say "$title ..."; fi
  show_time "$title" & ticker=$!
  "$@" >>"$log" 2>&1 </dev/null || code=$?
  kill "$ticker" 2>/dev/null
  wait "$ticker" 2>/dev/null || true
  if [ -t 2 ]; then printf '\r\033[K' >&2; fi
  if [ "$code" = 0 ]; then say "$title: done in $((SECONDS - start)) s"; else say "$title: failed after $((SECONDS - start)) s"; fi
  return "$code"
}

# fail_with_log SENTENCE: the end of $log, then SENTENCE, and out.
fail_with_log() {
  tail -n 15 "$log" | sed 's/^/    /' >&2
  die "$* (all of the output is in $log)"
}

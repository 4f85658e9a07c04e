# Timed waits of Bash and of common programs, each for a known time.
# One line per case: name, expected, elapsed, really elapsed (seconds).
failed=0
really() { read -r up _ </proc/uptime; echo "$up"; }

# measure NAME EXPECTED-SECONDS EXPECTED-STATUS COMMAND...
measure() {
  local name=$1 expected=$2 status=$3 start end before after
  shift 3
  before=$(really) start=$EPOCHREALTIME
  "$@"
  local got=$?
  end=$EPOCHREALTIME after=$(really)
  awk -v n="$name" -v e="$expected" -v s="$start" -v t="$end" -v b="$before" -v a="$after" \
    'BEGIN { printf "%s %.3f %.6f %.3f\n", n, e, t - s, a - b }'
  [ "$got" = "$status" ] || { echo "$name: status $got instead of $status" >&2; failed=1; }
}

measure bash-sleep 10 0 sleep 10
measure bash-sleep-fraction 2.5 0 sleep 2.5
measure bash-read-t 10 142 bash -c 'read -r -t 10 line < <(sleep 60)'
measure bash-timeout 5 124 timeout 5 sleep 60
measure bash-timeout-kill 7 137 timeout -k 2 5 bash -c 'trap "" TERM; sleep 60; sleep 60'
measure bash-wait 10 0 bash -c 'sleep 10 & sleep 4 & wait'
measure bash-pipeline 10 0 bash -c 'sleep 10 | cat'
measure bash-SECONDS 100 0 bash -c 'SECONDS=0; sleep 100; [ $SECONDS -ge 100 ]'
measure bash-date 100 0 bash -c 'a=$(date +%s); sleep 100; b=$(date +%s); [ $((b - a)) -ge 100 ] && [ $((b - a)) -le 102 ]'
measure bash-env-i 10 0 env -i /bin/sleep 10
measure bash-loop 20 0 bash -c 'for i in 1 2 3 4 5 6 7 8 9 10; do sleep 2; done'
if command -v curl >/dev/null; then
  # A server that accepts and never answers.
  exec 3< <(python3 -c 'import socket,time
s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1], flush=True); time.sleep(100000)')
  server=$!
  read -r port <&3
  measure curl-max-time 10 28 curl -s --max-time 10 "http://127.0.0.1:$port/"
  measure curl-retry 7 28 curl -s --max-time 2 --retry 1 --retry-delay 3 "http://127.0.0.1:$port/"
  kill "$server"
fi
exit $failed

# Services of the hosts. Each runs in a process namespace of its own, so that ending the first process ends all it has forked.

# Settings of a host that switches change and services read, such as how wrong its clock is. An unset one reads 0.
setting() { # setting HOST NAME
    cat "$ROOT/$1/settings/$2" 2>/dev/null || echo 0
}
set_setting() { # set_setting HOST NAME VALUE
    mkdir -p "$ROOT/$1/settings"
    echo "$3" >"$ROOT/$1/settings/$2"
}

# Starts a service whose clock is OFFSET seconds off.
start_daemon() { # start_daemon HOST SERVICE OFFSET COMMAND...
    local host=$1 service=$2 offset=$3 clock=()
    shift 3
    [ "$offset" = 0 ] || clock=("$LAB/clock-off" "$offset")
    # libfaketime names its shared memory after the process id, which is 1 for each of them: hence a /dev/shm for each.
    # Samba's parts meet its winbindd in /run/samba, whatever its settings say: without one of its own, no controller lets anybody in
    # over SMB.
    (
        exec setsid ip netns exec "lab-$host" unshare --pid --fork --kill-child --mount-proc \
            sh -c 'mount -t tmpfs lab /dev/shm && mkdir -p /run/samba && mount -t tmpfs lab /run/samba && exec "$@"' sh "${clock[@]}" "$@"
    ) </dev/null >"$ROOT/$host/$service.log" 2>&1 &
    echo $! >"$ROOT/$host/$service.pid"
}

# Asks a service to end, and ends it if it is not gone after three seconds. Its port is free afterwards.
stop_daemon() { # stop_daemon HOST SERVICE
    local file=$ROOT/$1/$2.pid holder first _
    [ -e "$file" ] || return 0
    holder=$(<"$file")
    first=$(pgrep --parent "$holder" || true)
    rm "$file"
    [ -n "$first" ] || return 0
    kill -TERM "$first" 2>/dev/null || true
    for _ in {1..60}; do
        kill -0 "$holder" 2>/dev/null || return 0
        sleep 0.05
    done
    kill -KILL "$first" 2>/dev/null || true
    while kill -0 "$holder" 2>/dev/null; do sleep 0.05; done
}

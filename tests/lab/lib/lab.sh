# Sourced first by every script of the lab, which has set LAB to the folder tests/lab.

shopt -s inherit_errexit # a failure inside $(...) is a failure

# Where a running lab lives. In private namespaces this is a private tmpfs, so the path is the same for every lab.
ROOT=/run/preflight-lab

say() { echo "lab: $*" >&2; }
die() { say "$*"; exit 1; }

# Namespaces and mounts need root; the caller's environment comes along, PATH too, which sudo would replace.
become_root() {
    [ "$(id -u)" = 0 ] || exec sudo --preserve-env env "PATH=$PATH" "$@"
}

# Patience for one condition. A minute: two labs may be starting on a small machine at once.
wait_for() { # wait_for WHAT COMMAND...
    local what=$1 end=$((SECONDS + 60))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || die "waited a minute in vain for $what (logs are in $ROOT/*/*.log)"
        sleep 0.05
    done
}

for part in world options packages network daemon ntp certificates controller organisation exchange gateways pki state raise faults; do
    . "$LAB/lib/$part.sh"
done
unset part

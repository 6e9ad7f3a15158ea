# Sourced by the scripts that work on a running lab: the world is the one it was raised with.

. "$LAB/lib/lab.sh"
[ -e "$ROOT/world" ] || die "no lab is up here; see with-lab and up"
. "$ROOT/world"

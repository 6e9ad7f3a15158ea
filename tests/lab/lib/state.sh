# The provisioned forest, built once for each world and kept below the clone in target/lab/<key>/state.tar.zst.

STATES=$(realpath -m "$LAB/../../target/lab")

# What a state depends on: the world, and the scripts that provision it.
state_key() {
    {
        print_world
        samba --version
        cat "$LAB"/{lib/{build,certificates.sh,controller.sh,exchange.sh,gateways.sh,organisation.sh},make-certificates,certificates.tsv}
        cat "$LAB"/{make-organisation,exchange-schema.tsv,lib/directory.py}
        cut -f 1 "$LAB/chains.tsv"
    } | sha256sum | head -c 16
}

# Prints the path of the state for this world, after building it if there is none. Of several labs, one builds and the others wait.
built_state() {
    local state
    state=$STATES/$(state_key)/state.tar.zst
    mkdir -p "$STATES"
    (
        flock 9
        find "$STATES" -mindepth 1 -maxdepth 1 -type d -mtime +4 -exec rm -r {} + # passwords and certificates age
        [ -e "$state" ] || build_state "$state"
    ) 9>"$STATES/lock" >&2
    echo "$state"
}

build_state() { # build_state FILE
    local dir log start=$SECONDS
    dir=$(dirname "$1") log=$(dirname "$1")/build.log
    mkdir -p "$dir"
    say "building the forest $DOMAIN, once ..."
    print_world >"$dir/world"
    (privately "$LAB/lib/build" "$dir/world" "$1.part") >"$log" 2>&1 9>&- || die "the build failed; see $log"
    mv "$1.part" "$1"
    # Under sudo the clone is somebody else's, and `cargo clean` must be able to remove this.
    chown -R --reference="$LAB" "$STATES"
    say "built in $((SECONDS - start)) s"
}

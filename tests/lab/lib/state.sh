# The provisioned forest, built once for each world and kept below the clone in target/lab/<key>/state.tar.zst.

STATES=$(realpath -m "$LAB/../../target/lab")

# What a state depends on: the world, and the scripts that provision it.
state_key() {
    {
        print_world
        samba --version
        cat "$LAB"/{lib/{build,certificates.sh,controller.sh,exchange.sh,gateways.sh,organisation.sh},make-certificates,certificates.tsv}
        cat "$LAB"/{make-organisation,make-exports,exchange-schema.tsv,lib/directory.py}
        cut -f 1 "$LAB/chains.tsv"
    } | sha256sum | head -c 16
}

# Of a state with a second forest: that of the first one, and what is added to it.
state_key_with_trust() { # state_key_with_trust STATE
    {
        echo "$1"
        print_world
        cat "$LAB/lib/build-trust"
    } | sha256sum | head -c 16
}

# Prints the path of the state for this world, after building it if there is none.
built_state() {
    local state
    state=$(built "$(state_key)" build)
    if [ -n "$WITH_TRUST" ]; then
        add_second_forest
        state=$(built "$(state_key_with_trust "$state")" build-trust "$state")
    fi
    echo "$state"
}

# Of several labs, one builds and the others wait.
built() { # built KEY SCRIPT [STATE]: the script takes the other state as its start
    local state=$STATES/$1/state.tar.zst
    mkdir -p "$STATES"
    (
        flock 9
        find "$STATES" -mindepth 1 -maxdepth 1 -type d -mtime +4 -exec rm -r {} + # passwords and certificates age
        [ -e "$state" ] || build_state "$state" "${@:2}"
    ) 9>"$STATES/lock" >&2
    echo "$state"
}

build_state() { # build_state FILE SCRIPT [STATE]
    local dir log start=$SECONDS
    dir=$(dirname "$1") log=$(dirname "$1")/build.log
    mkdir -p "$dir"
    say "building the forest ${3:+$SECOND_DOMAIN beside }$DOMAIN, once ..."
    print_world >"$dir/world"
    (privately "$LAB/lib/$2" "$dir/world" "$1.part" "${@:3}") >"$log" 2>&1 9>&- || die "the build failed; see $log"
    mv "$1.part" "$1"
    # Under sudo the clone is somebody else's, and `cargo clean` must be able to remove this.
    chown -R --reference="$LAB" "$STATES"
    say "built in $((SECONDS - start)) s"
}

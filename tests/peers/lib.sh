# What the `install` and `start` scripts of the peers share; sourced, with $peer the peer's name.
# shellcheck shell=bash

cache=$PEERS_CACHE/$peer
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/$peer
tools=$here/../../tools

say() { echo "$peer: $*" >&2; }

# Brings exactly the packages of package-lock.json; again only when that has changed.
install_npm() {
    mkdir -p "$cache"
    if ! cmp -s "$here/package-lock.json" "$cache/installed.json"; then
        say "installing npm packages"
        cp "$here"/package.json "$here"/package-lock.json "$cache"
        (cd "$cache" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
        cp "$here/package-lock.json" "$cache/installed.json"
    fi
}

# Node as a package pins it, or where it has none for this machine, the one on the PATH.
npm_node() {
    local found
    for found in "$cache"/node_modules/node-linux-*/bin/node; do
        [[ ! -x $found ]] || { echo "$found"; return; }
    done
    echo node
}

# Puts the programs beside the packages, where Node looks for those.
place_programs() { cp "$here"/*.js "$here"/../node/*.js "$cache"; }

# Debian's Redis, as the project's own tests take it.
install_redis() {
    mkdir -p "$cache"
    ln -sfn "$("$tools/redis")" "$cache/redis"
}

children=()

# Starts a part in the background; all parts end together.
part() {
    "$@" &
    children+=($!)
}

end_parts() {
    trap - EXIT TERM INT
    # The last one started is the first to go: what takes requests, before what stores them.
    local i
    for ((i = ${#children[@]} - 1; i >= 0; i--)); do
        kill -TERM "${children[i]}" 2>/dev/null || true
        wait "${children[i]}" 2>/dev/null || true
    done
}
trap end_parts EXIT
trap 'exit 143' TERM INT

# Stays until one part ends, which is a failure of all.
watch_parts() {
    wait -n || true
    say "a part has ended"
    exit 1
}

# Until a command succeeds, at most 60 s.
until_ready() {
    local tries
    for ((tries = 0; tries < 600; tries++)); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    say "not ready after 60 s: $*"
    exit 1
}

# A Redis with its log in $DIR that syncs as $DURABILITY demands. It does not write its file anew meanwhile:
# a load would be measured with as many of those as happen to fall into it.
start_redis() {
    local port=$1 sync=everysec
    [[ $DURABILITY != fsync ]] || sync=always
    mkdir -p "$DIR/redis"
    part "$cache/redis/redis-server" --port "$port" --bind 127.0.0.1 --dir "$DIR/redis" --save '' \
        --maxmemory-policy noeviction --loglevel warning --appendonly yes --appendfsync "$sync" \
        --auto-aof-rewrite-min-size 64gb
    until_ready "$cache/redis/redis-cli" -p "$port" ping
}
